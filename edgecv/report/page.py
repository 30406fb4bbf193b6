"""The page of a report: one HTML file that loads nothing, and the style that pages share."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from edgecv.metrics.classification import ClassificationMetrics
from edgecv.metrics.detection import DetectionMetrics
from edgecv.metrics.segmentation import SegmentationMetrics

STYLE = """
  body { font: 15px/1.5 system-ui, sans-serif; color: #1c2128; background: #f6f7f9; margin: 0; }
  main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 48px; }
  h1 { font-size: 26px; margin: 0 0 4px; }
  h2 { font-size: 16px; margin: 0 0 10px; }
  .lead { color: #57606a; margin: 0 0 20px; }
  .tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-bottom: 16px; }
  .cards { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
  .tile, .card { background: #fff; border: 1px solid #d8dee4; border-radius: 10px; }
  .tile { padding: 12px 16px; }
  .tile b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
  .tile span, .note, figcaption { color: #57606a; font-size: 13px; }
  .card { padding: 16px; }
  figure { margin: 0; }
  img, video { width: 100%; border-radius: 6px; display: block; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  th, td { padding: 4px 0; text-align: right; border-bottom: 1px solid #eaeef2; font-weight: 400; }
  th { color: #57606a; font-size: 13px; }
  th:first-child, td:first-child { text-align: left; }
  tbody tr:last-child td { border-bottom: 0; }
  @media (max-width: 720px) {
    .tiles { grid-template-columns: 1fr 1fr; }
    .cards { grid-template-columns: 1fr; }
  }
"""

_BESIDE_EACH_OTHER = 6  # classes at which curves and matrix can be read side by side
_TILES = {
    "AP": "AP, the mean over IoU 0.50 to 0.95",
    "AP50": "AP at IoU 0.50",
    "AP75": "AP at IoU 0.75",
    "AR100": "recall, the mean over IoU 0.50 to 0.95",
}
_MASK_TILES = {
    "mask_AP": "mask AP, likewise",
    "mask_AP50": "mask AP at IoU 0.50",
    "mask_AP75": "mask AP at IoU 0.75",
    "mask_AR100": "mask recall",
}
_KEYPOINT_TILES = {
    "keypoint_AP": "keypoint AP, the mean over OKS 0.50 to 0.95",
    "keypoint_AP50": "keypoint AP at OKS 0.50",
    "keypoint_AP75": "keypoint AP at OKS 0.75",
    "keypoint_AR20": "keypoint recall",
}
_COLUMNS = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "AP_small": "AP small",
    "AP_medium": "AP medium",
    "AP_large": "AP large",
    "AR100": "AR100",
    "VOC2007_AP50": "VOC 2007",
    "VOC2010_AP50": "VOC 2010",
    "best_F1": "best F1",
    "best_F1_score": "at score",
}
_MASK_COLUMNS = {
    "mask_AP": "mask AP",
    "mask_AP50": "mask AP50",
    "mask_AP75": "mask AP75",
    "mask_AP_small": "mask AP small",
    "mask_AP_medium": "mask AP medium",
    "mask_AP_large": "mask AP large",
    "mask_AR100": "mask AR100",
}
_KEYPOINT_COLUMNS = {
    "keypoint_AP": "keypoint AP",
    "keypoint_AP50": "keypoint AP50",
    "keypoint_AP75": "keypoint AP75",
    "keypoint_AP_medium": "keypoint AP medium",
    "keypoint_AP_large": "keypoint AP large",
    "keypoint_AR20": "keypoint AR20",
}
_SHAPES = {  # by the figure that tells whether they were measured
    "mask_AP": (_MASK_TILES, _MASK_COLUMNS),
    "keypoint_AP": (_KEYPOINT_TILES, _KEYPOINT_COLUMNS),
}
_NOTE = """AP and AR as COCO defines them: means over the IoU thresholds 0.50, 0.55 to
    0.95, at 100 detections. Small, medium and large are objects below 32² pixels, below 96² and
    above. VOC: average precision at IoU 0.50, at 11 recalls (2007) and at all (2010). Best F1: the
    highest at IoU 0.50, and the score threshold that reaches it. Keypoints are compared by COCO's
    similarity of keypoints (OKS), at 20 detections. A dash: the data have no such object."""
_CLASS_TILES = {
    "top1": "top-1: the true class is the most probable",
    "top5": "top-5: it is among the five most probable",
    "mean_top1": "the mean of the classes' top-1",
}
_CLASS_COLUMNS = {"top1": "top-1 (recall)", "top5": "top-5", "precision": "precision"}
_CLASS_NOTE = """Top-1 and top-5: the share of a class's images whose true class is the most
    probable one, or among the five most probable. Precision: of the images that are taken for the
    class, the share that is of it. A dash: there is no such image."""
_PIXEL_TILES = {
    "mIoU": "mIoU, the mean IoU of the classes",
    "pixel_accuracy": "pixel accuracy, the share that is right",
    "mean_accuracy": "mean accuracy of the classes",
    "fwIoU": "fwIoU, weighted by the classes' pixels",
}
_PIXEL_COLUMNS = {
    "IoU": "IoU",
    "Dice": "Dice",
    "accuracy": "accuracy (recall)",
    "precision": "precision",
}
_MEANS = {"IoU": "mIoU", "Dice": "mDice", "accuracy": "mean_accuracy"}
_PIXEL_NOTE = """Pixels are counted over all images in their own resolution; those that are void in
    the truth count nowhere. IoU: of the pixels that are of a class in truth or result, the share
    that is in both. Dice: twice those in both over the sum of either. Accuracy: of a class's true
    pixels the share that is found; precision: of its found ones the share that is true. Means are
    over the classes that are seen. A dash: there is no such pixel."""
_PICTURES = {  # in the order of the page
    "training": "Loss, validation figures and learning rate over the epochs",
    "precision_recall": "Precision over recall, class by class",
    "confusion_matrix": "Confusion matrix",
    "examples": "Images, their true labels and what was found",
}


def render_page(
    title: str, facts: Sequence[str], metrics: DetectionMetrics, pictures: Mapping[str, bytes]
) -> str:
    """Return the page of a report.

    Args:
        title: which model on which data.
        facts: sentences on how the figures were come by.
        metrics: of the detections.
        pictures: PNG files, `precision_recall`, `confusion_matrix` and perhaps `training`.

    """
    summary = metrics.summary
    tiles, per_class = _TILES, _per_class(metrics, _COLUMNS)
    for measured, (further_tiles, columns) in _SHAPES.items():
        if measured in summary:
            tiles = tiles | further_tiles
            per_class += _per_class(metrics, columns)
    is_small = len(metrics.per_class) <= _BESIDE_EACH_OTHER
    widths = {
        "precision_recall": "three" if is_small else "wide",
        "confusion_matrix": "two" if is_small else "wide",
    }
    return _render(
        title,
        facts,
        tiles=[(figure(summary[key]), text) for key, text in tiles.items()],
        pictures=pictures,
        widths=widths,
        per_class=per_class,
        note=_NOTE,
    )


def render_classification_page(
    title: str, facts: Sequence[str], metrics: ClassificationMetrics, pictures: Mapping[str, bytes]
) -> str:
    """Return the page of a classifier's report.

    Args:
        title: which model on which data.
        facts: sentences on how the figures were come by.
        metrics: of the images.
        pictures: PNG files, `confusion_matrix` and perhaps `training`.

    """
    rows = [
        (name, *(figure(values[key]) for key in _CLASS_COLUMNS), f"{values['num_images']}")
        for name, values in metrics.per_class.items()
    ]
    summary = metrics.summary
    rows.append(
        (
            "all",
            *(figure(summary[key]) if key in summary else "" for key in _CLASS_COLUMNS),
            f"{metrics.num_images}",
        )
    )
    tiles = [(figure(summary[key]), text) for key, text in _CLASS_TILES.items()]
    return _render(
        title,
        facts,
        tiles=[*tiles, (f"{metrics.num_images}", "images")],
        pictures=pictures,
        widths={},
        per_class=table(("class", *_CLASS_COLUMNS.values(), "images"), rows),
        note=_CLASS_NOTE,
    )


def render_segmentation_page(
    title: str, facts: Sequence[str], metrics: SegmentationMetrics, pictures: Mapping[str, bytes]
) -> str:
    """Return the page of a segmentation model's report.

    Args:
        title: which model on which data.
        facts: sentences on how the figures were come by.
        metrics: of the pixels.
        pictures: PNG files, `confusion_matrix` and perhaps `examples`.

    """
    summary = metrics.summary
    rows = [
        (name, *(figure(values[key]) for key in _PIXEL_COLUMNS), f"{values['num_pixels']:,}")
        for name, values in metrics.per_class.items()
    ]
    means = (figure(summary[_MEANS[key]]) if key in _MEANS else "" for key in _PIXEL_COLUMNS)
    rows.append(("all", *means, f"{metrics.num_pixels:,}"))
    return _render(
        title,
        facts,
        tiles=[(figure(summary[key]), text) for key, text in _PIXEL_TILES.items()],
        pictures=pictures,
        widths={},
        per_class=table(("class", *_PIXEL_COLUMNS.values(), "pixels"), rows),
        note=_PIXEL_NOTE,
    )


def _render(
    title: str,
    facts: Sequence[str],
    *,
    tiles: Sequence[tuple[str, str]],
    pictures: Mapping[str, bytes],
    widths: Mapping[str, str],
    per_class: str,
    note: str,
) -> str:
    cards = [
        f'<section class="card picture {widths.get(name, "wide")}">'
        f"{_image(text, pictures[name])}</section>"
        for name, text in _PICTURES.items()
        if name in pictures
    ]
    return _PAGE.substitute(
        title=escape(title),
        style=STYLE,
        facts=escape(" ".join(facts)),
        tiles="".join(
            f'<div class="tile"><b>{value}</b><span>{text}</span></div>' for value, text in tiles
        ),
        pictures="\n  ".join(cards),
        per_class=per_class,
        note=note,
    )


def _per_class(metrics: DetectionMetrics, columns: Mapping[str, str]) -> str:
    """Return a table with a row per class and one of all; some figures have no mean."""
    rows = [
        (name, *(figure(values[key]) for key in columns))
        for name, values in metrics.per_class.items()
    ]
    summary = metrics.summary
    rows.append(("all", *(figure(summary[key]) if key in summary else "" for key in columns)))
    return table(("class", *columns.values()), rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of texts, which are escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure(value: float | None) -> str:
    """Return a fraction with three digits, a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _image(text: str, picture: bytes) -> str:
    return f'<img alt="{text}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style
  .wide { grid-column: 1 / -1; overflow-x: auto; }
  .wide td, .wide th { padding-left: 14px; white-space: nowrap; }
  .wide td:first-child, .wide th:first-child { padding-left: 0; }
  tbody tr:last-child { font-weight: 600; }
  tbody tr:last-child td { border-top: 1px solid #b4bcc5; font-weight: inherit; }
  .cards { grid-template-columns: repeat(5, 1fr); }
  .three { grid-column: span 3; align-content: center; }
  .two { grid-column: span 2; align-content: center; }
  .picture.wide img { max-width: 900px; margin: 0 auto; }
  @media (max-width: 720px) { .cards { display: block; } .card { margin-bottom: 16px; } }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="lead">$facts</p>
<div class="tiles">$tiles</div>
<div class="cards">
  $pictures
  <section class="card wide"><h2>Per class</h2>$per_class
    <p class="note">$note</p></section>
</div>
</main></body>
</html>
""")
