"""`pip install .` alone: a device runs models without torch and without onnx."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binaries of a new virtual environment that holds edgecv without extras."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [folder / "bin" / "pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_a_model_runs_on_a_video_without_torch_and_onnx(
    bare: Path, exported: Path, video: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    for package in ("torch", "torchvision", "onnx", "onnxscript", "faster_coco_eval"):
        done = run(bare / "python", "-c", f"import {package}")
        assert done.returncode != 0, package
        assert "ModuleNotFoundError" in done.stderr
    for head in ("fused", "raw"):
        lines, saved = tmp_path / f"{head}.jsonl", tmp_path / f"{head}.mp4"
        done = run(
            *(bare / "edgecv", "run", exported / f"{head}.onnx", "--source", video),
            *("--jsonl", lines, "--save", saved),
        )
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in lines.read_text().splitlines()]
        assert len(records) == 12
        assert saved.stat().st_size > 0
    bundle = tmp_path / "b.edgecv"
    for command in (("bundle", "add", bundle, exported / "raw.onnx"), ("bundle", "verify", bundle)):
        done = run(bare / "edgecv", *command)
        assert done.returncode == 0, done.stderr
    done = run(bare / "edgecv", "run", bundle, "--source", video)
    assert done.returncode == 0, done.stderr
    assert "fp32 of b.edgecv" in done.stdout
    done = run(bare / "edgecv", "eval", exported / "raw.onnx", "--data", "bccd")
    assert done.returncode == 2
    assert "pip install 'edgecv[eval]'" in done.stderr
    done = run(bare / "edgecv", "train", "ssd_mobilenetv2", "--data", "bccd")
    assert done.returncode == 2
    assert "pip install 'edgecv[train]'" in done.stderr
