"""Where the operators run: each test that takes `place` runs on every one of them."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from edgecv.kernels.cuda import native
from edgecv.kernels.cuda.memory import DeviceArray

from .emulation import emulated_cuda

Array = NDArray[Any]


class Place(ABC):
    """A processor or a GPU: how arrays get there and back."""

    name: str

    @abstractmethod
    def array(self, array: Array) -> Any:
        """Return the array there."""

    @abstractmethod
    def numpy(self, array: Any) -> Array:
        """Return the array here."""

    def poisoned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return an array of which every element that is not written is seen: NaN or 0xA5."""
        kind = np.dtype(dtype)
        rubbish = np.full(kind.itemsize, 0xA5, np.uint8).view(kind)[0]
        return self.array(np.full(shape, np.nan if kind.kind == "f" else rubbish, kind))


class Processor(Place):
    """This one: NumPy's arrays."""

    name = "cpu"

    def array(self, array: Array) -> Array:
        return array

    def numpy(self, array: Array) -> Array:
        return array


class Gpu(Place):
    """The first GPU, or the emulated one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def array(self, array: Array) -> DeviceArray:
        return DeviceArray.from_numpy(array)

    def numpy(self, array: DeviceArray) -> Array:
        return array.numpy()


def place_of(name: str) -> Iterator[Place]:
    """Yield a place, `cpu`, `emulated` or `cuda`; skip the test if there is none."""
    if name == "cpu":
        yield Processor()
    elif name == "cuda":
        reason = native.why_not()
        if reason is not None:
            pytest.skip(reason)
        yield Gpu(name)
    else:
        module, known = "edgecv.kernels._cuda", sys.modules.get("edgecv.kernels._cuda")
        sys.modules[module] = emulated_cuda()
        native.cuda.cache_clear()
        yield Gpu(name)
        native.cuda.cache_clear()
        if known is None:
            del sys.modules[module]
        else:
            sys.modules[module] = known


@pytest.fixture(
    scope="session", params=["cpu", "emulated", pytest.param("cuda", marks=pytest.mark.cuda)]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The processor, the emulated GPU and, where there is one, the GPU."""
    yield from place_of(request.param)


@pytest.fixture
def emulated() -> Iterator[Place]:
    """The emulated GPU alone, for a test: one that plays what no GPU here does."""
    yield from place_of("emulated")


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The emulated GPU and, where there is one, the GPU."""
    yield from place_of(request.param)
