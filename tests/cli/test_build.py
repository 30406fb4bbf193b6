"""`edgecv build` as a user meets it, where there is no TensorRT: what it says and refuses."""

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from edgecv.bundle.machine import Gpu
from edgecv.engine_recipe import Recipe
from edgecv.export.engine.progress import BuildState
from edgecv.runtime.engine_record import EngineLayer, EngineRecord, FileIdentity

from .conftest import Run


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr("edgecv.export.engine.trtexec.find_gpu", lambda: None)


@pytest.mark.usefixtures("no_tensorrt")
def test_without_tensorrt_it_says_how_to_get_it(refused: Any, exported: Path) -> None:
    said = refused("build", exported / "raw.onnx", "--recipe", "orin-nano-fp32")
    assert "TensorRT is not installed" in said
    assert "nvidia-jetpack" in said


@pytest.mark.usefixtures("no_tensorrt")
def test_trtexec_needs_no_tensorrt_here(edgecv: Run, exported: Path, tmp_path: Path) -> None:
    engine = tmp_path / "m.engine"
    done = edgecv(
        *("build", exported / "raw.onnx", "-o", engine, "--recipe", "orin-nx-fp32"),
        "--print-trtexec",
    )
    assert done.code == 0, done.err
    command = done.out.splitlines()[-1]
    assert command.startswith(f"trtexec --onnx={exported / 'raw.onnx'} --saveEngine={engine} ")
    assert "--optShapes=images:1x3x96x128 --maxShapes=images:4x3x96x128" in command
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_tensorrt")
def test_a_model_with_plugins_asks_for_them(
    refused: Any, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGECV_PLUGINS", str(tmp_path / "none.so"))
    said = refused("build", exported / "fused.onnx", "--recipe", "thor-fp32", "--print-trtexec")
    assert "none.so`: there is no such plugin library" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "orin-nano-fp8"), "`--recipe` must be a file or one of agx-orin, "),
        (("--recipe", "orin-nano-fp16"), "most of"),
        (("--recipe", "orin-nano-int8"), "edgecv export --precision int8-tensorrt"),
        (("--recipe", "orin", "--require-precision", "fp16"), "`--require-precision` is fp16"),
        (("--recipe", "orin", "-o", "m.onnx"), "must be an engine file"),
    ],
)
@pytest.mark.usefixtures("no_tensorrt")
def test_what_is_refused(refused: Any, exported: Path, words: tuple[str, ...], said: str) -> None:
    assert said in refused("build", exported / "raw.onnx", *words, "--print-trtexec")


def test_what_was_built_is_summed_up(
    edgecv: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(job: Any, watch: Any) -> EngineRecord:
        watch(BuildState("tactics", 0.5, 60.0, 75.0))
        job.output.write_bytes(bytes(2_000_000))
        gpu = Gpu("Orin", "8.7", "10.3.0", 8)
        return EngineRecord(
            engine_sha256="",
            onnx=FileIdentity.of(job.model),
            tensorrt="10.3.0",
            gpu=gpu.name,
            compute_capability=gpu.capability,
            multiprocessors=gpu.multiprocessors,
            plugins=None,
            recipe=Recipe("fp16"),
            command=job.command,
            duration_s=81.4,
            built_at="2026-01-02T03:04:05+00:00",
            log=("warning: it is warm",),
            layers=(
                EngineLayer("quick", "NoOp", (), "", 0.125),
                EngineLayer("slow", "CaskConvolution", (), "fp16", 0.25),
            ),
        )

    monkeypatch.setattr("edgecv.export.engine.build.build_engine", build)
    engine, figures = tmp_path / "m.engine", tmp_path / "m.json"
    done = edgecv(
        *("build", exported / "raw.onnx", "-o", engine, "--recipe", "orin", "--json", figures)
    )
    assert done.code == 0, done.err
    assert "The slowest of 2 layers, which take 0.38 ms together" in done.out
    assert done.out.index("slow") < done.out.index("quick")
    assert "warning: it is warm" in done.out
    assert "Built with TensorRT 10.3.0 on Orin in 81 s." in done.out
    assert "1 fp16, 1 of no or an unknown type" in done.out
    assert f"Wrote {engine} (2.0 MB) and m.engine.json." in done.out
    assert '"tensorrt": "10.3.0"' in figures.read_text()
