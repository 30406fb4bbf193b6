"""Inlets and their intake: turns, what waits and what gives way, endings."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from edgecv.stream.accounting import Account, DropReason
from edgecv.stream.channel import Cancelled, Ended
from edgecv.stream.inlet import Inlet, Intake, unique_names
from edgecv.stream.job import Job
from edgecv.stream.ledger import Ledger
from edgecv.stream.policy import Policy
from edgecv.stream.sources import Frame

Fake = Any  # the classes of conftest.py, which no test can import

TIMEOUT_S = 10


def make_inlet(source: Any, name: str = "cam", keep: Any = "every", **options: Any) -> Inlet:
    account = Account(name, on_drop=lambda _job, _drop: None)
    return Inlet(
        source, account, Policy(keep, options.pop("rate_hz", None)), **{"size": 4, **options}
    )


def put(intake: Intake, inlet: Inlet, index: int) -> None:
    job = Job(Frame(index, (), "bgr24"), Ledger(0.0), inlet)
    inlet.account.decoded(job)
    intake.put(job)


def reading(inlet: Inlet, intake: Intake) -> threading.Thread:
    thread = threading.Thread(target=inlet.read, args=(intake,))
    thread.start()
    return thread


def taken(intake: Intake) -> list[tuple[str, int]]:
    """Take all there is until the end."""
    found = []
    while True:
        try:
            job = intake.take()
        except Ended:
            return found
        if job is not None:
            found.append((job.inlet.name, job.frame.index))


def test_sources_take_turns_and_keep_their_order(fake_source: Fake) -> None:
    inlets = [make_inlet(fake_source(0), name) for name in "abc"]
    intake = Intake(inlets)
    for index, inlet in enumerate(inlets):
        for frame in range(3 - index):
            put(intake, inlet, frame)
        intake.end(inlet)
    assert taken(intake) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("a", 2)]


def test_a_dead_source_holds_nobody(fake_source: Fake) -> None:
    dead, alive = make_inlet(fake_source(0), "dead"), make_inlet(fake_source(0), "alive")
    intake = Intake([dead, alive])
    for frame in range(3):
        put(intake, alive, frame)
    jobs = [intake.take() for _ in range(3)]
    assert [job.frame.index for job in jobs if job is not None] == [0, 1, 2]


def test_the_newest_frame_wins_and_the_older_is_accounted_for(fake_source: Fake) -> None:
    inlet = make_inlet(fake_source(0), keep="latest")
    intake = Intake([inlet])
    for frame in range(5):
        put(intake, inlet, frame)
    job = intake.take()
    assert job is not None
    assert job.frame.index == 4
    assert inlet.account.counts().dropped == {DropReason.SUPERSEDED: 4}
    assert [drop.index for drop in inlet.account.recent_drops()] == [0, 1, 2, 3]


def test_a_file_is_held_back_and_loses_nothing(fake_source: Fake) -> None:
    begun: list[int] = []
    is_full = threading.Event()

    def before(index: int) -> None:
        begun.append(index)
        if len(begun) == 5:
            is_full.set()

    inlet = make_inlet(fake_source(20, before=before), size=4)
    intake = Intake([inlet])
    thread = reading(inlet, intake)
    assert is_full.wait(TIMEOUT_S)
    assert len(inlet.waiting) == 4  # the fifth is in the reader's hand
    assert taken(intake) == [("cam", index) for index in range(20)]
    thread.join(TIMEOUT_S)
    assert inlet.account.counts().in_flight == 20  # nobody has delivered them


def test_a_rate_drops_by_time_of_presentation(fake_source: Fake) -> None:
    inlet = make_inlet(fake_source(25), rate_hz=5.0)  # 25 frames a second
    intake = Intake([inlet])
    thread = reading(inlet, intake)
    assert [index for _, index in taken(intake)] == [0, 5, 10, 15, 20]
    thread.join(TIMEOUT_S)
    assert inlet.account.counts().dropped == {DropReason.RATE: 20}


def test_a_source_that_breaks_off_gives_what_it_has(fake_source: Fake) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise OSError("unplugged")

    source = fake_source(None, before=before)
    inlet = make_inlet(source)
    intake = Intake([inlet])
    thread = reading(inlet, intake)
    assert len(taken(intake)) == 3
    thread.join(TIMEOUT_S)
    assert str(inlet.error) == "unplugged"
    assert source.num_closed == 1


@pytest.mark.parametrize("keep", ["latest", "every"])
def test_cancel_ends_reader_and_taker(fake_source: Fake, keep: str) -> None:
    inlet, idle = make_inlet(fake_source(None), keep=keep), make_inlet(fake_source(0), "idle")
    intake = Intake([inlet, idle])
    thread = reading(inlet, intake)
    assert intake.take() is not None
    intake.cancel()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert inlet.error is None
    for _ in range(2):
        with pytest.raises(Cancelled):
            intake.take()


def woken(act: Callable[[Intake, Inlet], object], inlet: Inlet, **options: Any) -> Any:
    """Return what `take` returns to a thread that waits in it while `act` happens."""
    intake = Intake([inlet])
    found: list[Any] = []

    def wait() -> None:
        try:
            found.append(intake.take(**options))
        except (Cancelled, Ended) as order:
            found.append(type(order))

    thread = threading.Thread(target=wait)
    thread.start()
    act(intake, inlet)
    thread.join(TIMEOUT_S)
    (result,) = found
    return result


def test_a_frame_wakes_who_waits(fake_source: Fake) -> None:
    job = woken(lambda intake, inlet: put(intake, inlet, 6), make_inlet(fake_source(0)))
    assert job.frame.index == 6


def test_a_nudge_wakes_who_waits(fake_source: Fake) -> None:
    assert woken(lambda intake, _: intake.nudge(), make_inlet(fake_source(0))) is None


def test_a_nudge_that_comes_first_is_not_lost(fake_source: Fake) -> None:
    intake = Intake([make_inlet(fake_source(0))])
    intake.nudge()
    assert intake.take() is None


def test_waiting_has_an_end(fake_source: Fake) -> None:
    intake = Intake([make_inlet(fake_source(0))])
    assert intake.take(timeout_s=0.001) is None


def test_signals_do_not_pile_up_while_nobody_waits(fake_source: Fake) -> None:
    inlet = make_inlet(fake_source(0), keep="latest")
    intake = Intake([inlet])
    for frame in range(1000):
        put(intake, inlet, frame)
        intake.nudge()
    assert intake._signal.qsize() == 0


def test_a_live_source_gives_a_batch_one_frame(fake_source: Fake) -> None:
    live, file = make_inlet(fake_source(0), "live", "latest"), make_inlet(fake_source(0), "file")
    intake = Intake([live, file])
    for inlet in (live, file, file):
        put(intake, inlet, 0)
    put(intake, live, 1)
    first = intake.take()
    assert first is not None
    assert (first.inlet, first.frame.index) == (live, 1)
    put(intake, live, 2)
    names = [job.inlet.name for job in (intake.take({live}), intake.take({live, file})) if job]
    assert names == ["file", "file"]
    assert not intake.is_dry({live, file})  # the file may give more
    intake.end(file)
    assert intake.is_dry({live, file})
    assert not intake.is_dry({file})  # the camera is not in that batch


def test_a_paced_file_waits_for_its_time_and_can_be_stopped(fake_source: Fake) -> None:
    class Slow(fake_source):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield Frame(0, (), "bgr24", pts_s=5.0)
            yield Frame(1, (), "bgr24", pts_s=5.03)
            yield Frame(2, (), "bgr24", pts_s=1e6)

    inlet = make_inlet(Slow(3), is_paced=True)
    intake = Intake([inlet])
    thread = reading(inlet, intake)
    first, second = intake.take(), intake.take()
    assert first is not None
    assert second is not None
    assert second.ledger.captured_s - first.ledger.captured_s >= 0.029
    assert second.ledger.stages["decode"].work_ms < 20  # the wait is none of its work
    intake.cancel()
    thread.join(TIMEOUT_S)  # and not a week later
    assert not thread.is_alive()


def test_names_are_unique(fake_source: Fake) -> None:
    sources = [fake_source(0) for _ in range(3)]
    sources[1].name = "other"
    assert unique_names(sources) == ["fake (1)", "other", "fake (2)"]
