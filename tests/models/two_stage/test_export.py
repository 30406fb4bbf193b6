"""Two-stage detectors exported: onnxruntime alone finds what PyTorch finds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.comparison.parity import Tolerance  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.images import read_image  # noqa: E402
from edgecv.models.fused import FusedTorchSession  # noqa: E402
from edgecv.results import Instances  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402


def describe(model: Any, size_hw: tuple[int, int]) -> ModelSpec:
    return ModelSpec(
        task=model.task,
        classes=("circle", "square", "triangle"),
        # Values about as far apart as the noise that the norms have seen.
        input=InputSpec("images", size_hw, mean=(0.5,) * 3, std=(0.15,) * 3),
        output=model.output_spec(),
        postprocess=PostprocessSpec(score_threshold=0.05),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size_hw", "design", "options", "operators"),
    [
        (
            (192, 128),
            {"with_masks": True},
            ExportOptions(opset=20, max_detections=40),
            [("EdgeRoiAlign", "1"), ("EdgeRoiAlign", "2")],
        ),
        (
            (128, 160),
            {"with_masks": False, "roi": "pool"},
            ExportOptions(opset=19, batch=4, max_detections=50),
            [("EdgeRoiPool", str(level)) for level in range(1, 5)],
        ),
        (
            (192, 128),
            {"with_masks": True, "features": "c4", "roi": "pool"},
            ExportOptions(max_detections=30),
            [("EdgeRoiPool", "")],
        ),
    ],
)
def test_the_file_finds_what_pytorch_finds(
    pair_of: Callable[..., Any],
    noise: Callable[..., Any],
    tensorrt_takes: Callable[[Path], None],
    scenes: Path,
    tmp_path: Path,
    size_hw: tuple[int, int],
    design: dict[str, Any],
    options: ExportOptions,
    operators: list[tuple[str, str]],
) -> None:
    detector = pair_of(size_hw, **design).ours
    with_masks = design["with_masks"]
    spec = describe(detector, size_hw)
    images = sorted((scenes / "test").glob("*.png"))[:2]
    path = tmp_path / "model.onnx"
    report = export_onnx(detector, spec, path, images, options=options, tolerance=Tolerance())
    assert report.num_matched > 5
    if options.batch is None:
        tensorrt_takes(path)

    graph = onnx.load(path)
    regions = [(body.name, body.overload) for body in graph.functions if "NMS" not in body.name]
    assert regions == operators
    with load(path) as model:
        assert model.spec.task == detector.task
        reference = FusedTorchSession(detector, model.spec)
        found = model(images[0])
        assert isinstance(found, Instances) == with_masks
        if isinstance(found, Instances):
            assert found.frame_masks().shape == (len(found), *read_image(images[0]).shape[:2])
        for batch in (1, 4):
            pixels = noise(batch, size_hw).numpy()
            thresholds = {"score_threshold": 0.1, "iou_threshold": 0.4}
            expected = reference.run(pixels, thresholds)
            found = model.session.run(pixels, thresholds)
            assert expected["num_detections"].sum() > 0
            np.testing.assert_array_equal(found["classes"], expected["classes"])
            np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)
            np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
            if with_masks:
                valid = expected["classes"] >= 0
                np.testing.assert_allclose(
                    found["masks"][valid], expected["masks"][valid], atol=1e-3
                )


def test_raw_heads_are_refused(pair_of: Callable[..., Any], scenes: Path, tmp_path: Path) -> None:
    detector = pair_of((192, 128), with_masks=False).ours
    images = sorted((scenes / "test").glob("*.png"))[:1]
    with pytest.raises(InputError, match=r"speak of regions, and nothing outside.*`--head fused`"):
        export_onnx(
            detector,
            describe(detector, (192, 128)),
            tmp_path / "model.onnx",
            images,
            options=ExportOptions(head="raw"),
            tolerance=Tolerance(),
        )
    assert list(tmp_path.iterdir()) == []
