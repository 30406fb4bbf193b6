"""The processor as a device: everything happens at once."""

import numpy as np
import pytest

from edgecv.runtime.device import HostDevice


def test_copies_and_work_are_done_at_once() -> None:
    device = HostDevice()
    stream, event = device.stream(), device.event()
    target, source = device.buffer(8, "a test"), device.host_buffer(8, "a test")
    source[:] = np.arange(8)
    device.copy(target, source, stream)
    event.record(stream)
    stream.wait_event(event)
    event.synchronize()
    device.synchronize()
    np.testing.assert_array_equal(target, np.arange(8))
    calls: list[int] = []
    device.launch(lambda: calls.append(1), stream)
    work = device.captured(lambda: calls.append(2), stream)
    assert calls == [1]
    work()
    work()
    assert calls == [1, 2, 2]


def test_a_view_shares_the_buffer() -> None:
    device = HostDevice()
    buffer = device.buffer(64, "a test")
    part = device.view(buffer, 16, (2, 3), np.float32)
    part[:] = [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(buffer[16:40].view(np.float32), np.arange(6))
    half = device.view(buffer, 0, (2, 3), np.float16)
    device.copy(half, part, device.stream())  # converted
    np.testing.assert_array_equal(half, part)
    with pytest.raises(TypeError, match="same_kind"):
        device.copy(device.view(buffer, 0, (2, 3), np.uint8), part, device.stream())
