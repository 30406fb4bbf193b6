"""What onnxruntime is told of its providers, and what is refused; CUDA and TensorRT stood in for.

The stand-in records what it is given, in the forms that onnxruntime's documentation names, and runs
the file on the CPU. Whether a GPU takes the options is not seen here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx")

from edgecv.errors import InputError
from edgecv.runtime import onnxruntime as backend
from edgecv.runtime.session import DeferringSession, Hint, open_session

Make = Callable[..., Path]
CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
ON_CUDA = {
    "device_id": 0,
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "arena_extend_strategy": "kSameAsRequested",
    "do_copy_in_default_stream": True,
}


class Recorder:
    """onnxruntime with a GPU: `given` are the providers of the last session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
        self.given: list[tuple[str, dict[str, Any]]] = []
        self.started = present
        real, recorder = onnxruntime.InferenceSession, self

        class Session:
            def __init__(
                self, file: Any, options: Any, providers: list[tuple[str, dict[str, Any]]]
            ) -> None:
                recorder.given = providers
                self._session = real(file, options, providers=[CPU])

            def get_providers(self) -> list[str]:
                return [name for name, _ in recorder.given if name in recorder.started]

            def __getattr__(self, name: str) -> Any:
                return getattr(self._session, name)

        monkeypatch.setattr(backend.onnxruntime, "InferenceSession", Session)
        monkeypatch.setattr(backend.onnxruntime, "get_available_providers", lambda: [*present])


def test_cuda_and_what_it_leaves_to_the_cpu(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()
    recorder = Recorder(monkeypatch, CUDA, CPU)
    for device in ("auto", "cuda"):
        session = open_session(path, device, backend="onnxruntime")
        assert session.backend == "onnxruntime cuda"
        assert recorder.given == [(CUDA, ON_CUDA), (CPU, {})]
    assert session.run(np.zeros((1, 3, 64, 64), np.float32))["output"].shape == (1, 84, 7)
    session = open_session(path, "cuda", backend="onnxruntime", precision="fp32")
    assert session.backend == "onnxruntime cuda fp32"
    assert recorder.given == [(CUDA, {**ON_CUDA, "use_tf32": 0}), (CPU, {})]
    open_session(path, "cpu", backend="onnxruntime")
    assert recorder.given == [(CPU, {})]


@pytest.mark.parametrize("precision", [None, "fp16", "bf16"])
def test_tensorrt_keeps_its_engines(
    make_onnx: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    path = make_onnx()
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "user"))
    recorder = Recorder(monkeypatch, TENSORRT, CUDA, CPU)
    name = f"onnxruntime-{onnxruntime.__version__}-{precision or 'fp32'}"
    for cache in (None, tmp_path / "engines"):
        session = open_session(
            path, backend="onnxruntime-tensorrt", precision=precision, cache=cache
        )
        suffix = "" if precision is None else f" {precision}"
        assert session.backend == f"onnxruntime-tensorrt cuda{suffix}"
        folder = (tmp_path / "user" / "tensorrt" if cache is None else cache) / name
        assert folder.is_dir()
        wanted = {
            "device_id": 0,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(folder),
            "trt_fp16_enable": precision == "fp16",
        }
        if precision == "bf16":
            wanted["trt_bf16_enable"] = True
        assert recorder.given == [(TENSORRT, wanted), (CUDA, ON_CUDA), (CPU, {})]


def test_a_provider_that_is_not_there_is_refused(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()
    Recorder(monkeypatch, CPU)
    assert not backend.has_tensorrt()
    with pytest.raises(InputError, match=r"offers only cpu.*pip install onnxruntime-gpu"):
        open_session(path, "cuda", backend="onnxruntime")
    message = r"has no TensorrtExecutionProvider, it offers only CPUExec.*onnxruntime-gpu`, and Ten"
    with pytest.raises(InputError, match=message):
        open_session(path, backend="onnxruntime-tensorrt")
    with pytest.raises(InputError, match=r"must be auto or cuda, got 'cpu'"):
        open_session(path, "cpu", backend="onnxruntime-tensorrt")
    with pytest.raises(InputError, match=r"on cpu offers no other, got fp32. Leave out"):
        open_session(path, "cpu", backend="onnxruntime", precision="fp32")


def test_a_quiet_fall_back_is_refused(
    make_onnx: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its libraries onnxruntime writes a line to the log and runs on the CPU."""
    path = make_onnx()
    recorder = Recorder(monkeypatch, TENSORRT, CUDA, CPU)
    recorder.started = (CPU,)
    with pytest.raises(InputError, match=r"could not start its CUDAE\w+ and fell back to CPUExecu"):
        open_session(path, "cuda", backend="onnxruntime")
    recorder.started = (CUDA, CPU)
    with pytest.raises(InputError, match=r"start its TensorrtE\w+ and fell back to CUDAE\w+, CPU"):
        open_session(path, backend="onnxruntime-tensorrt", cache=tmp_path)


def test_tuned_for_throughput_it_answers_the_same_side_by_side(exported: Path) -> None:
    path = exported / "raw.onnx"
    latency = open_session(path, "cpu", backend="onnxruntime")
    session = open_session(path, "cpu", threads=3, backend="onnxruntime", hint="throughput")
    assert isinstance(session, DeferringSession)
    assert (session.answers_later, session.num_requests) == (True, 3)
    assert session.backend == "onnxruntime cpu throughput, 3 requests"
    session.warm_up()
    rng = np.random.default_rng(0)
    shape = (1, 3, *session.spec.input.size_hw)
    batches = [rng.random(shape, np.float32) for _ in range(7)]
    pending = [session.run(batch) for batch in batches]
    session.close()  # what is under way is finished
    for batch, found in zip(batches, pending, strict=True):
        for name, values in latency.run(batch).items():
            np.testing.assert_allclose(found[name], values, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="the session is closed"):
        session.run(batches[0])


@pytest.mark.parametrize(("threads", "hint"), [(1, "throughput"), (2, "latency"), (2, None)])
def test_one_request_is_answered_at_once(make_onnx: Make, threads: int, hint: Hint | None) -> None:
    session = open_session(make_onnx(), "cpu", threads=threads, backend="onnxruntime", hint=hint)
    assert isinstance(session, DeferringSession)
    assert (session.answers_later, session.num_requests) == (False, 1)
    assert session.backend == "onnxruntime cpu"


def test_on_a_gpu_the_hint_changes_nothing(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(monkeypatch, CUDA, CPU)
    session = open_session(make_onnx(), "cuda", backend="onnxruntime", hint="throughput")
    assert isinstance(session, DeferringSession)
    assert (session.answers_later, session.backend) == (False, "onnxruntime cuda")


@pytest.mark.parametrize(("threads", "requests", "each"), [(16, 16, 1), (17, 16, 1), (40, 16, 2)])
def test_many_threads_are_shared_out(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch, threads: int, requests: int, each: int
) -> None:
    given: list[int] = []
    real = onnxruntime.InferenceSession

    def opened(file: Any, options: Any, **others: Any) -> Any:
        given.append(options.intra_op_num_threads)
        return real(file, options, **others)

    monkeypatch.setattr(backend.onnxruntime, "InferenceSession", opened)
    session = backend.OnnxruntimeSession(make_onnx(), "cpu", threads=threads, hint="throughput")
    assert (session.num_requests, given) == (requests, [each])
    session.close()
