"""The demo's page: one HTML file that needs nothing but the video beside it."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from edgecv.demo.demo import MODEL, SIZE_HW, DemoResult
from edgecv.files import write_text
from edgecv.report.page import STYLE, figure, table

_CURVE_WIDTH, _CURVE_HEIGHT, _MARGIN = 420, 160, 34


def write_report(result: DemoResult, path: Path) -> None:
    """Write the page of a demo to `path`, in the folder of its video.

    Raises:
        OutputError: if it cannot be written.

    """
    metrics = result.evaluation.metrics.to_plain()
    parity, speed = result.parity, result.speed
    per_class = [
        (name, figure(values["AP"]), figure(values["AP50"]))
        for name, values in metrics["per_class"].items()
    ]
    per_class.append(("all", figure(metrics["AP"]), figure(metrics["AP50"])))
    outputs = [(e.name, f"{e.absolute:.1e}", f"{e.relative:.1e}") for e in parity.outputs]
    parts = {"network alone": speed.inference, **speed.stages}
    times = [(n, f"{t.median_ms:.2f}", f"{t.p95_ms:.2f}") for n, t in parts.items()]
    machine = speed.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    origin = "real images" if result.is_real else "rendered scenes, not real images"
    weights = Path(result.weights).name
    page = _PAGE.substitute(
        style=STYLE,
        data=escape(f"{result.data} ({origin})"),
        training=escape(
            f"{MODEL} at {SIZE_HW[1]}x{SIZE_HW[0]}, {len(result.training.history)} of "
            f"{result.epochs} epochs in {result.training.seconds:.0f} s, backbone from {weights}; "
            f"the best epoch on the validation split was {result.training.best_epoch}."
        ),
        ap50=figure(metrics["AP50"]),
        ap=figure(metrics["AP"]),
        latency=f"{speed.inference.median_ms:.1f}",
        matched=f"{parity.num_matched} / {parity.num_reference}",
        picture=base64.b64encode(result.picture.read_bytes()).decode(),
        video=escape(result.video.name),
        curve=_curve(result.training.history),
        per_class=table(("class", "AP", "AP50"), per_class),
        parity=table(("output", "largest difference", "of the largest value"), outputs),
        parity_images=parity.num_images,
        box_px=f"{parity.box_px:.1e}",
        times=table(("part", "median ms", "p95 ms"), times),
        machine=escape(f"{machine['cpu']}, {machine['backend']}, frame {speed.frame}; {versions}"),
        model=escape(result.model.name),
        seconds=f"{result.seconds:.0f}",
    )
    write_text(path, page)


def _curve(history: Sequence[dict[str, Any]]) -> str:
    """Return an SVG of validation AP50 and AP over the epochs."""
    last = max(len(history), 2)
    inner_width, inner_height = _CURVE_WIDTH - 2 * _MARGIN, _CURVE_HEIGHT - 2 * _MARGIN

    def point(epoch: int, value: float) -> tuple[float, float]:
        x = _MARGIN + inner_width * (epoch - 1) / (last - 1)
        return round(x, 1), round(_CURVE_HEIGHT - _MARGIN - inner_height * value, 1)

    lines = []
    for key, colour in (("AP50", "#1f6feb"), ("AP", "#d97706")):
        points = [point(record["epoch"], record[key] or 0.0) for record in history]
        joined = " ".join(f"{x},{y}" for x, y in points)
        end_x, end_y = points[-1]
        lines.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{end_x}" cy="{end_y}" r="3" fill="{colour}"/>'
            f'<text x="{end_x - 4}" y="{end_y - 7}" text-anchor="end" fill="{colour}">{key}</text>'
        )
    grid = "".join(
        f'<line x1="{_MARGIN}" x2="{_CURVE_WIDTH - _MARGIN}" y1="{y}" y2="{y}" class="grid"/>'
        f'<text x="{_MARGIN - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>'
        for value in (0.0, 0.5, 1.0)
        for y in (point(1, value)[1],)
    )
    label_y = _CURVE_HEIGHT - 10
    axis = (
        f'<text x="{_MARGIN}" y="{label_y}">epoch 1</text>'
        f'<text x="{_CURVE_WIDTH - _MARGIN}" y="{label_y}" text-anchor="end">{len(history)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_CURVE_WIDTH} {_CURVE_HEIGHT}" role="img" '
        f'aria-label="Validation AP over the epochs">{grid}{"".join(lines)}{axis}</svg>'
    )


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgecv demo</title>
<style>$style
  video { background: #000; }
  svg { width: 100%; font: 11px system-ui, sans-serif; fill: #57606a; }
  .grid { stroke: #eaeef2; }
</style>
</head>
<body><main>
<h1>edgecv demo</h1>
<p class="lead">Trained, exported, checked, measured and run in $seconds seconds on this machine.
Data: $data.</p>
<div class="tiles">
  <div class="tile"><b>$ap50</b><span>AP50 on the test split</span></div>
  <div class="tile"><b>$ap</b><span>AP (0.50 to 0.95)</span></div>
  <div class="tile"><b>$latency ms</b><span>network alone, median</span></div>
  <div class="tile"><b>$matched</b><span>detections as in PyTorch</span></div>
</div>
<div class="cards">
  <figure class="card"><h2>A test image</h2>
    <img alt="Detections on a test image" src="data:image/jpeg;base64,$picture"></figure>
  <figure class="card"><h2>All test images</h2>
    <video controls loop muted src="$video"></video>
    <figcaption>$video, H.264</figcaption></figure>
  <section class="card"><h2>Training</h2>$curve<p class="note">$training</p></section>
  <section class="card"><h2>Accuracy through the whole pipeline</h2>$per_class</section>
  <section class="card"><h2>Parity with PyTorch</h2>$parity
    <p class="note">$parity_images images; corners of matched boxes within $box_px px.</p></section>
  <section class="card"><h2>Speed</h2>$times<p class="note">$machine</p></section>
</div>
<p class="note">Next: <code>edgecv run $model --source your-video.mp4 --save out.mp4</code></p>
</main></body>
</html>
""")
