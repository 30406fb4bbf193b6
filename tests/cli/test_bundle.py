"""`edgecv bundle`, and the commands that take a bundle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from PIL import Image

Make = Callable[..., Path]


@pytest.fixture
def bundle(edgecv: Any, make_onnx: Make, tmp_path: Path) -> Path:
    path = tmp_path / "b.edgecv"
    for words in (
        (make_onnx(),),
        (make_onnx("half.onnx", precision="fp16", weight=0.5),),
        (make_onnx("int8.onnx", weight=0.4), "--precision", "int8-cpu", "--max-drop", 0.01),
    ):
        outcome = edgecv("bundle", "add", path, *words)
        assert outcome.code == 0, outcome.err
    return path


def figures(path: Path, *, ap: float) -> Path:
    plain = {"data": "bccd", "split": "val", "AP": ap, "AP50": 0.9}
    path.write_text(json.dumps(plain))
    return path


def test_add_says_what_the_bundle_holds(edgecv: Any, bundle: Path, tmp_path: Path) -> None:
    engine, table = tmp_path / "m.engine", tmp_path / "table.json"
    engine.write_bytes(b"engine")
    table.write_text("{}")
    built = ("--gpu", "Orin", "--capability", "8.7", "--tensorrt", "10.3.0")
    outcome = edgecv(
        *("bundle", "add", bundle, "--engine", engine, "--precision", "fp16", *built),
        *("--calibration", table),
    )
    assert outcome.code == 0
    held = "fp32, fp16, int8-cpu, Orin-sm87-trt10.3.0-fp16, calibration"
    assert outcome.out == f"Wrote {bundle}: {held}.\n"
    outcome = edgecv("bundle", "verify", bundle)
    assert outcome.code == 0
    assert outcome.out.endswith(f"{bundle} is whole: 5 entries.\n")
    assert "Orin-sm87-trt10.3.0-fp16: " in outcome.out


def test_an_engine_of_this_machine_needs_no_words(
    edgecv: Any, refused: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.bundle import machine

    engine = bundle.with_name("m.engine")
    engine.write_bytes(b"engine")
    add = ("bundle", "add", bundle, "--engine", engine)
    monkeypatch.setattr(machine, "find_gpu", lambda: None)
    told = refused(*add, "--precision", "fp16")
    assert "Give `--gpu`, `--capability`, `--tensorrt`" in told
    monkeypatch.setattr(machine, "find_gpu", lambda: machine.Gpu("Orin", "8.7", "10.3.0"))
    assert "Give it with `--precision`" in refused(*add)
    outcome = edgecv(*add, "--precision", "fp16", "--tensorrt", "10.9.0", "-q")
    assert (outcome.code, outcome.out) == (0, "")
    assert "Orin-sm87-trt10.9.0-fp16" in edgecv("bundle", "list", bundle).out


def test_list_says_what_would_run_here_and_why(edgecv: Any, bundle: Path, tmp_path: Path) -> None:
    written = tmp_path / "list.json"
    for precision, ap in (("fp32", 0.5), ("int8-cpu", 0.25)):
        measured = figures(tmp_path / "figures.json", ap=ap)
        outcome = edgecv("bundle", "add", bundle, "--precision", precision, "--metrics", measured)
        assert outcome.code == 0
    outcome = edgecv("bundle", "list", bundle, "--device", "cpu", "--json", written)
    assert outcome.code == 0
    assert f"{bundle}: detect, 2 classes, input 64x64" in outcome.out
    assert "AP, bccd val" in outcome.out
    assert "Here: fp32 with onnxruntime cpu: fp32 runs everywhere" in outcome.out
    assert "not fp16: a CPU gains nothing" in outcome.out
    plain = json.loads(written.read_text())
    assert [model["precision"] for model in plain["models"]] == ["fp32", "fp16", "int8-cpu"]
    assert plain["choice"]["entry"] == "fp32"
    assert set(plain["choice"]["passed_over"]) == {"fp16", "int8-cpu"}
    assert "beyond the limit" in plain["choice"]["passed_over"]["int8-cpu"] or (
        "dot products" in plain["choice"]["passed_over"]["int8-cpu"]
    )


def test_list_of_a_bundle_that_cannot_run_here(
    edgecv: Any, make_onnx: Make, tmp_path: Path
) -> None:
    path = tmp_path / "b.edgecv"
    edgecv("bundle", "add", path, make_onnx(operator=("edgecv", "EdgeNMS")))
    outcome = edgecv("bundle", "list", path, "--json", tmp_path / "list.json")
    assert outcome.code == 0
    assert "Here: nothing in the bundle can run here." in outcome.out
    assert json.loads((tmp_path / "list.json").read_text())["choice"] is None


def test_extract(edgecv: Any, refused: Any, bundle: Path, tmp_path: Path) -> None:
    def written(folder: str, *words: object) -> list[str]:
        outcome = edgecv("bundle", "extract", bundle, *words, "-o", tmp_path / folder)
        assert outcome.code == 0, outcome.err
        return sorted(path.name for path in (tmp_path / folder).iterdir())

    assert written("one", "fp16") == ["fp16.onnx"]
    assert (tmp_path / "one" / "fp16.onnx").read_bytes() == (tmp_path / "half.onnx").read_bytes()
    assert written("best", "--best") == ["fp32.onnx"]
    assert written("all") == ["fp16.onnx", "fp32.onnx", "int8-cpu.onnx", "manifest.json"]
    assert "no entry `fp8`" in refused("bundle", "extract", bundle, "fp8", "-o", tmp_path)
    told = refused("bundle", "extract", bundle, "fp16", "--best", "-o", tmp_path)
    assert "Leave out the names" in told


def test_what_add_refuses(refused: Any, bundle: Path, make_onnx: Make, tmp_path: Path) -> None:
    add = ("bundle", "add", bundle)
    assert "there is nothing to add" in refused(*add)
    measured = figures(tmp_path / "figures.json", ap=0.5)
    assert "say which entry was measured" in refused(*add, "--metrics", measured)
    assert "`--replace`" in refused(*add, make_onnx("other.onnx", weight=0.1))
    other = make_onnx("third.onnx", classes=("cow",))
    assert "the bundle of another model" in refused(*add, other, "--replace")
    assert "must end in `.edgecv`" in refused("bundle", "add", tmp_path / "b.zip", other)
    assert "no such bundle" in refused("bundle", "list", tmp_path / "none.edgecv")


def test_verify_refuses_what_was_altered(refused: Any, bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    assert "not a whole edgecv bundle" in refused("bundle", "verify", bundle)


def test_commands_take_a_bundle_and_say_what_they_chose(
    edgecv: Any, refused: Any, bundle: Path, tmp_path: Path
) -> None:
    picture, written = tmp_path / "picture.png", tmp_path / "run.json"
    Image.new("RGB", (64, 64)).save(picture)
    words = "--device", "cpu", "--threads", 1, "--json", written
    outcome = edgecv("run", bundle, "--source", picture, *words)
    assert outcome.code == 0, outcome.err
    assert "onnxruntime cpu, fp32 of b.edgecv: fp32 runs everywhere" in outcome.out
    assert json.loads(written.read_text())["backend"] == "onnxruntime cpu, fp32 of b.edgecv"
    outcome = edgecv("run", bundle, "--source", picture, "--device", "cpu", "--threads", 2)
    assert "onnxruntime cpu throughput, 2 requests, fp32 of b.edgecv:" in outcome.out
    written = tmp_path / "bench.json"
    fast = ("--warm-up", 0, "--repeat", 1, "--device", "cpu", "--threads", 1)
    outcome = edgecv("bench", f"{bundle}#fp16", *fast, "--json", written)
    assert outcome.code == 0, outcome.err
    assert "onnxruntime cpu, fp16 of b.edgecv: asked for by name." in outcome.out
    outcome = edgecv("bundle", "add", bundle, "--precision", "fp16", "--metrics", written)
    assert outcome.code == 0, outcome.err
    assert "no entry `fp8`" in refused("run", f"{bundle}#fp8", "--source", picture)
