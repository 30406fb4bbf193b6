"""A checkout whose native module was never built says so, in a line."""

import shutil
import subprocess
import sys
from pathlib import Path

import edgecv


def test_what_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    package = Path(edgecv.__file__).parent
    compiled = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(package, tmp_path / "edgecv", ignore=compiled)
    done = subprocess.run(
        [sys.executable, "-m", "edgecv", "doctor"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "edgecv: edgecv's native kernels are not built here. Build them with `pip install .` in "
        "the checkout; it needs a C++17 compiler.\n"
    )
