"""Uploads and downloads on a device that does its work late and in any order that is allowed."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.runtime.device import Device, HostDevice
from edgecv.runtime.transfers import Downloads, OutputLayout, SlotPool, Uploads

from .simulated_device import SimulatedDevice

SEEDS = st.integers(0, 2**32 - 1)
WHOLE = OutputLayout.of(["sums"], [(3,)], [np.dtype(np.int64)])


class Summing:
    """A network of three sums: of a plane of bytes, of another, and how often it ran before."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.uploads, self.downloads = Uploads(device), Downloads(device)
        self.compute = device.stream()
        self.sums = device.view(device.buffer(24, "a test"), 0, (3,), np.int64)
        self.packed = device.view(device.buffer(24, "a test"), 0, (24,), np.uint8)
        self.num_runs = 0

    def run(self, planes: list[NDArray[np.uint8]]) -> Any:
        staged = self.uploads.stage(planes)
        for plane in planes:
            plane[:] = 0xEE  # the caller's again
        staged.begin(self.compute)
        number = self.num_runs
        self.num_runs += 1

        def work() -> None:
            self.sums[:] = *(int(array.sum()) for array in staged_arrays), number
            self.packed[:] = self.sums.view(np.uint8)

        staged_arrays = list(staged.arrays)  # not `staged`: its slot must come back
        self.device.launch(work, self.compute)
        staged.end(self.compute)
        return self.downloads.fetch(self.packed, WHOLE, self.compute)


@given(seed=SEEDS, values=st.lists(st.integers(0, 255), min_size=1, max_size=25), data=st.data())
def test_every_frame_gets_its_own_result(seed: int, values: list[int], data: st.DataObject) -> None:
    network = Summing(SimulatedDevice(seed))
    pending: list[tuple[list[int], Any]] = []
    for index, value in enumerate(values):
        num_rows = data.draw(st.integers(1, 40))
        planes = [np.full((num_rows, 30), value, np.uint8), np.full((7, 3), 255 - value, np.uint8)]
        wanted = [*(int(plane.sum()) for plane in planes), index]
        outputs = network.run(planes)
        if data.draw(st.booleans()):  # else it is dropped on the way
            pending.append((wanted, outputs))
        del outputs
        while len(pending) > data.draw(st.integers(0, 4)):
            expected, found = pending.pop(0)
            assert found["sums"].tolist() == expected
            assert found["sums"].tolist() == expected  # they stay
    for expected, found in pending:
        assert found["sums"].tolist() == expected


def test_a_stream_of_frames_needs_a_pair_of_slots() -> None:
    network = Summing(SimulatedDevice(0))
    before = None
    for index in range(20):
        outputs = network.run([np.full((4, 4), index, np.uint8), np.zeros((1, 1), np.uint8)])
        if before is not None:
            assert before["sums"][0] == 16 * (index - 1)
        before = outputs
    assert network.downloads._pool.num_slots == 2
    assert network.uploads._pool.num_slots <= 2


def test_frames_of_many_sizes_do_not_pile_up_slots() -> None:
    network = Summing(SimulatedDevice(0))
    for side in (3, 200, 4, 150, 300, 5):
        planes = [np.ones((side, side), np.uint8), np.zeros((1, 1), np.uint8)]
        assert network.run(planes)["sums"][0] == side * side
    assert network.uploads._pool.num_slots == 1


def test_a_slot_fits_and_the_smallest_is_taken() -> None:
    pool = SlotPool(HostDevice(), "a test")
    small, large = pool.take(100), pool.take(5000)
    assert (len(small.host), len(large.host)) == (4096, 8192)
    assert len(large.device) == 8192
    pool.give(large)
    pool.give(small)
    assert pool.take(4096) is small
    assert pool.take(1) is large
    assert pool.num_slots == 2


@pytest.mark.parametrize("make", [HostDevice, lambda: SimulatedDevice(1)])
def test_arrays_with_any_strides_arrive(make: Callable[[], Device]) -> None:
    device = make()
    uploads, stream = Uploads(device), device.stream()
    pixels = np.arange(60, dtype=np.uint8).reshape(5, 12)
    boxes = np.linspace(0, 1, 7, dtype=np.float32)
    arrays = [pixels[::-1, 2:9], pixels.T, boxes[::2]]
    staged = uploads.stage(arrays)
    staged.begin(stream)
    device.synchronize()
    for array, found in zip(arrays, staged.arrays, strict=True):
        assert found.dtype == array.dtype
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, array)


def test_outputs_of_several_types_lie_one_behind_the_other() -> None:
    layout = OutputLayout.of(
        ("count", "boxes", "ids"),
        ((2,), (2, 3, 4), (2, 1)),
        (np.dtype(np.int32), np.dtype(np.float32), np.dtype(np.int64)),
    )
    wanted = {
        "count": np.array([1, 3], np.int32),
        "boxes": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "ids": np.array([[7], [2**40]]),
    }
    packed = np.concatenate([value.reshape(-1).view(np.uint8) for value in wanted.values()])
    assert layout.num_bytes == len(packed) == 8 + 96 + 16
    found = layout.copies(packed)
    packed[:] = 0
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_outputs_are_a_mapping_and_an_unknown_name_is_none() -> None:
    outputs = Summing(SimulatedDevice(2)).run([np.ones((2, 2), np.uint8), np.zeros(1, np.uint8)])
    assert list(outputs) == ["sums"]
    assert len(outputs) == 1
    with pytest.raises(KeyError):
        outputs["boxes"]
    assert dict(outputs)["sums"].tolist() == [4, 0, 0]


def test_what_is_dropped_gives_its_slot_back() -> None:
    network = Summing(SimulatedDevice(3))
    for _ in range(3):
        staged = network.uploads.stage([np.zeros(9, np.uint8)])
        del staged
        gc.collect()
    assert network.uploads._pool.num_slots == 1
