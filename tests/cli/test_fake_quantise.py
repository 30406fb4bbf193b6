"""`edgecv train --fake-quantise`: from a checkpoint to one whose 8-bit export loses less."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")


def test_a_fine_tuned_classifier_is_exported_in_8_bits(
    edgecv: Any, trained_classifier: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("onnx")
    folder, model = tmp_path / "run", tmp_path / "model.onnx"
    outcome = edgecv(
        *("train", "--weights", trained_classifier / "best.pt", "--fake-quantise", "int8-cpu"),
        *("--epochs", 1, "-o", folder),
    )
    assert outcome.code == 0, outcome.err
    assert "int8-cpu: 4 layers are rounded in training and validation, 1 stay" in outcome.out
    outcome = edgecv(
        *("export", folder / "best.pt", "--precision", "int8-cpu", "-o", model),
        *("--max-drop", 0.2, "--json", tmp_path / "export.json"),
    )
    assert outcome.code == 0, outcome.err
    assert model.stat().st_size < (folder / "best.pt").stat().st_size / 2
    assert "fine-tuned with the rounding of int8-cpu" in outcome.out
    assert "int8-cpu" in json.dumps(json.loads((tmp_path / "export.json").read_text()))


@pytest.mark.slow
def test_a_detector_is_fine_tuned_for_tensorrt(
    edgecv: Any, trained_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("onnx")
    folder, model = tmp_path / "run", tmp_path / "model.onnx"
    outcome = edgecv(
        *("train", "--weights", trained_run / "best.pt", "--fake-quantise", "int8-tensorrt"),
        *("--epochs", 1, "-o", folder, "--quiet"),
    )
    assert outcome.code == 0, outcome.err
    outcome = edgecv(
        *("export", folder / "best.pt", "--precision", "int8-tensorrt", "-o", model),
        *("--num-images", 2),
    )
    assert outcome.code == 0, outcome.err
    assert model.is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Name its checkpoint with `--weights`"),
        (["--weights", "nowhere.pt"], "there is no such checkpoint"),
        (["--weights", "{best}", "--compile"], "Leave out `--compile`"),
        (["--weights", "{best}", "--precision", "bfloat16"], "Leave out `--precision`"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(
    refused: Any, trained_classifier: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    given = [option.format(best=trained_classifier / "best.pt") for option in options]
    found = refused("train", "--fake-quantise", "int8-cpu", *given, "-o", tmp_path / "run")
    assert said in found
    assert not (tmp_path / "run").exists()
