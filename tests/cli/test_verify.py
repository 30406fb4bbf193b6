"""`edgecv verify` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
pytest.importorskip("torch")
import onnx
from onnx import numpy_helper


@pytest.fixture(scope="module")
def broken(exported_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw export with the weights of one convolution turned round."""
    model = onnx.load(exported_classifier / "raw.onnx")
    weight = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    for tensor in model.graph.initializer:
        if tensor.name == weight:
            tensor.CopyFrom(numpy_helper.from_array(-3 * numpy_helper.to_array(tensor), weight))
    path = tmp_path_factory.mktemp("broken") / "broken.onnx"
    onnx.save(model, path)
    return path


def test_a_checkpoint_and_its_export_agree_on_its_own_images(
    edgecv: Any, trained_run: Path, exported: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    words = (trained_run / "best.pt", exported / "fused.onnx", "--repeat", 1, "--num-images", 2)
    outcome = edgecv("verify", *words, "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "They agree within the limits." in outcome.out
    assert "torch cpu" in outcome.out
    plain = json.loads(figures.read_text())
    assert plain["passed"]
    assert len(plain["images"]) == 2


def test_a_drop_fails_and_names_the_layer(
    edgecv: Any, exported_classifier: Path, broken: Path, shapes: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    pair = exported_classifier / "raw.onnx", broken
    data = ("--data", f"folder:{shapes}", "--split", "val", "--repeat", 1)
    outcome = edgecv("verify", *pair, *data, "--max-drop", "0.05", "--json", figures)
    assert (outcome.code, outcome.err) == (1, "")
    assert "top1 drops by" in outcome.out
    first = next(node for node in onnx.load(broken).graph.node if node.op_type == "Conv")
    assert f"the first to diverge is Conv `{first.name}`" in outcome.out
    plain = json.loads(figures.read_text())
    assert (plain["passed"], plain["metric"], plain["split"]) == (False, "top1", "val")
    assert edgecv("verify", *pair, *data, "--max-drop", "1").code == 0


def test_other_limits_need_no_labels(
    edgecv: Any, exported_classifier: Path, broken: Path, shapes: Path
) -> None:
    raw = exported_classifier / "raw.onnx"
    words = (raw, broken, "--images", shapes / "val" / "disc", "--repeat", 1)
    assert edgecv("verify", *words, "-q").code == 1
    assert edgecv("verify", *words, "--tolerance", "1e-3").code == 1
    outcome = edgecv("verify", *words, "--max-unmatched", "1", "--bisect")
    assert outcome.code == 0, outcome.err
    assert "the first to diverge" in outcome.out


def test_bad_input_is_one_line(
    refused: Any, exported: Path, exported_classifier: Path, tmp_path: Path
) -> None:
    raw = exported / "raw.onnx"
    assert "Name a data set with `--data`" in refused("verify", raw, raw)
    assert "`--max-drop` needs data" in refused("verify", raw, raw, "--max-drop", "0.1")
    assert "no such" in refused("verify", raw, tmp_path / "missing.onnx")
    assert "no such checkpoint" in refused("verify", tmp_path / "missing.pt", raw)
    other = exported_classifier / "raw.onnx"
    assert "Compare models of one purpose" in refused("verify", raw, other)
