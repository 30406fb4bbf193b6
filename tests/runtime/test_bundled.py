"""A bundle opened as a model: what is taken, what it says of itself, what it leaves behind."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import edgecv
from edgecv.bundle.machine import Machine
from edgecv.bundle.manifest import EngineEntry, Latency, Measured
from edgecv.bundle.writing import Addition, add, contents_of, read_model
from edgecv.errors import InputError
from edgecv.metrics.accuracy import Accuracy
from edgecv.precision import Precision
from edgecv.results import Detections
from edgecv.runtime import bundled
from edgecv.runtime.bundled import BundleSession
from edgecv.runtime.session import open_session

Make = Callable[..., Path]

WEIGHTS: dict[Precision, float] = {"fp32": 0.9, "fp16": 0.8, "int8-cpu": 0.7}
FRAME = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], list[bool]]:
    """Make the session believe in another machine; returns whether it asked for the GPU."""

    def pretend(facts: Machine) -> list[bool]:
        asked: list[bool] = []

        def stand_in(*, with_gpu: bool) -> Machine:
            asked.append(with_gpu)
            return facts

        monkeypatch.setattr(bundled, "this_machine", stand_in)
        return asked

    return pretend


@pytest.fixture
def bundle(make_onnx: Make, tmp_path: Path) -> Path:
    """Three precisions, told apart by the score of the one object that they find."""
    path = tmp_path / "b.edgecv"
    for precision, weight in WEIGHTS.items():
        measured = Measured(Accuracy("AP", {"AP": weight}, "bccd", "val"), max_drop=0.25)
        add(path, read_model(make_onnx(f"{precision}.onnx", weight=weight), precision, measured))
    return path


def score(model: edgecv.Model) -> float:
    found = model(FRAME)
    assert isinstance(found, Detections)
    return round(float(found.scores[0]), 3)


def test_the_entry_that_suits_the_machine_is_opened(
    bundle: Path, machine: Callable[..., object]
) -> None:
    machine(Machine("CPU", "avx512_vnni"))
    with edgecv.load(bundle) as model:
        assert score(model) == 0.7
        assert model.session.backend == "onnxruntime cpu, int8-cpu of b.edgecv"
        assert isinstance(model.session, BundleSession)
        assert model.session.choice.reason.startswith("this CPU has avx512_vnni; its AP of 0.700")
        assert set(model.session.choice.passed_over) == {"fp32", "fp16"}
    machine(Machine("CPU"))
    with edgecv.load(str(bundle)) as model:
        assert score(model) == 0.9
        assert model.session.backend == "onnxruntime cpu, fp32 of b.edgecv"


@pytest.mark.parametrize("precision", WEIGHTS)
def test_an_entry_is_opened_by_name(bundle: Path, precision: Precision) -> None:
    for path in (f"{bundle}#{precision}", Path(f"{bundle}#{precision}")):
        with edgecv.load(path, "cpu", threads=1) as model:
            assert score(model) == WEIGHTS[precision]
            assert model.session.backend == f"onnxruntime cpu, {precision} of b.edgecv"


def test_a_session_of_a_bundle_is_a_session(bundle: Path) -> None:
    session = open_session(bundle, "cpu")
    session.warm_up()
    (output,) = session.run(np.zeros((1, 3, 64, 64), np.float32)).values()
    assert output.shape == (1, 84, 7)
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.warm_up()


def test_no_file_is_unpacked(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = sorted(tmp_path.rglob("*"))
    with edgecv.load(bundle) as model:
        score(model)
        assert sorted(tmp_path.rglob("*")) == before


def test_the_gpu_is_asked_for_only_where_it_matters(
    bundle: Path, machine: Callable[..., list[bool]]
) -> None:
    asked = machine(Machine("CPU"))
    edgecv.load(bundle).close()
    content = b"engine"
    entry = EngineEntry("Orin", "8.7", "10.3.0", "fp16", contents_of(content))
    add(bundle, Addition(entry, content))
    edgecv.load(bundle).close()
    edgecv.load(bundle, "cpu").close()
    assert asked == [False, True, False]
    with edgecv.load(bundle) as model:
        assert isinstance(model.session, BundleSession)
        told = model.session.choice.passed_over[entry.name]
    assert told == "it was built for Orin, and there is no GPU in use here"
    with pytest.raises(InputError, match="cannot run here: it was built for Orin"):
        edgecv.load(f"{bundle}#{entry.name}")


def test_what_cannot_be_opened(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle"):
        edgecv.load(tmp_path / "none.edgecv")
    with pytest.raises(InputError, match="no such bundle"):
        edgecv.load(tmp_path / "none.edgecv#fp16")
    with pytest.raises(InputError, match="no entry `fp8`"):
        edgecv.load(f"{bundle}#fp8")
    with pytest.raises(InputError, match="no entry ``"):
        edgecv.load(f"{bundle}#")
    content = bytearray(bundle.read_bytes())
    (tmp_path / "fp16.onnx").rename(tmp_path / "kept.onnx")
    at = content.find((tmp_path / "kept.onnx").read_bytes()) + 50
    content[at] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(InputError, match="not a whole edgecv bundle"):
        edgecv.load(f"{bundle}#fp16")
    edgecv.load(f"{bundle}#fp32").close()  # what is not opened is not read


def test_a_measured_speed_counts_on_its_own_machine(
    make_onnx: Make, tmp_path: Path, machine: Callable[..., object]
) -> None:
    path = tmp_path / "b.edgecv"
    for precision, ms in (("fp32", 8.0), ("fp16", 5.0)):
        measured = Measured(latencies=(Latency("This CPU", "onnxruntime cpu", 0, ms),))
        add(path, read_model(make_onnx(precision + ".onnx"), precision, measured))
    for cpu, expected in (("This CPU", "fp16"), ("Other CPU", "fp32")):
        machine(Machine(cpu))
        with edgecv.load(path) as model:
            assert model.session.backend == f"onnxruntime cpu, {expected} of b.edgecv"
