"""IoU, Dice and accuracies against their definitions, pixel by pixel."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.data import VOID, SegmentationDataset
from edgecv.errors import InputError
from edgecv.metrics.segmentation import PixelCounter, SegmentationMetrics


def dataset_of(*classes: str) -> SegmentationDataset:
    return SegmentationDataset("field", "val", classes, np.arange(256, dtype=np.uint8), (), ())


def share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return share(sum(known), len(known))


def same(value: float, expected: float) -> bool:
    return (math.isnan(value) and math.isnan(expected)) or value == pytest.approx(expected)


@given(
    num_classes=st.integers(1, 6),
    num_images=st.integers(1, 3),
    side=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_figure_is_its_definition(
    num_classes: int, num_images: int, side: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = tuple("abcdef"[:num_classes])
    shape = (num_images, side, side + 1)
    truths = rng.choice([*range(num_classes), VOID], shape).astype(np.uint8)
    founds = rng.integers(0, num_classes, shape, np.uint8)
    counter = PixelCounter(dataset_of(*names), names)
    for truth, found in zip(truths, founds, strict=True):
        counter.add(truth, found)
    metrics = counter.metrics()

    pairs = [
        (int(t), int(f)) for t, f in zip(truths.ravel(), founds.ravel(), strict=True) if t != VOID
    ]
    assert metrics.num_pixels == len(pairs)
    ious, dices, accuracies, weighted = [], [], [], 0.0
    for index, name in enumerate(names):
        in_both = sum(t == index and f == index for t, f in pairs)
        in_either = sum(index in (t, f) for t, f in pairs)
        in_truth, in_found = (sum(pair[k] == index for pair in pairs) for k in (0, 1))
        ious.append(share(in_both, in_either))
        dices.append(share(2 * in_both, in_truth + in_found))
        accuracies.append(share(in_both, in_truth))
        weighted += in_truth * ious[-1] if in_truth else 0
        values = metrics.per_class[name]
        assert same(values["IoU"], ious[-1])
        assert same(values["Dice"], dices[-1])
        assert same(values["accuracy"], accuracies[-1])
        assert same(values["precision"], share(in_both, in_found))
        assert values["num_pixels"] == in_truth
        for other in range(num_classes):
            assert metrics.confusion.counts[index, other] == pairs.count((index, other))
    summary = metrics.summary
    assert same(summary["mIoU"], mean(ious))
    assert same(summary["mDice"], mean(dices))
    assert same(summary["mean_accuracy"], mean(accuracies))
    assert same(summary["pixel_accuracy"], share(sum(t == f for t, f in pairs), len(pairs)))
    assert same(summary["fwIoU"], share(weighted, len(pairs)))
    for value, truth, found in zip(metrics.image_accuracy, truths, founds, strict=True):
        is_counted = truth != VOID
        assert same(value, share((truth == found)[is_counted].sum(), is_counted.sum()))


def counted(dataset: SegmentationDataset, classes: tuple[str, ...]) -> SegmentationMetrics:
    counter = PixelCounter(dataset, classes)
    counter.add(np.array([[0, 0, 1, VOID]], np.uint8), np.array([[1, 0, 0, 2]], np.uint8))
    return counter.metrics()


def test_classes_are_brought_together_by_name() -> None:
    # Of the data set 0 is oat and 1 is rye, of the model 0 is rye and 1 is oat.
    metrics = counted(dataset_of("oat", "rye"), ("rye", "oat", "hop"))
    assert list(metrics.per_class) == ["oat", "rye"]
    assert metrics.confusion.counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert metrics.per_class["oat"]["IoU"] == 0.5
    assert metrics.per_class["rye"]["precision"] == 0.5
    # A class that the data set does not have is no part of a mean.
    assert metrics.summary["mIoU"] == 0.5
    assert metrics.to_plain()["num_pixels"] == 3


def test_a_class_that_nobody_sees_is_no_part_of_the_mean_but_one_that_is_only_found_is() -> None:
    counter = PixelCounter(dataset_of("oat", "rye", "hop"), ("oat", "rye", "hop"))
    counter.add(np.array([[0, 0]], np.uint8), np.array([[0, 1]], np.uint8))
    metrics = counter.metrics()
    assert metrics.summary["mIoU"] == pytest.approx((0.5 + 0) / 2)
    assert metrics.summary["mean_accuracy"] == 0.5  # of oat alone, which has true pixels
    plain = metrics.to_plain()["per_class"]
    assert plain["hop"] == {
        "IoU": None,
        "Dice": None,
        "accuracy": None,
        "precision": None,
        "num_pixels": 0,
    }
    assert plain["rye"]["IoU"] == 0


def test_void_alone_leaves_nothing_to_measure() -> None:
    counter = PixelCounter(dataset_of("oat"), ("oat",))
    counter.add(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8))
    assert all(
        value is None
        for value in counter.metrics().to_plain()["per_class"]["oat"].values()
        if not isinstance(value, int)
    )
    assert math.isnan(counter.metrics().summary["mIoU"])


def test_more_pixels_than_a_float_can_count() -> None:
    counter = PixelCounter(dataset_of("oat", "rye"), ("oat", "rye"))
    labels = np.zeros((64, 64), np.uint8)
    counter.add(labels, labels)
    counter._counts *= 2**45  # as after 2**45 such images
    counter.add(labels[:1, :1], np.ones((1, 1), np.uint8))
    metrics = counter.metrics()
    assert metrics.num_pixels == 2**57 + 1
    assert metrics.confusion.counts[0].tolist() == [2**57, 1]


def test_other_sizes_and_unknown_classes_are_refused() -> None:
    counter = PixelCounter(dataset_of("oat"), ("oat",))
    with pytest.raises(InputError, match=r"as large as the result, \(2, 3\), got \(3, 2\)"):
        counter.add(np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.uint8))
    message = r"`field` has classes that the model does not know: rye\. It knows oat\."
    with pytest.raises(InputError, match=message):
        PixelCounter(dataset_of("oat", "rye"), ("oat",))


def test_labels_of_the_camvid_files_are_counted(shared_data: Path) -> None:
    from edgecv.data import open_segmentation

    dataset = open_segmentation(f"labels:{shared_data / 'camvid'}", "val")
    counter = PixelCounter(dataset, dataset.classes)
    for sample in dataset.samples[:5]:
        labels = dataset.labels_of(sample)
        counter.add(labels, np.where(labels == VOID, 0, labels))
    summary = counter.metrics().summary
    assert summary == dict.fromkeys(summary, 1.0)
