"""The queue between two stages: bounded, in order, and always possible to wake."""

import threading
from collections.abc import Callable

import pytest

from edgecv.stream.channel import Cancelled, Channel

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
    assert channel.num_dropped == 0


def test_a_live_channel_drops_the_oldest_and_counts() -> None:
    channel = Channel[int](2, drops_oldest=True)
    for item in range(7):
        channel.put(item)
    channel.finish()
    assert list(channel) == [5, 6]
    assert channel.num_dropped == 5


def test_a_live_channel_loses_nothing_silently_under_contention() -> None:
    channel = Channel[int](1, drops_oldest=True)
    num_items = 20_000

    def produce() -> None:
        for item in range(num_items):
            channel.put(item)
        channel.finish()

    thread, raised = in_thread(produce)
    received = list(channel)
    thread.join(TIMEOUT_S)
    assert raised == []
    assert received == sorted(set(received))
    assert len(received) + channel.num_dropped == num_items
    assert received[-1] == num_items - 1


@pytest.mark.parametrize("drops_oldest", [False, True])
def test_cancel_wakes_a_waiting_consumer(drops_oldest: bool) -> None:  # noqa: FBT001
    channel = Channel[int](1, drops_oldest=drops_oldest)
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
