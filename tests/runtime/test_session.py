"""What a session takes at once, and a model that fits into memory it is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.output_spec import ObjectsOutput, OutputSpec, YoloOutput
from edgecv.runtime.model import load
from edgecv.runtime.session import MAX_BATCH, max_batch_of
from edgecv.spec import InputSpec, ModelSpec

OBJECTS = ObjectsOutput("boxes", "scores", "labels")


@pytest.mark.parametrize(
    ("output", "batch_size", "shapes", "most"),
    [
        (YoloOutput(), None, [["batch", 84, 8400]], MAX_BATCH),
        (YoloOutput(), None, [[None, 84, 8400], ["batch", 3]], MAX_BATCH),
        (YoloOutput(), None, [["batch", 84, 8400], [1, 3]], 1),  # one answer for all of them
        (YoloOutput(), None, [["batch", 4], []], 1),
        (YoloOutput(), 4, [[4, 84, 8400]], 4),
        (YoloOutput(), 4, [[4, 84, 8400], [1, 3]], 1),
        (YoloOutput(), 4, [["found", 4]], 1),
        (YoloOutput(), 1, [[1, 84, 8400]], 1),
        (OBJECTS, None, [["found", 4], ["found"], ["found"]], 1),  # rows are objects, not images
    ],
)
def test_how_many_images_a_graph_takes(
    output: OutputSpec, batch_size: int | None, shapes: list[Any], most: int
) -> None:
    spec = ModelSpec("detect", ("cat", "dog"), InputSpec("images", (64, 64)), output)
    assert max_batch_of(spec, batch_size, shapes) == most


def test_a_model_fits_into_a_row_of_a_batch(make_onnx: Callable[..., Path]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with load(make_onnx()) as model:
        assert model.max_batch == 1
        assert not model.stages("bgr24")
        alone, placement = model.fit(pixels)
        batch = np.full((3, *alone.shape[1:]), np.nan, np.float32)
        row, same_placement = model.fit(pixels, out=batch[1])
        assert np.shares_memory(row, batch)
        assert same_placement == placement
        np.testing.assert_array_equal(row, alone)
        np.testing.assert_array_equal(batch[1], alone[0])
        assert np.isnan(batch[[0, 2]]).all()
