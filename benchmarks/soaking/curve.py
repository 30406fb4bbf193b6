"""Memory over time: samples, their trend, a CSV file and a picture."""

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
_INK, _MUTED, _LINE, _MARK = "#1f2937", "#6b7280", "#2563eb", "#d97706"


@dataclass(frozen=True)
class Sample:
    """What was found at one moment of a run.

    Args:
        at_s: from its start.
        rss_bytes: resident memory.
        num_descriptors: that are open.
        num_threads: of the kernel.
        num_delivered: results up to now.

    """

    at_s: float
    rss_bytes: int
    num_descriptors: int
    num_threads: int
    num_delivered: int


@dataclass(frozen=True)
class Growth:
    """What memory did after the warm-up.

    Args:
        bytes: median of the last fifth of that time less the median of its first: single samples
            hold whatever is on its way, a picture of another size included.
        peak_bytes: the highest sample less the median of the first fifth.
        bytes_per_hour: slope of the straight line through all samples.

    """

    bytes: float
    peak_bytes: float
    bytes_per_hour: float


def growth_of(samples: Sequence[Sample], *, warm_s: float) -> Growth:
    """Return what memory did from `warm_s` on."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    fifth = max(1, len(warm) // 5)
    values = [sample.rss_bytes for sample in warm]
    first = statistics.median(values[:fifth])
    slope = statistics.linear_regression([sample.at_s for sample in warm], values).slope
    return Growth(
        bytes=statistics.median(values[-fifth:]) - first,
        peak_bytes=max(values) - first,
        bytes_per_hour=slope * 3600,
    )


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """Write a row per sample."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["at_s", "rss_mib", "descriptors", "threads", "delivered"])
        for each in samples:
            mib = f"{each.rss_bytes / _MIB:.3f}"
            threads, delivered = each.num_threads, each.num_delivered
            writer.writerow([f"{each.at_s:.1f}", mib, each.num_descriptors, threads, delivered])


def draw(
    samples: Sequence[Sample],
    faults: Sequence[tuple[float, str]],
    path: Path,
    *,
    warm_s: float,
    title: str,
) -> None:
    """Draw memory over time, with the faults as marks under it.

    Args:
        samples: of the run.
        faults: when each began, and a letter for its kind.
        path: ends with `.png` or `.svg`.
        warm_s: until when it warmed up.
        title: above the curve.

    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # not while memory is measured

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    minutes = [sample.at_s / 60 for sample in samples]
    values = [sample.rss_bytes / _MIB for sample in samples]
    axes.axvspan(0, warm_s / 60, color=_MUTED, alpha=0.12, linewidth=0)
    axes.plot(minutes, values, color=_LINE, linewidth=1.4)
    low, high = min(values[len(values) // 20 :]), max(values)
    margin = max(2.0, (high - low) * 0.25)
    axes.set_ylim(low - margin, high + margin)
    for at_s, letter in faults:
        axes.annotate(
            letter,
            (at_s / 60, 0.03),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=7,
            color=_MARK,
        )
    axes.annotate("warm-up", (0.01, 0.94), xycoords="axes fraction", fontsize=8, color=_MUTED)
    axes.set_xlim(0, max(minutes))
    axes.set_xlabel("minutes", color=_INK)
    axes.set_ylabel("resident memory, MiB", color=_INK)
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    figure.savefig(path, dpi=150)
