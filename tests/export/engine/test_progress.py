"""Progress: whatever TensorRT reports, the fraction stays in 0..1 and never falls."""

from hypothesis import given
from hypothesis import strategies as st

from edgecv.export.engine.progress import PhaseTree

NAMES = st.sampled_from(["a", "b", "c", "d"])
EVENTS = st.one_of(
    st.tuples(st.just("start"), NAMES, st.none() | NAMES, st.integers(0, 5)),
    st.tuples(st.just("step"), NAMES, st.integers(0, 9)),
    st.tuples(st.just("finish"), NAMES),
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(events=st.lists(EVENTS, max_size=30))
def test_the_fraction_never_falls(events: list[tuple]) -> None:  # type: ignore[type-arg]
    tree, clock = PhaseTree(), Clock()
    tree.clock = clock
    before = 0.0
    for name, *arguments in events:
        clock.now += 1
        getattr(tree, name)(*arguments)
        state = tree.state()
        assert before <= state.fraction <= 1
        assert state.remaining_s is None or state.remaining_s >= 0
        before = state.fraction


def test_phases_within_phases_advance_their_parent() -> None:
    clock = Clock()
    tree = PhaseTree(clock=clock)
    assert tree.state().remaining_s is None
    tree.start("build", None, 4)
    assert tree.state().remaining_s is None, "nothing is done that could be extrapolated"
    tree.step("build", 0)
    tree.start("tactics", "build", 10)
    tree.step("tactics", 4)
    clock.now = 30.0
    state = tree.state()
    assert state.phase == "tactics"
    assert state.fraction == (1 + 0.5) / 4
    assert state.elapsed_s == 30
    assert state.remaining_s is not None
    assert abs(state.remaining_s - 30 * 0.625 / 0.375) < 1e-9
    tree.finish("tactics")
    tree.step("build", 1)
    assert tree.state().fraction == 0.5
    tree.finish("build")
    assert tree.state().fraction == 1.0


def test_a_phase_that_was_never_begun_is_no_error() -> None:
    tree = PhaseTree()
    assert tree.step("unknown", 3)
    tree.finish("unknown")
    tree.cancelled.set()
    assert not tree.step("unknown", 4)
