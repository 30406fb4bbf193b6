"""A stream's status as Prometheus reads it.

Source:
    Prometheus, Exposition formats, text format 0.0.4; and Metric and label naming: base units,
    `_total` of counters.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from edgecv.live.status import State, StreamStatus, state_of
from edgecv.metrics.latency import BUCKETS_MS, LatencyStatistics
from edgecv.stream.accounting import DropReason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATES: tuple[State, ...] = ("waiting", "live", "lost", "ended", "failed")
_HEALTH = {
    "num_corrupt": ("source_corrupt_packets", "Damaged packets, skipped."),
    "num_reconnects": ("source_reconnects", "Times that the source came back after it broke off."),
    "num_restarts": ("source_restarts", "Times that it came back after it had fallen silent."),
    "num_format_changes": ("source_format_changes", "Changes of size, pixel format or codec."),
}


def exposition(status: StreamStatus, *, version: str, task: str) -> bytes:
    """Return a status in Prometheus's text format.

    Args:
        status: of a moment.
        version: of edgecv.
        task: of the model.

    """
    page = _Page()
    page.family("build_info", "gauge", "What runs; always 1.")
    page.sample("build_info", 1, version=version, task=task, backend=status.backend)
    _frames(page, status)
    _sources(page, status)
    page.family("stage_work_seconds", "summary", "Work of a stage on a frame; of a batch in all.")
    for name, stage in status.stages.items():
        page.summary("stage_work_seconds", stage.work, stage=name)
    page.family("stage_wait_seconds", "summary", "Waiting of a frame before a stage.")
    for name, stage in status.stages.items():
        page.summary("stage_wait_seconds", stage.wait, stage=name)
    page.family("stages_hung", "gauge", "Stages that do not go on.")
    page.sample("stages_hung", len(status.hung))
    page.family("threshold", "gauge", "Thresholds that apply.")
    for name, control in status.controls.items():
        if control.value is not None:
            page.sample("threshold", control.value, kind=name)
    page.family("notices_total", "counter", "What happened beside the frames.")
    for kind, count in sorted(status.num_notices.items()):
        page.sample("notices_total", count, kind=kind)
    _sinks(page, status)
    page.family("page_clients", "gauge", "Browsers that watch the live page.")
    page.sample("page_clients", status.num_clients)
    _process(page, status)
    return page.text().encode()


class _Page:
    """Lines of samples under their families."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(
        self,
        name: str,
        kind: Literal["counter", "gauge", "histogram", "summary"],
        told: str,
        *,
        prefix: str = "edgecv_",
    ) -> None:
        self._lines += [f"# HELP {prefix}{name} {told}", f"# TYPE {prefix}{name} {kind}"]

    def sample(self, name: str, value: float, /, *, prefix: str = "edgecv_", **labels: str) -> None:
        inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        self._lines.append(f"{prefix}{name}{f'{{{inner}}}' if inner else ''} {_number(value)}")

    def summary(self, name: str, statistics: LatencyStatistics, /, **labels: str) -> None:
        """Add quantiles of the last samples, sum and count of all of them."""
        quantiles = {
            "0.5": statistics.median_ms,
            "0.9": statistics.p90_ms,
            "0.95": statistics.p95_ms,
            "0.99": statistics.p99_ms,
        }
        for quantile, value_ms in quantiles.items():
            self.sample(name, value_ms / 1e3, **labels, quantile=quantile)
        self.sample(f"{name}_sum", statistics.mean_ms * statistics.count / 1e3, **labels)
        self.sample(f"{name}_count", statistics.count, **labels)

    def histogram(self, name: str, counts: Sequence[int], mean_ms: float, /, **labels: str) -> None:
        """Add how many were at most each of `BUCKETS_MS`, and sum and count of all of them."""
        for bound, count in zip((*BUCKETS_MS, math.inf), counts, strict=True):
            self.sample(f"{name}_bucket", count, **labels, le=_number(bound / 1e3))
        self.sample(f"{name}_sum", mean_ms * counts[-1] / 1e3, **labels)
        self.sample(f"{name}_count", counts[-1], **labels)

    def text(self) -> str:
        return "\n".join([*self._lines, ""])


def _frames(page: _Page, status: StreamStatus) -> None:
    counts = {name: source.counts for name, source in status.sources.items()}
    page.family("frames_decoded_total", "counter", "Frames that a source gave.")
    for name, each in counts.items():
        page.sample("frames_decoded_total", each.decoded, source=name)
    page.family("frames_delivered_total", "counter", "Frames whose results were taken.")
    for name, each in counts.items():
        page.sample("frames_delivered_total", each.delivered, source=name)
    page.family("frames_dropped_total", "counter", "Frames that were not delivered, by reason.")
    for name, each in counts.items():
        for reason in DropReason:
            count = each.dropped.get(reason, 0)
            page.sample("frames_dropped_total", count, source=name, reason=reason.value)
    page.family("frames_in_flight", "gauge", "Frames on their way: queued or in a stage.")
    for name, each in counts.items():
        page.sample("frames_in_flight", each.in_flight, source=name)


def _sources(page: _Page, status: StreamStatus) -> None:
    page.family("source_fps", "gauge", "Results a second of the last seconds.")
    for name in status.sources:
        page.sample("source_fps", status.fps.get(name, 0.0), source=name)
    page.family("source_state", "gauge", "1 for the state that a source is in.")
    for name, source in status.sources.items():
        for state in _STATES:
            page.sample("source_state", state_of(source) == state, source=name, state=state)
    page.family("latency_seconds", "histogram", "From capture to result.")
    for name, source in status.sources.items():
        if source.latency is not None:
            histogram, mean_ms = source.latency_histogram, source.latency.mean_ms
            page.histogram("latency_seconds", histogram, mean_ms, source=name)
    for key, (metric, told) in _HEALTH.items():
        page.family(f"{metric}_total", "counter", told)
        for name, source in status.sources.items():
            page.sample(f"{metric}_total", source.health.get(key, 0), source=name)


def _sinks(page: _Page, status: StreamStatus) -> None:
    page.family("sink_results_written_total", "counter", "Results that a sink took.")
    for report in status.sinks:
        page.sample("sink_results_written_total", report.num_written, sink=report.name)
    page.family("sink_results_dropped_total", "counter", "Results that it did not, by reason.")
    for report in status.sinks:
        for reason, count in report.num_dropped.items():
            page.sample("sink_results_dropped_total", count, sink=report.name, reason=reason)
    page.family("sink_write_seconds", "summary", "Time of a write.")
    for report in status.sinks:
        if report.work is not None:
            page.summary("sink_write_seconds", report.work, sink=report.name)


def _process(page: _Page, status: StreamStatus) -> None:
    """Add what Prometheus's own clients tell under the same names."""
    process = status.process
    values: Mapping[str, tuple[Literal["counter", "gauge"], float, str]] = {
        "resident_memory_bytes": ("gauge", process.rss_bytes, "Resident memory."),
        "cpu_seconds_total": ("counter", process.cpu_s, "Time on all cores."),
        "start_time_seconds": ("gauge", process.started_at, "Start, in seconds since 1970."),
        "threads": ("gauge", process.num_threads, "Threads of Python."),
    }
    for name, (kind, value, told) in values.items():
        page.family(name, kind, told, prefix="process_")
        page.sample(name, value, prefix="process_")


def _escaped(text: str) -> str:
    return "".join(_escapes(text))


def _escapes(text: str) -> Iterator[str]:
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
    for character in text:
        yield escapes.get(character, character)


def _number(value: float) -> str:
    """Return a number as Go reads it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if isinstance(value, float) else str(int(value))
