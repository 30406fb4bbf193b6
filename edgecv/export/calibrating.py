"""Calibrating for an export: which images, by which methods, and the table that keeps it."""

import json
from collections.abc import Sequence
from pathlib import Path

from edgecv.errors import EdgeCVError, InputError
from edgecv.export.graphs.graph_model import open_graph
from edgecv.export.precisions.calibration import (
    Calibration,
    Observer,
    image_feeds,
    smaller_than_input,
)
from edgecv.export.precisions.ranges import CalibrationMethod
from edgecv.export.source import Source, split_images
from edgecv.files import write_text
from edgecv.progress import Follow, unfollowed
from edgecv.runtime.model import Model
from edgecv.stream.sources import images_of

TABLE = ".json"
# In the order in which they are tried: the first keeps what is rare, the second cuts outliers off.
METHODS: tuple[CalibrationMethod, ...] = ("min-max", "percentile", "mse", "entropy")


def calibrations_of(
    source: Source,
    named: str | None,
    *,
    num_images: int,
    method: CalibrationMethod | None,
    stopped: Path,
    threads: int = 0,
    follow: Follow = unfollowed,
) -> dict[str, Calibration]:
    """Return the table that was named, or those of the images that were, by method.

    Args:
        source: the float32 graph.
        named: a folder, an address whose train split is taken, or a table's file; None for the
            training's own images.
        num_images: how many of them, evenly spread.
        method: how outliers are weighed; None for every method, in the order to try them.
        stopped: where the table of what was seen so far is written if CTRL-C stops the work.
        threads: of onnxruntime, 0 for one per core.
        follow: told of the progress.

    Raises:
        InputError: if nothing is named, there are no images, they cannot be read or are smaller
            than the input on both sides (unless the network was trained on them), or a value is
            not finite.
        EdgeCVError: if it was stopped; the message says how to go on.

    """
    named_or_own = named or source.data
    if named_or_own is None:
        raise InputError(
            "8 bits need images to calibrate with. Name some with `--calibration`: a folder, "
            "coco:DIR, or the table of an earlier calibration."
        )
    if named_or_own.endswith(TABLE):
        table = read_table(Path(named_or_own))
        return {table.method: table}
    methods = METHODS if method is None else (method,)
    paths = spread(calibration_images(source, named_or_own), num_images)
    observer = Observer(source.graph, threads=threads)
    advance = follow("calibrating", len(paths))
    with open_graph(source.graph, threads=threads, proposals=source.proposals) as model:
        if named is not None:
            _refuse_small(model, paths)
        try:
            for feed in image_feeds(model, paths):
                observer.observe(feed)
                advance()
        except KeyboardInterrupt:
            if observer.num_images:
                write_table(observer.calibration(methods[0]), stopped)
                raise EdgeCVError(
                    f"the calibration was stopped after {observer.num_images} of {len(paths)} "
                    f"images. Go on with what it saw: `--calibration {stopped}`."
                ) from None
            raise
    return {name: observer.calibration(name) for name in methods}


def _refuse_small(model: Model, paths: Sequence[Path]) -> None:
    """Refuse images that would be enlarged; only the training's own may be so."""
    small = smaller_than_input(model, paths)
    if small:
        height, width = model.spec.input.size_hw
        raise InputError(
            f"{len(small)} of {len(paths)} images to calibrate with are smaller than the input of "
            f"{height}x{width}, the first is `{small[0]}`: enlarged, they have none of the detail "
            "that a camera shows. Name images as the camera delivers them."
        )


def calibration_images(source: Source, named: str) -> list[Path]:
    """Return the images of a folder, or those of the train split of a data set."""
    folder = Path(named).expanduser()
    is_folder = ":" not in named and folder.is_dir() and source.spec.task != "classify"
    return images_of(folder) if is_folder else split_images(source.spec.task, named, "train")


def read_table(path: Path) -> Calibration:
    """Return the calibration that `write_table` wrote.

    Raises:
        InputError: if the file is missing or holds something else.

    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"`{path}`: there is no such calibration. Check the path.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is no calibration table: {error}. Calibrate again.") from error
    return Calibration.from_plain(plain)


def write_table(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON.

    Raises:
        OutputError: if `path` cannot be written.

    """
    write_text(path, json.dumps(calibration.to_plain(), indent=1, allow_nan=False) + "\n")


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return `count` of the paths, evenly spread: those of one kind may lie side by side."""
    count = min(count, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]
