"""Accounts: every frame is delivered, dropped for a reason, or on its way, at every moment."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.stream.accounting import Account, Counts, Drop, DropReason
from edgecv.stream.channel import Cancelled
from edgecv.stream.job import Job
from edgecv.stream.ledger import Ledger
from edgecv.stream.sources import Frame

REASONS = list(DropReason)


class Somewhere:
    """What a job knows of its source."""

    def __init__(self, account: Account) -> None:
        self.account, self.name = account, account.source


def make_account(drops: list[Drop]) -> tuple[Account, Any]:
    account = Account("cam", on_drop=lambda _job, drop: drops.append(drop))
    return account, Somewhere(account)


def make_job(index: int, inlet: Any) -> Job:
    return Job(Frame(index, (), "bgr24"), Ledger(0.0), inlet)


def total(counts: Counts) -> int:
    return counts.delivered + counts.num_dropped + counts.in_flight


# Each event is of a frame chosen among all that were ever decoded, also one that is gone already.
EVENTS = st.lists(
    st.tuples(st.sampled_from(["decoded", "delivered", *REASONS]), st.integers(0, 40)), max_size=80
)


@given(events=EVENTS)
def test_decoded_is_delivered_and_dropped_and_in_flight(events: list[tuple[Any, int]]) -> None:
    drops: list[Drop] = []
    account, inlet = make_account(drops)
    jobs: list[Job] = []
    fate: dict[int, Any] = {}
    for event, which in events:
        if event == "decoded" or not jobs:
            jobs.append(make_job(len(jobs), inlet))
            account.decoded(jobs[-1])
        else:
            index = which % len(jobs)
            if event == "delivered":
                assert account.delivered(jobs[index]) == (index not in fate)
            else:
                account.dropped(jobs[index], event)
            fate.setdefault(index, event)
        counts = account.counts()
        assert counts.decoded == len(jobs) == total(counts)
        assert counts.delivered == list(fate.values()).count("delivered")
        for reason in REASONS:
            assert counts.dropped.get(reason, 0) == list(fate.values()).count(reason)
    account.close()
    counts = account.counts()
    assert counts.in_flight == 0
    assert counts.decoded == len(jobs) == total(counts)
    lost = set(range(len(jobs))) - {index for index, event in fate.items() if event == "delivered"}
    assert {drop.index for drop in drops} == lost
    assert len(drops) == len(lost)


def test_a_drop_tells_source_index_stage_and_reason() -> None:
    drops: list[Drop] = []
    account, inlet = make_account(drops)
    job = make_job(7, inlet)
    account.decoded(job)
    job.stage = "queue"
    account.dropped(job, DropReason.SUPERSEDED)
    (drop,) = account.recent_drops()
    assert drops == [drop]
    assert (drop.source, drop.index, drop.stage) == ("cam", 7, "queue")
    assert drop.reason.value == "superseded"
    assert "newer frame" in drop.reason.sentence
    plain = account.counts().to_plain()
    assert plain == {"decoded": 1, "delivered": 0, "dropped": {"superseded": 1}, "in_flight": 0}


def test_a_closed_account_is_sealed() -> None:
    drops: list[Drop] = []
    account, inlet = make_account(drops)
    job = make_job(0, inlet)
    account.decoded(job)
    account.close()
    assert [drop.reason for drop in drops] == [DropReason.STOPPED]
    with pytest.raises(Cancelled):
        account.decoded(make_job(1, inlet))
    assert not account.delivered(job)
    assert account.counts() == Counts(1, 0, {DropReason.STOPPED: 1}, 0)


def test_recent_drops_do_not_pile_up() -> None:
    account, inlet = make_account([])
    for index in range(1000):
        job = make_job(index, inlet)
        account.decoded(job)
        account.dropped(job, DropReason.RATE)
    assert [drop.index for drop in account.recent_drops()] == list(range(800, 1000))


def test_every_snapshot_is_exact_while_threads_count() -> None:
    account, inlet = make_account([])
    is_over = threading.Event()
    wrong: list[Counts] = []

    def watch() -> None:
        while not is_over.is_set():
            counts = account.counts()
            if counts.decoded != total(counts):
                wrong.append(counts)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for index in range(3000):
        job = make_job(index, inlet)
        account.decoded(job)
        if index % 3:
            account.delivered(job)
        else:
            account.dropped(job, DropReason.RATE)
    is_over.set()
    watcher.join()
    assert wrong == []
