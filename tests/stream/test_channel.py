"""The queue between two stages: bounded, in order, and always possible to wake."""

import threading
from collections.abc import Callable

import pytest

from edgecv.stream.channel import Cancelled, Channel, Ended, Late

TIMEOUT_S = 10


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Run `work` in a thread; the list receives what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_items_arrive_in_order_and_then_it_ends() -> None:
    channel = Channel[int](3)
    for item in range(3):
        channel.put(item)
    channel.finish()
    assert list(channel) == [0, 1, 2]


def test_an_error_comes_after_the_items() -> None:
    channel = Channel[int](2)
    channel.put(7)
    channel.finish(KeyError("x"))
    received: list[int] = []
    with pytest.raises(KeyError):
        received.extend(channel)  # what came before the error stays
    assert received == [7]


def test_a_full_channel_blocks_until_an_item_is_taken() -> None:
    channel = Channel[int](2)
    channel.put(0)
    channel.put(1)
    thread, raised = in_thread(lambda: channel.put(2))
    assert thread.is_alive()  # it cannot end before an item is taken
    items = iter(channel)
    assert next(items) == 0
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert [next(items), next(items)] == [1, 2]
    assert raised == []


def test_cancel_wakes_a_waiting_consumer() -> None:
    channel = Channel[int](1)
    thread, raised = in_thread(lambda: list(channel))
    channel.cancel()
    thread.join(TIMEOUT_S)
    assert [type(error) for error in raised] == [Cancelled]


def test_cancel_wakes_a_blocked_producer() -> None:
    channel = Channel[int](1)
    channel.put(0)
    thread, raised = in_thread(lambda: channel.put(1))
    channel.cancel()
    thread.join(TIMEOUT_S)
    assert [type(error) for error in raised] == [Cancelled]


def test_every_put_after_cancel_is_refused() -> None:
    channel = Channel[int](1)
    channel.cancel()
    with pytest.raises(Cancelled):
        channel.put(0)


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="`size` must be at least 1, got 0"):
        Channel[int](0)


def test_a_place_can_be_reserved_before_there_is_an_item() -> None:
    channel = Channel[int](1)
    channel.reserve()
    thread, raised = in_thread(lambda: channel.put(2))
    assert channel.is_empty
    channel.push(1)
    items = iter(channel)
    assert [next(items), next(items)] == [1, 2]
    thread.join(TIMEOUT_S)
    assert raised == []


def test_a_consumer_may_be_woken_without_an_item() -> None:
    channel = Channel[int](1)
    channel.wake()
    channel.put(5)
    assert channel.take() is None
    assert channel.take() == 5
    channel.wake()
    channel.put(6)
    channel.finish()
    assert list(channel) == [6]


def test_a_consumer_waits_no_longer_than_it_wants() -> None:
    channel = Channel[int](1)
    with pytest.raises(Late):
        channel.take(timeout_s=0.001)


def test_a_timeout_of_a_stage_is_no_timeout_of_the_channel() -> None:
    channel = Channel[int](1)
    channel.finish(TimeoutError("the server"))
    with pytest.raises(TimeoutError, match="the server"):
        channel.take(timeout_s=1)


def test_after_the_end() -> None:
    channel = Channel[int](1)
    channel.finish()
    with pytest.raises(Ended):
        channel.take()
