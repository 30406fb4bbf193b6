"""The report of an export: what each precision costs and gains, as a page and for machines."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from edgecv.export.precisions.measuring import Figures
from edgecv.files import replacing, write_text
from edgecv.records import finite
from edgecv.report.charts import noise_chart, png
from edgecv.report.page import STYLE, figure, table

PAGE, DATA = "report.html", "export.json"
_MOST_LAYERS = 12  # rows of the table of costs


@dataclass(frozen=True)
class PrecisionReport:
    """What an export made.

    Args:
        title: of the page: which model.
        facts: sentences on how the figures were come by.
        figures: of each precision, float32 first.
        max_drop: the limit of the gate, None for none.

    """

    title: str
    facts: Sequence[str]
    figures: Sequence[Figures]
    max_drop: float | None

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers; what is not finite is None."""
        plain = {
            "title": self.title,
            "facts": list(self.facts),
            "max_drop": self.max_drop,
            "precisions": [_plain(entry) for entry in self.figures],
        }
        return finite(plain)  # type: ignore[no-any-return]  # of a dictionary, a dictionary


def write_precision_report(report: PrecisionReport, folder: Path) -> Path:
    """Write `report.html`, `noise.png` and `export.json`; return the page's path.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
        OutputError: if `folder` cannot be written.

    """
    noise = {
        entry.precision: [layer.snr_db for layer in entry.noise]
        for entry in report.figures
        if entry.noise
    }
    chart = png(noise_chart(noise)) if noise else b""
    if chart:
        with replacing(folder / "noise.png") as partial:
            partial.write_bytes(chart)
    write_text(folder / DATA, json.dumps(report.to_plain(), indent=1, allow_nan=False) + "\n")
    write_text(folder / PAGE, _page(report, chart))
    return folder / PAGE


def _plain(entry: Figures) -> dict[str, Any]:
    return {
        "precision": entry.precision,
        "num_bytes": entry.num_bytes,
        "latency": None if entry.latency is None else entry.latency.to_plain(),
        "accuracy": None if entry.accuracy is None else asdict(entry.accuracy),
        "drop": entry.drop,
        "has_passed": entry.has_passed,
        "num_layers": entry.num_layers,
        "kept": [
            {"name": layer.name, "operator": layer.operator, "reason": layer.reason}
            for layer in entry.kept
        ],
        "returned": list(entry.returned),
        "attempts": [asdict(attempt) for attempt in entry.attempts],
        "calibration": entry.calibration,
        "costs": [{**asdict(cost), "snr_db": cost.snr_db} for cost in entry.costs],
        "noise": [asdict(layer) for layer in entry.noise],
        "parity": None if entry.parity is None else entry.parity.to_plain(),
    }


def summary_rows(figures: Sequence[Figures]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of the table that compares the precisions."""
    original = figures[0]
    metric = "" if original.accuracy is None else original.accuracy.metric
    has_boxes = any(e.parity is not None and e.parity.unit == "detections" for e in figures)
    header = ["precision", "MB", "ms", "speed"]
    if metric:
        header += [metric, "drop"]
    header += ["same within 2 px" if has_boxes else "same", "layers", "float32", ""]
    rows = []
    for entry in figures:
        row = [entry.precision, f"{entry.num_bytes / 1e6:.1f}"]
        if entry.latency is None or original.latency is None:
            row += ["", ""]
        else:
            times = original.latency.median_ms / entry.latency.median_ms
            row += [f"{entry.latency.median_ms:.1f}", f"{times:.2f}x"]
        if metric:
            row += [
                figure(None if entry.accuracy is None else entry.accuracy.value),
                "" if entry.drop is None else f"{entry.drop:+.4f}",
            ]
        if entry.parity is None:
            row += ["", "", "", ""]
        else:
            total = max(entry.parity.num_reference, entry.parity.num_candidate)
            row += [f"{entry.parity.num_matched} of {total}"]
            row += [f"{entry.num_layers}", f"{len(entry.kept)}"]
            row += ["" if entry.drop is None else "passed" if entry.has_passed else "refused"]
        rows.append(tuple(row))
    return tuple(header), rows


def _page(report: PrecisionReport, chart: bytes) -> str:
    header, rows = summary_rows(report.figures)
    cards = [f'<section class="card wide"><h2>Precisions</h2>{table(header, rows)}</section>']
    if chart:
        cards.append(
            '<section class="card wide"><img alt="Signal to noise at each layer" '
            f'src="data:image/png;base64,{base64.b64encode(chart).decode()}"></section>'
        )
    cards += [_card(entry) for entry in report.figures[1:]]
    return _PAGE.substitute(
        title=escape(report.title),
        style=STYLE,
        facts=escape(" ".join(report.facts)),
        cards="\n  ".join(cards),
    )


def _card(entry: Figures) -> str:
    parts = [f"<h2>{entry.precision}</h2>"]
    if entry.attempts:
        parts.append(
            table(
                ("tried", "layers returned to float32", "accuracy", "drop"),
                [
                    (a.variant, f"{a.num_returned}", figure(a.value), f"{a.drop:+.4f}")
                    for a in entry.attempts
                ],
            )
        )
    if entry.costs:
        returned = set(entry.returned)
        rows = [
            (cost.name, f"{cost.snr_db:.1f}", "yes" if cost.name in returned else "")
            for cost in entry.costs[:_MOST_LAYERS]
        ]
        parts.append("<p class=note>What layers cost by themselves, the most expensive first.</p>")
        parts.append(table(("layer", "signal to noise of the outputs, dB", "float32"), rows))
    if entry.kept:
        rows = [(layer.name, layer.operator, layer.reason) for layer in entry.kept]
        parts.append(f"<details><summary>{len(rows)} layers are in float32, and why</summary>")
        parts.append(table(("layer", "operator", "reason"), rows) + "</details>")
    if entry.pictures:
        parts.append(
            "<p class=note>Broad blue boxes: float32. Narrow orange ones: this precision.</p>"
        )
        parts.append('<div class="pictures">')
        parts += [
            f'<img alt="boxes of both" src="data:image/jpeg;base64,{base64.b64encode(p).decode()}">'
            for p in entry.pictures
        ]
        parts.append("</div>")
    return f'<section class="card wide">{"".join(parts)}</section>'


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
  .pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 10px; }
  summary { color: #57606a; font-size: 13px; margin: 10px 0; cursor: pointer; }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="lead">$facts</p>
<div class="cards">
  $cards
</div>
</main></body>
</html>
""")
