"""Cases of `roi_align`, `roi_align_pyramid` and `roi_pool`: proposals on a 800x1344 image."""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from measure import Call, Case, copying
from numpy.typing import NDArray

from edgecv.kernels import roi_align, roi_align_pyramid, roi_pool

OPERATORS = ("roi_align", "roi_align_pyramid", "roi_pool")

Floats = NDArray[np.float32]

HEIGHT, WIDTH = 800, 1344
CHANNELS = 256
STRIDES = (4, 8, 16, 32)
FLOOR_IS = "read maps, write bins"


def cases() -> Iterator[Case]:
    """Yield the box head's and the mask head's bins of 1000 proposals, and a few detections."""
    for count, bins, sampling_ratio in ((1000, 7, 0), (1000, 7, 2), (1000, 14, 2), (10, 7, 2)):
        yield _align(count, bins, sampling_ratio)
    for count, bins, sampling_ratio in ((1000, 7, 0), (1000, 7, 2), (100, 14, 2)):
        yield _pyramid(count, bins, sampling_ratio)
    for count, bins in ((1000, 7), (1000, 14), (10, 7)):
        yield _pool(count, bins)


def _align(count: int, bins: int, sampling_ratio: int) -> Case:
    features, rois = _features(8), _proposals(count)
    out = np.empty((count, CHANNELS, bins, bins), np.float32)
    peers: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision import ops  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        maps, boxes = torch.from_numpy(features), [torch.from_numpy(rois)]
        peers["torchvision roi_align"] = lambda: ops.roi_align(
            maps, boxes, bins, 1 / 8, sampling_ratio, aligned=True
        )
    return Case(
        operator="roi_align",
        size=f"R={count}, {bins}x{bins}, {_ratio(sampling_ratio)}, stride 8",
        ours=lambda: roi_align(
            features,
            rois,
            (bins, bins),
            spatial_scale=1 / 8,
            sampling_ratio=sampling_ratio,
            out=out,
        ),
        peers=peers,
        floor=_floor(out, features),
        floor_is=FLOOR_IS,
    )


def _pyramid(count: int, bins: int, sampling_ratio: int) -> Case:
    features, rois = [_features(stride) for stride in STRIDES], _proposals(count)
    out = np.empty((count, CHANNELS, bins, bins), np.float32)
    peers: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision import ops  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        pooler = ops.MultiScaleRoIAlign(list("2345"), bins, sampling_ratio)
        levels = OrderedDict(zip("2345", map(torch.from_numpy, features), strict=True))
        boxes = [torch.from_numpy(rois)]
        peers["torchvision MultiScaleRoIAlign"] = lambda: pooler(levels, boxes, [(HEIGHT, WIDTH)])
    return Case(
        operator="roi_align_pyramid",
        size=f"R={count}, {bins}x{bins}, {_ratio(sampling_ratio)}, P2-P5",
        ours=lambda: roi_align_pyramid(
            features,
            rois,
            (bins, bins),
            spatial_scales=[1 / stride for stride in STRIDES],
            sampling_ratio=sampling_ratio,
            aligned=False,
            out=out,
        ),
        peers=peers,
        floor=_floor(out, *features),
        floor_is=FLOOR_IS,
    )


def _pool(count: int, bins: int) -> Case:
    features, rois = _features(8), _proposals(count)
    out = np.empty((count, CHANNELS, bins, bins), np.float32)
    peers: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision import ops  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        maps, boxes = torch.from_numpy(features), [torch.from_numpy(rois)]
        peers["torchvision roi_pool"] = lambda: ops.roi_pool(maps, boxes, bins, 1 / 8)
    return Case(
        operator="roi_pool",
        size=f"R={count}, {bins}x{bins}, stride 8",
        ours=lambda: roi_pool(features, rois, (bins, bins), spatial_scale=1 / 8, out=out),
        peers=peers,
        floor=_floor(out, features),
        floor_is=FLOOR_IS,
    )


def _features(stride: int) -> Floats:
    shape = (1, CHANNELS, HEIGHT // stride, WIDTH // stride)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _proposals(count: int) -> Floats:
    """Boxes of 16 to 512 pixels, evenly by octave, of all shapes, clipped to the image."""
    rng = np.random.default_rng(1)
    side = np.exp(rng.uniform(np.log(16), np.log(512), count))[:, None]
    stretch = np.exp(rng.uniform(-0.35, 0.35, count))[:, None]
    extent = np.hstack([side * stretch, side / stretch])
    centre = rng.uniform(0, 1, (count, 2)) * (WIDTH, HEIGHT)
    boxes = np.hstack([centre - extent / 2, centre + extent / 2])
    return np.clip(boxes, 0, [WIDTH, HEIGHT] * 2).astype(np.float32)


def _ratio(sampling_ratio: int) -> str:
    return f"ratio {sampling_ratio}" if sampling_ratio else "adaptive"


def _floor(out: Floats, *features: Floats) -> Call:
    """Read the maps and write the bins once; a few RoIs read no more than they write."""
    return copying(min(sum(level.nbytes for level in features), out.nbytes) + out.nbytes)
