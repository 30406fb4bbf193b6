"""Where the operators run: each test that takes `place` runs on every one of them.

OpenAI Triton is one of these places for the operators that it has: their modules say
`IN_TRITON = True`, and with `NOT_IN_TRITON` which values of a parameter it lacks. Without a GPU its
kernels are interpreted, thousands of times slower than they run: there it takes a few of a test's
cases, of its examples and of their rows, and nothing that is `heavy`; on a GPU, all.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import DTypeLike, NDArray

from edgecv.kernels.cuda import native
from edgecv.kernels.cuda.memory import DeviceArray
from edgecv.kernels.implementations import Implementation

from .emulation import emulated_cuda

Array = NDArray[Any]

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # as tests/conftest.py decided
INTERPRETED_CASES = 2  # of a test
INTERPRETED_EXAMPLES = 3  # of hypothesis
INTERPRETED_ROWS = 6  # of an input, where a test asks for `some` of them
INTERPRETED_BLOCK_HW = (32, 64)  # a step takes as long for a larger tile, and there are fewer
heavy = pytest.mark.heavy  # a case that would be interpreted for seconds

# Before an emulated GPU stands for a real one.
NO_GPU = native.why_not()
REAL = native.cuda() if NO_GPU is None else None

ON_A_GPU = pytest.mark.cuda
# What a GPU does without a word, infinities and NaN, NumPy warns of.
INTERPRETED = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")
PLACES: dict[str, Any] = {
    "cpu": (),
    "emulated": (),
    "cuda": ON_A_GPU,
    "triton": (pytest.mark.triton, INTERPRETED if IS_INTERPRETED else ON_A_GPU),
}


class Place(ABC):
    """A processor or a GPU: how arrays get there and back, and which implementation works there."""

    name: str
    implementation: Implementation = "auto"

    @abstractmethod
    def array(self, array: Array) -> Any:
        """Return the array there."""

    @abstractmethod
    def numpy(self, array: Any) -> Array:
        """Return the array here."""

    def some(self, rows: Array) -> Array:
        """Return as many rows of an input as can be done there in a moment: here, all."""
        return rows

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


class Triton(Place):
    """PyTorch's tensors: on the first GPU or, where Triton interprets, on the processor."""

    name = "triton"
    implementation = "triton"

    def __init__(self) -> None:
        self._torch = pytest.importorskip("torch")
        pytest.importorskip("triton")

    def array(self, array: Array) -> Any:
        tensor = self._torch.from_numpy(array.copy("C"))
        return tensor if IS_INTERPRETED else tensor.cuda()

    def numpy(self, array: Any) -> Array:
        found: Array = array.cpu().numpy()
        return found

    def some(self, rows: Array) -> Array:
        step = -(-len(rows) // INTERPRETED_ROWS) if IS_INTERPRETED else 1
        return rows[::step]


@contextmanager
def standing_for_cuda(module: ModuleType | None) -> Iterator[None]:
    """Let `edgecv.kernels` take a module for that of the CUDA kernels."""
    name = "edgecv.kernels._cuda"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        native.cuda.cache_clear()
        yield
    native.cuda.cache_clear()


def place_of(name: str) -> Iterator[Place]:
    """Yield one of the PLACES; skip the test if there is none."""
    if name == "cpu":
        yield Processor()
    elif name == "cuda":
        if NO_GPU is not None:
            pytest.skip(NO_GPU)
        with standing_for_cuda(REAL):
            yield Gpu(name)
    elif name == "triton":
        place = Triton()
        with pytest.MonkeyPatch.context() as patch:
            for operator in ("letterbox", "resize_argmax") if IS_INTERPRETED else ():
                module = f"edgecv.kernels.triton.{operator}"
                patch.setattr(f"{module}._BLOCK_HW", INTERPRETED_BLOCK_HW)
            yield place
    else:
        with standing_for_cuda(emulated_cuda()):
            yield Gpu(name)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The processor, the emulated GPU and, where there is one, the GPU; and Triton.

    For a module at the most: to the tests of others the emulated GPU would be a real one.
    """
    yield from place_of(request.param)


@pytest.fixture
def emulated() -> Iterator[Place]:
    """The emulated GPU alone, for a test: one that plays what no GPU here does."""
    yield from place_of("emulated")


@pytest.fixture(scope="module", params=["emulated", pytest.param("cuda", marks=ON_A_GPU)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The emulated GPU and, where there is one, the GPU."""
    yield from place_of(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes `place` on all of them, unless the test itself says on which."""
    said = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "place" in metafunc.fixturenames and not any("place" in names for names in said):
        in_triton = getattr(metafunc.module, "IN_TRITON", False)
        chosen = [
            pytest.param(name, marks=marks)
            for name, marks in PLACES.items()
            if name != "triton" or in_triton
        ]
        metafunc.parametrize("place", chosen, indirect=True, scope="module")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to Triton what it has and, where it is interpreted, always the same sample of that."""
    left_out = {item for item in items if is_in_triton(item) and lacks_something(item)}
    if IS_INTERPRETED:
        cases_of: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            test = item.nodeid.partition("[")[0]
            if is_in_triton(item) and item not in left_out and "::test_refuses" not in test:
                cases_of[test].append(item)
        for test, cases in cases_of.items():
            light = [case for case in cases if case.get_closest_marker("heavy") is None]
            num_taken = min(len(light), INTERPRETED_CASES)
            taken = Random(test).sample(light, num_taken)  # noqa: S311  # nothing secret
            left_out |= {*cases} - {*taken}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Leave a few examples of each law to Triton's interpreter."""
    name = "_hypothesis_internal_use_settings"
    usual = getattr(pyfuncitem.obj, name, None)
    if usual is None or not (IS_INTERPRETED and is_in_triton(pyfuncitem)):
        return (yield)
    fewer = min(usual.max_examples, INTERPRETED_EXAMPLES)
    setattr(pyfuncitem.obj, name, settings(usual, max_examples=fewer))
    try:
        return (yield)
    finally:
        setattr(pyfuncitem.obj, name, usual)


def parameters_of(item: pytest.Item) -> dict[str, Any]:
    """Return what a case is parametrised with."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def is_in_triton(item: pytest.Item) -> bool:
    """Return whether the case runs in Triton."""
    return parameters_of(item).get("place") == "triton"


def lacks_something(item: pytest.Item) -> bool:
    """Return whether Triton does not have what the case, or its module, is about."""
    module = getattr(item, "module", None)
    lacking = getattr(module, "NOT_IN_TRITON", {})
    return not getattr(module, "IN_TRITON", False) or any(
        parameters_of(item).get(name) == value for name, value in lacking.items()
    )
