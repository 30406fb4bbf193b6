"""The watchdog: what hangs, since when, where, and that it went on; by a clock of its own."""

import threading
from typing import Any

from edgecv.stream.accounting import Account
from edgecv.stream.job import Job
from edgecv.stream.ledger import Ledger
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Frame
from edgecv.stream.watchdog import Watchdog, Worker


class Door:
    """A source's inlet, as far as a notice names it."""

    name = "door"
    account = Account("door", on_drop=lambda _job, _drop: None)


def make_job(index: int) -> Job:
    door: Any = Door()
    return Job(Frame(index, (), "bgr24"), Ledger(0.0), door)


def texts(notices: Notices) -> list[str]:
    return [notice.text for notice in notices.recent()]


def test_a_stuck_stage_is_said_once_and_when_it_went_on() -> None:
    worker, notices = Worker("infer"), Notices()
    watchdog = Watchdog([worker], notices, stall_s=5)
    worker.begin("infer", (make_job(12),), 100.0)
    watchdog.check(104.9)
    assert texts(notices) == []
    watchdog.check(105.0)
    watchdog.check(106.0)
    (text,) = texts(notices)
    assert "`infer` has worked on frame 12 of door for 5.0 s" in text
    assert notices.recent()[0].kind == "stall"
    assert notices.recent()[0].origin == "infer"
    assert watchdog.hung() == ["infer"]
    worker.end()
    watchdog.check(108.0)
    assert watchdog.hung() == []
    watchdog.check(109.0)
    assert texts(notices)[1:] == ["infer went on after at most 8.0 s."]


def test_two_frames_of_three_seconds_are_no_stall() -> None:
    worker, notices = Worker("infer"), Notices()
    watchdog = Watchdog([worker], notices, stall_s=5)
    for begin_s in (100.0, 103.0, 106.0):
        worker.begin("infer", (make_job(0),), begin_s)
        watchdog.check(begin_s + 2.9)
    assert texts(notices) == []


def test_a_second_stall_is_said_again() -> None:
    worker, notices = Worker("fit"), Notices()
    watchdog = Watchdog([worker], notices, stall_s=5)
    for begin_s in (100.0, 200.0):
        worker.begin("fit", (make_job(0),), begin_s)
        watchdog.check(begin_s + 6)
    kinds = ["went on" if "went on" in text else "hangs" for text in texts(notices)]
    assert kinds == ["hangs", "went on", "hangs"]


def test_it_says_where_a_thread_hangs() -> None:
    worker, notices = Worker("draw"), Notices()
    is_there, may_go = threading.Event(), threading.Event()

    def body() -> None:
        worker.ident = threading.get_ident()
        worker.begin("draw", (make_job(3),), 0.0)
        is_there.set()
        may_go.wait(10)

    thread = threading.Thread(target=body)
    thread.start()
    assert is_there.wait(10)
    Watchdog([worker], notices, stall_s=5).check(60.0)
    may_go.set()
    thread.join()
    assert "it is in " in texts(notices)[0]
    assert ".py:" in texts(notices)[0]


def test_a_source_may_be_silent_for_longer_than_a_stage() -> None:
    worker, notices = Worker("read door", origin="door"), Notices()
    watchdog = Watchdog([worker], notices, stall_s=5)
    worker.begin("read", (), 100.0)
    watchdog.check(114.9)
    assert texts(notices) == []
    watchdog.check(115.0)
    assert texts(notices)[0].startswith("no frame for 15.0 s")
    assert notices.recent()[0].origin == "door"


def test_a_consumer_that_never_takes_is_said() -> None:
    worker, notices = Worker("finish"), Notices()
    worker.begin("deliver", (), 100.0)
    Watchdog([worker], notices, stall_s=5).check(107.0)
    assert texts(notices) == [
        "nobody has taken a result for 7.0 s: the stream waits for its consumer."
    ]


def test_it_looks_by_itself_until_it_is_stopped() -> None:
    worker, notices = Worker("infer"), Notices()
    was_said = threading.Event()
    notices.listen(lambda _: was_said.set())
    worker.begin("infer", (make_job(0),), 0.0)
    watchdog = Watchdog([worker], notices, stall_s=0.01)
    thread = threading.Thread(target=watchdog.run)
    thread.start()
    assert was_said.wait(10)
    watchdog.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_silent_source_is_no_stage_that_hangs() -> None:
    worker, notices = Worker("read door", origin="door"), Notices()
    watchdog = Watchdog([worker], notices, stall_s=5)
    worker.begin("read", (), 100.0)
    watchdog.check(200.0)
    assert len(texts(notices)) == 1
    assert watchdog.hung() == []
