"""The pictures of a report, drawn by matplotlib without a display and without its global state."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import MissingDependencyError
from edgecv.metrics.classification import ClassConfusion
from edgecv.metrics.confusion import ConfusionMatrix
from edgecv.metrics.detection import RECALLS, DetectionMetrics
from edgecv.precision import Precision

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of colour vision.
# Their yellow is left out, which a thin line on white loses.
_BLUE, _SKY, _ORANGE = "#0072b2", "#56b4e9", "#e69f00"
_PALETTE = (_BLUE, "#d55e00", "#009e73", "#cc79a7", _ORANGE, _SKY)
_INK, _MUTED, _FAINT, _GRID = "#1c2128", "#57606a", "#b4bcc5", "#e6eaee"

_DPI = 160
_LONGEST_NAME = 18  # letters of a class
_PICTURES_WIDTH_IN, _TEXT_IN = 11.6, 0.28  # of a row of pictures, and of the text over it
_LETTER_WIDTH = 0.6  # of the font's size
_NUM_WEAKEST = 4  # classes picked out where there are too many to colour all
_NUM_WITH_COUNTS = 16  # rows of a confusion matrix whose cells have room for a number
_NUM_WITH_SHARES = 9  # and for a percentage below it
_DARK_SHARE = 0.5  # of the row: beyond it the cell is dark and its text white


def precision_recall_chart(metrics: DetectionMetrics) -> "Figure":
    """Draw precision over recall at IoU 0.50: a line a class, their mean, and the best F1 of each.

    With more classes than colours the lines are grey, but for the classes of the lowest AP50.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    figure, (axes,) = _figure(7.2, 4.5)
    curves = {
        name: curve for name, curve in metrics.precision_curves.items() if not math.isnan(curve[0])
    }
    ap50 = {name: metrics.per_class[name]["AP50"] for name in curves}
    shown = list(curves)
    if len(curves) > len(_PALETTE):
        shown = sorted(curves, key=lambda name: ap50[name])[:_NUM_WEAKEST]
    entries: list[tuple[Artist, str]] = []
    if len(curves) > 1:
        mean = np.mean(list(curves.values()), axis=0)
        (line,) = axes.plot(RECALLS, mean, color=_INK, linewidth=2.8, zorder=3)
        entries.append((line, f"mean  {metrics.summary['AP50']:.3f}"))
    for name, colour in zip(shown, _PALETTE, strict=False):
        (line,) = axes.plot(RECALLS, curves[name], color=colour, linewidth=1.8)
        entries.append((line, f"{_short(name)}  {ap50[name]:.3f}"))
        point = metrics.per_class[name]
        if point["best_F1_recall"] > 0:
            _dot(axes, point["best_F1_recall"], point["best_F1_precision"], colour)
    others = [name for name in curves if name not in shown]
    for name in others:
        (line,) = axes.plot(RECALLS, curves[name], color=_FAINT, linewidth=0.7, zorder=1)
    if others:
        entries.append((line, f"{len(others)} other classes"))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    _title(axes, "Precision and recall at IoU 0.50", "dots: the best F1 of a class")
    _legend(axes, entries, "AP50, the lowest in colour" if others else "AP50")
    return figure


def confusion_chart(matrix: ConfusionMatrix | ClassConfusion) -> "Figure":
    """Draw a confusion matrix: the colour is the share of the row, the numbers are counts.

    Of a matrix of pixels the numbers are the shares, in percent.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    names = [_short(label) for label in matrix.labels]
    num = len(names)
    cell = float(np.clip(8 / num, 0.12, 0.9))  # inches
    figure, (axes,) = _figure(cell * num + 1.9, cell * num + 1.9)
    shares = np.ma.masked_array(matrix.shares(), np.zeros((num, num), bool))
    if matrix.HAS_BACKGROUND:
        shares[-1, -1] = np.ma.masked  # background that was left alone is not counted
    image = axes.imshow(shares, cmap=_white_to_blue(), vmin=0, vmax=1)
    size = min(10.0, 58 * cell)
    has_room = max(map(len, names)) * size * _LETTER_WIDTH <= 72 * cell  # 72 points are an inch
    axes.set_xticks(range(num), names, fontsize=size, rotation=0 if has_room else 90)
    axes.set_yticks(range(num), names, fontsize=size)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for text in ticks:
            text.set_parse_math(False)  # a class may be called "$5"
        if matrix.HAS_BACKGROUND:
            ticks[-1].set(style="italic", color=_MUTED)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    _separate_cells(axes, num, has_background=matrix.HAS_BACKGROUND)
    if num <= _NUM_WITH_COUNTS:
        _write_counts(axes, matrix)
    else:
        scale = figure.colorbar(image, cax=axes.inset_axes((1.03, 0.7, 0.018, 0.3)), format="%.1f")
        scale.outline.set_visible(False)
        scale.ax.tick_params(colors=_MUTED, length=0, labelsize=9)
    coloured = "colour" if matrix.SHOWS_COUNTS else "percentages and colour"
    _title(axes, "Confusion matrix", f"{matrix.note}\n{coloured}: share of the row")
    return figure


def training_chart(
    history: Sequence[dict[str, Any]],
    best_epoch: int,
    *,
    figures: Sequence[str] = ("AP", "AP50", "AP75"),
    title: str = "Validation AP",
    note: str = "by COCO's definition",
) -> "Figure":
    """Draw loss, validation figures and learning rate over the epochs, the best one marked.

    Args:
        history: one record per epoch, see `edgecv.report.Report`.
        best_epoch: 1-based, 0 for none.
        figures: up to three keys of the records; the first chose the best epoch.
        title: of the figures.
        note: on them, where there is no best epoch.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    figure, panels = _figure(11.6, 3.4, 3)
    of_loss, of_figures, of_rate = panels
    _draw_history(of_loss, history, {"loss": _BLUE})
    _title(of_loss, "Training loss", "the mean of each epoch")
    leading, *others = figures
    colours = dict(zip(others, (_SKY, _ORANGE), strict=False)) | {leading: _BLUE}  # it is on top
    _draw_history(of_figures, history, colours)
    if best_epoch:
        best = history[best_epoch - 1][leading]
        note = f"best {leading.replace('_', ' ')} {best:.3f} in epoch {best_epoch}"
        of_figures.axvline(best_epoch, color=_FAINT, linewidth=0.9, zorder=1)
        _dot(of_figures, best_epoch, best, _BLUE)
    _title(of_figures, title, note)
    _draw_history(of_rate, history, {"learning_rate": _BLUE})
    _title(of_rate, "Learning rate", "at the end of each epoch")
    return figure


def noise_chart(noise_db: Mapping[Precision, Sequence[float]]) -> "Figure":
    """Draw the signal-to-noise ratio of each layer, a line a precision.

    Args:
        noise_db: of the layers in the graph's order, in dB, by precision; infinite where nothing
            differs, which is left out.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    figure, (axes,) = _figure(9.2, 3.6)
    entries: list[tuple[Artist, str]] = []
    for (name, values), colour in zip(noise_db.items(), _PALETTE, strict=False):
        finite = [value if math.isfinite(value) else math.nan for value in values]
        (line,) = axes.plot(
            range(1, len(finite) + 1), finite, color=colour, linewidth=1.4, marker="o", markersize=3
        )
        entries.append((line, name))
    axes.set(xlabel="layer, in the order of the graph", ylabel="dB", ylim=(0, None))
    _title(
        axes,
        "Signal to noise at each layer",
        "20 dB: the error is a tenth of the signal; 40 dB: a hundredth",
    )
    _legend(axes, entries, "precision")
    return figure


def figure_of_pictures(
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    texts: Sequence[Sequence[str]],
    colours_rgb: Mapping[str, NDArray[np.uint8]],
) -> "Figure":
    """Draw pictures in rows, a text over each, and below them what the colours stand for.

    Args:
        rows: of each row its pictures, (H, W, 3) uint8; all rows have as many.
        texts: one for each picture.
        colours_rgb: of each name, (3,) uint8.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    width_in = _PICTURES_WIDTH_IN / len(rows[0])
    heights = [width_in * row[0].shape[0] / row[0].shape[1] + _TEXT_IN for row in rows]
    figure, panels = _figure(
        *(_PICTURES_WIDTH_IN, sum(heights)), columns=len(rows[0]), heights=heights
    )
    pairs = zip((p for row in rows for p in row), (t for row in texts for t in row), strict=True)
    for axes, (picture, text) in zip(panels, pairs, strict=True):
        axes.imshow(picture)
        axes.set_axis_off()
        title = axes.set_title(_short(text, 44), loc="left", color=_INK, fontsize=9, pad=4)
        title.set_parse_math(False)  # a file may be called "$5"
    from matplotlib.patches import Patch  # noqa: PLC0415  # installed: there is a figure

    patches = [Patch(color=f"#{bytes(colour).hex()}") for colour in colours_rgb.values()]
    names = [_short(name) for name in colours_rgb]
    if names:
        legend = figure.legend(
            *(patches, names), loc="outside lower left", ncols=8, frameon=False, fontsize=9
        )
        for entry in legend.get_texts():
            entry.set(parse_math=False, color=_INK)
    return figure


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes: no reason for a warning
        # in the middle of a training's output.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(
            buffer,
            format="png",
            dpi=_DPI,
            bbox_inches="tight",
            pad_inches=0.15,
            metadata={"Software": None},
        )
    return buffer.getvalue()


def _figure(
    width_in: float, height_in: float, columns: int = 1, *, heights: Sequence[float] = (1,)
) -> "tuple[Figure, list[Axes]]":
    """Return a figure, inches wide and high, with its axes row by row, all in the report's style.

    `heights` are those of the rows, in any unit.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            "a report needs the package matplotlib. Install it with `pip install 'edgecv[eval]'`."
        ) from error
    layout = ConstrainedLayoutEngine(w_pad=0.12)
    figure = Figure(figsize=(width_in, height_in), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    ratios = {"height_ratios": list(heights)}
    grid = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw=ratios)
    panels: list[Axes] = list(grid.flat)
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_FAINT)
        axes.tick_params(colors=_MUTED, length=0, labelsize=9, pad=5)
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=_MUTED, fontsize=9.5)
    return figure, panels


def _title(axes: "Axes", text: str, note: str = "") -> None:
    """Write a title at the left edge, and a note of any number of lines below it."""
    num_lines = note.count("\n") + 1 if note else 0
    axes.set_title(
        text, loc="left", color=_INK, fontsize=11.5, fontweight="bold", pad=9 + 12.5 * num_lines
    )
    axes.annotate(
        note,
        (0, 1),
        (0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=_MUTED,
        fontsize=9,
        verticalalignment="bottom",
    )


def _legend(axes: "Axes", entries: "Sequence[tuple[Artist, str]]", title: str) -> None:
    """Write a legend to the right of the axes, where it hides no line."""
    if not entries:
        return
    legend = axes.legend(
        [artist for artist, _ in entries],
        [text for _, text in entries],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        alignment="left",
        frameon=False,
        fontsize=9.5,
        labelcolor=_INK,
    )
    legend.get_title().set(color=_MUTED, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _dot(axes: "Axes", x: float, y: float, colour: str) -> None:
    axes.plot(
        *([x], [y]),
        marker="o",
        markersize=7,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=1.3,
        zorder=4,
    )


def _draw_history(axes: "Axes", history: Sequence[dict[str, Any]], lines: dict[str, str]) -> None:
    """Draw figures of the history, keys and colours in `lines`, over the epochs."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  # installed: there are axes

    epochs = [record["epoch"] for record in history]
    marker = "o" if len(history) == 1 else ""  # a line of one point is none
    for key, colour in lines.items():
        values = [math.nan if record.get(key) is None else record[key] for record in history]
        axes.plot(epochs, values, color=colour, linewidth=1.9, marker=marker, label=key)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="best")
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _white_to_blue() -> "Colormap":
    """Return a map of one hue whose lightness alone tells the value."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415  # there are axes

    colours = ("#f7fafc", "#bcdcf0", "#5aa9d6", _BLUE, "#004b78")
    return LinearSegmentedColormap.from_list("white_to_blue", colours)


def _separate_cells(axes: "Axes", num: int, *, has_background: bool) -> None:
    """Part the cells by white lines, and the background's by broader ones."""
    thin = 1.5 if num <= _NUM_WITH_COUNTS else 0.3
    for edge in range(1, num):
        width = 3 * thin if has_background and edge == num - 1 else thin
        axes.axhline(edge - 0.5, color="white", linewidth=width)
        axes.axvline(edge - 0.5, color="white", linewidth=width)


def _write_counts(axes: "Axes", matrix: ConfusionMatrix | ClassConfusion) -> None:
    """Write the counts into their cells, and their shares below them where there is room."""
    shares = matrix.shares()
    if not matrix.SHOWS_COUNTS:
        _write_shares(axes, shares)
        return
    num = len(shares)
    with_shares = num <= _NUM_WITH_SHARES
    for (row, column), count in np.ndenumerate(matrix.counts):
        if matrix.HAS_BACKGROUND and row == column == num - 1:
            continue
        share = shares[row, column]
        colour = "white" if share > _DARK_SHARE else _INK if count else _FAINT
        has_share = with_shares and count > 0
        axes.text(
            *(column, row - 0.1 * has_share, f"{count}"),
            ha="center",
            va="center",
            color=colour,
            fontsize=11 if with_shares else 8.5,
        )
        if has_share:
            axes.text(
                *(column, row + 0.21, f"{share:.0%}"),
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
                alpha=0.85,
            )


def _write_shares(axes: "Axes", shares: NDArray[np.float64]) -> None:
    """Write percentages into the cells that would not say 0."""
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5 / 100:
            axes.text(
                *(column, row, f"{100 * share:.0f}"),
                ha="center",
                va="center",
                color="white" if share > _DARK_SHARE else _INK,
                fontsize=10,
            )


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
