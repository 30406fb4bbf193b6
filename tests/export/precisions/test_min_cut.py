"""The minimum cut against every cut there is."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from edgecv.export.precisions.min_cut import SINK, SOURCE, MinCut

VERTICES = [SOURCE, SINK, *range(5)]
edges = st.lists(
    st.tuples(st.sampled_from(VERTICES), st.sampled_from(VERTICES), st.integers(0, 4)), max_size=14
)


def cost(edges: list[tuple[object, object, int]], side: set[object]) -> int:
    return sum(price for tail, head, price in edges if tail in side and head not in side)


@given(edges)
def test_no_cut_is_cheaper(edges: list[tuple[object, object, int]]) -> None:
    cut = MinCut()
    for tail, head, price in edges:
        cut.add(tail, head, price)
    side = cut.source_side()
    assert SOURCE in side
    assert SINK not in side
    choices = product([False, True], repeat=len(VERTICES) - 2)
    every = [
        {SOURCE, *(v for v, inside in zip(VERTICES[2:], choice, strict=True) if inside)}
        for choice in choices
    ]
    assert cost(edges, set(side)) == min(cost(edges, other) for other in every)
