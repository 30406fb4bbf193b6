"""Which detection finds which object: hand-made scenes for the two rules."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from edgecv.metrics.matching import IGNORED, MISS, assign_as_coco, assign_as_voc


def boxes(*rows: ArrayLike) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def bar(length: float, start: float = 0) -> list[float]:
    """Return a box of height 10: bars from the same start have the quotient of lengths as IoU."""
    return [start, 0, start + length, 10]


NONE, ONE, TWO = (np.zeros(number, bool) for number in range(3))


@pytest.mark.parametrize("assign", [assign_as_coco, assign_as_voc])
def test_nothing_to_find_and_nothing_found(assign: object) -> None:
    assert callable(assign)
    assert assign(boxes(), boxes(bar(10)), ONE, 0.5).tolist() == []
    assert assign(boxes(bar(10), bar(5)), boxes(), NONE, 0.5).tolist() == [MISS, MISS]


def test_the_threshold_counts_for_coco_and_not_for_voc() -> None:
    detected, objects = boxes(bar(5)), boxes(bar(10))
    assert assign_as_coco(detected, objects, ONE, 0.5).tolist() == [0]
    assert assign_as_voc(detected, objects, ONE, 0.5).tolist() == [MISS]
    detected = boxes(bar(np.nextafter(np.float32(5), np.float32(6))))
    assert assign_as_voc(detected, objects, ONE, 0.5).tolist() == [0]
    detected = boxes(bar(np.nextafter(np.float32(5), np.float32(4))))
    assert assign_as_coco(detected, objects, ONE, 0.5).tolist() == [MISS]


def test_the_second_detection_takes_another_object_for_coco_and_none_for_voc() -> None:
    objects = boxes(bar(10), bar(14))
    detected = boxes(bar(10), bar(10))  # IoU 1 with the first object, 10 / 14 with the second
    assert assign_as_coco(detected, objects, TWO, 0.5).tolist() == [0, 1]
    assert assign_as_voc(detected, objects, TWO, 0.5).tolist() == [0, MISS]


def test_of_equal_overlaps_the_first_object_is_taken() -> None:
    objects = boxes(bar(10), bar(10))
    for assign in (assign_as_coco, assign_as_voc):
        assert assign(boxes(bar(10)), objects, TWO, 0.5).tolist() == [0]


def test_an_object_goes_before_the_crowd_around_it() -> None:
    objects = boxes(bar(100), bar(10))
    is_crowd = np.array([True, False])
    detected = boxes(bar(10), bar(10), bar(10, start=50), bar(10, start=96), bar(10, start=95))
    # The last two lie in the crowd with 0.4 and 0.5 of their area.
    expected = [1, IGNORED, IGNORED, MISS, IGNORED]
    assert assign_as_coco(detected, objects, is_crowd, 0.5).tolist() == expected


def test_a_difficult_object_ignores_all_that_overlap_it_most() -> None:
    objects = boxes(bar(10), bar(10, start=20))
    is_difficult = np.array([True, False])
    detected = boxes(bar(10), bar(9), bar(4), bar(10, start=20))
    expected = [IGNORED, IGNORED, MISS, 1]
    assert assign_as_voc(detected, objects, is_difficult, 0.5).tolist() == expected


def test_a_box_without_area_finds_nothing() -> None:
    detected, objects = boxes([5, 5, 5, 9], [9, 9, 1, 1]), boxes(bar(10), bar(20))
    for is_crowd in (TWO, np.array([True, False])):
        for assign in (assign_as_coco, assign_as_voc):
            assert assign(detected, objects, is_crowd, 0.5).tolist() == [MISS, MISS]
