"""From the logits of a segmentation network to a label for every pixel of the frame."""

from typing import get_args, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import resize_argmax_cpu
from edgecv.kernels.arguments import check_array, check_choice, check_output
from edgecv.kernels.cuda import resize_argmax as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.cuda.resize_argmax import LogitsLayout
from edgecv.kernels.implementations import Implementation, check_implementation, in_triton
from edgecv.kernels.logits import check_frame, check_logits, logits_from_frame
from edgecv.placement import Placement

_NAME = "resize_argmax"


@overload
def resize_argmax(
    logits: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: NDArray[np.uint8] | None = None,
    confidence: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]: ...
@overload
def resize_argmax(
    logits: AnyDeviceArray,
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: AnyDeviceArray | None = None,
    confidence: AnyDeviceArray | None = None,
    layout: LogitsLayout = "linear",
    num_classes: int | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray: ...
def resize_argmax(
    logits: AnyDeviceArray,
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: AnyDeviceArray | None = None,
    confidence: AnyDeviceArray | None = None,
    layout: LogitsLayout = "linear",
    num_classes: int | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray:
    """Return the best class of every pixel of a frame, resizing the logits as they are compared.

    Each class is interpolated bilinearly with half-pixel centres, as by
    `torch.nn.functional.interpolate(..., align_corners=False)`, and the largest wins; of equal
    classes the lowest. Labels are those of PyTorch in float32, except where the best two differ by
    less than 1e-5. The resized logits, C planes of the frame's size, are never made.

    A class with a NaN among the four logits around a pixel is smaller than every number there;
    where all classes are NaN or minus infinity the label is 0.

    Args:
        logits: (C, h, w) float32, 1 to 256 classes, of NumPy or, then all arrays, on a GPU
            (`edgecv.kernels.cuda.arrays`), where they may also be float16 and a batch,
            (B, C, h, w). The planes may be at any fraction of the network's input: they cover it
            from edge to edge.
        size_hw: height and width of the frame in pixels, 1 to 2**22 each.
        placement: how the frame lies in the network's input, as `letterbox` returns it; each pixel
            of the frame gets its label, the bars none. If None, the frame fills the input. The same
            for all images of a batch.
        out: (H, W) uint8, for a batch (B, H, W), C-contiguous: where to write the labels instead of
            allocating them.
        confidence: float32 of the same shape, C-contiguous: receives the softmax probability in
            [0, 1] of each pixel's label, from the interpolated logits; within 1e-5 for logits up to
            30 in magnitude. NaN where no class has a finite logit.
        layout: of a GPU: "linear" as above, or "hwc8", TensorRT's kHWC8: float16, (h, w, P) or
            (B, h, w, P), where P is the number of classes rounded up to a multiple of 8.
        num_classes: of layout "hwc8": what comes after so many classes is not read; P if None.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.
        implementation: of a GPU: "auto" and "cuda" are edgecv's CUDA kernels; "triton" takes
            PyTorch's tensors in layout "linear", on PyTorch's stream.

    Returns:
        (H, W) uint8, for a batch (B, H, W); `out` itself if given.

    Raises:
        ValueError: if a shape, a size or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section
        3.3: bilinear upsampling of class scores, then their maximum.

    """
    check_implementation(_NAME, implementation)
    check_choice(_NAME, "layout", layout, get_args(LogitsLayout))
    check_frame(_NAME, size_hw, placement)
    if implementation == "triton":
        triton = in_triton(
            _NAME, "resize_argmax", "resize_argmax", layout=(layout, "linear"),
            num_classes=(num_classes, None), stream=(stream, None),
        )  # fmt: skip
        return triton(logits, size_hw, placement=placement, out=out, confidence=confidence)
    if implementation == "cuda" or is_on_device(logits):
        return on_device.resize_argmax(
            logits,
            size_hw,
            placement=placement,
            out=out,
            confidence=confidence,
            layout=layout,
            num_classes=num_classes,
            stream=stream,
        )
    if layout != "linear":
        raise ValueError(
            f"{_NAME}: `layout` must be linear for NumPy arrays, got {layout!r}. Transpose them "
            f"with `np.ascontiguousarray(logits[..., :num_classes].transpose(2, 0, 1))`."
        )
    return _on_processor(logits, size_hw, placement, out, confidence)


def _on_processor(
    logits: NDArray[np.float32],
    size_hw: tuple[int, int],
    placement: Placement | None,
    out: NDArray[np.uint8] | None,
    confidence: NDArray[np.float32] | None,
) -> NDArray[np.uint8]:
    check_array(_NAME, "logits", logits, np.float32, ("C", "h", "w"))
    num_classes, rows, columns = logits.shape
    check_logits(_NAME, (num_classes, rows, columns), logits.shape)
    if out is None:
        out = np.empty(size_hw, np.uint8)
    else:
        check_output(_NAME, "out", out, np.uint8, size_hw)
    if confidence is not None:
        check_output(_NAME, "confidence", confidence, np.float32, size_hw)
    scale_yx, bias_yx = logits_from_frame(placement, size_hw, (rows, columns))
    resize_argmax_cpu(
        np.ascontiguousarray(logits),
        scale_yx=scale_yx,
        bias_yx=bias_yx,
        out=out,
        confidence=confidence,
    )
    return out
