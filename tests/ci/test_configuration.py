"""What CMake says of the CUDA kernels where they cannot be built: with an nvcc that pretends."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
BROKEN = "#!/bin/sh\nexit 1\n"
OLD = "#!/bin/sh\necho 'Cuda compilation tools, release 11.4, V11.4.315'\n"


def configure(folder: Path, nvcc: str, value: str) -> tuple[int, str]:
    """The exit status and what was printed, on one line."""
    compiler = folder / "nvcc"
    compiler.write_text(nvcc)
    compiler.chmod(0o755)
    options = ["-DEDGECV_PYTHON=OFF", f"-DEDGECV_CUDA={value}"]
    done = subprocess.run(
        ["cmake", "-S", str(KERNELS), "-B", str(folder / "build"), *options],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDACXX": str(compiler)},
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
@pytest.mark.parametrize(
    ("nvcc", "reason"),
    [
        (BROKEN, "nvcc cannot compile (CMake's log says why)"),
        (OLD, "CUDA 12.0 or newer is needed, {folder}/nvcc is of 11.4"),
    ],
)
def test_auto_leaves_out_what_on_demands(tmp_path: Path, nvcc: str, reason: str) -> None:
    status, said = configure(tmp_path, nvcc, "AUTO")
    assert status == 0
    assert "edgecv: the CUDA kernels are left out: " in said
    assert reason.format(folder=tmp_path) in said
    status, said = configure(tmp_path, nvcc, "ON")
    assert status == 1
    assert "edgecv: EDGECV_CUDA is ON, but " in said
    assert reason.format(folder=tmp_path) in said
    assert "Install the CUDA toolkit, set CUDA_HOME to its folder, or configure with" in said


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
def test_refuses_another_value(tmp_path: Path) -> None:
    status, said = configure(tmp_path, BROKEN, "YES")
    assert status == 1
    assert "EDGECV_CUDA must be AUTO, ON, OFF or EMULATED, got YES." in said
