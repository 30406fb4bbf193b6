"""TensorRT that is missing: the message says how this kind of machine gets it."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgecv.errors import MissingDependencyError
from edgecv.runtime import tensorrt_module
from edgecv.runtime.tensorrt_module import import_tensorrt


def test_what_is_installed_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    assert import_tensorrt() is module


def test_a_workstation_installs_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(tensorrt_module, "_JETSON", tmp_path / "none")
    with pytest.raises(MissingDependencyError, match=r"is not installed.*tensorrt-cu13.*-cu12"):
        import_tensorrt()


def test_a_jetson_has_jetpack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = tmp_path / "nv_tegra_release"
    release.touch()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(tensorrt_module, "_JETSON", release)
    with pytest.raises(MissingDependencyError, match=r"nvidia-jetpack.*--system-site-packages"):
        import_tensorrt()


def test_missing_libraries_are_told_from_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(MissingDependencyError, match=r"cannot be loaded: libnvinfer\.so\.10"):
        import_tensorrt()
