"""Two-stage detectors in the real TensorRT, with EdgeRoiAlign or EdgeRoiPool beside EdgeNMS.

`pytest -m tensorrt` on a machine with a GPU.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402

from edgecv.export.comparison.parity import Tolerance  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx  # noqa: E402
from edgecv.export.graphs.simplify import simplify  # noqa: E402
from edgecv.export.precisions.fp16 import to_fp16  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402

pytestmark = pytest.mark.tensorrt

SIZE_HW = (192, 128)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "design",
    [
        {"with_masks": True},
        {"with_masks": False, "roi": "pool"},
        {"with_masks": True, "features": "c4", "roi": "pool"},
    ],
    ids=["align", "pool", "pool-c4"],
)
def test_an_engine_finds_what_onnxruntime_finds(
    pair_of: Callable[..., Any],
    noise: Callable[..., Any],
    engine_of: Callable[..., Path],
    scenes: Path,
    tmp_path: Path,
    design: dict[str, Any],
    precision: str,
) -> None:
    detector = pair_of(SIZE_HW, **design).ours
    spec = ModelSpec(
        task=detector.task,
        classes=("circle", "square", "triangle"),
        input=InputSpec("images", SIZE_HW, mean=(0.5,) * 3, std=(0.15,) * 3),
        output=detector.output_spec(),
        postprocess=PostprocessSpec(score_threshold=0.05),
    )
    images = sorted((scenes / "test").glob("*.png"))[:1]
    path = tmp_path / "model.onnx"
    export_onnx(detector, spec, path, images, options=ExportOptions(), tolerance=Tolerance())
    if precision == "fp16":
        onnx.save(to_fp16(simplify(read_onnx(path))).model, path)
    with load(engine_of(path)) as engine, load(path, "cpu", backend="onnxruntime") as model:
        for batch in (1, 4):
            pixels = noise(batch, SIZE_HW).numpy()
            found, expected = (one.infer(pixels) for one in (engine, model))
            assert expected["num_detections"].sum() > 0
            if precision == "fp16":  # which of two near ties wins is a matter of rounding
                counts = [outputs["num_detections"].sum() for outputs in (found, expected)]
                assert counts[0] == pytest.approx(counts[1], rel=0.1, abs=2)
                continue
            np.testing.assert_array_equal(found["classes"], expected["classes"])
            np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)
            np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
            if design["with_masks"]:
                valid = expected["classes"] >= 0
                np.testing.assert_allclose(
                    found["masks"][valid], expected["masks"][valid], atol=1e-3
                )
