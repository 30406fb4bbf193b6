"""The native module: why it is not there, and each of CUDA's errors said in a line."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.kernels import box_iou
from edgecv.kernels.cuda import native
from edgecv.kernels.cuda.memory import DeviceArray

# Of cudaError_t.
OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE, INVALID_DEVICE = 2, 35, 100, 101
NO_KERNEL_IMAGE, INVALID_RESOURCE_HANDLE, INVALID_FUNCTION = 209, 400, 98
CAPTURE_UNSUPPORTED, ILLEGAL_ADDRESS = 900, 700


@pytest.fixture
def uncached() -> Iterator[None]:
    """The native module is looked for anew."""
    native.cuda.cache_clear()
    yield
    native.cuda.cache_clear()


@pytest.mark.usefixtures("uncached")
def test_says_that_edgecv_was_built_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_MODULE", "edgecv.kernels._never_built")
    message = r"^edgecv was built without CUDA kernels. .* -DEDGECV_CUDA=ON|CMAKE_ARGS"
    with pytest.raises(MissingDependencyError, match=message):
        native.cuda()
    assert str(native.why_not()).startswith("edgecv was built without CUDA kernels")


@pytest.mark.usefixtures("uncached")
def test_says_why_what_was_built_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found")

    monkeypatch.setattr(native, "import_module", broken)
    with pytest.raises(
        MissingDependencyError, match=r"cannot be loaded: .*GLIBCXX_3.4.32.* again wi"
    ):
        native.cuda()


def test_an_operator_says_that_edgecv_was_built_without_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "_MODULE", "edgecv.kernels._never_built")
    native.cuda.cache_clear()
    boxes = SimpleNamespace(
        __cuda_array_interface__={"data": (64, False), "shape": (2, 4), "typestr": "<f4"}
    )
    with pytest.raises(MissingDependencyError, match="built without CUDA kernels"):
        box_iou(boxes, boxes)
    native.cuda.cache_clear()


@pytest.mark.usefixtures("emulated")
def test_a_gpu_is_there() -> None:
    module = native.cuda()
    assert native.why_not() is None
    assert module.num_devices() == 1
    assert module.compute_capability(0) == "90"
    assert module.architectures == "90"
    assert module.cuda_version.count(".") == 1


@pytest.mark.usefixtures("gpu")
def test_threads_may_call_at_once() -> None:
    boxes = np.random.default_rng(0).uniform(0, 9, (8, 40, 4)).astype(np.float32)

    def overlaps(some: NDArray[np.float32]) -> NDArray[np.float32]:
        there = DeviceArray.from_numpy(some)
        result: NDArray[np.float32] = box_iou(there, there).numpy()
        return result

    with ThreadPoolExecutor(4) as pool:
        for some, result in zip(boxes, pool.map(overlaps, boxes), strict=True):
            np.testing.assert_allclose(result, box_iou(some, some), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (OUT_OF_MEMORY, "the GPU has not enough memory left. Free arrays or use a smaller batch."),
        (NO_DEVICE, "there is no NVIDIA GPU that this process may use. Check `nvidia-smi` and"),
        (INVALID_DEVICE, "there is no GPU 0; this process may use"),
        (NO_KERNEL_IMAGE, "built for sm_90; this is sm_90. Rebuild with `CMAKE_ARGS=-DEDGECV_CUDA"),
        (INVALID_FUNCTION, "built for sm_90; this is sm_90. Rebuild with `CMAKE_ARGS=-DEDGECV_CU"),
        (INVALID_RESOURCE_HANDLE, "the stream belongs to another GPU than the arrays, or has been"),
        (CAPTURE_UNSUPPORTED, "this cannot be captured in a CUDA graph. Pass `out`"),
        (ILLEGAL_ADDRESS, "cudaError: an error of the emulated GPU."),
    ],
)
def test_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, fault: int, message: str) -> None:
    there = DeviceArray.from_numpy(np.zeros(3))
    monkeypatch.setenv("EDGECV_EMULATED_FAULT", str(fault))
    for function, call in (
        ("allocate", lambda: DeviceArray.empty((3,), np.uint8)),
        ("copy", there.numpy),
    ):
        with pytest.raises(DeviceError) as caught:
            call()
        assert str(caught.value).startswith(f"{function}: {message}")
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("0", "^num_devices: there is no NVIDIA driver here. Install one, or start the container"),
        (
            "12020",
            "^num_devices: built with CUDA .*, but the driver knows CUDA 12.2 at most. Insta",
        ),
    ],
)
def test_says_what_is_wrong_with_the_driver(
    monkeypatch: pytest.MonkeyPatch, driver: str, message: str
) -> None:
    monkeypatch.setenv("EDGECV_EMULATED_FAULT", str(INSUFFICIENT_DRIVER))
    monkeypatch.setenv("EDGECV_EMULATED_DRIVER", driver)
    with pytest.raises(DeviceError, match=message):
        native.cuda().num_devices()
    assert str(native.why_not()).startswith("num_devices: ")


def test_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "cuda", lambda: SimpleNamespace(num_devices=lambda: 0))
    assert native.why_not() == "there is no NVIDIA GPU that this process may use"


@pytest.mark.parametrize(
    ("built", "capability", "expected"),
    [
        ("87", "87", True), ("80 90", "87", True), ("86 90", "80", False), ("75", "80", True),
        ("87 90", "75", False), ("80 90", "120", True), ("90 120", "110", False),
        ("90 120", "121", True), ("110 120", "120", True),
    ],
)  # fmt: skip
def test_knows_which_gpus_it_is_built_for(
    monkeypatch: pytest.MonkeyPatch, built: str, capability: str, *, expected: bool
) -> None:
    monkeypatch.setattr(native, "cuda", lambda: SimpleNamespace(architectures=built))
    assert native.is_built_for(capability) is expected
