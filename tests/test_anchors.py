"""anchor_boxes against loops from the definition; torchvision judges it in models/test_ssd.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.anchors import anchor_boxes
from edgecv.output_spec import AnchorLayer

sides = st.floats(0.01, 2)
layers_of_anchors = st.lists(
    st.builds(
        AnchorLayer,
        grid_hw=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        shapes_wh=st.lists(st.tuples(sides, sides), min_size=1, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=3,
)


@given(layers=layers_of_anchors, size_hw=st.tuples(st.integers(1, 2000), st.integers(1, 2000)))
def test_matches_the_definition(layers: list[AnchorLayer], size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    expected = [
        ((column + 0.5) / columns * width, (row + 0.5) / rows * height, w * width, h * height)
        for layer in layers
        for rows, columns in [layer.grid_hw]
        for row in range(rows)
        for column in range(columns)
        for w, h in layer.shapes_wh
    ]
    anchors = anchor_boxes(layers, size_hw)
    assert anchors.dtype == np.float32
    # float64 inside: the only rounding is the last, to float32
    np.testing.assert_allclose(anchors, expected, rtol=np.finfo(np.float32).eps)


@pytest.mark.parametrize("size_hw", [(100, 300), (300, 100)])
def test_worked_example(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    anchors = anchor_boxes([AnchorLayer((1, 2), ((0.5, 0.1), (1.0, 1.0)))], size_hw)
    left, right, middle = width / 4, 3 * width / 4, height / 2
    np.testing.assert_allclose(
        anchors,
        [
            [left, middle, 0.5 * width, 0.1 * height],
            [left, middle, width, height],
            [right, middle, 0.5 * width, 0.1 * height],
            [right, middle, width, height],
        ],
        rtol=1e-6,
    )
