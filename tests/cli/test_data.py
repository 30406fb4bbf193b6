"""`edgecv data preview`: the picture it writes and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("torch")

from edgecv.data import open_dataset


def test_preview_writes_a_sheet_and_repeats_it(edgecv: Any, scenes: Path, tmp_path: Path) -> None:
    pictures = []
    for name in ("a.png", "b.png"):
        path = tmp_path / "sheets" / name
        outcome = edgecv(
            *("data", "preview", "--data", f"coco:{scenes}", "--augment", "strong"),
            *("--size", "96x128", "--count", "4", "--seed", "7", "-o", path),
        )
        assert outcome.code == 0, outcome.err
        assert "4 samples of" in outcome.out
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 4 * 96
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]


def test_preview_takes_a_recipe_file(edgecv: Any, scenes: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[[transforms]]\nname = "vertical-flip"\n')
    path = tmp_path / "sheet.jpg"
    outcome = edgecv(
        *("data", "preview", "--data", f"coco:{scenes}", "--augment", recipe, "--size", "96"),
        *("--count", "1", "--split", "val", "-q", "-o", path),
    )
    assert (outcome.code, outcome.out) == (0, "")
    assert path.is_file()


def test_preview_shows_images_by_class(edgecv: Any, shapes: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    outcome = edgecv(
        *("data", "preview", "--data", f"folder:{shapes}", "--size", "32", "--count", "6"),
        *("--fit", "centre-crop", "-o", path),
    )
    assert outcome.code == 0, outcome.err
    assert path.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--augment", "stronk"], "Did you mean `strong`"),
        (["--size", "wide"], "--size"),
        (["--split", "dev"], "the split must be one of"),
        (["-o", "sheet.tiff"], "must end in .jpeg, .jpg, .png, .webp, got `sheet.tiff`"),
    ],
)
def test_preview_refuses_what_it_cannot_do(
    refused: Any,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused("data", "preview", "--data", f"coco:{scenes}", *words)
    assert not list(tmp_path.iterdir())


def test_subset_writes_a_data_set_that_opens(
    edgecv: Any, refused: Any, scenes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "few"
    command = ("data", "subset", "--data", f"coco:{scenes}", "--count", "3", "-o", folder)
    outcome = edgecv(*command)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("3 images, ")
    assert f"`--data coco:{folder}`" in outcome.out.replace("\n", "")
    written = open_dataset(f"coco:{folder}", "val")
    assert len(written.samples) == 3
    assert "already holds a data set" in refused(*command)
