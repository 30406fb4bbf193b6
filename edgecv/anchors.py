"""Anchor boxes from their description, for training and for decoding alike."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.output_spec import AnchorLayer


def anchor_boxes(layers: Sequence[AnchorLayer], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return every anchor of an input of `size_hw`, layer by layer, row by row, shape by shape.

    Args:
        layers: the feature maps, finest first as a rule.
        size_hw: height and width of the input in pixels.

    Returns:
        (N, 4) float32: cx, cy, w, h in input pixels. Anchors may reach past the input's edge.

    Source:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2.

    """
    height, width = size_hw
    blocks = []
    for layer in layers:
        rows, columns = layer.grid_hw
        centre_y = (np.arange(rows) + 0.5) * (height / rows)
        centre_x = (np.arange(columns) + 0.5) * (width / columns)
        shapes = np.asarray(layer.shapes_wh) * (width, height)
        block = np.empty((rows, columns, len(shapes), 4))
        block[..., 0] = centre_x[None, :, None]
        block[..., 1] = centre_y[:, None, None]
        block[..., 2:] = shapes
        blocks.append(block.reshape(-1, 4))
    return np.concatenate(blocks).astype(np.float32)
