"""Real graphs, exported from torchvision: adopted, they find what torchvision itself finds."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
pytest.importorskip("onnx")

from edgecv.export.adoption.adopt import Preprocessing, adopt  # noqa: E402
from edgecv.output_spec import LogitsOutput, ObjectsOutput  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402

NAMES = ("cat", "dog", "cow")
BEST = 10  # objects that are compared: among the many faint ones of random weights are ties


def export(network: Any, arguments: Any, path: Path) -> None:
    """Export by tracing: torch.export does not get through torchvision's detectors (2.14)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, arguments, path, dynamo=False, opset_version=17)


def frame_of(size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size_hw, 3), np.uint8)


def enliven(network: Any, size_hw: tuple[int, int]) -> None:
    """Let random weights tell places apart: fit the batch norms, spread the classes' scores."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        features = list(network.train().backbone(torch.randn(2, 3, *size_hw)).values())
        if hasattr(network, "head"):
            network.head(features)
        for name, values in network.named_parameters():
            if ("classification_head" in name or "cls_score" in name) and values.ndim > 1:
                values.mul_(2)
    network.eval()


def tensor_of(frame: np.ndarray) -> Any:
    return torch.from_numpy(frame).permute(2, 0, 1).float() / 255


def ssdlite() -> tuple[Any, tuple[int, int]]:
    network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4, score_thresh=0.0, topk_candidates=50
    )
    return network, (320, 320)


def faster_rcnn() -> tuple[Any, tuple[int, int]]:
    network = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=4,
        box_score_thresh=0.0,
        rpn_score_thresh=0.0,
        rpn_post_nms_top_n_test=30,
        min_size=160,
        max_size=160,
    )
    return network, (160, 160)


@pytest.mark.parametrize(("make", "has_batch"), [(ssdlite, True), (faster_rcnn, False)])
def test_a_detector_finds_what_torchvision_finds(
    tmp_path: Path, make: Callable[[], tuple[Any, tuple[int, int]]], *, has_batch: bool
) -> None:
    torch.manual_seed(0)
    network, size_hw = make()
    enliven(network, size_hw)
    frame = frame_of(size_hw)
    image = tensor_of(frame)
    arguments = (image[None],) if has_batch else ([image],)
    export(network, arguments, tmp_path / "in.onnx")

    adoption = adopt(tmp_path / "in.onnx", tmp_path / "out.onnx", classes=NAMES)
    assert adoption.format == "torchvision"
    assert isinstance(adoption.spec.output, ObjectsOutput)
    assert adoption.spec.output.first_label == 1
    with load(tmp_path / "out.onnx") as model:
        found = model.with_thresholds(score=0.0)(frame, format="rgb24")
    with torch.no_grad():
        wanted = network([image])[0]
    scores = wanted["scores"].numpy()
    assert len(scores) > BEST
    for index in np.argsort(-scores, kind="stable")[:BEST]:
        is_same = (
            (found.class_ids == int(wanted["labels"][index]) - 1)
            & np.isclose(found.scores, scores[index], atol=1e-4)
            & np.isclose(found.boxes_xyxy, wanted["boxes"][index].numpy(), atol=0.05).all(axis=1)
        )
        assert is_same.any(), wanted["boxes"][index]


def test_a_classifier_says_what_torchvision_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_small(weights=None, num_classes=3).eval()
    export(network, (torch.rand(1, 3, 64, 64),), tmp_path / "in.onnx")
    adoption = adopt(
        tmp_path / "in.onnx",
        tmp_path / "out.onnx",
        classes=NAMES,
        preprocessing=Preprocessing(fit="stretch"),
    )
    assert isinstance(adoption.spec.output, LogitsOutput)
    frame = frame_of((64, 64))
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (adoption.spec.input.mean, adoption.spec.input.std)
    )
    with torch.no_grad():
        logits = network(((tensor_of(frame) - mean) / std)[None])
    with load(tmp_path / "out.onnx") as model:
        found = model(frame, format="rgb24").probabilities
    np.testing.assert_allclose(found, logits.softmax(dim=1)[0].numpy(), atol=1e-5)


def test_a_segmenter_and_its_auxiliary_are_described(tmp_path: Path) -> None:
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ).eval()

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            out = self.network(images)["out"]
            return out, out / 2  # as those with an auxiliary head give it

    export(Both(), (torch.rand(1, 3, 64, 96),), tmp_path / "in.onnx")
    adoption = adopt(tmp_path / "in.onnx", tmp_path / "out.onnx", classes=NAMES)
    assert (adoption.format, adoption.spec.task) == ("logits", "segment")
    assert adoption.spec.input.size_hw == (64, 96)
    assert len(adoption.notes) == 1
    assert adoption.notes[0].endswith("[1, 3, 64, 96] is left out")
