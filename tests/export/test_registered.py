"""Every registered model makes a graph that TensorRT's parsers take, in every form.

Tracing a network takes seconds. What another test exports anyway is walked there; networks that
are built of the same parts as another one, in other sizes, are walked where `EDGECV_EVERY_MODEL` is
set.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgecv.export.comparison.parity import Tolerance  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.models import build_model, model_names, model_task  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, Provenance  # noqa: E402

SIZE_HW = (64, 96)
HERE = ("ssd300",)
ELSEWHERE = {
    "faster_rcnn": "models/two_stage/test_export.py",
    "mask_rcnn": "models/two_stage/test_export.py",
    "keypoint_rcnn": "models/two_stage/test_keypoint_rcnn.py",
    "fast_rcnn": "models/two_stage/test_external.py",
    "rcnn": "models/two_stage/test_external.py",
    "yolo_n": "models/test_yolo.py",
    "fcos": "models/test_yolo.py",
    "retinanet": "test_same_accuracy.py",
    "ssdlite": "test_same_accuracy.py",
    "ssd_mobilenetv2": "this file, as trained for other tests",
    "lenet": "this file, as trained for other tests",
}
OF_THE_SAME_PARTS = {
    "faster_rcnn_lite": "faster_rcnn",
    "mask_rcnn_lite": "mask_rcnn",
    "keypoint_rcnn_lite": "keypoint_rcnn",
    "yolo_s": "yolo_n",
    "yolo_m": "yolo_n",
    "ssd512": "ssd300",
}
LOOSE = Tolerance(*[float("inf")] * 6)  # of random weights nothing is asked but the graph


def build(name: str) -> Any:
    torch.manual_seed(0)
    points = {"num_keypoints": 3} if model_task(name) == "keypoints" else {}
    return build_model(name, 3, SIZE_HW, **points).eval()


def export(name: str, path: Path, images: list[Path]) -> None:
    network = build(name)
    spec = ModelSpec(
        task=network.task,
        classes=("a", "b", "c"),
        input=InputSpec("images", SIZE_HW),
        output=network.output_spec(),
        proposals=network.proposals_spec(),
        keypoints=("x", "y", "z") if network.task == "keypoints" else (),
        provenance=Provenance(model=name),
    )
    export_onnx(network, spec, path, images, options=ExportOptions(), tolerance=LOOSE)


def test_no_registered_model_is_forgotten() -> None:
    walked = {*HERE, *ELSEWHERE, *OF_THE_SAME_PARTS}
    assert walked == set(model_names())
    for name, other in OF_THE_SAME_PARTS.items():
        assert type(build(name)) is type(build(other))


@pytest.mark.parametrize("name", model_names())
def test_every_parser_takes_it(
    name: str, scenes: Path, tmp_path: Path, tensorrt_takes: Callable[[Path], None]
) -> None:
    if name not in HERE and "EDGECV_EVERY_MODEL" not in os.environ:
        place = ELSEWHERE.get(name) or f"as {OF_THE_SAME_PARTS[name]}"
        pytest.skip(f"walked in {place}; set EDGECV_EVERY_MODEL for all of them")
    path = tmp_path / f"{name}.onnx"
    export(name, path, sorted((scenes / "test").glob("*.png"))[:1])
    tensorrt_takes(path)


@pytest.mark.parametrize("head", ["fused", "raw"])
def test_every_parser_takes_what_other_tests_train(
    head: str,
    exported: Path,
    exported_classifier: Path,
    tensorrt_takes: Callable[[Path], None],
) -> None:
    tensorrt_takes(exported / f"{head}.onnx")
    tensorrt_takes(exported_classifier / f"{head}.onnx")
