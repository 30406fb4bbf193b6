"""Recipes: shipped, the user's own, kept without loss, and refused with what is known instead."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edgecv.data.augment.files import RECIPES, read_recipe
from edgecv.data.augment.recipe import (
    TRANSFORMS,
    Albumentations,
    CameraNoise,
    Colour,
    GaussianBlur,
    HorizontalFlip,
    IouCrop,
    Jpeg,
    Mixup,
    Mosaic,
    MotionBlur,
    Recipe,
    ScaleJitter,
    ZoomOut,
)
from edgecv.errors import InputError, SpecError
from edgecv.records import from_plain, to_plain


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_default_is_what_training_always_did() -> None:
    assert read_recipe("default") == Recipe(
        "default",
        (
            ZoomOut(max_side=2.0, probability=0.3),
            IouCrop(min_scale=0.4),
            HorizontalFlip(0.5),
            Colour((0.7, 1.3), (0.7, 1.3), (0.7, 1.3), (-0.03, 0.03), True, 0.5),  # noqa: FBT003
        ),
    )


def test_none_is_nothing_and_strong_mixes() -> None:
    assert read_recipe("none") == Recipe("none")
    strong = read_recipe("strong")
    kinds = {type(transform) for transform in strong.transforms}
    assert {Mosaic, Mixup, GaussianBlur, MotionBlur, CameraNoise, Jpeg} <= kinds
    assert 0 < strong.mixing_until < 1


def test_every_shipped_file_has_a_name() -> None:
    folder = resources.files("edgecv.data") / "recipes"
    assert sorted(entry.name for entry in folder.iterdir()) == [f"{n}.toml" for n in RECIPES]


def test_a_file_may_hold_every_transform_with_its_defaults(tmp_path: Path) -> None:
    ours = {name: kind for name, kind in TRANSFORMS.items() if kind is not Albumentations}
    text = "\n".join(f'[[transforms]]\nname = "{name}"' for name in ours)
    recipe = read_recipe(written(tmp_path, f"mixing_until = 1\n{text}"))
    assert recipe.name == "mine"
    assert recipe.transforms == tuple(kind() for kind in ours.values())


def test_parameters_are_taken(tmp_path: Path) -> None:
    text = '[[transforms]]\nname = "mosaic"\nscale = [1, 2]\nprobability = 1'
    (mosaic,) = read_recipe(str(written(tmp_path, text))).transforms
    assert mosaic == Mosaic(scale=(1.0, 2.0), probability=1.0)


@pytest.mark.parametrize("name", RECIPES)
def test_json_keeps_a_recipe(name: str) -> None:
    recipe = read_recipe(name)
    plain = json.loads(json.dumps(to_plain(recipe)))
    assert from_plain(Recipe, plain, where="augment") == recipe


FLIP = '[[transforms]]\nname = "horizontal-flip"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transforms = 1", "`transforms` must be a list"),
        ("mixing_until = ]", "must be TOML, got: .*line 1"),
        ("mixing = 0.5", "unknown key `mixing`. Did you mean `mixing_until`"),
        ("mixing_until = true", "`mixing_until` must be a number, got True"),
        ("mixing_until = 1.5", r"`mixing_until` must be in 0..1, got 1.5"),
        ("[[transforms]]", r"`transforms\[0\].name` must be one of horizontal-flip, .*got None"),
        ("transforms = [3]", r"`transforms\[0\].name` must be one of"),
        (f'{FLIP}[[transforms]]\nname = "mosiac"', "got 'mosiac'. Did you mean `mosaic`"),
        (f'{FLIP}[[transforms]]\nname = "sepia"', "got 'sepia'. Known: horizontal-flip, "),
        (f"{FLIP}probabilty = 1", r"`transforms\[0\].probabilty`. Did you mean `probability`"),
        (f'{FLIP}probability = "1"', r"`transforms\[0\].probability` must be a float, got '1'"),
        (f"{FLIP}probability = 1.1", r"horizontal-flip: `probability` must be in 0..1, got 1.1"),
        (f"{FLIP}probability = nan", r"`transforms\[0\].probability` must be a float, got nan"),
        ('[[transforms]]\nname = "mosaic"\nscale = [1]', r"scale` must have 2 entries, got 1"),
        (
            f'[[transforms]]\nname = "mosaic"\n{FLIP}',
            "`horizontal-flip`, which moves pixels, must stand above `mosaic`, which composes",
        ),
        (
            '[[transforms]]\nname = "colour"\n[[transforms]]\nname = "mosaic"',
            "`mosaic`, which composes the input, must stand above `colour`, which changes pixels",
        ),
        ('[[transforms]]\nname = "mosaic"\n' * 2, "`mosaic` must stand there once at most"),
        ('[[transforms]]\nname = "albumentations"', "`file` must name a pipeline, got none"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (ZoomOut, {"max_side": 0.9}, r"zoom-out: `max_side` must be in 1..16, got 0.9"),
        (IouCrop, {"min_scale": 0.0}, r"iou-crop: `min_scale` must be in 0.05..1, got 0"),
        (IouCrop, {"min_aspect": 1.5}, r"iou-crop: `min_aspect` must be in 0.1..1, got 1.5"),
        (ScaleJitter, {"scale": (2.0, 1.0)}, "smaller first, got 2 and 1"),
        (Mosaic, {"scale": (0.0, 1.0)}, r"mosaic: `scale` must be two numbers in 0.1..10"),
        (Mosaic, {"centre": (0.5, 1.0)}, r"mosaic: `centre` must be two numbers in 0.1..0.9"),
        (Mixup, {"alpha": 0.0}, r"mixup: `alpha` must be in 0.1..1000, got 0"),
        (Colour, {"brightness": (-0.1, 1.0)}, r"colour: `brightness` must be two numbers in 0..10"),
        (Colour, {"hue": (-0.6, 0.0)}, r"colour: `hue` must be two numbers in -0.5..0.5"),
        (GaussianBlur, {"sigma": (0.0, 1.0)}, r"gaussian-blur: `sigma` must be two numbers"),
        (MotionBlur, {"length": (0.5, 3.0)}, r"motion-blur: `length` must be two numbers in 1..63"),
        (CameraNoise, {"shot": (0.0, 2.0)}, r"camera-noise: `shot` must be two numbers in 0..1"),
        (CameraNoise, {"read": (-1.0, 0.0)}, r"camera-noise: `read` must be two numbers in 0..1"),
        (Jpeg, {"quality": (0, 50)}, r"jpeg: `quality` must be two numbers in 1..100"),
    ],
)
def test_values_out_of_range_are_refused(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**changes)


@pytest.mark.parametrize("kind", [k for k in TRANSFORMS.values() if k is not Albumentations])
def test_no_probability_above_one(kind: Any) -> None:
    with pytest.raises(InputError, match=r"`probability` must be in 0..1, got 2"):
        kind(probability=2.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stronk", "one of classify, default, none, strong, or a file .* Did you mean `strong`"),
        ("wild", "got `wild`. Known: classify, default, none, strong"),
        ("missing.toml", "`missing.toml` must be a readable text file, got: No such file"),
    ],
)
def test_a_recipe_that_is_nowhere_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(name)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a readable text file, got: it is not UTF-8"):
        read_recipe(path)


def test_a_stored_recipe_with_an_unknown_transform_is_refused() -> None:
    plain = {"name": "old", "transforms": [{"format": "sepia"}]}
    with pytest.raises(SpecError, match=r"`augment.transforms\[0\].format` must be one of"):
        from_plain(Recipe, plain, where="augment")
