"""Top-1, top-5 and the confusion matrix against their definitions, counted image by image."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.data import ClassificationDataset, LabelledImage
from edgecv.errors import InputError
from edgecv.metrics.classification import classification_metrics
from edgecv.results import Classification


def dataset_of(class_ids: list[int], classes: tuple[str, ...]) -> ClassificationDataset:
    samples = tuple(LabelledImage(Path(f"{i}.png"), c) for i, c in enumerate(class_ids))
    return ClassificationDataset("toys", "val", classes, samples, ())


def names(count: int) -> tuple[str, ...]:
    return tuple(f"c{index}" for index in range(count))


@given(st.integers(2, 9), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_every_figure_is_its_definition(num_classes: int, num_images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_images).tolist()
    # Few levels, so that there are ties.
    scores = rng.integers(0, 6, (num_images, num_classes)).astype(np.float32)
    found = [Classification(row) for row in scores]
    metrics = classification_metrics(
        dataset_of(truth, names(num_classes)), names(num_classes), found
    )
    top1 = top5 = 0
    counts = [[0] * num_classes for _ in range(num_classes)]
    hits = [[0, 0] for _ in range(num_classes)]
    for true, row in zip(truth, scores, strict=True):
        # How many classes stand before the true one: those above it, and equal ones to its left.
        before = sum(
            row[k] > row[true] or (row[k] == row[true] and k < true) for k in range(len(row))
        )
        top1 += before == 0
        top5 += before < 5
        hits[true][0] += before == 0
        hits[true][1] += before < 5
        predicted = max(range(num_classes), key=lambda k: (row[k], -k))
        counts[true][predicted] += 1
    assert metrics.summary["top1"] == pytest.approx(top1 / num_images)
    assert metrics.summary["top5"] == pytest.approx(top5 / num_images)
    assert metrics.confusion.counts.tolist() == counts
    recalls = []
    for index, name in enumerate(names(num_classes)):
        values, total = metrics.per_class[name], truth.count(index)
        taken = sum(row[index] for row in counts)
        assert values["num_images"] == total
        for key, hit in zip(("top1", "top5"), hits[index], strict=True):
            assert values[key] == pytest.approx(hit / total) if total else math.isnan(values[key])
        precision = values["precision"]
        right = counts[index][index]
        assert precision == pytest.approx(right / taken) if taken else math.isnan(precision)
        recalls += [hits[index][0] / total] if total else []
    assert metrics.summary["mean_top1"] == pytest.approx(sum(recalls) / len(recalls))


def test_the_order_of_the_classes_does_not_matter() -> None:
    found = [Classification(np.array(row, np.float32)) for row in ([0.9, 0.1], [0.2, 0.8])]
    ours = classification_metrics(dataset_of([0, 1], ("a", "b")), ("a", "b"), found)
    theirs = classification_metrics(dataset_of([1, 0], ("b", "a")), ("a", "b"), found)
    assert ours.summary == theirs.summary == {"top1": 1.0, "top5": 1.0, "mean_top1": 1.0}


def test_a_part_of_the_models_classes_measures_it() -> None:
    found = [Classification(np.array([0.1, 0.2, 0.7], np.float32))] * 2
    metrics = classification_metrics(dataset_of([0, 0], ("c",)), ("a", "b", "c"), found)
    assert metrics.summary["top1"] == 1
    assert metrics.to_plain()["per_class"]["a"] == {
        "top1": None,
        "top5": None,
        "precision": None,
        "num_images": 0,
    }


def test_a_class_that_the_model_does_not_know_is_refused() -> None:
    message = r"`toys` has classes that the model does not know: bird\. It knows a, b\. Measure"
    with pytest.raises(InputError, match=message):
        classification_metrics(dataset_of([0], ("bird",)), ("a", "b"), [])


def test_shares_of_a_class_without_images_are_zero() -> None:
    found = [Classification(np.array([0.1, 0.9], np.float32))]
    confusion = classification_metrics(dataset_of([1], ("a", "b")), ("a", "b"), found).confusion
    assert confusion.shares().tolist() == [[0, 0], [0, 1]]
    assert confusion.to_plain() == {"labels": ["a", "b"], "counts": [[0, 0], [0, 1]]}
