"""Task-aligned assignment against a plain loop over its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgecv.models.alignment import assign_by_alignment  # noqa: E402

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def by_loops(scores: np.ndarray, iou: np.ndarray, is_candidate: np.ndarray, k: int) -> Arrays:
    """Assign the cells of one image: (M, N) each; returns objects, quality and who was chosen."""
    num_objects, num_cells = iou.shape
    alignment = scores * iou**6
    chosen = np.zeros_like(is_candidate)
    for m in range(num_objects):
        cells = [n for n in range(num_cells) if is_candidate[m, n]]
        chosen[m, sorted(cells, key=lambda n: -alignment[m, n])[:k]] = True
    objects, quality = np.full(num_cells, -1), np.zeros(num_cells)
    for n in range(num_cells):
        rivals = [m for m in range(num_objects) if chosen[m, n]]
        if rivals:
            objects[n] = max(rivals, key=lambda m: iou[m, n])
    for m in range(num_objects):
        own = np.flatnonzero(objects == m)
        if len(own) and alignment[m, own].max() > 0:
            quality[own] = alignment[m, own] / alignment[m, own].max() * iou[m, own].max()
    return objects, quality, chosen


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30), st.integers(1, 6))
def test_is_the_definition(seed: int, num_objects: int, num_cells: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    # Distinct values: ties may fall either way.
    scores = rng.permutation(num_objects * num_cells).reshape(num_objects, -1) + 1.0
    scores /= scores.max()
    iou = 0.3 + 0.7 * rng.random((num_objects, num_cells))
    is_candidate = rng.random((num_objects, num_cells)) < 0.6
    found = assign_by_alignment(
        torch.from_numpy(scores)[None],
        torch.from_numpy(iou)[None],
        torch.from_numpy(is_candidate)[None],
        cells_per_object=k,
    )
    objects, quality, _ = by_loops(scores, iou, is_candidate, k)
    np.testing.assert_array_equal(found.objects[0].numpy(), objects)
    np.testing.assert_allclose(found.quality[0].numpy(), quality, rtol=1e-9)


def test_the_best_cell_is_asked_for_the_best_overlap() -> None:
    scores, iou = torch.tensor([[[0.9, 0.2, 0.5]]]), torch.tensor([[[0.6, 0.9, 0.1]]])
    found = assign_by_alignment(scores, iou, torch.ones(1, 1, 3, dtype=torch.bool))
    assert found.objects.tolist() == [[0, 0, 0]]
    assert found.quality[0].argmax() == 1  # 0.2 * 0.9^6 > 0.9 * 0.6^6
    assert found.quality[0, 1].item() == pytest.approx(0.9)


def test_rows_that_fill_up_take_nothing() -> None:
    scores, iou = torch.ones(2, 3, 4), torch.ones(2, 3, 4)
    found = assign_by_alignment(scores, iou, torch.zeros(2, 3, 4, dtype=torch.bool))
    assert (found.objects == -1).all()
    assert not found.quality.any()


def test_images_without_objects() -> None:
    nothing = torch.zeros(2, 0, 5)
    found = assign_by_alignment(nothing, nothing, nothing.bool())
    assert found.objects.tolist() == [[-1] * 5] * 2
    assert found.quality.dtype == torch.float32
