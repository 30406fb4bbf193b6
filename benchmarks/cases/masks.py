"""Cases of `resize_argmax`, `paste_masks` and `paste_masks_rle` at the size of a video frame."""

from collections.abc import Iterator

import numpy as np
from measure import Call, Case, copying
from numpy.typing import NDArray

from edgecv.kernels import paste_masks, paste_masks_rle, resize_argmax
from edgecv.placement import Placement

OPERATORS = ("resize_argmax", "paste_masks", "paste_masks_rle")

_FULL_HD = (1080, 1920)
_MAX_OPENCV_CHANNELS = 128
_MAX_TORCH_CLASSES = 64  # beyond, a call takes many seconds

Floats = NDArray[np.float32]


def cases() -> Iterator[Case]:
    """Yield the cases: scenes with regions, and noise, where no shortcut helps."""
    for shape, size_hw in (
        ((21, 135, 240), _FULL_HD),
        ((19, 128, 256), (1024, 2048)),
        ((2, 135, 240), _FULL_HD),
        ((150, 135, 240), _FULL_HD),
    ):
        for kind, logits in (("scene", _scene(shape)), ("noise", _noise(shape))):
            yield _resize_argmax(kind, logits, size_hw)
    # 16:9 in a square input of 512, logits at an eighth of it.
    placement = Placement.of(_FULL_HD, (512, 512), "letterbox")
    yield _resize_argmax("scene", _scene((21, 64, 64)), _FULL_HD, placement)
    yield _resize_argmax("noise", _noise((21, 64, 64)), _FULL_HD, placement)
    yield _confidence("scene", _scene((21, 135, 240)), _FULL_HD)
    yield _confidence("noise", _noise((21, 135, 240)), _FULL_HD)
    for count in (10, 100):
        yield from _paste_masks(count, _FULL_HD)


def _noise(shape: tuple[int, int, int]) -> Floats:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _scene(shape: tuple[int, int, int]) -> Floats:
    """Return logits as networks give them: 24 round regions of random classes, and mild noise."""
    rng = np.random.default_rng(0)
    classes, height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    logits = 0.3 * _noise(shape) - 2
    for _ in range(24):
        radius = height * rng.uniform(0.1, 0.4)
        distance = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width)) / radius
        plane = logits[rng.integers(classes)]
        np.maximum(plane, 10 - 8 * distance.astype(np.float32), out=plane)
    return logits


def _resize_argmax(
    kind: str, logits: Floats, size_hw: tuple[int, int], placement: Placement | None = None
) -> Case:
    out = np.empty(size_hw, np.uint8)
    shape = ",".join(map(str, logits.shape))
    onto = "letterbox 1080p" if placement else f"to {size_hw[0]}x{size_hw[1]}"
    return Case(
        operator="resize_argmax",
        size=f"[{shape}] {onto}, {kind}",
        ours=lambda: resize_argmax(logits, size_hw, placement=placement, out=out),
        peers=_opencv(logits, size_hw, placement) | _torch(logits, size_hw, placement),
        floor=copying(logits.nbytes + out.nbytes),
        floor_is="copy logits and labels' bytes",
    )


def _confidence(kind: str, logits: Floats, size_hw: tuple[int, int]) -> Case:
    out, confidence = np.empty(size_hw, np.uint8), np.empty(size_hw, np.float32)
    peers: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        resize, tensor = torch.nn.functional.interpolate, torch.from_numpy(logits)[None]
        peers["torch interpolate+softmax+max"] = lambda: (
            resize(tensor, size_hw, mode="bilinear").softmax(1).max(1)
        )
    shape = ",".join(map(str, logits.shape))
    return Case(
        operator="resize_argmax",
        size=f"[{shape}] softmax 1080p, {kind}",
        ours=lambda: resize_argmax(logits, size_hw, out=out, confidence=confidence),
        peers=peers,
        floor=copying(logits.nbytes + out.nbytes + confidence.nbytes),
        floor_is="copy logits and outputs' bytes",
    )


def _input_crop(placement: Placement) -> tuple[slice, slice]:
    """Return the rows and columns of the network's input that show the frame."""
    (x, y), (rows, columns) = placement.offset_xy, placement.resized_hw
    return slice(y, y + rows), slice(x, x + columns)


def _opencv(
    logits: Floats, size_hw: tuple[int, int], placement: Placement | None
) -> dict[str, Call]:
    """Return OpenCV's resize of interleaved classes and of planes; the bars come off in between."""
    try:
        import cv2  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        return {}
    cv2.setNumThreads(1)
    pixels = np.ascontiguousarray(logits.transpose(1, 2, 0))
    wh = size_hw[::-1]
    resized = np.empty((*size_hw, len(logits)), np.float32)
    planes = np.empty((len(logits), *size_hw), np.float32)

    def interleaved() -> object:
        source = pixels
        if placement is not None:
            rows, columns = _input_crop(placement)
            source = cv2.resize(pixels, placement.size_hw[::-1])[rows, columns]
        return cv2.resize(source, wh, dst=resized).argmax(2)

    def by_plane() -> object:
        for source, target in zip(logits, planes, strict=True):
            plane = source
            if placement is not None:
                plane = cv2.resize(source, placement.size_hw[::-1])[_input_crop(placement)]
            cv2.resize(plane, wh, dst=target)
        return cv2.reduceArgMax(planes, 0)

    peers: dict[str, Call] = {"opencv planes + reduceArgMax": by_plane}
    if len(logits) <= _MAX_OPENCV_CHANNELS:
        peers = {"opencv HWC + argmax": interleaved} | peers
    return peers


def _torch(
    logits: Floats, size_hw: tuple[int, int], placement: Placement | None
) -> dict[str, Call]:
    if len(logits) > _MAX_TORCH_CLASSES:
        return {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        return {}
    torch.set_num_threads(1)
    resize, tensor = torch.nn.functional.interpolate, torch.from_numpy(logits)[None]

    def run() -> object:
        source = tensor
        if placement is not None:
            rows, columns = _input_crop(placement)
            source = resize(tensor, placement.size_hw, mode="bilinear")[:, :, rows, columns]
        return resize(source, size_hw, mode="bilinear").argmax(1)

    return {"torch interpolate + argmax": run}


def _paste_masks(count: int, size_hw: tuple[int, int]) -> Iterator[Case]:
    """Yield 28x28 masks in boxes of 16 to 640 pixels, evenly by order of magnitude."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(16), np.log(640), (count, 2)))
    centres = rng.uniform(0, 1, (count, 2)) * size_hw[::-1]
    boxes = np.hstack([centres - sides / 2, centres + sides / 2])
    boxes = boxes.clip(0, np.array(size_hw * 2)[::-1]).astype(np.float32)
    y, x = np.mgrid[:28, :28] / 28 - 0.5
    masks = np.empty((count, 28, 28), np.float32)
    for mask in masks:
        radius_y, radius_x = rng.uniform(0.25, 0.55, 2)
        distance = (y / radius_y) ** 2 + (x / radius_x) ** 2 + 0.1 * rng.standard_normal((28, 28))
        mask[:] = 1 / (1 + np.exp(6 * (distance - 1)))

    pasting: dict[str, Call] = {}
    encoding: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from pycocotools.mask import encode  # noqa: PLC0415
        from torchvision.models.detection.roi_heads import paste_masks_in_image  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        tensors = torch.from_numpy(masks)[:, None], torch.from_numpy(boxes)
        pasting["torchvision paste + threshold"] = lambda: (
            paste_masks_in_image(*tensors, size_hw) > 0.5  # noqa: PLR2004
        )
        encoding["torchvision + pycocotools"] = lambda: [
            encode(np.asfortranarray(mask.numpy()))
            for (mask,) in (paste_masks_in_image(*tensors, size_hw) > 0.5).byte()  # noqa: PLR2004
        ]
        encoding["ours + pycocotools"] = lambda: [
            encode(np.asfortranarray(mask.view(np.uint8)))
            for mask in paste_masks(masks, boxes, size_hw)
        ]
    out = np.empty((count, *size_hw), np.bool_)
    size = f"{count} masks 28x28, {size_hw[0]}x{size_hw[1]}"
    yield Case(
        operator="paste_masks",
        size=f"{size}, out",
        ours=lambda: paste_masks(masks, boxes, size_hw, out=out),
        peers=pasting,
        floor=lambda: out.fill(0),
        floor_is="fill the frames",
    )
    yield Case(
        operator="paste_masks",
        size=f"{size}, new",
        ours=lambda: paste_masks(masks, boxes, size_hw),
        peers=pasting,
        floor=lambda: out.fill(0),
        floor_is="fill the frames",
    )
    yield Case(
        operator="paste_masks_rle",
        size=size,
        ours=lambda: paste_masks_rle(masks, boxes, size_hw),
        peers=encoding,
        floor=copying(masks.nbytes),
        floor_is="copy the masks",
    )
