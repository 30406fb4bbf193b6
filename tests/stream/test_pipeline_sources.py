"""Many sources in one pipeline: in order each, apart from one another, and all accounted for."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.errors import SourceError
from edgecv.stream.accounting import Counts, DropReason
from edgecv.stream.notices import Notices
from edgecv.stream.opening import stream
from edgecv.stream.pipeline import Pipeline, StreamResult

Fake = Any  # the classes of conftest.py, which no test can import


def test_many_sources_are_in_order_each_and_accounted_for(
    fake_source: Fake, fake_model: Fake
) -> None:
    sources = [fake_source(count) for count in (30, 0, 7)]
    sources[0].name, sources[1].name = "street", "nothing"
    received: dict[str, list[int]] = {}
    with Pipeline(sources, fake_model()) as pipeline:
        for result in pipeline.results():
            received.setdefault(result.source, []).append(result.frame.index)
    assert received == {"street": list(range(30)), "fake": list(range(7))}
    assert [source.num_closed for source in sources] == [1, 1, 1]
    status = pipeline.status()
    assert {name: each.counts for name, each in status.items()} == {
        "street": Counts(30, 30),
        "nothing": Counts(),
        "fake": Counts(7, 7),
    }
    assert status["street"].latency is not None
    assert status["street"].latency.count == 30
    assert status["nothing"].latency is None
    assert {each.policy for each in status.values()} == {"every"}
    assert all(each.is_ended and each.error is None for each in status.values())


def test_one_of_several_that_breaks_off_leaves_the_others_alone(
    fake_source: Fake, fake_model: Fake
) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise SourceError("unplugged.")

    broken, whole = fake_source(None, before=before), fake_source(40)
    broken.name = "yard"
    notices = Notices()
    with Pipeline([broken, whole], fake_model(), notices=notices) as pipeline:
        results = list(pipeline.results())
    assert sum(result.source == "yard" for result in results) == 3
    assert sum(result.source == "fake" for result in results) == 40
    assert [str(error) for error in pipeline.errors().values()] == ["unplugged."]
    assert pipeline.status()["yard"].error == "unplugged."
    (notice,) = notices.recent()
    assert (notice.origin, notice.kind) == ("yard", "ended")
    assert notice.text == "unplugged. The others go on."


def test_the_one_liner_raises_what_broke_off_when_all_have_ended(
    fake_source: Fake, fake_model: Fake
) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise OSError("unplugged")

    received: list[StreamResult] = []
    with pytest.raises(SourceError, match="fake \\(1\\): unplugged"):
        received.extend(stream([fake_source(9, before=before), fake_source(20)], fake_model()))
    assert len(received) == 23


SOURCES = st.lists(
    st.tuples(
        st.integers(0, 12),  # frames
        st.booleans(),  # live
        st.sampled_from([None, "latest", "every", "rate=5", "rate=100"]),
        st.integers(0, 14),  # the frame at which it breaks off, if it comes that far
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(made=SOURCES, max_batch=st.integers(1, 4), stop_after=st.integers(0, 30))
def test_every_frame_is_accounted_for_whatever_happens(
    made: list[tuple[int, bool, str | None, int]], max_batch: int, stop_after: int
) -> None:
    """The classes are those of conftest.py; a fixture would live through all the examples."""
    from tests.stream.conftest import FakeModel, FakeSource

    class Counted(FakeSource):
        num_given = 0

        def __iter__(self) -> Iterator[Any]:
            for frame in super().__iter__():
                self.num_given += 1
                yield frame

    def breaking_at(last: int) -> Callable[[int], None]:
        def before(index: int) -> None:
            if index == last:
                raise SourceError("gone")

        return before

    model = FakeModel()
    model.max_batch = 4  # type: ignore[misc]
    sources = [Counted(count, is_live=live, before=breaking_at(at)) for count, live, _, at in made]
    policies = [policy for *_, policy, _ in made]
    received: dict[str, list[int]] = {}
    pipeline = Pipeline(sources, model, policy=policies, max_batch=max_batch)  # type: ignore[arg-type]
    with pipeline, suppress(SourceError):
        for num_taken, result in enumerate(pipeline.results()):
            received.setdefault(result.source, []).append(result.frame.index)
            for account in pipeline.accounts.values():
                counts = account.counts()
                total = counts.delivered + counts.num_dropped + counts.in_flight
                assert counts.decoded == total
            if num_taken == stop_after:
                pipeline.stop()
    for source, (name, status) in zip(sources, pipeline.status().items(), strict=True):
        counts, indices_of = status.counts, received.get(name, [])
        assert pipeline.is_stopped or DropReason.STOPPED not in counts.dropped
        assert counts.in_flight == 0
        assert counts.decoded == source.num_given == counts.delivered + counts.num_dropped
        assert counts.delivered == len(indices_of)
        assert indices_of == sorted(set(indices_of))
        dropped = {drop.index for drop in pipeline.accounts[name].recent_drops()}
        assert sorted({*indices_of, *dropped}) == list(range(source.num_given))
