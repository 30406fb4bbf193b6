"""What the Triton roi_align takes: channels last, half floats, tensors of any strides."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from edgecv.kernels import roi_align, roi_align_pyramid  # noqa: E402

from ..conftest import Place  # noqa: E402, TID252
from ..test_roi_align import align, random_features, random_rois  # noqa: E402, TID252

IN_TRITON: dict[str, Any] = {"spatial_scale": 1.0, "implementation": "triton"}


@pytest.mark.parametrize("channels", [1, 16, 40])
def test_channels_may_come_last(triton: Place, channels: int) -> None:
    features, rois = random_features(2, channels, 9, 11), random_rois(3, (9, 11))
    batch_ids = np.array([1, 0, 1], np.int32)
    found = roi_align(
        triton.array(features).to(memory_format=torch.channels_last),
        triton.array(rois),
        (3, 5),
        batch_ids=triton.array(batch_ids),
        **IN_TRITON,
    )
    expected = align(triton, features, rois, (3, 5), batch_ids=batch_ids, spatial_scale=1.0)
    np.testing.assert_array_equal(triton.numpy(found), expected)


def test_half_floats_are_summed_in_float32(triton: Place) -> None:
    halves, rois = random_features(9, 9, 11).astype(np.float16), random_rois(4, (9, 11))
    found = triton.numpy(roi_align(triton.array(halves), triton.array(rois), (7, 7), **IN_TRITON))
    assert found.dtype == np.float16
    exact = align(triton, halves.astype(np.float32), rois, (7, 7), spatial_scale=1.0)
    np.testing.assert_array_equal(found, exact.astype(np.float16))


def test_an_image_that_is_not_there_gives_zero(triton: Place) -> None:
    features, rois = random_features(2, 3, 6, 6), random_rois(4, (6, 6))
    batch_ids = np.array([0, 2, -1, 1], np.int32)
    found = align(triton, features, rois, (2, 2), batch_ids=batch_ids, spatial_scale=1.0)
    assert not found[1:3].any()
    assert np.isfinite(found).all()


def test_reads_views(triton: Place) -> None:
    features, rois = random_features(2, 6, 12, 14), random_rois(8, (12, 7))
    ids = np.arange(8, dtype=np.int32) // 4
    found = roi_align(
        triton.array(features)[:, ::2, :, ::2],
        triton.array(rois)[::2],
        (3, 3),
        batch_ids=triton.array(ids)[::2],
        **IN_TRITON,
    )
    copies = features[:, ::2, :, ::2], rois[::2]
    expected = align(triton, *copies, (3, 3), batch_ids=ids[::2], spatial_scale=1.0)
    np.testing.assert_array_equal(triton.numpy(found), expected)


GOOD: dict[str, Any] = {
    "features": np.zeros((2, 3, 4, 4), np.float32),
    "rois_xyxy": np.zeros((5, 4), np.float32),
    "output_size_hw": (7, 7),
    "batch_ids": np.zeros(5, np.int32),
    **IN_TRITON,
}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": np.zeros((4, 4), np.float32)}, ValueError, r"`features` .* \(B, C, H, W\)"),
        ({"features": np.zeros((2, 3, 0, 4), np.float32)}, ValueError, "`features` must have at l"),
        ({"features": np.zeros((2, 3, 4, 4))}, TypeError, "`features` must be float32 or float16"),
        ({"rois_xyxy": np.zeros((5, 5), np.float32)}, ValueError, r"`rois_xyxy` .* \(R, 4\)"),
        ({"rois_xyxy": np.zeros((2, 1, 4), np.float32)}, ValueError, "`batch_ids` must be None"),
        ({"output_size_hw": (7, 0)}, ValueError, "`output_size_hw` must be at least 1, got 0"),
        ({"batch_ids": None}, ValueError, "`batch_ids` must be given for features of 2 images"),
        ({"batch_ids": np.zeros(4, np.int32)}, ValueError, r"`batch_ids` must have shape \(5,\)"),
        ({"batch_ids": np.zeros(5, np.int64)}, TypeError, "`batch_ids` must be int32, got int64"),
        ({"out": np.zeros((5, 3, 7, 6), np.float32)}, ValueError, r"`out` .* \(5, 3, 7, 7\)"),
        ({"sampling_ratio": 1025}, ValueError, r"`sampling_ratio` must be in \[0, 1024\]"),
    ],
)
def test_refuses(
    triton: Place, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {
        name: triton.array(value) if isinstance(value, np.ndarray) else value
        for name, value in (GOOD | options).items()
    }
    with pytest.raises(error, match=f"^roi_align: {message}"):
        roi_align(**arguments)


def test_refuses_arrays_of_numpy() -> None:
    with pytest.raises(TypeError, match="`features` must be a torch tensor, got ndarray"):
        roi_align(**GOOD)


def test_refuses_levels_that_disagree_and_too_many(triton: Place) -> None:
    level, rois = (triton.array(np.zeros(shape, np.float32)) for shape in ((3, 4, 4), (5, 4)))

    def pyramid(*levels: Any) -> None:
        scales = [2.0**-k for k in range(len(levels))]
        roi_align_pyramid(levels, rois, (2, 2), spatial_scales=scales, implementation="triton")

    with pytest.raises(ValueError, match=r"`len\(features\)` must be at most 8 on a GPU, got 9"):
        pyramid(*[level] * 9)
    with pytest.raises(ValueError, match=r"`features\[1\]` must have the images and channels of "):
        pyramid(level, level[:2])
    with pytest.raises(TypeError, match=r"`features\[1\]` must be float32, got float16"):
        pyramid(level, level.half())
