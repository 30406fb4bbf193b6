"""Segmentation models on the command line: eval, run, bench, and what they refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Build = Callable[..., Path]


def test_eval_prints_and_reports(
    edgecv: Any, segmenter: Build, paints: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    outcome = edgecv(
        *("eval", segmenter(), "--data", f"labels:{paints}"),
        *("--json", tmp_path / "eval.json", "--report", tmp_path / "report"),
    )
    assert outcome.code == 0, outcome
    for word in ("mIoU", "fwIoU", "mDice", "Per class", "grass", "4 images", "precision"):
        assert word in outcome.out
    figures = json.loads((tmp_path / "eval.json").read_text())
    assert (figures["data"], figures["split"], figures["skipped"]) == (paints.name, "test", [])
    assert figures["per_class"]["sky"]["IoU"] == 1
    assert 0.2 < figures["per_class"]["wall"]["accuracy"] < 0.5  # two thirds look like grass
    assert figures["confusion"]["labels"] == ["sky", "grass", "wall"]
    files = {path.name for path in (tmp_path / "report").iterdir()}
    assert files == {"report.html", "confusion_matrix.png", "examples.png", "metrics.json"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "mean IoU of the classes" in page


def test_eval_names_what_is_broken(
    refused: Any, segmenter: Build, paints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "paints"
    folder.mkdir()
    for name in ("test", "testannot"):
        (folder / name).symlink_to(paints / name)
    (folder / "classes.txt").write_text("sky\nvoid\ngrass\n")  # the wall has no name
    arguments = ("eval", segmenter(), "--data", f"labels:{folder}")
    assert "labels must be 0..2 (from classes.txt) or 255, got 3" in refused(*arguments)
    assert "testannot/0.png" in refused(*arguments, "--on-bad", "skip")  # none is left


def test_eval_leaves_out_what_is_broken(
    edgecv: Any, segmenter: Build, paints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "paints"
    shutil.copytree(paints, folder)
    (folder / "testannot" / "1.png").unlink()
    outcome = edgecv(
        *("eval", segmenter(), "--data", f"labels:{folder}", "--on-bad", "skip"),
        *("--json", tmp_path / "eval.json"),
    )
    assert outcome.code == 0, outcome
    assert "1 broken annotations were left out" in outcome.out
    figures = json.loads((tmp_path / "eval.json").read_text())
    assert figures["num_images"] == 3
    assert "test/1.png: label image must exist" in figures["skipped"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "labels:DIR", "--score", "0.5"), "a segmentation model has no thresholds"),
        (("--data", "bccd"), "images with label images must be `labels:DIR`, got `bccd`"),
        (("--data", "labels:DIR", "--split", "dev"), "the split must be one of test, train, val"),
    ],
)
def test_eval_refuses_what_belongs_to_others(
    refused: Any, segmenter: Build, paints: Path, words: tuple[str, ...], message: str
) -> None:
    given = [word.replace("DIR", str(paints)) for word in words]
    assert message in refused("eval", segmenter(), *given)


def test_eval_refuses_classes_that_the_model_lacks(
    refused: Any, segmenter: Build, paints: Path
) -> None:
    model = segmenter(names=("sky", "grass", "brick"))
    line = refused("eval", model, "--data", f"labels:{paints}")
    assert f"`{paints.name}` has classes that the model does not know: wall" in line


def test_a_detector_is_not_measured_on_label_images(
    refused: Any, adopted: Path, paints: Path
) -> None:
    pytest.importorskip("faster_coco_eval")
    assert "Label images have no boxes" in refused("eval", adopted, "--data", f"labels:{paints}")


def test_run_tints_pictures_and_writes_shares(
    edgecv: Any, segmenter: Build, paints: Path, tmp_path: Path
) -> None:
    outcome = edgecv(
        *("run", segmenter(), "--source", paints / "test"),
        *("--save", tmp_path / "out", "--jsonl", tmp_path / "out.jsonl"),
    )
    assert outcome.code == 0, outcome
    assert "0.png: grass " in outcome.out
    assert "Found: 4 " in outcome.out
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(records) == 4
    for record in records:
        shares = {entry["class"]: entry["share"] for entry in record["segmentation"]}
        assert set(shares) == {"sky", "grass", "wall"}
        assert sum(shares.values()) == pytest.approx(1, abs=3e-5)
    before = np.asarray(Image.open(paints / "test" / "0.png").convert("RGB"))
    after = np.asarray(Image.open(tmp_path / "out" / "0.png").convert("RGB"))
    assert (before != after).any(axis=2).all()


def test_run_writes_a_video(edgecv: Any, segmenter: Build, video: Path, tmp_path: Path) -> None:
    outcome = edgecv("run", segmenter(), "--source", video, "--save", tmp_path / "out.mp4")
    assert outcome.code == 0, outcome
    assert "12 frames" in outcome.out
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_run_has_no_thresholds(refused: Any, segmenter: Build, paints: Path) -> None:
    line = refused("run", segmenter(), "--source", paints / "test", "--score", "0.5")
    assert "a model of task segment has no thresholds" in line


def test_bench_needs_no_source(edgecv: Any, segmenter: Build) -> None:
    outcome = edgecv("bench", segmenter("class-map"), "--repeat", 3, "--warm-up", 1)
    assert outcome.code == 0, outcome
    assert "postprocess" in outcome.out


def test_label_images_have_no_preview(refused: Any, paints: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("faster_coco_eval")
    line = refused("data", "preview", "--data", f"labels:{paints}", "-o", tmp_path / "sheet.png")
    assert "`edgecv eval --report DIR` shows label images" in line
