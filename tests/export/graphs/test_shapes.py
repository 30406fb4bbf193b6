"""Shape inference through operators of edgecv that the file does not define."""

from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, parser  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.graphs.shapes import infer_shapes  # noqa: E402

PLUGIN = 'plugin_version = "1", plugin_namespace = "edgecv"'
ALIGN = (
    "edgecv.EdgeRoiAlign <output_height = 7, output_width = 5, spatial_scales = [0.25, 0.125], "
    "sampling_ratio = 2, aligned = 0, canonical_level = 4, canonical_size = 224.0, " + PLUGIN + ">"
)
POOL = f"edgecv.EdgeRoiPool <output_height = 7, output_width = 5, spatial_scale = 0.25, {PLUGIN}>"
SUPPRESS = (
    "edgecv.EdgeNMS <max_detections = 9, class_agnostic = 0, background_class = -1, " + PLUGIN + ">"
)


def opaque(body: str, inputs: str) -> Any:
    """A graph whose output `y` is the negative of what `body` makes, without definitions."""
    return parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : 20, "edgecv" : 1]>
opaque ({inputs}) => (float y) {{
{body}
y = ReduceSum <keepdims: int = 0> (made)
}}""")


def made(model: Any) -> tuple[list[int | str], int]:
    """The shape of `made` and its type."""
    value = next(v for v in infer_shapes(model).graph.value_info if v.name == "made")
    sides = value.type.tensor_type.shape.dim
    return [side.dim_param or side.dim_value for side in sides], value.type.tensor_type.elem_type


@pytest.mark.parametrize("kind", ["float", "float16"])
def test_bins_have_the_regions_the_channels_and_the_type_of_the_features(kind: str) -> None:
    maps = f"{kind}[batch, 8, 20, h] fine, {kind}[batch, 8, 10, w] coarse"
    rois = "float[batch, regions, 4] rois"
    for body in (f"bins = {ALIGN} (rois, fine, coarse)", f"bins = {POOL} (fine, rois)"):
        model = opaque(f"{body}\nmade = Cast <to: int = 1> (bins)", f"{maps}, {rois}")
        assert made(model) == (["batch", "regions", 8, 7, 5], TensorProto.FLOAT)


def test_the_outputs_of_a_suppression_follow_from_its_attributes() -> None:
    inputs = "float[4, n, 4] boxes, float[4, n, 3] scores, float t, float u"
    body = f"num, made, best, classes = {SUPPRESS} (boxes, scores, t, u)"
    assert made(opaque(body, inputs)) == ([4, 9, 4], TensorProto.FLOAT)


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        (
            f"made = {POOL} (maps, rois)",
            "float[2, 8, 20, 20] maps, float16[2, 5, 4] rois",
            "regions of interest must be float32",
        ),
        (
            f"made = {POOL} (maps, rois)",
            "float[2, 8, 20, 20] maps, float[5, 4] rois",
            "input 1 must have rank 3, got 2",
        ),
        (
            f"num, made, best, classes = {SUPPRESS} (boxes, scores, t, t)",
            "float[9, 4] boxes, float[9, 3] scores, float t",
            "input 0 must have rank 3, got 2",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(body: str, inputs: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"contradict each other.*{message}"):
        infer_shapes(opaque(body, inputs))
