"""What the pictures show: their lines, numbers and names, for few classes and for many."""

import math
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from edgecv.errors import MissingDependencyError
from edgecv.metrics.confusion import ConfusionMatrix
from edgecv.metrics.detection import RECALLS, DetectionMetrics
from edgecv.metrics.segmentation import PixelConfusion
from edgecv.report.charts import confusion_chart, png, precision_recall_chart, training_chart

# Names that matplotlib would take for formulas, or for artists to leave out of a legend, and one
# in a script that its font lacks.
AWKWARD = ("$5", "_bill", "10$ bill$", "猫")


def metrics_of(ap50: dict[str, float]) -> DetectionMetrics:
    """Return metrics with flat curves."""
    present = [value for value in ap50.values() if not math.isnan(value)]
    per_class = {
        name: {"AP50": value, "best_F1_recall": 0.5, "best_F1_precision": value}
        for name, value in ap50.items()
    }
    return DetectionMetrics(
        {"AP50": float(np.mean(present)) if present else math.nan},
        per_class,
        {name: (value,) * len(RECALLS) for name, value in ap50.items()},
        3,
    )


def matrix_of(counts: NDArray[np.int64], names: tuple[str, ...] | None = None) -> ConfusionMatrix:
    names = names or tuple(f"class {index}" for index in range(len(counts) - 1))
    return ConfusionMatrix(names, counts, 0.25, 0.5)


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def lines_over_all_recalls(figure: Any) -> dict[str, int]:
    """Return how many curves there are of each colour."""
    colours = [line.get_color() for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    return {colour: colours.count(colour) for colour in colours}


def test_a_line_a_class_and_the_mean() -> None:
    figure = precision_recall_chart(metrics_of({"cat": 0.9, "dog": 0.5}))
    assert legend(figure) == ["mean  0.700", "cat  0.900", "dog  0.500"]
    assert len(lines_over_all_recalls(figure)) == 3
    dots = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [[[0.5, 0.9]], [[0.5, 0.5]]]


def test_one_class_is_its_own_mean() -> None:
    assert legend(precision_recall_chart(metrics_of({"cat": 0.9}))) == ["cat  0.900"]


def test_many_classes_are_grey_but_the_weakest() -> None:
    many = {f"class {index}": 0.1 + index / 100 for index in range(80)}
    figure = precision_recall_chart(metrics_of(many))
    weakest = [f"class {index}  0.1{index}0" for index in range(4)]
    assert legend(figure) == ["mean  0.495", *weakest, "76 other classes"]
    assert sorted(lines_over_all_recalls(figure).values()) == [1, 1, 1, 1, 1, 76]


def test_classes_that_the_data_lack_have_no_line() -> None:
    figure = precision_recall_chart(metrics_of({"cat": 0.9, "unicorn": math.nan}))
    assert legend(figure) == ["cat  0.900"]
    empty = precision_recall_chart(metrics_of({"unicorn": math.nan}))
    assert empty.axes[0].get_legend() is None
    assert png(empty)


def test_a_small_matrix_has_counts_and_shares() -> None:
    figure = confusion_chart(matrix_of(np.array([[9, 0, 1], [0, 4, 0], [3, 0, 0]])))
    (axes,) = figure.axes
    shown = texts(axes)
    assert shown[:-1] == ["9", "90%", "0", "1", "10%", "0", "4", "100%", "0", "3", "100%", "0"]
    assert "score above 0.25, IoU at least 0.5" in shown[-1]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["class 0", "class 1", "background"]
    shares = axes.images[0].get_array()
    assert shares.mask.sum() == 1
    assert shares[0].tolist() == [0.9, 0.0, 0.1]


def test_a_larger_matrix_has_counts_alone() -> None:
    (axes,) = confusion_chart(matrix_of(np.ones((12, 12), np.int64))).axes
    assert texts(axes)[:-1] == ["1"] * (12 * 12 - 1)


def test_a_large_matrix_has_a_scale_instead_of_counts() -> None:
    (axes,) = confusion_chart(matrix_of(np.ones((40, 40), np.int64))).axes
    (scale,) = axes.child_axes
    assert len(texts(axes)) == 1
    assert scale.get_ylim() == (0, 1)


def history(*aps: float | None) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": 2 / epoch, "learning_rate": 0.1, "AP": ap, "AP50": ap, "AP75": ap}
        for epoch, ap in enumerate(aps, 1)
    ]


def test_a_training_over_its_epochs() -> None:
    figure = training_chart(history(0.1, None, 0.3, 0.2), best_epoch=3)
    of_loss, of_ap, of_rate = figure.axes
    assert of_loss.lines[0].get_xydata()[:, 1].tolist() == [2, 1, 2 / 3, 0.5]
    np.testing.assert_array_equal(of_ap.lines[0].get_xydata()[:, 1], [0.1, np.nan, 0.3, 0.2])
    assert of_ap.lines[-1].get_xydata().tolist() == [[3, 0.3]]
    assert texts(of_ap) == ["best AP 0.300 in epoch 3"]
    assert of_rate.lines[0].get_xydata()[:, 0].tolist() == [1, 2, 3, 4]


def test_a_training_without_a_best_epoch() -> None:
    figure = training_chart(history(None), best_epoch=0)
    assert len(figure.axes[1].lines) == 3
    assert png(figure)


def test_one_epoch_is_a_point() -> None:
    figure = training_chart(history(0.1), best_epoch=1)
    assert {line.get_marker() for line in figure.axes[0].lines} == {"o"}


@pytest.mark.parametrize("name", AWKWARD)
def test_any_class_name_is_written_as_it_is(name: str) -> None:
    curves = precision_recall_chart(metrics_of({name: 0.5, "cat": 0.4}))
    matrix = confusion_chart(matrix_of(np.ones((2, 2), np.int64), (name,)))
    entry = curves.axes[0].get_legend().get_texts()[1]
    ticks = [matrix.axes[0].get_xticklabels()[0], matrix.axes[0].get_yticklabels()[0]]
    assert entry.get_text() == f"{name}  0.500"
    assert [tick.get_text() for tick in ticks] == [name, name]
    assert not any(text.get_parse_math() for text in (entry, *ticks))
    assert png(curves)
    assert png(matrix)


def test_long_names_are_cut() -> None:
    (text,) = legend(precision_recall_chart(metrics_of({"a very long name of a class": 0.5})))
    assert text == "a very long name …  0.500"


def test_a_picture_is_a_png_and_repeats(tmp_path: Any) -> None:
    first = png(training_chart(history(0.1, 0.2), best_epoch=2))
    path = tmp_path / "picture.png"
    path.write_bytes(first)
    height, width = imread(path).shape[:2]
    assert 1500 < width < 2000
    assert 450 < height < 700
    assert png(training_chart(history(0.1, 0.2), best_epoch=2)) == first


def test_drawing_leaves_the_global_state_of_matplotlib_alone() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    png(precision_recall_chart(metrics_of({"cat": 0.5})))
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"matplotlib.*edgecv\[eval\]"):
        training_chart(history(0.1), best_epoch=1)


def test_of_pixels_the_shares_are_written() -> None:
    counts = np.array([[990_000, 9_000, 1_000], [500_000, 500_000, 0], [0, 0, 0]], np.int64)
    axes = confusion_chart(PixelConfusion(("sky", "road", "sea"), counts)).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts if text.get_text()}
    cells = {place: text for place, text in written.items() if text.isdecimal()}
    assert cells == {(0, 0): "99", (1, 0): "1", (0, 1): "50", (1, 1): "50"}  # x is the column
