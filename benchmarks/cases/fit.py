"""Cases of `letterbox`: camera frames of every common size and format into detector inputs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from measure import Call, Case, copying
from numpy.typing import NDArray

from edgecv.frame_formats import FrameFormat
from edgecv.kernels import letterbox
from edgecv.placement import Placement

OPERATORS = ("letterbox",)

Frame = NDArray[np.uint8]
Peers = dict[str, Call]

_HD, _FULL_HD, _UHD = (720, 1280), (1080, 1920), (2160, 3840)
_NAMES = {_HD: "720p", _FULL_HD: "1080p", _UHD: "4K"}
_BYTES_PER_PIXEL: Mapping[str, float] = {
    "bgr24": 3,
    "gray8": 1,
    "yuyv422": 2,
    "yuv420p": 1.5,
    "nv12": 1.5,
    "bayer_rggb8": 1,
}
_CV2_CONVERSIONS = {
    "yuv420p": "COLOR_YUV2BGR_I420",
    "nv12": "COLOR_YUV2BGR_NV12",
    "yuyv422": "COLOR_YUV2BGR_YUYV",
    "bayer_rggb8": "COLOR_BayerRGGB2BGR",
    "gray8": "COLOR_GRAY2BGR",
}


def cases() -> Iterator[Case]:
    """Yield the cases: sizes, ratios, formats, then types and area."""
    for frame_hw in (_FULL_HD, _HD, _UHD):
        yield _case("bgr24", frame_hw, 640)
    for side in (416, 512, 320):
        yield _case("bgr24", _FULL_HD, side)
    yield _case("bgr24", _FULL_HD, 640, fit="stretch")
    for form in ("yuv420p", "nv12"):
        for frame_hw in (_FULL_HD, _HD, _UHD):
            yield _case(form, frame_hw, 640)
    yield _case("nv12", _FULL_HD, 416)
    for form in ("yuyv422", "bayer_rggb8", "gray8"):
        yield _case(form, _FULL_HD, 640)
    yield _case("bgr24", _FULL_HD, 640, dtype="uint8")
    yield _case("bgr24", _FULL_HD, 640, dtype="float16")
    yield _case("nv12", _FULL_HD, 640, dtype="uint8")
    for side in (640, 416):
        yield _case("bgr24", _FULL_HD, side, interpolation="area")


def _case(
    form: FrameFormat,
    frame_hw: tuple[int, int],
    side: int,
    **options: Any,  # noqa: ANN401
) -> Case:
    frame = _frame(form, frame_hw)
    size_hw = (side, side)
    out = np.empty((3, *size_hw), options.get("dtype", "float32"))
    touched = _bytes_touched(form, frame_hw, size_hw, out.nbytes, options)
    notes = " ".join(str(value) for value in options.values())
    return Case(
        operator="letterbox",
        size=f"{form} {_NAMES[frame_hw]} to {side} {notes}".rstrip(),
        ours=lambda: letterbox(frame, size_hw, format=form, out=out, **options),
        peers={
            **_peers(form, frame, size_hw, **options),
            "(copying what is touched)": copying(2 * touched),
        },
        floor=copying(touched),
        floor_is="as many bytes read and written",
    )


def _frame(form: FrameFormat, frame_hw: tuple[int, int]) -> Frame:
    height, width = frame_hw
    rng = np.random.default_rng(0)
    shapes = {
        "bgr24": (height, width, 3),
        "yuyv422": (height, width, 2),
        "yuv420p": (height * 3 // 2, width),
        "nv12": (height * 3 // 2, width),
    }
    return rng.integers(0, 256, shapes.get(form, frame_hw), np.uint8)


def _bytes_touched(
    form: FrameFormat,
    frame_hw: tuple[int, int],
    size_hw: tuple[int, int],
    out_bytes: int,
    options: Mapping[str, Any],
) -> int:
    """Return the bytes of the source rows that an output samples, and of the output."""
    height, width = frame_hw
    placement = Placement.of(frame_hw, size_hw, options.get("fit", "letterbox"))
    resized = placement.resized_hw[0]
    points = np.clip((np.arange(resized) + 0.5) * height / resized - 0.5, 0, height - 1)
    sampled = len(np.union1d(np.floor(points), np.ceil(points)))
    rows = height if options.get("interpolation") == "area" else sampled
    return round(rows * width * _BYTES_PER_PIXEL[form]) + out_bytes


def _peers(
    form: FrameFormat,
    frame: Frame,
    size_hw: tuple[int, int],
    **options: Any,  # noqa: ANN401
) -> Peers:
    """Return what users of OpenCV and of Ultralytics do for the same input."""
    try:
        import cv2  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        return {}
    cv2.setNumThreads(1)
    to_bgr = _conversion(cv2, form, frame)
    dtype = options.get("dtype", "float32")
    fit, interpolation = options.get("fit", "letterbox"), options.get("interpolation", "bilinear")
    peers: Peers = {}
    if interpolation == "bilinear" and dtype == "float32":
        peers["cv2 blobFromImageWithParams"] = _blob(cv2, to_bgr, size_hw, fit)
    peers["cv2 resize and NumPy"] = _resize(cv2, to_bgr, size_hw, fit, dtype, interpolation)
    if form == "bgr24" and not options:
        peers |= _ultralytics(frame, size_hw)
    return peers


def _conversion(cv2: Any, form: FrameFormat, frame: Frame) -> Callable[[], Frame]:  # noqa: ANN401
    name = _CV2_CONVERSIONS.get(form)
    if name is None:
        return lambda: frame
    code, bgr = getattr(cv2, name), None
    bgr = cv2.cvtColor(frame, code)
    return lambda: cv2.cvtColor(frame, code, dst=bgr)


def _blob(cv2: Any, to_bgr: Callable[[], Frame], size_hw: tuple[int, int], fit: str) -> Call:  # noqa: ANN401
    params = cv2.dnn.Image2BlobParams()
    params.scalefactor = (1 / 255,) * 3
    params.size = size_hw[::-1]
    params.swapRB = True
    params.paddingmode = (
        cv2.dnn.DNN_PMODE_LETTERBOX if fit == "letterbox" else cv2.dnn.DNN_PMODE_NULL
    )
    params.borderValue = (114, 114, 114)
    return lambda: cv2.dnn.blobFromImageWithParams(to_bgr(), params)


def _resize(
    cv2: Any,  # noqa: ANN401
    to_bgr: Callable[[], Frame],
    size_hw: tuple[int, int],
    fit: str,
    dtype: str,
    interpolation: str,
) -> Call:
    """Return the usual steps one by one, with the buffers that they can be given."""
    bgr = to_bgr()
    placement = Placement.of((bgr.shape[0], bgr.shape[1]), size_hw, fit)  # type: ignore[arg-type]
    (height, width), (left, top) = placement.resized_hw, placement.offset_xy
    canvas = np.full((*size_hw, 3), 114, np.uint8)
    inside = canvas[top : top + height, left : left + width]
    planes = np.empty((3, *size_hw), dtype)
    flag = cv2.INTER_AREA if interpolation == "area" else cv2.INTER_LINEAR
    resized = np.empty((height, width, 3), np.uint8)

    def call() -> None:
        inside[...] = cv2.resize(to_bgr(), (width, height), dst=resized, interpolation=flag)
        channels_first = canvas[..., ::-1].transpose(2, 0, 1)
        if dtype == "uint8":
            np.copyto(planes, channels_first)
        else:
            np.multiply(channels_first, planes.dtype.type(1 / 255), out=planes)

    return call


def _ultralytics(frame: Frame, size_hw: tuple[int, int]) -> Peers:
    """Return its predictor's preprocessing of one image."""
    try:
        import torch  # noqa: PLC0415
        from ultralytics.data.augment import LetterBox  # noqa: PLC0415
    except ImportError:
        return {}
    torch.set_num_threads(1)
    fit = LetterBox(size_hw, auto=False)

    def call() -> object:
        # BasePredictor.pre_transform and .preprocess of ultralytics.engine.predictor.
        fitted = torch.from_numpy(fit(image=frame)).unsqueeze(0)
        planes = fitted.permute(0, 3, 1, 2).contiguous().flip(1)
        return planes.float().div_(255)

    return {"ultralytics LetterBox": call}
