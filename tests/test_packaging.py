"""What an installation must and must not bring."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["export", "kernels", "benchmarks", "edgecv.tests"])
def test_repository_root_is_not_on_the_import_path(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def imported_by(statement: str, folder: Path) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`.

    It runs in `folder`: in the checkout, the source tree would hide what is installed.
    """
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(done.stdout.split())


def test_importing_edgecv_is_cheap(tmp_path: Path) -> None:
    loaded = imported_by("import edgecv", tmp_path)
    assert "edgecv.errors" in loaded
    assert not loaded & {"numpy", "onnxruntime", "av", "PIL", "torch", "onnx", "typer", "rich"}


@pytest.mark.parametrize(
    "statement",
    [
        "import edgecv; edgecv.load; edgecv.stream; edgecv.ModelSpec",
        "import edgecv.runtime.onnxruntime, edgecv.stream.run, edgecv.stream.sources.video",
        "import edgecv.data, edgecv.evaluation, edgecv.bench, edgecv.doctor",
        "import edgecv.cli.run, edgecv.cli.eval, edgecv.cli.bench, edgecv.cli.train",
    ],
)
def test_running_a_model_never_imports_torch_or_onnx(statement: str, tmp_path: Path) -> None:
    assert not imported_by(statement, tmp_path) & {
        "torch",
        "torchvision",
        "triton",
        "onnx",
        "onnxscript",
    }


def test_public_names_are_the_documented_ones() -> None:
    import edgecv

    assert {"load", "stream", "ModelSpec", "EdgeCVError"} <= set(dir(edgecv))
    assert all(hasattr(edgecv, name) for name in dir(edgecv))
    assert callable(edgecv.stream)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = edgecv.nonsense  # type: ignore[attr-defined]
