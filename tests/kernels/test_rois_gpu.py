"""The RoI operators on a GPU, where they take more than on the processor: dtypes and layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import roi_align, roi_align_pyramid, roi_pool
from edgecv.kernels.cuda.memory import DeviceArray
from edgecv.kernels.cuda.native import cuda

from .conftest import Place
from .device_slices import DeviceSlice
from .test_roi_align import random_rois

Array = NDArray[Any]
Floats = NDArray[np.float32]

EPS = 2.0**-24  # half a unit in the last place of 1, in float32
HALF_EPS = 2.0**-11  # and in float16

# Of features in [-1, 1] both sum in float32, in other orders: up to 70 rows and 70 columns, whose
# weights, of about 8 roundings, are positive and sum to 1 at most.
TOLERANCE = 2 * (70 + 70 + 8) * EPS
HALF_TOLERANCE = TOLERANCE + HALF_EPS  # the result is rounded once

# Around the groups of 8 of "hwc8", the 4 channels of a lane, 16 of a warp and 64 of a block.
CHANNELS = [1, 3, 4, 7, 8, 9, 16, 17, 63, 64, 65, 130]


def random_features(*shape: int, seed: int = 0) -> Array:
    """Features in [-1, 1] that float16 holds."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float16)


def to_hwc8(chw: Array, padding: float) -> Array:
    """From (..., C, H, W) to (..., H, W, C'), C' channels with some of `padding`."""
    hwc = np.moveaxis(chw, -3, -1)
    missing = -hwc.shape[-1] % 8
    pad = np.full((*hwc.shape[:-1], missing), padding, chw.dtype)
    return np.ascontiguousarray(np.concatenate([hwc, pad], -1))


def from_hwc8(hwc8: Array, num_channels: int) -> Array:
    """Back to (..., C, H, W), after a look at the padding."""
    np.testing.assert_array_equal(hwc8[..., num_channels:], 0)
    return np.moveaxis(hwc8[..., :num_channels], -1, -3)


def on_gpu(
    function: Any, gpu: Place, features: Array, rois: Floats, size_hw: tuple[int, int], **opts: Any
) -> Array:
    """Run in a layout on a poisoned output and return (R, C, h, w)."""
    layout, num_channels = opts.get("layout", "chw"), features.shape[-3]
    if opts.get("batch_ids") is not None:
        opts["batch_ids"] = gpu.array(opts["batch_ids"])
    if layout == "hwc8":
        features = to_hwc8(features, np.nan)
        out = gpu.poisoned((len(rois), *size_hw, features.shape[-1]), features.dtype)
        opts["num_channels"] = num_channels
    else:
        out = gpu.poisoned((len(rois), num_channels, *size_hw), features.dtype)
    assert function(gpu.array(features), gpu.array(rois), size_hw, out=out, **opts) is out
    found = gpu.numpy(out)
    return from_hwc8(found, num_channels) if layout == "hwc8" else found


@pytest.mark.parametrize("layout", ["chw", "hwc8"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_aligns_half_precision(gpu: Place, channels: int, layout: str) -> None:
    features, rois = random_features(2, channels, 19, 33), random_rois(12, (19, 33))
    ids = (np.arange(12) % 2).astype(np.int32)
    for sampling_ratio in (0, 2):
        options: dict[str, Any] = {"spatial_scale": 1.0, "sampling_ratio": sampling_ratio}
        np.testing.assert_allclose(
            on_gpu(roi_align, gpu, features, rois, (7, 7), layout=layout, batch_ids=ids, **options),
            roi_align(features.astype(np.float32), rois, (7, 7), batch_ids=ids, **options),
            rtol=0,
            atol=HALF_TOLERANCE,
        )


@pytest.mark.parametrize("layout", ["chw", "hwc8"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_pools_half_precision(gpu: Place, channels: int, layout: str) -> None:
    features, rois = random_features(2, channels, 19, 33), random_rois(12, (19, 33))
    features[features > 0.9] = np.nan
    ids = (np.arange(12) % 2).astype(np.int32)
    options: dict[str, Any] = {"spatial_scale": 1.0, "batch_ids": ids}
    actual = on_gpu(roi_pool, gpu, features, rois, (7, 7), layout=layout, **options)
    expected = roi_pool(features.astype(np.float32), rois, (7, 7), **options)
    with np.errstate(over="ignore"):  # the lowest float32, of bins of NaN alone
        np.testing.assert_array_equal(actual, expected.astype(np.float16))


def test_pools_bytes(gpu: Place) -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(-128, 128, (2, 70, 19, 33)).astype(np.int8)
    features[:, 0] = -128
    rois, ids = random_rois(12, (19, 33)), (np.arange(12) % 2).astype(np.int32)
    options: dict[str, Any] = {"spatial_scale": 1.0, "batch_ids": ids}
    actual = on_gpu(roi_pool, gpu, features, rois, (3, 5), **options)
    np.testing.assert_array_equal(
        actual, roi_pool(features.astype(np.float32), rois, (3, 5), **options)
    )


# RoIs whose bins have more cells than a table has room for, or are more than it has: on one axis,
# the other, both.
LARGE = [
    pytest.param((70, 80), (33, 1), id="33-bins-high"),
    pytest.param((70, 80), (1, 33), id="33-bins-wide"),
    pytest.param((70, 9), (1, 2), id="70-cells-high"),
    pytest.param((9, 80), (2, 1), id="80-cells-wide"),
    pytest.param((70, 80), (1, 1), id="70-by-80-cells"),
    pytest.param((31, 28), (1, 1), id="at-capacity"),
]


@pytest.mark.parametrize(
    ("layout", "dtype"), [("chw", np.float32), ("chw", np.float16), ("hwc8", np.float16)]
)
@pytest.mark.parametrize(("map_hw", "size_hw"), LARGE)
def test_bins_of_any_size_and_number(
    gpu: Place, map_hw: tuple[int, int], size_hw: tuple[int, int], layout: str, dtype: type
) -> None:
    height, width = map_hw
    features = random_features(11, height, width).astype(dtype)
    rois = np.array(
        [[-3, -2, width + 2, height + 1], [0, 0, width, height], [2.5, 1, width - 1, height - 3]],
        np.float32,
    )
    plain = features.astype(np.float32)
    for sampling_ratio in (0, 2, 17):
        options: dict[str, Any] = {"spatial_scale": 1.0, "sampling_ratio": sampling_ratio}
        np.testing.assert_allclose(
            on_gpu(roi_align, gpu, features, rois, size_hw, layout=layout, **options),
            roi_align(plain, rois, size_hw, **options),
            rtol=0,
            atol=TOLERANCE if dtype == np.float32 else HALF_TOLERANCE,
        )
    np.testing.assert_array_equal(
        on_gpu(roi_pool, gpu, features, rois, size_hw, spatial_scale=1.0, layout=layout),
        roi_pool(plain, rois, size_hw, spatial_scale=1.0),
    )


coordinates = st.integers(-20, 60).map(float) | st.floats(-1e4, 1e4, width=32)
absurd = st.sampled_from([np.nan, np.inf, -np.inf, 1e9, -1e9, 2.0**30, 3e38])


@settings(max_examples=60)
@given(
    roi=st.tuples(*[coordinates | absurd] * 4),
    size_hw=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    map_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    sampling_ratio=st.sampled_from([0, 1, 2, 3, 33]),
    layout=st.sampled_from(["chw", "hwc8"]),
    aligned=st.booleans(),
)
def test_any_roi_has_the_samples_that_it_has_on_the_processor(
    gpu: Place,
    roi: tuple[float, ...],
    size_hw: tuple[int, int],
    map_hw: tuple[int, int],
    layout: str,
    **options: Any,
) -> None:
    # Ones: a result is the share of the samples that are inside, and shows each that is not.
    features, rois = np.ones((2, *map_hw), np.float16), np.array([roi], np.float32)
    options["spatial_scale"] = 0.5
    np.testing.assert_allclose(
        on_gpu(roi_align, gpu, features, rois, size_hw, layout=layout, **options),
        roi_align(features.astype(np.float32), rois, size_hw, **options),
        rtol=0,
        atol=HALF_TOLERANCE,
    )
    values = random_features(2, *map_hw)
    np.testing.assert_array_equal(
        on_gpu(roi_pool, gpu, values, rois, size_hw, layout=layout, spatial_scale=0.5),
        roi_pool(values.astype(np.float32), rois, size_hw, spatial_scale=0.5),
    )


@pytest.mark.parametrize("layout", ["chw", "hwc8"])
def test_features_of_weight_0_are_not_read(gpu: Place, layout: str) -> None:
    features = np.full((9, 6, 70), np.nan, np.float16)
    features[:, 2:4, 2:4] = 1
    roi = np.array([[2, 2, 4, 4]], np.float32)  # its samples lie on cells 2 and 3 exactly
    found = on_gpu(roi_align, gpu, features, roi, (2, 2), spatial_scale=1.0, layout=layout)
    np.testing.assert_array_equal(found, 1)


def test_levels_that_are_given_and_images_and_levels_that_are_not_there(gpu: Place) -> None:
    maps = [gpu.array(np.full((2, 3, 8, 8), k, np.float32)) for k in (1, 2)]
    rois = gpu.array(np.tile(np.float32([1, 1, 7, 7]), (6, 1)))
    batch_ids = gpu.array(np.array([-1, 2, 1, 1, 0, 1], np.int32))
    level_ids = gpu.array(np.array([0, 0, -1, 2, 0, 1], np.int32))
    out = gpu.poisoned((6, 3, 2, 2), np.float32)
    cuda().roi_align(
        [(level.pointer, 8, 8, 1.0) for level in maps],
        (2, 3, 0, 0),
        rois.pointer,
        batch_ids.pointer,
        level_ids.pointer,
        6,
        6,
        (),
        2,
        2,
        2,
        aligned=True,
        out=out.pointer,
        device=0,
        stream=0,
    )
    values = np.float32([0, 0, 0, 0, 1, 2])
    np.testing.assert_array_equal(
        gpu.numpy(out), np.broadcast_to(values[:, None, None, None], (6, 3, 2, 2))
    )


@pytest.mark.parametrize("num_levels", [1, 3, 8])
def test_pyramids_in_hwc8(gpu: Place, num_levels: int) -> None:
    scales = [2.0**-k for k in range(num_levels)]
    features = [random_features(2, 5, max(128 >> k, 1), 24, seed=k) for k in range(num_levels)]
    rois = random_rois(20, (96, 96)).reshape(2, 10, 4)
    options: dict[str, Any] = {
        "spatial_scales": scales,
        "canonical_size": 16,
        "canonical_level": num_levels // 2,
        "sampling_ratio": 2,
    }
    expected = roi_align_pyramid(
        [level.astype(np.float32) for level in features], rois, (3, 2), **options
    )
    levels = [gpu.array(to_hwc8(level, np.nan)) for level in features]
    out = gpu.poisoned((2, 10, 3, 2, 8), np.float16)
    options |= {"layout": "hwc8", "num_channels": 5, "out": out}
    assert roi_align_pyramid(levels, gpu.array(rois), (3, 2), **options) is out
    actual = from_hwc8(gpu.numpy(out), 5)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=HALF_TOLERANCE)


def good(gpu: Place, **changes: Any) -> dict[str, Any]:
    """Arguments of `roi_align` that are right but for the changes."""
    arrays = {
        "features": np.zeros((2, 3, 4, 4), np.float32),
        "rois_xyxy": np.zeros((5, 4), np.float32),
        "batch_ids": np.zeros(5, np.int32),
    } | {name: value for name, value in changes.items() if isinstance(value, np.ndarray)}
    others: dict[str, Any] = {"output_size_hw": (7, 7), "spatial_scale": 0.25}
    others |= {name: value for name, value in changes.items() if not isinstance(value, np.ndarray)}
    return {name: gpu.array(array) for name, array in arrays.items()} | others


HWC8 = np.zeros((2, 4, 4, 8), np.float16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": HWC8[0, 0]}, r"`features` must have shape \(B, C, H, W\), got \(4, 8\)"),
        ({"features": HWC8[:, :, :0]}, "`features` must have at least 1 cell"),
        ({"rois_xyxy": np.zeros((5, 5), np.float32)}, r"`rois_xyxy` must have shape \(R, 4\)"),
        (
            {"rois_xyxy": np.zeros((3, 5, 4), np.float32), "batch_ids": None},
            r"`rois_xyxy` must have shape \(2, R, 4\), got \(3, 5, 4\)",
        ),
        (
            {"rois_xyxy": np.zeros((2, 5, 4), np.float32)},
            r"`batch_ids` must be None for `rois_xyxy` of shape \(B, R, 4\)",
        ),
        ({"batch_ids": None}, "`batch_ids` must be given for features of 2 images, got None"),
        ({"batch_ids": np.zeros(4, np.int32)}, r"`batch_ids` must have shape \(5,\), got \(4,\)"),
        ({"out": np.zeros((5, 3, 7, 6), np.float32)}, r"`out` must have shape \(5, 3, 7, 7\)"),
        ({"output_size_hw": (7, 0)}, "`output_size_hw` must be at least 1, got 0"),
        ({"layout": "hwc"}, "`layout` must be one of chw, hwc8, got 'hwc'"),
        ({"num_channels": 2}, r"`num_channels` must be in \[3, 3\], got 2"),
        (
            {"features": HWC8[..., :7].copy(), "layout": "hwc8"},
            r"`features` must have a multiple of 8 channels .*, got \(2, 4, 4, 7\) at 0x",
        ),
        (
            {"features": HWC8, "layout": "hwc8", "num_channels": 0},
            r"`num_channels` must be in \[1, 8\], got 0",
        ),
    ],
)
def test_refuses_values(gpu: Place, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^roi_align: {message}"):
        roi_align(**good(gpu, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.zeros((2, 3, 4, 4), np.int8)}, "`features` must be float32 or float16, g"),
        (
            {"features": np.zeros((2, 4, 4, 8), np.float32), "layout": "hwc8"},
            "`features` must be float16, got float32",
        ),
        ({"rois_xyxy": np.zeros((5, 4), np.float16)}, "`rois_xyxy` must be float32, got float16"),
        ({"batch_ids": np.zeros(5, np.int64)}, "`batch_ids` must be int32, got int64"),
        ({"out": np.zeros((5, 3, 7, 7), np.float16)}, "`out` must be float32, got float16"),
    ],
)
def test_refuses_types(gpu: Place, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^roi_align: {message}"):
        roi_align(**good(gpu, **options))


def test_refuses_arrays_on_two_processors(gpu: Place) -> None:
    options = good(gpu) | {"rois_xyxy": np.zeros((5, 4), np.float32)}
    with pytest.raises(TypeError, match=r"^roi_align: `rois_xyxy` must be on the GPU, got a NumPy"):
        roi_align(**options)
    options = good(gpu) | {"features": np.zeros((2, 3, 4, 4), np.float32)}
    with pytest.raises(TypeError, match=r"^roi_align: `rois_xyxy` must be a NumPy array, got Devi"):
        roi_align(**options)


def test_refuses_addresses_that_are_not_aligned(gpu: Place) -> None:
    whole = gpu.array(np.zeros(2 * 4 * 4 * 8 + 1, np.float16))
    shifted = DeviceSlice(whole, (2, 4, 4, 8), np.float16, offset=2)
    options = good(gpu, layout="hwc8") | {"features": shifted}
    with pytest.raises(ValueError, match="an address that is one of 16 bytes in layout 'hwc8'"):
        roi_align(**options)
    out = gpu.poisoned((5 * 7 * 7 * 8 + 1,), np.float16)
    shifted = DeviceSlice(out, (5, 7, 7, 8), np.float16, offset=2)
    options = good(gpu, features=HWC8, layout="hwc8") | {"out": shifted}
    with pytest.raises(ValueError, match=r"^roi_align: `out` must be at an address that is a mult"):
        roi_align(**options)


def test_refuses_more_levels_than_a_launch_takes_and_levels_that_disagree(gpu: Place) -> None:
    level = gpu.array(np.zeros((3, 4, 4), np.float32))
    rois = gpu.array(np.zeros((5, 4), np.float32))

    def align(*levels: DeviceArray) -> None:
        scales = [2.0**-k for k in range(len(levels))]
        roi_align_pyramid(levels, rois, (2, 2), spatial_scales=scales)

    with pytest.raises(ValueError, match=r"`len\(features\)` must be at most 8 on a GPU, got 9"):
        align(*[level] * 9)
    with pytest.raises(ValueError, match=r"`features\[1\]` must have the images and channels of "):
        align(level, gpu.array(np.zeros((2, 4, 4), np.float32)))
    with pytest.raises(TypeError, match=r"`features\[1\]` must be float32, got float16"):
        align(level, gpu.array(np.zeros((3, 4, 4), np.float16)))


def test_refuses_what_triton_has_not(gpu: Place) -> None:
    for name, value in (("layout", "hwc8"), ("num_channels", 3), ("stream", 1)):
        options = good(gpu, implementation="triton") | {name: value}
        with pytest.raises(
            ValueError, match=rf"`{name}` must be .* with `implementation` 'triton'"
        ):
            roi_align(**options)


@pytest.mark.parametrize(
    "options", [{"layout": "hwc8"}, {"num_channels": 3}, {"implementation": "cuda"}]
)
def test_refuses_options_of_a_gpu_on_the_processor(options: dict[str, Any]) -> None:
    features, rois = np.zeros((3, 4, 4), np.float32), np.zeros((5, 4), np.float32)
    with pytest.raises(ValueError, match=r" must be .* for arrays that are not on a GPU, got "):
        roi_align(features, rois, (2, 2), spatial_scale=1.0, **options)
