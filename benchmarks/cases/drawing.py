"""Cases of `draw_boxes`, `draw_masks`, `colorize`, `blend_labels`: painting over a 1080p frame."""

from collections.abc import Callable, Iterator

import numpy as np
from measure import Call, Case, copying
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat
from edgecv.kernels import blend_labels, colorize, draw_boxes, draw_masks, paste_masks

OPERATORS = ("draw_boxes", "draw_masks", "colorize", "blend_labels")

Bytes = NDArray[np.uint8]

_SIZE_HW = (1080, 1920)
_FORMATS: tuple[CanvasFormat, ...] = ("bgr24", "yuv420p")
_NUM_CLASSES = 20
_ALPHA = 0.5


def cases() -> Iterator[Case]:
    """Yield one case per operator and format; label maps flat, as networks make them, and noisy."""
    for format_ in _FORMATS:
        yield _draw_boxes(format_)
        yield _draw_masks(format_)
    for operator in (_colorize, _blend_labels):
        for format_ in _FORMATS:
            for name, labels in (("regions", _regions()), ("noise", _noise())):
                yield operator(format_, name, labels)


def _frame(format_: CanvasFormat) -> Bytes:
    height, width = _SIZE_HW
    shape = (height, width, 3) if format_ == "bgr24" else (height * 3 // 2, width)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _draw_boxes(format_: CanvasFormat) -> Case:
    count, line, font_size = 50, 3, 25  # the defaults at this size
    rng = np.random.default_rng(0)
    height, width = _SIZE_HW
    corners = np.rint(rng.uniform(40, [width - 300, height - 300], (count, 2)))
    sides = np.rint(rng.uniform(40, 260, (count, 2)))
    boxes = np.hstack([corners, corners + sides]).astype(np.float32)
    colours = rng.integers(0, 256, (count, 3), np.uint8)
    names = ("person", "bicycle", "car", "bus", "dog")
    labels = [f"{names[i % 5]} {score:.2f}" for i, score in enumerate(rng.random(count))]
    frame = _frame(format_)

    pixels = 2 * line * sides.sum() + 29 * 140 * count  # outlines, and plates of about that size
    per_pixel = 3 if format_ == "bgr24" else 1.5
    return Case(
        operator="draw_boxes",
        size=f"50 boxes and labels, 1080p {format_}",
        ours=lambda: draw_boxes(frame, boxes, colours=colours, labels=labels, format=format_),
        peers=_box_peers(boxes, colours, labels, line=line, font_size=font_size),
        floor=copying(int(pixels * per_pixel)),
        floor_is="write outlines and plates",
    )


def _draw_masks(format_: CanvasFormat) -> Case:
    count = 20
    rng = np.random.default_rng(0)
    height, width = _SIZE_HW
    corners = rng.uniform(40, [width - 500, height - 500], (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(60, 400, (count, 2))]).astype(np.float32)
    y, x = np.mgrid[:28, :28]
    disc = 1 / (1 + np.exp(np.hypot(y - 13.5, x - 13.5) - 11))
    masks = np.repeat(disc[None].astype(np.float32), count, axis=0)
    colours = rng.integers(0, 256, (count, 3), np.uint8)
    frame = _frame(format_)

    per_pixel = 3 if format_ == "bgr24" else 1.5
    num_pixels = int(paste_masks(masks, boxes, _SIZE_HW).sum())
    return Case(
        operator="draw_masks",
        size=f"20 masks 28x28, 1080p {format_}",
        ours=lambda: draw_masks(frame, masks, boxes, colours=colours, alpha=_ALPHA, format=format_),
        peers=_mask_peers(masks, boxes, colours),
        floor=copying(int(2 * num_pixels * per_pixel)),
        floor_is="read and write the covered pixels",
    )


def _mask_peers(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], colours: Bytes
) -> dict[str, Call]:
    """Return peers that paste each mask and blend it into a BGR frame."""
    frame = _frame("bgr24")
    height, width = _SIZE_HW
    peers: dict[str, Call] = {}

    def with_numpy() -> None:
        pasted = paste_masks(masks, boxes, _SIZE_HW)
        for mask, box, colour in zip(pasted, boxes, colours, strict=True):
            # A mask reaches past its box by half of one of its own pixels.
            margin = (box[2:] - box[:2]) / 28
            x1, y1 = np.maximum(box[:2] - margin, 0).astype(int)
            x2, y2 = np.minimum(box[2:] + margin + 1, (width, height)).astype(int)
            here, pixels = mask[y1:y2, x1:x2], frame[y1:y2, x1:x2]
            pixels[here] = (pixels[here] * (1 - _ALPHA) + colour * _ALPHA + 0.5).astype(np.uint8)

    peers["paste_masks and NumPy in the box"] = with_numpy
    try:
        import torch  # noqa: PLC0415
        from torchvision.models.detection.roi_heads import paste_masks_in_image  # noqa: PLC0415
        from torchvision.utils import draw_segmentation_masks  # noqa: PLC0415
    except ImportError:
        return peers
    torch.set_num_threads(1)
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frame, 2, 0)))
    grids, corners = torch.from_numpy(masks)[:, None], torch.from_numpy(boxes)
    fills = [tuple(colour) for colour in colours.tolist()]
    peers["torchvision draw_segmentation_masks"] = lambda: draw_segmentation_masks(
        tensor,
        paste_masks_in_image(grids, corners, _SIZE_HW)[:, 0] > 0.5,  # noqa: PLR2004
        alpha=_ALPHA,
        colors=fills,
    )
    return peers


def _box_peers(
    boxes: NDArray[np.float32], colours: Bytes, labels: list[str], *, line: int, font_size: int
) -> dict[str, Call]:
    """Return peers that draw into an RGB frame of their own; none can draw into planes."""
    frame = _frame("bgr24")
    peers: dict[str, Call] = {}
    rows = list(zip(boxes.astype(int).tolist(), colours.tolist(), labels, strict=True))
    try:
        import cv2  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        pass
    else:
        cv2.setNumThreads(1)
        font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.8

        def with_cv2() -> None:
            for (x1, y1, x2, y2), colour, label in rows:
                cv2.rectangle(frame, (x1, y1), (x2 - 1, y2 - 1), colour, line)
                (width, height), _ = cv2.getTextSize(label, font, scale, 1)
                plate = (x1, y1 - height - 8), (x1 + width + 8, y1)
                cv2.rectangle(frame, *plate, colour, cv2.FILLED)
                corner = x1 + 4, y1 - 4
                cv2.putText(frame, label, corner, font, scale, (0, 0, 0), 1, cv2.LINE_AA)

        peers["cv2 rectangle and putText"] = with_cv2

    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    image, pil_font = Image.fromarray(frame), ImageFont.load_default(font_size)

    def with_pillow() -> None:
        draw = ImageDraw.Draw(image)
        for (x1, y1, x2, y2), colour, label in rows:
            fill = tuple(colour)
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=fill, width=line)
            plate = draw.textbbox((x1, y1 - 25), label, font=pil_font)
            draw.rectangle(plate, fill=fill)
            draw.text((x1, y1 - 25), label, fill=(0, 0, 0), font=pil_font)

    peers["Pillow ImageDraw"] = with_pillow
    try:
        import torch  # noqa: PLC0415
        from torchvision.utils import draw_bounding_boxes  # noqa: PLC0415
    except ImportError:
        return peers
    torch.set_num_threads(1)
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frame, 2, 0)))
    corners = torch.from_numpy(boxes)
    fills = [tuple(colour) for colour in colours.tolist()]
    peers["torchvision draw_bounding_boxes"] = lambda: draw_bounding_boxes(
        tensor, corners, labels, colors=fills, width=line, fill_labels=True
    )
    return peers


def _colorize(format_: CanvasFormat, name: str, labels: Bytes) -> Case:
    palette = _palette()
    out = _frame(format_)
    peers: dict[str, Call] = {}
    if format_ == "bgr24":
        bgr = np.ascontiguousarray(palette[:, ::-1])
        target = _frame("bgr24")
        peers["NumPy take"] = lambda: np.take(bgr, labels, axis=0, out=target, mode="clip")
        peers |= _lut_peer(bgr, labels)
    else:
        peers |= _colorize_and_convert(palette, labels)
    return Case(
        operator="colorize",
        size=f"1080p {format_}, {name}",
        ours=lambda: colorize(labels, palette, format=format_, out=out),
        peers=peers,
        floor=copying(labels.size + out.size),
        floor_is="read labels, write the frame",
    )


def _blend_labels(format_: CanvasFormat, name: str, labels: Bytes) -> Case:
    palette, frame = _palette(), _frame(format_)
    peers: dict[str, Call] = {}
    mine = _frame("bgr24")
    bgr = np.ascontiguousarray(palette[:, ::-1])
    cv2_blend = _cv2_blend(mine, bgr, labels)
    if cv2_blend is not None:
        peers["cv2 LUT and addWeighted, bgr24"] = cv2_blend
    if format_ == "bgr24":

        def with_numpy() -> None:
            mine[:] = (mine * (1 - _ALPHA) + bgr[labels] * _ALPHA + 0.5).astype(np.uint8)

        peers["NumPy"] = with_numpy
    return Case(
        operator="blend_labels",
        size=f"1080p {format_}, {name}",
        ours=lambda: blend_labels(frame, labels, palette, alpha=_ALPHA, format=format_),
        peers=peers,
        floor=copying(labels.size + 2 * frame.size),
        floor_is="read both, write the frame",
    )


def _lut_peer(bgr: Bytes, labels: Bytes) -> dict[str, Call]:
    try:
        import cv2  # noqa: PLC0415
    except ImportError:
        return {}
    cv2.setNumThreads(1)
    return {"cv2 LUT": _cv2_colours(bgr, labels)}


def _colorize_and_convert(palette: Bytes, labels: Bytes) -> dict[str, Call]:
    try:
        import cv2  # noqa: PLC0415
    except ImportError:
        return {}
    cv2.setNumThreads(1)
    colours = _cv2_colours(np.ascontiguousarray(palette[:, ::-1]), labels)
    out = _frame("yuv420p")
    return {"cv2 LUT and cvtColor": lambda: cv2.cvtColor(colours(), cv2.COLOR_BGR2YUV_I420, out)}


def _cv2_blend(frame: Bytes, bgr: Bytes, labels: Bytes) -> Call | None:
    try:
        import cv2  # noqa: PLC0415
    except ImportError:
        return None
    colours = _cv2_colours(bgr, labels)
    return lambda: cv2.addWeighted(frame, 1 - _ALPHA, colours(), _ALPHA, 0, frame)


def _cv2_colours(bgr: Bytes, labels: Bytes) -> Callable[[], Bytes]:
    import cv2  # noqa: PLC0415

    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(bgr), 0] = bgr
    triples, out = np.empty((*labels.shape, 3), np.uint8), np.empty((*labels.shape, 3), np.uint8)

    def look_up() -> Bytes:
        cv2.merge([labels] * 3, triples)
        cv2.LUT(triples, table, out)
        return out

    return look_up


def _palette() -> Bytes:
    return np.random.default_rng(1).integers(0, 256, (_NUM_CLASSES, 3), np.uint8)


def _regions() -> Bytes:
    """Return a map as of a network at 1/8 of the size: discs on a background."""
    labels = np.zeros(_SIZE_HW, np.uint8)
    rng = np.random.default_rng(2)
    y, x = (np.arange(side) // 8 * 8 for side in _SIZE_HW)
    for label in range(1, _NUM_CLASSES):
        centre_y, centre_x = rng.uniform(0, _SIZE_HW)
        radius = rng.uniform(60, 240)
        inside = np.hypot(y[:, None] - centre_y, x[None] - centre_x) < radius
        labels[inside] = label
    return labels


def _noise() -> Bytes:
    return np.random.default_rng(3).integers(0, _NUM_CLASSES, _SIZE_HW, np.uint8)
