"""Builder and runner against the real bindings of each version: types, and classes that derive."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ...tensorrt_bindings import run_with, write_stubs  # noqa: TID252

TYPED = [
    *("--package", "edgecv.export.engine"),
    *("--module", "edgecv.runtime.tensorrt"),
    *("--module", "edgecv.runtime.tensorrt_engine"),
    *("--module", "edgecv.runtime.tensorrt_messages"),
    *("--module", "edgecv.runtime.plugin_file"),
]
ROOT = Path(__file__).resolve().parents[3]
# Types of theirs say nothing of TensorRT, and take mypy most of its time.
OTHERS = "numpy.*,onnx.*,onnx_ir.*,onnxruntime.*,onnxslim.*,torch.*,torchvision.*,PIL.*,rich.*"


def check_types(words: Sequence[str], stubs: Path, folder: Path) -> str:
    """Return what mypy --strict says of what `words` name, with the stubs of a version."""
    configuration = folder / "mypy.ini"
    configuration.write_text(
        "[mypy]\nstrict = true\nwarn_unused_ignores = false\nfollow_imports = silent\n"
        f"mypy_path = {stubs}:{ROOT}\ncache_dir = {folder}/cache\n"
        "[mypy-tensorrt.*]\nignore_errors = true\n"
        f"[mypy-{OTHERS}]\nfollow_imports = skip\nignore_missing_imports = true\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", configuration, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what it knows from one version to the next."""
    pytest.importorskip("mypy")
    pytest.importorskip("onnx_ir")
    return tmp_path_factory.mktemp("mypy")


def test_builder_and_runner_have_the_types_of_each_version(bindings: Path, workplace: Path) -> None:
    stubs = workplace / "stubs"
    stubs.mkdir(exist_ok=True)
    write_stubs(bindings, stubs)
    said = check_types(TYPED, stubs, workplace)
    assert said.startswith("Success: no issues found in "), said
    # That this check can fail: what 11 has no more is an error there, and none before.
    code = "import tensorrt as trt\ndef f(c: trt.IBuilderConfig) -> None:\n"
    said = check_types(["-c", f"{code}    c.set_flag(trt.BuilderFlag.FP16)\n"], stubs, workplace)
    assert ('has no attribute "FP16"' in said) == bindings.name.startswith("tensorrt-11"), said


DERIVED = """
import tensorrt as trt
from edgecv.export.engine.layer_times import _profiler
from edgecv.runtime.tensorrt_messages import Messages, logger
from edgecv.export.engine.progress import PhaseTree, progress_monitor

messages, tree, times = Messages(), PhaseTree(), {"conv": []}
log = logger(messages)
assert isinstance(log, trt.ILogger)
for severity in (trt.Logger.ERROR, trt.Logger.WARNING, trt.Logger.INFO):
    log.log(severity, f"said at {severity.name}")
assert messages.lines == ["error: said at ERROR", "warning: said at WARNING"], messages
monitor = progress_monitor(tree)
assert isinstance(monitor, trt.IProgressMonitor)
monitor.phase_start("build", None, 2)
assert monitor.step_complete("build", 0)
assert tree.state().fraction == 0.5
tree.cancelled.set()
assert not monitor.step_complete("build", 1)
monitor.phase_finish("build")
profiler = _profiler(times)
assert isinstance(profiler, trt.IProfiler)
profiler.report_layer_time("conv", 0.5)
assert times == {"conv": [0.5]}
assert list(trt.Dims([1, 3, 8, 8])) == [1, 3, 8, 8]
assert 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) in (1, 2)
print(trt.__version__)
"""


def test_what_tensorrt_calls_back_derives_from_its_classes(bindings: Path) -> None:
    pytest.importorskip("onnx_ir")
    assert run_with(bindings, DERIVED).strip() == bindings.name.removeprefix("tensorrt-")
