"""Ledgers and what a run makes of them."""

import pytest

from edgecv.stream.ledger import Ledger, LedgerBook, StageTime


def ledger(offset_s: float = 0.0) -> Ledger:
    """Binary fractions, so that every difference is exact."""
    entry = Ledger(offset_s)
    entry.record("decode", offset_s, offset_s + 0.5)
    entry.record("postprocess", offset_s + 0.75, offset_s + 1.0)
    entry.record("deliver", offset_s + 4.0, offset_s + 4.0)
    return entry


def test_wait_is_what_lies_between_two_stages() -> None:
    entry = ledger()
    assert entry.stages == {
        "decode": StageTime(wait_ms=0, work_ms=500),
        "postprocess": StageTime(wait_ms=250, work_ms=250),
        "deliver": StageTime(wait_ms=3000, work_ms=0),
    }
    assert entry.latency_ms == 1000
    assert entry.total_ms == 4000


def test_moments_are_named_as_far_as_it_came() -> None:
    entry = Ledger(1.0)
    entry.record("decode", 1.0, 1.5)
    assert entry.moments_s == {"captured": 1.0, "decoded": 1.5}
    entry.queued_s = 1.75
    for position, stage in enumerate(("fit", "infer", "postprocess", "encode", "deliver")):
        entry.record(stage, 2.0 + position, 2.5 + position)
    assert entry.moments_s == {
        "captured": 1.0,
        "decoded": 1.5,
        "queued": 1.75,
        "fitted": 2.5,
        "inferred": 3.5,
        "postprocessed": 4.5,
        "delivered": 6.5,
    }
    assert entry.latency_ms == 3500
    assert entry.total_ms == 5500


def test_a_book_sums_up() -> None:
    book = LedgerBook()
    assert book.latency() is None
    assert book.stages() == {}
    for offset_s in range(5):
        book.add(ledger(offset_s))
    stages = book.stages()
    assert list(stages) == ["decode", "postprocess", "deliver"]
    assert stages["postprocess"].work.count == 5
    assert stages["postprocess"].wait.median_ms == 250
    latency = book.latency()
    assert latency is not None
    assert latency.median_ms == pytest.approx(1000)
    assert stages["decode"].to_plain()["work"]["median_ms"] == 500
