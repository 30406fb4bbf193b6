"""The shapes of a graph's inputs under the profiles of a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from edgecv.engine_recipe import Profile, Recipe, Sides
from edgecv.errors import InputError
from edgecv.runtime.session import input_shape
from edgecv.spec import ModelSpec

_FREE = 0


@dataclass(frozen=True)
class ShapeRange:
    """The smallest shape of an input, the one that kernels are chosen for, and the largest."""

    smallest: Sides
    usual: Sides
    largest: Sides


InputShapes: TypeAlias = Mapping[str, ShapeRange]


def profile_shapes(
    model: onnx.ModelProto, recipe: Recipe, spec: ModelSpec | None
) -> tuple[InputShapes, ...]:
    """Return the shapes of the inputs with free sides, for each profile of a recipe.

    Args:
        model: without inputs that have a default.
        recipe: whose profiles give the batch, and whole shapes by name.
        spec: the description, which tells how large an image is where the graph leaves it open.

    Returns:
        For each profile the shapes by input; empty if the graph leaves nothing open.

    Raises:
        InputError: if a profile names an input that is not there or a shape that it cannot have, or
            nothing tells a side.

    """
    inputs = {value.name: _sides(value) for value in model.graph.input}
    for profile in recipe.profiles:
        unknown = [name for name in profile.shapes if name not in inputs]
        if unknown:
            raise InputError(
                f"recipe: `profiles.shapes` must name inputs of the model, got `{unknown[0]}`. "
                f"It has: {', '.join(inputs)}."
            )
    if not any(_FREE in sides for sides in inputs.values()):
        return ()
    return tuple(
        {
            name: _range(name, sides, profile, spec)
            for name, sides in inputs.items()
            if _FREE in sides
        }
        for profile in recipe.profiles
    )


def in_words(profiles: Sequence[InputShapes]) -> list[str]:
    """Return a line for each input of each profile: `images 1x3x320x320 to 4x3x320x320`."""
    return [
        f"{name} {joined(shape.smallest)} to {joined(shape.largest)}, tuned for "
        f"{joined(shape.usual)}"
        for profile in profiles
        for name, shape in profile.items()
    ]


def joined(sides: Sides) -> str:
    """Return a shape as trtexec takes it: `1x3x320x320`."""
    return "x".join(map(str, sides))


def _sides(value: onnx.ValueInfoProto) -> Sides:
    return tuple(side.dim_value or _FREE for side in value.type.tensor_type.shape.dim)


def _range(name: str, sides: Sides, profile: Profile, spec: ModelSpec | None) -> ShapeRange:
    if name in profile.shapes:
        return _named(name, sides, profile)
    if spec is not None and name == spec.input.name:
        known: Sides = (_FREE, *input_shape(spec.input))
        if len(known) == len(sides):
            sides = tuple(side or other for side, other in zip(sides, known, strict=True))
    if _FREE in sides[1:]:
        raise InputError(
            f"the input `{name}` leaves the sides {_open(sides)} open, and nothing says how large "
            f"they are. Add `profiles = [{{ shapes.{name} = [[…], […], […]] }}]` to the recipe, or "
            "fix the shape with `edgecv export --size HEIGHTxWIDTH`."
        )
    if sides[0] != _FREE:
        return ShapeRange(sides, sides, sides)
    return ShapeRange(*((batch, *sides[1:]) for batch in profile.batch))


def _named(name: str, sides: Sides, profile: Profile) -> ShapeRange:
    shapes = profile.shapes[name]
    for shape in shapes:
        fits = len(shape) == len(sides) and all(
            side in (_FREE, wanted) for side, wanted in zip(sides, shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"recipe: `profiles.shapes.{name}` must fit the input, which is {_open(sides)}, "
                f"got {joined(shape)}. Correct the recipe, or free the side when you export."
            )
    return ShapeRange(*shapes)


def _open(sides: Sides) -> str:
    return "x".join("?" if side == _FREE else str(side) for side in sides)
