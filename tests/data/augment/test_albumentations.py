"""Pipelines of albumentations in a recipe: repeatable, followed by boxes, masks and keypoints."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.data.augment.albumentations_files import albumentations_step  # noqa: E402
from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.augment.pipeline import Augmentation  # noqa: E402
from edgecv.data.augment.recipe import Albumentations, HorizontalFlip, Recipe  # noqa: E402
from edgecv.data.augment.scene import scene_of  # noqa: E402
from edgecv.errors import InputError, MissingDependencyError  # noqa: E402
from edgecv.records import from_plain, to_plain  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .pictures import KEYPOINT_NAMES, SIZE_HW, picture  # noqa: E402
from .test_geometry import assert_follows, scene  # noqa: E402


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network otherwise
    return pytest.importorskip("albumentations")


def recipe_file(folder: Path, file: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f'[[transforms]]\nname = "albumentations"\nfile = "{file}"\n')
    return path


def drawn(
    recipe: Recipe, *, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW, **options: str
) -> Any:
    augment = Augmentation(recipe, InputSpec("images", size_hw), lambda _: scene(**options), 1)
    torch.manual_seed(seed)
    return augment(0, is_mixing=False)


@pytest.mark.parametrize("outline", ["polygons", "runs"])
@pytest.mark.parametrize("seed", range(4))
def test_objects_follow_the_pixels(library: Any, outline: str, seed: int) -> None:
    pipeline = library.Compose(
        [
            library.HorizontalFlip(p=0.5),
            library.VerticalFlip(p=0.5),
            library.RandomCrop(200, 260, p=0.5),
            library.RandomBrightnessContrast(brightness_limit=0.01, contrast_limit=0.01, p=0.5),
        ]
    )
    image, target = drawn(
        Recipe("test", (HorizontalFlip(), albumentations_step(pipeline))),
        seed=seed,
        shape="box",
        outline=outline,
    )
    assert_follows(image, target, shape="box")


def test_a_mirror_exchanges_left_and_right(library: Any) -> None:
    flip = albumentations_step(library.Compose([library.HorizontalFlip(p=1.0)]))
    image, target = drawn(Recipe("theirs", (flip,)))
    expected_image, expected = drawn(Recipe("ours", (HorizontalFlip(1.0),)))
    assert torch.equal(image, expected_image)
    torch.testing.assert_close(target.boxes_xyxy, expected.boxes_xyxy, atol=1e-3, rtol=0)
    torch.testing.assert_close(target.keypoints, expected.keypoints, atol=1e-3, rtol=0)
    assert KEYPOINT_NAMES[0].startswith("left")


def test_a_seed_repeats_a_pipeline_whatever_was_drawn_before(library: Any) -> None:
    pipeline = library.Compose([library.Affine(rotate=(-30, 30), p=1.0), library.GaussNoise(p=1.0)])
    recipe = Recipe("test", (albumentations_step(pipeline),))
    np.random.rand()  # noqa: NPY002  # their generator of old
    first, again, other = (drawn(recipe, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_objects_that_leave_the_frame_are_dropped(library: Any) -> None:
    crop = albumentations_step(library.Compose([library.Crop(0, 0, 100, 100)]))
    _, target = drawn(Recipe("test", (crop,)), size_hw=(100, 100))
    assert target.class_ids.tolist() == [0]
    assert target.masks.shape == (1, 100, 100)
    assert target.boxes_xyxy.tolist() == [[20, 30, 90, 80]]


def test_scenes_without_shapes_or_objects_pass(library: Any) -> None:
    flip = albumentations_step(library.Compose([library.VerticalFlip(p=1.0)]))
    sample, pixels = picture()
    sample.is_crowd[:] = True
    for options in ({}, {"with_masks": True, "with_keypoints": True}):
        made = scene_of(sample, pixels, **options)
        augment = Augmentation(
            Recipe("t", (flip,)), InputSpec("images", SIZE_HW), lambda _, made=made: made, 1
        )
        image, target = augment(0, is_mixing=False)
        np.testing.assert_array_equal((image * 255).round().permute(1, 2, 0), pixels[::-1])
        assert target.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_saved_pipeline_is_read_and_kept(library: Any, tmp_path: Path, suffix: str) -> None:
    pipeline = library.Compose([library.HorizontalFlip(p=1.0)])
    path = tmp_path / f"pipeline.{suffix}"
    library.save(pipeline, path, data_format=suffix)
    recipe = read_recipe(recipe_file(tmp_path, path.name))
    path.unlink()  # a resume does not need it
    kept = from_plain(Recipe, json.loads(json.dumps(to_plain(recipe))), where="augment")
    assert kept == recipe
    assert torch.equal(drawn(kept)[0], drawn(Recipe("ours", (HorizontalFlip(1.0),)))[0])


def test_a_pipeline_in_python_is_read(library: Any, tmp_path: Path) -> None:
    del library
    (tmp_path / "pipelines.py").write_text(
        "import albumentations as A\nflip = A.Compose([A.HorizontalFlip(p=1.0)])\nnumber = 3\n"
    )
    recipe = read_recipe(recipe_file(tmp_path, "pipelines.py:flip"))
    assert torch.equal(drawn(recipe)[0], drawn(Recipe("ours", (HorizontalFlip(1.0),)))[0])
    with pytest.raises(InputError, match=r"`pipelines.py:number` must be an .*Compose, got int"):
        read_recipe(recipe_file(tmp_path, "pipelines.py:number"))
    with pytest.raises(InputError, match=r"must be an .*Compose, got NoneType"):
        read_recipe(recipe_file(tmp_path, "pipelines.py:missing"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "missing.yaml",
            r"missing.yaml` must be a pipeline of `albumentations.save`, got: .*No such",
        ),
        ("broken.json", r"broken.json` must be a pipeline of `albumentations.save`, got: "),
        ("pipeline.txt", r"`file` must end in .json, .yaml, .yml, or be `module:attribute`"),
        ("missing.py:x", r"`missing.py` must be a Python module that can be imported, got FileNot"),
        ("no_such_module:x", r"`no_such_module` must be a Python module .* got ModuleNotFound"),
        ("wrong.py:x", r"`wrong.py` must be a Python module .* got ZeroDivisionError: division"),
    ],
)
def test_what_is_no_pipeline_is_refused(
    library: Any, tmp_path: Path, file: str, message: str
) -> None:
    del library
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "wrong.py").write_text("1 / 0")
    with pytest.raises(InputError, match=message):
        read_recipe(recipe_file(tmp_path, file))


def test_a_pipeline_that_cannot_be_kept_is_refused(library: Any) -> None:
    def unchanged(image: Any, **_: Any) -> Any:
        return image

    pipeline = library.Compose([library.Lambda(image=unchanged)])
    with pytest.raises(InputError, match="must be serialisable, so that a run can be resumed"):
        albumentations_step(pipeline)


def test_without_the_library_its_installation_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(MissingDependencyError, match="pip install albumentations"):
        read_recipe(recipe_file(tmp_path, "pipeline.yaml"))
    recipe = Recipe("kept", (Albumentations("gone.yaml", "{}"),))
    with pytest.raises(MissingDependencyError, match="pip install albumentations"):
        drawn(recipe)


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = ModuleType("albumentations")
    old.Compose = object  # type: ignore[attr-defined]
    old.__version__ = "1.3.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "albumentations", old)
    with pytest.raises(MissingDependencyError, match=r"1.4.19 or newer .* got 1.3.1"):
        read_recipe(recipe_file(tmp_path, "pipeline.yaml"))
