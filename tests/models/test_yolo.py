"""YOLO: its sizes, its choice of backbone, and that an export says the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from edgecv.export.comparison.parity import Tolerance  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402


def parameters(name: str) -> int:
    return sum(p.numel() for p in build_model(name, 80, (64, 64)).parameters())


def test_sizes_grow() -> None:
    counts = [parameters(name) for name in ("yolo_n", "yolo_s", "yolo_m")]
    assert counts == sorted(counts)
    assert counts[0] < 4e6
    assert counts[2] < 30e6


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
def test_any_backbone_carries_it(backbone: str) -> None:
    model = build_model("yolo_n", 2, (64, 96), backbone=backbone).eval()
    assert model.backbone().name == backbone
    with torch.inference_mode():
        (head,) = model(torch.zeros(1, 3, 64, 96))
    assert head.shape == (1, 64 + 2, 96 + 24 + 6)


@pytest.mark.parametrize(
    ("name", "size_hw", "head"),
    [
        ("yolo_n", (96, 128), "fused"),
        ("yolo_n", (96, 128), "raw"),
        ("fcos", (128, 96), "raw"),  # fused it is in test_same_accuracy.py
    ],
)
def test_an_export_matches(
    scenes: Path,
    tmp_path: Path,
    tensorrt_takes: Callable[[Path], None],
    name: str,
    size_hw: tuple[int, int],
    head: str,
) -> None:
    torch.manual_seed(0)
    model = build_model(name, 3, size_hw).eval()
    spec = ModelSpec(
        task="detect",
        classes=("a", "b", "c"),
        input=InputSpec(name="images", size_hw=size_hw),
        output=model.output_spec(),
        # Below the score of an untrained cell, so that there is something to compare.
        postprocess=PostprocessSpec(score_threshold=0.005, multi_label=True),
    )
    images = sorted((scenes / "test").glob("*.png"))[:2]
    options = ExportOptions(head="fused" if head == "fused" else "raw")
    path = tmp_path / "model.onnx"
    # Untrained scores are alike: one that rounds across the limit of 100 is another detection.
    tolerance = Tolerance(unmatched=0.05)
    report = export_onnx(model, spec, path, images, options=options, tolerance=tolerance)
    assert report.num_reference > 0
    tensorrt_takes(path)
