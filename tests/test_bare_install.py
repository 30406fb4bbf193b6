"""`pip install .` alone: a device runs models without torch and without onnx."""

import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("onnx")

ROOT = Path(__file__).resolve().parents[1]


def wheel_of_what_is_installed(folder: Path) -> Path | None:
    """Pack the wheel again that these tests run on, rather than compile for another minute.

    None where edgecv runs from the checkout.
    """
    try:
        installed = metadata.distribution("edgecv")
    except metadata.PackageNotFoundError:
        return None
    is_editable = '"editable": true' in (installed.read_text("direct_url.json") or "")
    if is_editable or installed.files is None:
        return None
    left_out = {"INSTALLER", "REQUESTED", "direct_url.json"}  # pip's own notes
    files = [file for file in installed.files if file.name not in left_out]
    files = [file for file in files if not {"..", "__pycache__"} & set(file.parts)]
    tags = [line for line in (installed.read_text("WHEEL") or "").splitlines() if "Tag: " in line]
    path = folder / f"edgecv-{installed.version}-{tags[0].partition(': ')[2]}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            if file.name != "RECORD":
                wheel.write(file.locate(), str(file))
            else:
                rows = file.read_text().splitlines()
                kept = {str(one) for one in files}
                rows = [row for row in rows if row.rsplit(",", 2)[0] in kept]
                wheel.writestr(str(file), "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binaries of a new virtual environment that holds edgecv without extras."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    package = wheel_of_what_is_installed(folder.parent) or ROOT
    command = [folder / "bin" / "pip", "install", "-q", "-c", ROOT / "constraints.txt", package]
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
