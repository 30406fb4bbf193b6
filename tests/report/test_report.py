"""The files of a report, and a page that loads nothing and escapes what it is given."""

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from edgecv.errors import OutputError
from edgecv.metrics.classification import ClassConfusion, ClassificationMetrics
from edgecv.metrics.confusion import ConfusionMatrix
from edgecv.metrics.detection import RECALLS, DetectionMetrics
from edgecv.metrics.segmentation import PixelConfusion, SegmentationMetrics
from edgecv.report import ClassificationReport, Report, SegmentationReport, write_report
from edgecv.report.examples import Example, examples_chart

KEYS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR100")
VOC = ("VOC2007_AP50", "VOC2010_AP50")
F1 = ("best_F1", "best_F1_precision", "best_F1_recall", "best_F1_score")


def report_of(*names: str) -> Report:
    metrics = DetectionMetrics(
        dict.fromkeys((*KEYS, *VOC), 0.25),
        {name: dict.fromkeys((*KEYS, *VOC, *F1), 0.125) | {"AP_small": math.nan} for name in names},
        {name: (0.5,) * len(RECALLS) for name in names},
        3,
    )
    size = len(names) + 1
    confusion = ConfusionMatrix(names, np.ones((size, size), np.int64), 0.25, 0.5)
    return Report("ssd on pets", ("Split val, 3 images.",), metrics, confusion)


HISTORY = [
    {"epoch": epoch, "loss": 1.0, "learning_rate": 0.1, "AP": 0.2, "AP50": 0.3, "AP75": 0.1}
    for epoch in (1, 2)
]


class Page(HTMLParser):
    """Collects what a page loads, its texts, and the tags it leaves open."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def test_the_files_of_an_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    assert write_report(report_of("cat", "dog"), folder) == folder / "report.html"
    names = {"confusion_matrix.png", "metrics.json", "precision_recall.png", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    plain = json.loads((folder / "metrics.json").read_text())
    assert plain["AP"] == 0.25
    assert plain["per_class"]["cat"]["AP_small"] is None
    assert plain["precision_curves"]["dog"] == [0.5] * 101
    assert plain["confusion"]["labels"] == ["cat", "dog", "background"]


@pytest.mark.parametrize("num_classes", [2, 12])
def test_the_page_holds_all_it_shows(tmp_path: Path, num_classes: int) -> None:
    names = [f"class {index}" for index in range(num_classes)]
    report = replace(report_of(*names), history=HISTORY, best_epoch=2)
    page = Page(write_report(report, tmp_path))
    assert (tmp_path / "training.png").is_file()
    assert not page.open
    assert len(page.loads) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.loads)
    assert {"ssd on pets", "Split val, 3 images.", *names, "0.250", "0.125", "–"} <= set(page.texts)


def test_without_a_training_there_is_no_curve_of_one(tmp_path: Path) -> None:
    page = Page(write_report(report_of("cat"), tmp_path))
    assert len(page.loads) == 2
    assert not (tmp_path / "training.png").exists()


def test_names_are_escaped(tmp_path: Path) -> None:
    report = replace(report_of("<b>cat</b>", "$title"), title="a & b", facts=("<script>",))
    page = Page(write_report(report, tmp_path))
    assert {"a & b", "<script>", "<b>cat</b>", "$title"} <= set(page.texts)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(report_of("cat"), tmp_path / "file")


def classifier_report_of(*names: str) -> ClassificationReport:
    count = len(names)
    metrics = ClassificationMetrics(
        {"top1": 0.75, "top5": 1.0, "mean_top1": 0.625},
        {
            name: {"top1": 0.5, "top5": 1.0, "precision": math.nan, "num_images": 4}
            for name in names
        },
        4 * count,
        ClassConfusion(names, np.ones((count, count), np.int64)),
    )
    return ClassificationReport("resnet18 on pets", ("Split val.",), metrics)


@pytest.mark.parametrize("num_classes", [2, 30])
def test_the_report_of_a_classifier(tmp_path: Path, num_classes: int) -> None:
    names = [f"<{index}>" for index in range(num_classes)]
    page = Page(write_report(classifier_report_of(*names), tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "confusion_matrix.png",
        "metrics.json",
        "report.html",
    }
    assert not page.open
    assert len(page.loads) == 1
    assert {"resnet18 on pets", *names, "0.750", "0.625", "0.500", "–", "4"} <= set(page.texts)
    plain = json.loads((tmp_path / "metrics.json").read_text())
    assert plain["top1"] == 0.75
    assert plain["per_class"]["<0>"]["precision"] is None
    assert plain["confusion"]["labels"] == names


def test_the_report_of_a_classifiers_training(tmp_path: Path) -> None:
    history = [
        {"epoch": epoch, "loss": 1.0, "learning_rate": 0.1, "top1": 0.2, "top5": 0.3}
        for epoch in (1, 2)
    ]
    report = replace(classifier_report_of("a", "b"), history=history, best_epoch=2)
    page = Page(write_report(report, tmp_path))
    assert (tmp_path / "training.png").stat().st_size > 1000
    assert len(page.loads) == 2


def segmentation_report_of(*names: str, with_example: bool = True) -> SegmentationReport:
    count = len(names)
    figures = {"IoU": 0.5, "Dice": 0.25, "accuracy": 0.125, "precision": math.nan}
    summary = {
        "mIoU": 0.625,
        "pixel_accuracy": 0.75,
        "mean_accuracy": 0.875,
        "fwIoU": 0.0625,
        "mDice": 0.3125,
    }
    confusion = PixelConfusion(names, np.full((count, count), 10**7, np.int64))
    per_class = {name: figures | {"num_pixels": 1234567} for name in names}
    metrics = SegmentationMetrics(summary, per_class, 1, 9876543, (0.75,), confusion)
    labels = np.zeros((6, 8), np.uint8)
    labels[0] = 255
    example = Example("$5.png", 0.75, np.zeros((6, 8, 3), np.uint8), labels, labels)
    examples = [example] * with_example
    return SegmentationReport("lraspp on camvid", ("Split val.",), metrics, examples)


@pytest.mark.parametrize("num_classes", [2, 30])
def test_the_report_of_a_segmentation_model(tmp_path: Path, num_classes: int) -> None:
    names = [f"<{index}>" for index in range(num_classes)]
    page = Page(write_report(segmentation_report_of(*names), tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "confusion_matrix.png",
        "examples.png",
        "metrics.json",
        "report.html",
    }
    assert not page.open
    assert len(page.loads) == 2
    wanted = {"lraspp on camvid", *names, "0.625", "0.750", "0.500", "–", "1,234,567", "9,876,543"}
    assert wanted <= set(page.texts)
    plain = json.loads((tmp_path / "metrics.json").read_text())
    assert plain["mIoU"] == 0.625
    assert plain["per_class"]["<0>"]["precision"] is None


def test_without_examples_there_is_no_picture_of_them(tmp_path: Path) -> None:
    report = segmentation_report_of("sky", "road", with_example=False)
    page = Page(write_report(report, tmp_path))
    assert len(page.loads) == 1
    assert not (tmp_path / "examples.png").exists()


def test_examples_show_image_truth_and_result_and_leave_void_alone() -> None:
    image = np.full((40, 60, 3), 90, np.uint8)
    truth, found = np.zeros((40, 60), np.uint8), np.ones((40, 60), np.uint8)
    truth[:, :30] = 255
    figure = examples_chart([Example("a.png", 0.0, image, truth, found)], ("sky", "road", "sea"))
    shown = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    assert (shown[0] == 90).all()
    assert (shown[1][:, :30] == 90).all()
    assert (shown[1][:, 30:] != 90).any(axis=2).all()
    assert (shown[2] != 90).any(axis=2).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sky", "road"]  # no sea is seen
    assert [axes.get_title(loc="left") for axes in figure.axes][:2] == ["a.png", "truth"]
