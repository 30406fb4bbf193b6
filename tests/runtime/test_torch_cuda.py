"""How PyTorch's CUDA interface is called, on a stand-in that has what the real one has; and a GPU.

The stand-in records the calls. A name that PyTorch lacks, or an argument that it does not take,
raises there as it would on a GPU; tensors live on the processor.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgecv.errors import DeviceError
from edgecv.runtime import torch_cuda
from edgecv.runtime.torch_cuda import CudaDevice
from edgecv.runtime.transfers import Downloads, OutputLayout, Uploads


def accepts(function: Any, *arguments: Any, **options: Any) -> None:
    """Raise TypeError where the real function would; those written in C tell nothing."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return
    signature.bind(*arguments, **options)


class StandIn:
    """An object of a class of PyTorch: its methods are recorded, and do what `does` says."""

    def __init__(self, log: list[Any], real: type, name: str, **does: Any) -> None:
        self._log, self._real, self._name, self._does = log, real, name, does

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self._real, attribute)  # AttributeError where PyTorch has none

        def call(*arguments: Any, **options: Any) -> Any:
            accepts(method, self, *arguments, **options)
            self._log.append((f"{self._name}.{attribute}", *map(named, arguments)))
            return self._does.get(attribute, lambda *_: None)(*arguments)

        return call


def named(value: Any) -> Any:
    return value._name if isinstance(value, StandIn) else value


class Cuda:
    """torch.cuda, as far as it is used."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.current: list[str] = ["default"]
        self.graph_fails = False
        self.num_made = {"stream": 0, "event": 0}

    def __getattribute__(self, name: str) -> Any:
        own = ("log", "current", "graph_fails", "num_made", "made")
        if name not in own and not name.startswith("_"):
            getattr(torch.cuda, name)  # AttributeError where PyTorch has none
        return super().__getattribute__(name)

    def made(self, kind: str, real: type, *arguments: Any, **options: Any) -> StandIn:
        accepts(real.__new__, real, *arguments, **options)
        self.num_made[kind] += 1
        return StandIn(self.log, real, f"{kind} {self.num_made[kind]}")

    def Stream(self, *arguments: Any, **options: Any) -> StandIn:  # noqa: N802
        return self.made("stream", torch.cuda.Stream, *arguments, **options)

    def Event(self, *arguments: Any, **options: Any) -> StandIn:  # noqa: N802
        assert options == {"blocking": True}
        return self.made("event", torch.cuda.Event, *arguments, **options)

    def CUDAGraph(self) -> StandIn:  # noqa: N802
        return StandIn(self.log, torch.cuda.CUDAGraph, "graph")

    @contextmanager
    def stream(self, stream: StandIn) -> Iterator[None]:
        self.current.append(stream._name)
        yield
        self.current.pop()

    @contextmanager
    def graph(self, *arguments: Any, **options: Any) -> Iterator[None]:
        accepts(torch.cuda.graph.__init__, None, *arguments, **options)
        self.log.append(("capture", options["stream"]._name, options["capture_error_mode"]))
        self.current.append("capture")
        yield
        self.current.pop()
        if self.graph_fails:
            raise RuntimeError("operation not permitted when stream is capturing.\nsecond line")
        self.log.append("captured")

    def current_device(self) -> int:
        return 0

    def get_device_name(self, device: Any) -> str:
        accepts(torch.cuda.get_device_name, device)
        return "NVIDIA Stand-in"

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, 1)

    def synchronize(self, device: Any) -> None:
        accepts(torch.cuda.synchronize, device)
        self.log.append(("synchronize", str(device)))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    stand_in = Cuda()

    def empty(*shape: int, device: Any = "cpu", pin_memory: bool = False, **options: Any) -> Any:
        stand_in.log.append(("empty", *shape, str(device), "pinned" if pin_memory else "pageable"))
        return torch.empty(*shape, **options)

    copy_ = torch.Tensor.copy_

    def copy(target: Any, source: Any, *, non_blocking: bool = False) -> Any:
        stand_in.log.append(("copy", stand_in.current[-1], non_blocking))
        return copy_(target, source)

    monkeypatch.setattr(torch.Tensor, "copy_", copy)
    names = {name: getattr(torch, name) for name in ("Tensor", "device", "as_tensor", "backends")}
    names |= {name: getattr(torch, name) for name in ("uint8", "float32", "float16", "int32")}
    monkeypatch.setattr(torch_cuda, "torch", SimpleNamespace(**names, empty=empty, cuda=stand_in))
    return stand_in


def test_buffers_are_page_locked_here_and_plain_there(cuda: Cuda) -> None:
    device = CudaDevice()
    assert device.name == "cuda (NVIDIA Stand-in)"
    assert isinstance(device.host_buffer(16, "a test"), np.ndarray)
    buffer = device.buffer(64, "a test")
    assert cuda.log == [("empty", 16, "cpu", "pinned"), ("empty", 64, "cuda:0", "pageable")]
    part = device.view(buffer, 16, (2, 3), np.float32)
    assert (part.dtype, part.shape) == (torch.float32, (2, 3))
    assert part.data_ptr() == buffer.data_ptr() + 16
    scalar = device.view(buffer, 0, (), np.float32)
    assert scalar.shape == ()


def test_a_frame_goes_up_and_its_result_comes_down_on_streams_of_their_own(cuda: Cuda) -> None:
    device = CudaDevice()
    uploads, downloads, compute = Uploads(device), Downloads(device), device.stream()
    assert cuda.num_made["stream"] == 3  # in this order: 1 up, 2 down, 3 the network
    frame = np.arange(5000, dtype=np.uint8)
    staged = uploads.stage([frame])
    staged.begin(compute)
    np.testing.assert_array_equal(staged.arrays[0].numpy(), frame)
    staged.end(compute)
    packed = device.buffer(4, "a test")
    packed[:] = torch.tensor([1, 0, 0, 0], dtype=torch.uint8)
    cuda.log.append("the network")
    layout = OutputLayout.of(["count"], [(1,)], [np.dtype(np.int32)])
    outputs = downloads.fetch(packed, layout, compute)
    assert outputs["count"].tolist() == [1]
    calls = [entry for entry in cuda.log if entry[0] != "empty"]
    assert calls == [
        ("event 1.synchronize",),
        ("stream 1.wait_event", "event 2"),
        ("copy", "stream 1", True),
        ("event 1.record", "stream 1"),
        ("stream 3.wait_event", "event 1"),
        ("event 2.record", "stream 3"),
        "the network",
        ("copy", "stream 3", True),
        ("event 3.record", "stream 3"),
        ("stream 2.wait_event", "event 3"),
        ("copy", "stream 2", True),
        ("event 4.record", "stream 2"),
        ("event 4.synchronize",),
    ]


def test_work_is_warmed_up_captured_and_replayed_on_its_stream(cuda: Cuda) -> None:
    device = CudaDevice()
    stream = device.stream()
    before = torch.backends.cudnn.benchmark

    def work() -> None:
        cuda.log.append(("work", cuda.current[-1], torch.backends.cudnn.benchmark))

    device.launch(work, stream)
    replay = device.captured(work, stream)
    replay()
    device.synchronize()
    assert cuda.log == [
        ("work", "stream 1", before),
        *[("work", "stream 1", True)] * 3,
        ("stream 1.synchronize",),
        ("capture", "stream 1", "thread_local"),
        ("work", "capture", before),
        "captured",
        ("graph.replay",),
        ("synchronize", "cuda:0"),
    ]


def test_what_cannot_be_captured_is_said_in_a_line(cuda: Cuda) -> None:
    device = CudaDevice()
    cuda.graph_fails = True
    with pytest.raises(DeviceError) as caught:
        device.captured(lambda: None, device.stream())
    assert str(caught.value) == (
        "CUDA cannot capture this network: operation not permitted when stream is capturing."
    )


def test_the_stand_in_has_nothing_that_pytorch_lacks(cuda: Cuda) -> None:
    with pytest.raises(AttributeError, match="graph_pool"):
        _ = cuda.graph_pool  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="wait_for"):
        cuda.Stream().wait_for("event")
    with pytest.raises(TypeError, match="mode"), cuda.graph("graph", mode="thread_local"):
        pass
