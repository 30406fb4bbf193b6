"""Time an exported Faster R-CNN in onnxruntime against torchvision's own export, on one thread.

Usage: python benchmarks/two_stage.py [--size 320x416] [--proposals 300] [--budget 20] [--json FILE]

Both are ResNet-18 with a pyramid of 256 channels, the same numbers of candidates and proposals, and
the same random weights: nearly every region passes the score threshold, the most work that
suppression can have. The floor is the network without what is between its parts: convolutions, and
matrix products on regions that are given. torchvision is exported as its documentation says.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before any library reads it

import numpy as np
import onnxruntime
import torch
from measure import Call, Case, measure
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from edgecv.export.comparison.parity import Tolerance
from edgecv.export.to_onnx import ExportOptions, export_onnx
from edgecv.models import two_stage
from edgecv.models.backbone import Backbone
from edgecv.models.roi_heads import BOX_BINS
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec
from edgecv.train.config import IMAGENET_MEAN, IMAGENET_STD

CLASSES = ("one", "two", "three")
POSTPROCESS = PostprocessSpec(score_threshold=0.05, iou_threshold=0.5)
STRIDES = (4, 8, 16, 32)


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="320x416", help="height x width")
    parser.add_argument("--proposals", type=int, default=300)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of measuring")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    image = torch.rand(1, 3, height, width)
    theirs = _torchvisions(image, options.proposals)
    ours = _with_weights_of(theirs, image, options.proposals)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(
            operator="faster_rcnn",
            size=f"{height}x{width}, {options.proposals} proposals",
            ours=_exported(ours, Path(folder), image),
            peers={"torchvision": _traced(theirs, Path(folder), image)},
            floor=_floor(ours, Path(folder), image),
            floor_is="convolutions and matrix products alone",
        )
        row = measure(case, budget_s=options.budget)
    machine = {
        "cpu": cpu_name(),
        "threads": 1,
        "versions": versions_in_use("torch", "torchvision", "onnxruntime"),
    }
    print(f"{machine['cpu']}, one thread; {machine['versions']}")
    print(f"{case.operator}, {case.size}: median of {row.num_turns} turns")
    print(f"  edgecv       {row.ours_s * 1e3:8.1f} ms")
    print(
        f"  torchvision  {row.peers_s['torchvision'] * 1e3:8.1f} ms, "
        f"{row.ratios['torchvision']:.2f} times ours"
    )
    print(f"  floor        {row.floor_s * 1e3:8.1f} ms, {case.floor_is}")
    if options.json is not None:
        plain = {"machine": machine, "rows": [row.to_plain()]}
        options.json.write_text(json.dumps(plain, indent=1) + "\n")


def _torchvisions(image: Tensor, num_proposals: int) -> nn.Module:
    trunk = BackboneWithFPN(
        resnet18(weights=None),
        {f"layer{level}": str(level - 1) for level in range(1, 5)},
        [64, 128, 256, 512],
        256,
    )
    sizes = two_stage.TwoStageSizes()
    model: nn.Module = FasterRCNN(
        trunk,
        1 + len(CLASSES),
        min_size=min(image.shape[-2:]),
        max_size=max(image.shape[-2:]),
        rpn_anchor_generator=AnchorGenerator(
            tuple((int(sizes.anchor_scale * stride),) for stride in (*STRIDES, 64)),
            ((0.5, 1.0, 2.0),) * 5,
        ),
        rpn_pre_nms_top_n_test=sizes.num_candidates,
        rpn_post_nms_top_n_test=num_proposals,
        box_score_thresh=POSTPROCESS.score_threshold,
        box_nms_thresh=POSTPROCESS.iou_threshold,
    )
    return model.eval()


def _with_weights_of(theirs: nn.Module, image: Tensor, num_proposals: int) -> two_stage.FasterRCNN:
    """Return our model with torchvision's weights: it has the same parameters in the same order."""
    sizes = replace(two_stage.TwoStageSizes(), num_proposals=num_proposals)
    height, width = image.shape[-2:]
    trunk = Backbone("resnet18", STRIDES)
    model = two_stage.FasterRCNN(trunk, len(CLASSES), (height, width), sizes).eval()
    pairs = zip(model.state_dict().values(), theirs.state_dict().values(), strict=True)
    for ours, given in pairs:
        # torchvision has offsets of the background too, which nothing reads.
        ours.copy_(given[4:] if ours.shape != given.shape else given)
    return model


def _exported(model: two_stage.FasterRCNN, folder: Path, image: Tensor) -> Call:
    height, width = image.shape[-2:]
    wanted = InputSpec("images", (height, width), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    spec = ModelSpec("detect", CLASSES, wanted, model.output_spec(), POSTPROCESS)
    path, picture = folder / "ours.onnx", folder / "picture.png"
    _write_picture(picture, (height, width))
    # Random weights tell regions hardly apart, so that rounding decides which are kept.
    tolerance = Tolerance(relative=np.inf, unmatched=1.0, box_px=np.inf, score=np.inf)
    options = ExportOptions(batch=1)
    export_onnx(model, spec, path, [picture], options=options, tolerance=tolerance)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return _running(path, {"images": ((image - mean) / std).numpy()})


def _traced(model: nn.Module, folder: Path, image: Tensor) -> Call:
    path = folder / "torchvision.onnx"
    _export(model, ([image[0]],), path)
    return _running(path, {"images": image[0].numpy()})  # its graph normalises by itself


class _Parts(nn.Module):
    """What a two-stage detector computes apart from choosing and cutting regions."""

    def __init__(self, model: two_stage.FasterRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, bins: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.neck(self.model.trunk(images))
        coarsest = nn.functional.max_pool2d(maps[-1], 1, stride=2)
        levels = self.model.rpn([*maps, coarsest])
        return (*(x for level in levels for x in level), *self.model.box_head(bins))


def _floor(model: two_stage.FasterRCNN, folder: Path, image: Tensor) -> Call:
    bins = torch.rand(1, model.sizes.num_proposals, model.sizes.width, *BOX_BINS)
    path = folder / "floor.onnx"
    _export(_Parts(model), (image, bins), path, names=["images", "bins"])
    return _running(path, {"images": image.numpy(), "bins": bins.numpy()})


def _export(
    module: nn.Module, inputs: tuple[object, ...], path: Path, names: list[str] | None = None
) -> None:
    """Export by tracing, the way that torchvision documents for its detectors."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            opset_version=17,
            input_names=names or ["images"],
            dynamo=False,
        )


def _running(path: Path, feeds: dict[str, np.ndarray]) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _write_picture(path: Path, size_hw: tuple[int, int]) -> None:
    from PIL import Image  # noqa: PLC0415  # for the parity check of the export alone

    pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
