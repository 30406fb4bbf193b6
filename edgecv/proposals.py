"""Regions that are proposed outside of the network: their file, and the ways to make them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, MissingDependencyError
from edgecv.files import replacing
from edgecv.placement import Placement
from edgecv.spec import ProposalMethod

Boxes = NDArray[np.float32]

_ASPECTS = ((1.0, 1.0), (2**0.5, 0.5**0.5), (0.5**0.5, 2**0.5))  # of height and of width
_SEARCHED_SIDE_PX = 500  # Girshick et al. 2014, section 2.2


@dataclass(frozen=True)
class ImageProposals:
    """The regions of one image.

    Args:
        size_hw: height and width of the image in pixels, upright by its EXIF orientation.
        boxes_xyxy: (P, 4) float32 in its pixels, best first.

    """

    size_hw: tuple[int, int]
    boxes_xyxy: Boxes


@dataclass(frozen=True, eq=False)
class Proposals:
    """The regions of the images of a data set, by file name.

    Args:
        method: how they were made, None where that is unknown.
        images: by the name of the image file; where that is in several folders, by the name of
            its folder and its own, `val/0001.png`.
        origin: the file that they come from, for messages.

    """

    method: ProposalMethod | None
    images: Mapping[str, ImageProposals]
    origin: str = "the proposals"

    def of(self, path: Path, size_hw: tuple[int, int]) -> Boxes:
        """Return the regions (P, 4) float32 of an image of `size_hw`, best first.

        Raises:
            InputError: if there are none for a file of this name, or for another size.

        """
        found = self.images.get(name_in_folder(path), self.images.get(path.name))
        if found is None:
            raise InputError(
                f"`{self.origin}` has no proposals for the image `{path.name}`. "
                "Make them for all images with `edgecv data propose`."
            )
        if found.size_hw != size_hw:
            raise InputError(
                f"`{self.origin}` has proposals for `{path.name}` of {found.size_hw} pixels (height"
                f" x width), and the image has {size_hw}. Make them anew with `edgecv data propose`"
            )
        return found.boxes_xyxy


def name_in_folder(path: Path) -> str:
    """Return the names of an image's folder and of its file, `val/0001.png`."""
    return f"{path.absolute().parent.name}/{path.name}"


def read_proposals(path: Path) -> Proposals:
    """Read a file of proposals.

    `.npz` holds the arrays `names` (N,) str, `sizes_hw` (N, 2) int, `counts` (N,) int,
    `boxes_xyxy` (sum of counts, 4) float, the images' one after the other, and `method`, a string
    that may be empty. `.json` holds `{"method": ..., "images": {NAME: {"size_hw": [h, w],
    "boxes_xyxy": [[x1, y1, x2, y2], ...]}}}`. Boxes are in pixels of the image, best first; a name
    is that of the file, `0001.png`, or with its folder, `val/0001.png`, which comes first.

    Raises:
        InputError: if the file is missing, of another kind, or a value has the wrong shape.

    """
    try:
        plain = _read_json(path) if path.suffix.lower() == ".json" else _read_npz(path)
    except FileNotFoundError as error:
        raise InputError(
            f"`{path}`: there is no such file of proposals. Make one with `edgecv data propose`."
        ) from error
    except InputError:
        raise
    except Exception as error:  # NumPy raises whatever the damaged bytes lead it to
        raise InputError(
            f"`{path}` is not a file of proposals: {error}. Make one with `edgecv data propose`."
        ) from error
    method, images = plain
    if method is not None and method not in get_args(ProposalMethod):
        known = ", ".join(get_args(ProposalMethod))
        raise InputError(f"`{path}`: `method` must be one of {known}, or empty, got {method!r}.")
    for name, image in images.items():
        _check(image, f"`{path}`: the proposals of `{name}`")
    return Proposals(method, images, str(path))


def write_proposals(path: Path, proposals: Proposals) -> None:
    """Write a file that `read_proposals` reads, by its suffix `.npz` or `.json`.

    Raises:
        InputError: if the suffix is another.
        OutputError: if the file cannot be written.

    """
    images = proposals.images
    if path.suffix.lower() not in {".npz", ".json"}:
        raise InputError(f"`{path}`: a file of proposals must end in `.npz` or `.json`.")
    with replacing(path) as partial, partial.open("wb") as file:
        if path.suffix.lower() == ".json":
            plain = {
                name: {"size_hw": image.size_hw, "boxes_xyxy": image.boxes_xyxy.tolist()}
                for name, image in images.items()
            }
            file.write(json.dumps({"method": proposals.method, "images": plain}).encode())
            return
        boxes = [np.zeros((0, 4), np.float32), *(image.boxes_xyxy for image in images.values())]
        np.savez_compressed(
            file,
            method=np.array(proposals.method or ""),
            names=np.array(list(images), dtype=np.str_),
            sizes_hw=np.array([image.size_hw for image in images.values()]).reshape(-1, 2),
            counts=np.array([len(image.boxes_xyxy) for image in images.values()], np.int64),
            boxes_xyxy=np.concatenate(boxes),
        )


def as_input(boxes_xyxy: Boxes, placement: Placement, count: int) -> Boxes:
    """Return the network's input [1, `count`, 4]: the first boxes that lie in the frame.

    Args:
        boxes_xyxy: (P, 4) float32 in frame pixels, best first.
        placement: how the frame was fitted into the input.
        count: rows; those that no box fills are 0.

    """
    height, width = placement.size_hw
    limits = np.array([width, height, width, height], np.float32)
    boxes = placement.to_input(boxes_xyxy).clip(0, limits)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > 0][:count]
    rows = np.zeros((1, count, 4), np.float32)
    rows[0, : len(boxes)] = boxes
    return rows


def propose(method: ProposalMethod, image_hwc: NDArray[np.uint8], count: int) -> Boxes:
    """Return at most `count` regions (P, 4) float32 of an RGB image, best first.

    Raises:
        MissingDependencyError: if the method needs a package that is not installed.

    """
    if method == "selective-search":
        return selective_search(image_hwc)[:count]
    height, width = image_hwc.shape[:2]
    return sliding_windows((height, width), count)


def proposer(method: ProposalMethod) -> Callable[[NDArray[np.uint8], int], Boxes]:
    """Return `propose` of one method, after a check that it can run here.

    Raises:
        MissingDependencyError: if the method needs a package that is not installed.

    """
    if method == "selective-search":
        _segmentation()
    return lambda image_hwc, count: propose(method, image_hwc, count)


def sliding_windows(size_hw: tuple[int, int], count: int) -> Boxes:
    """Return `count` windows (count, 4) float32 that cover a frame, the largest first.

    Three shapes, each in sizes that halve from the frame's shorter side on; a window lies half of
    its side from the next. Of the smallest size, windows are left out evenly.

    Args:
        size_hw: height and width of the frame in pixels.
        count: windows, at least 1.

    """
    found: list[Boxes] = []
    side, left = float(min(size_hw)), count
    while left > 0:
        windows = np.concatenate([_windows(size_hw, side * h, side * w) for h, w in _ASPECTS])
        if len(windows) > left:
            windows = windows[np.linspace(0, len(windows) - 1, left).round().astype(np.int64)]
        found.append(windows)
        left -= len(windows)
        side /= 2
    return np.concatenate(found)


def selective_search(image_hwc: NDArray[np.uint8]) -> Boxes:
    """Return the regions (P, 4) float32 that selective search finds in an RGB image, best first.

    In the paper's fast mode, on the image shrunk to 500 pixels where it is larger. The order is
    random in part and differs from run to run: write it to a file to repeat a training.

    Raises:
        MissingDependencyError: if OpenCV lacks its contributed modules.

    Source:
        Uijlings et al., "Selective Search for Object Recognition", IJCV 2013; OpenCV's
        `ximgproc.segmentation`.

    """
    segmentation, cv2 = _segmentation(), import_module("cv2")
    height, width = image_hwc.shape[:2]
    scale = min(1.0, _SEARCHED_SIDE_PX / max(height, width))
    small_wh = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(image_hwc, small_wh, interpolation=cv2.INTER_AREA)
    search = segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(small[..., ::-1]))  # OpenCV's colours are BGR
    search.switchToSelectiveSearchFast()
    rectangles = np.asarray(search.process(), np.float32).reshape(-1, 4)
    corners = np.concatenate([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]], axis=1)
    back = np.array([width / small_wh[0], height / small_wh[1]] * 2, np.float32)
    return corners * back


def _segmentation() -> Any:  # noqa: ANN401  # a module of OpenCV's
    try:
        return import_module("cv2").ximgproc.segmentation
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            "selective search needs OpenCV's contributed modules. Install them with "
            "`pip install 'edgecv[proposals]'`, without another package of OpenCV beside them; or "
            "use `--method sliding-windows`."
        ) from error


def _windows(size_hw: tuple[int, int], height: float, width: float) -> Boxes:
    """Return windows of one size, cut to the frame where they are larger than it."""
    sides = [
        min(max(side, 1.0), whole) for side, whole in zip((height, width), size_hw, strict=True)
    ]
    tops, lefts = (
        np.linspace(0, whole - side, 1 + int(np.ceil(2 * (whole - side) / side)))
        for side, whole in zip(sides, size_hw, strict=True)
    )
    top, left = (axis.flatten() for axis in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([left, top, left + sides[1], top + sides[0]], axis=1).astype(np.float32)


def _read_json(path: Path) -> tuple[Any, dict[str, ImageProposals]]:
    plain = json.loads(path.read_text(encoding="utf-8"))
    images = {
        name: ImageProposals(_size(image["size_hw"]), _boxes(image["boxes_xyxy"]))
        for name, image in plain["images"].items()
    }
    return plain.get("method") or None, images


def _read_npz(path: Path) -> tuple[Any, dict[str, ImageProposals]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        names, counts = arrays["names"].tolist(), arrays["counts"]
        boxes, sizes = _boxes(arrays["boxes_xyxy"]), arrays["sizes_hw"].tolist()
        method = str(arrays["method"]) or None
    if len(set(names)) != len(names):
        raise InputError(f"`{path}`: `names` must hold each image once. Make it anew.")
    if not len(names) == len(counts) == len(sizes) or counts.sum() != len(boxes):
        raise InputError(
            f"`{path}`: `names`, `sizes_hw` and `counts` must be of one length and `counts` add up "
            f"to the {len(boxes)} boxes, got {len(names)}, {len(sizes)}, {len(counts)} and a sum "
            f"of {counts.sum()}. Make it anew with `edgecv data propose`."
        )
    parts = np.split(boxes, np.cumsum(counts)[:-1]) if len(counts) else []
    return method, {
        name: ImageProposals(_size(size), part)
        for name, size, part in zip(names, sizes, parts, strict=True)
    }


def _size(size_hw: Any) -> tuple[int, int]:  # noqa: ANN401  # of a file
    height, width = size_hw
    return int(height), int(width)


def _boxes(values: Any) -> Boxes:  # noqa: ANN401  # of a file
    boxes = np.asarray(values, np.float32)
    return boxes.reshape(0, 4) if boxes.size == 0 else boxes


def _check(image: ImageProposals, what: str) -> None:
    boxes = image.boxes_xyxy
    if boxes.ndim != 2 or boxes.shape[1] != 4:  # noqa: PLR2004  # xyxy
        raise InputError(f"{what} must have the shape (P, 4), got {boxes.shape}.")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise InputError(f"{what} must be finite with x2 >= x1 and y2 >= y1. Correct the file.")
