"""Shapes of inputs under a recipe's profiles."""

from typing import Any

import pytest

pytest.importorskip("onnx")

from onnx import parser

from edgecv.engine_recipe import Profile, Recipe
from edgecv.errors import InputError
from edgecv.export.engine.shapes import ShapeRange, in_words, profile_shapes


def graph(inputs: str) -> Any:
    text = (
        '<ir_version: 10, opset_import: ["" : 19]> g (' + inputs + ") => (float[?] y) {y = Abs(x)}"
    )
    return parser.parse_model(text)


def recipe(*profiles: Profile) -> Recipe:
    return Recipe(profiles=profiles)


def test_a_free_batch_takes_that_of_each_profile() -> None:
    found = profile_shapes(
        graph("float[n, 3, 8, 8] x, float[n, 5, 4] rois, float limit"),
        recipe(Profile((1, 2, 4)), Profile((8, 8, 8))),
        None,
    )
    assert found == (
        {
            "x": ShapeRange((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)),
            "rois": ShapeRange((1, 5, 4), (2, 5, 4), (4, 5, 4)),
        },
        {
            "x": ShapeRange((8, 3, 8, 8), (8, 3, 8, 8), (8, 3, 8, 8)),
            "rois": ShapeRange((8, 5, 4), (8, 5, 4), (8, 5, 4)),
        },
    )
    assert in_words(found)[0] == "x 1x3x8x8 to 4x3x8x8, tuned for 2x3x8x8"


def test_a_graph_of_one_shape_needs_no_profile() -> None:
    assert profile_shapes(graph("float[1, 3, 8, 8] x"), recipe(Profile((1, 4, 8))), None) == ()


def test_a_named_shape_goes_before_the_batch() -> None:
    shapes = ((1, 3, 8, 8), (1, 3, 16, 8), (2, 3, 32, 32))
    found = profile_shapes(
        graph("float[n, 3, h, w] x"), recipe(Profile(shapes={"x": shapes})), None
    )
    assert found == ({"x": ShapeRange(*shapes)},)


@pytest.mark.parametrize(
    ("inputs", "profile", "said"),
    [
        ("float[n, 3, h, w] x", Profile(), r"`x` leaves the sides \?x3x\?x\? open"),
        (
            "float[n, 3, 8, 8] x",
            Profile(shapes={"y": ((1,), (1,), (1,))}),
            "must name inputs of the model, got `y`. It has: x",
        ),
        (
            "float[n, 3, 8, 8] x",
            Profile(shapes={"x": ((1, 3, 9, 8),) * 3}),
            r"must fit the input, which is \?x3x8x8, got 1x3x9x8",
        ),
        (
            "float[n, 3, 8, 8] x",
            Profile(shapes={"x": ((1, 3, 8),) * 3}),
            r"must fit the input, which is \?x3x8x8, got 1x3x8",
        ),
    ],
)
def test_what_contradicts_the_graph_is_refused(inputs: str, profile: Profile, said: str) -> None:
    with pytest.raises(InputError, match=said):
        profile_shapes(graph(inputs), recipe(profile), None)


def test_the_description_tells_the_size_of_an_image() -> None:
    from edgecv.output_spec import FusedOutput
    from edgecv.spec import InputSpec, ModelSpec

    spec = ModelSpec("detect", ("cell",), InputSpec("x", (64, 96)), FusedOutput())
    found = profile_shapes(graph("float[n, 3, h, w] x"), recipe(Profile((1, 1, 2))), spec)
    assert found == ({"x": ShapeRange((1, 3, 64, 96), (1, 3, 64, 96), (2, 3, 64, 96))},)
