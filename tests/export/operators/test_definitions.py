"""Operators of the domain `edgecv` in a graph: what is written, and what onnxruntime computes."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

from edgecv.export.operators.definitions import define_operators, operator_of  # noqa: E402
from edgecv.export.operators.edge_roi import EdgeRoiAlign, EdgeRoiPool  # noqa: E402
from edgecv.export.operators.translation import translation_table  # noqa: E402
from edgecv.kernels import roi_align_pyramid, roi_pool  # noqa: E402
from edgecv.models.operators import align_pyramid, pool_max, suppress  # noqa: E402


class Chain(torch.nn.Module):
    """Operators in the middle of a graph, of one kind with different attributes."""

    def forward(
        self, fine: Any, coarse: Any, rois: Any, boxes: Any, scores: Any, threshold: Any
    ) -> Any:
        _, kept, values, _ = suppress(boxes, scores, 0.0, 0.5, max_detections=9)
        two_classes = torch.stack([values, values / 2], dim=-1)
        found = suppress(kept, two_classes, threshold, 0.3, max_detections=5, class_agnostic=True)
        maps = [fine, coarse]
        return (
            *found,
            align_pyramid(maps, rois, (7, 5), strides=(4, 8)),
            align_pyramid(maps, kept, (2, 2), strides=(4, 8), sampling_ratio=0, aligned=True),
            align_pyramid(maps, kept, (7, 5), strides=(4, 8)),
            pool_max(fine, rois, (3, 2), stride=4),
        )


def arguments(batch: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(batch)

    def boxes(count: int, place: float, side: float) -> Any:
        corner = place * torch.rand(batch, count, 2, generator=generator)
        sides = side * torch.rand(batch, count, 2, generator=generator)
        return torch.cat([corner, corner + sides], dim=-1)

    return {
        "fine": torch.randn(batch, 3, 80, 100, generator=generator),
        "coarse": torch.randn(batch, 3, 40, 50, generator=generator),
        "rois": boxes(30, 300, 250),
        "boxes": boxes(20, 60, 80),
        "scores": torch.rand(batch, 20, 2, generator=generator),
        "threshold": torch.tensor(0.2),
    }


def exported(module: Any, example: dict[str, Any], opset: int) -> Any:
    batch = {0: torch.export.Dim("batch", min=1)}
    program = torch.onnx.export(
        module.eval(),
        tuple(example.values()),
        dynamo=True,
        opset_version=opset,
        input_names=list(example),
        dynamic_shapes=tuple(batch if value.ndim else None for value in example.values()),
        custom_translation_table=translation_table(),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    model.ir_version = 10
    define_operators(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def session_of(model: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.filterwarnings("ignore")  # the exporter's, on its own internals
@pytest.mark.parametrize("opset", [19, 20])
def test_a_graph_computes_what_pytorch_does(opset: int) -> None:
    model = exported(Chain(), arguments(2), opset)
    assert [(function.name, function.overload) for function in model.functions] == [
        ("EdgeNMS", "1"),
        ("EdgeNMS", "2"),
        ("EdgeRoiAlign", "1"),
        ("EdgeRoiAlign", "2"),
        ("EdgeRoiPool", ""),
    ]
    nodes = [node for node in model.graph.node if node.domain == "edgecv"]
    assert len(nodes) == 6
    for node in nodes:
        attributes = {entry.name: entry.s for entry in node.attribute}
        assert (attributes["plugin_version"], attributes["plugin_namespace"]) == (b"1", b"edgecv")
    session = session_of(model)
    for batch in (1, 2, 3):
        example = arguments(batch)
        outputs = session.run(None, {name: value.numpy() for name, value in example.items()})
        for found, wanted in zip(outputs, Chain()(*example.values()), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def one_node(operator: EdgeRoiAlign | EdgeRoiPool, **attributes: Any) -> Any:
    """A graph of one node, with its definition."""
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    num_maps = len(attributes.get("spatial_scales", [1]))
    maps = {f"map_{level}": ["B", "C", f"H{level}", f"W{level}"] for level in range(num_maps)}
    inputs = {"rois": ["B", "R", 4], **maps}
    if isinstance(operator, EdgeRoiPool):
        inputs = {**maps, "rois": ["B", "R", 4]}
    node = onnx.helper.make_node(
        operator.OPERATOR,
        list(inputs),
        ["bins"],
        domain="edgecv",
        output_height=operator.output_size_hw[0],
        output_width=operator.output_size_hw[1],
        plugin_version="1",
        plugin_namespace="edgecv",
        **attributes,
    )
    graph = onnx.helper.make_graph(
        [node],
        "regions",
        [value(name, kind, shape) for name, shape in inputs.items()],
        [value("bins", kind, ["B", "R", "C", "h", "w"])],
    )
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    assert operator_of(model.graph.node[0]) == operator
    define_operators(model)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("num_levels", [1, 2, 4])
def test_regions_are_aligned_on_the_level_of_the_kernel(num_levels: int) -> None:
    scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32][:num_levels]
    operator = EdgeRoiAlign((2, 3), tuple(scales))
    model = one_node(
        operator,
        spatial_scales=scales,
        sampling_ratio=2,
        aligned=0,
        canonical_level=4,
        canonical_size=224.0,
    )
    rng = np.random.default_rng(num_levels)
    maps = [rng.standard_normal((1, 2, 256 >> k, 256 >> k)).astype(np.float32) for k in range(4)]
    maps = maps[:num_levels]
    # Squares of a level's least side, a float less and a float more; what is empty and inverted.
    sides = np.float32([56, 112, 224, 448])
    sides = np.concatenate([sides, np.nextafter(sides, np.float32(0)), np.nextafter(sides, 9999)])
    rois = np.zeros((1, len(sides) + 202, 4), np.float32)
    rois[0, : len(sides), 2:] = sides[:, None]
    rois[0, len(sides) + 1] = (60, 50, 20, 90)
    corner = rng.uniform(-50, 900, (200, 2))
    rois[0, -200:] = np.concatenate([corner, corner + 600 ** rng.uniform(0, 1, (200, 2))], axis=1)
    feeds = {"rois": rois, **{f"map_{k}": x for k, x in enumerate(maps)}}
    (found,) = session_of(model).run(None, feeds)
    expected = roi_align_pyramid(
        maps, rois[0], (2, 3), spatial_scales=scales, sampling_ratio=2, aligned=False
    )
    area_known = np.arange(rois.shape[1]) != len(sides) + 1  # negative: outside the contract
    np.testing.assert_allclose(found[0][area_known], expected[area_known], atol=1e-5)


def test_regions_are_pooled_like_the_kernel() -> None:
    """Corners at halves of a cell, empty, inverted and outside RoIs."""
    model = one_node(EdgeRoiPool((3, 2), 0.125), spatial_scale=0.125)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 3, 11, 14)).astype(np.float32)
    rois = rng.integers(-10, 40, (2, 400, 4)).astype(np.float32) * 4
    (found,) = session_of(model).run(None, {"map_0": features, "rois": rois})
    expected = roi_pool(
        features,
        rois.reshape(-1, 4),
        (3, 2),
        spatial_scale=0.125,
        batch_ids=np.repeat(np.arange(2, dtype=np.int32), 400),
    )
    np.testing.assert_array_equal(found, expected.reshape(found.shape))


@pytest.mark.parametrize(
    "operator", [EdgeRoiAlign((2, 3), (0.25, 0.125)), EdgeRoiPool((3, 2), 0.5)]
)
def test_features_may_be_float16_beside_float32_regions(
    operator: EdgeRoiAlign | EdgeRoiPool,
) -> None:
    """Coordinates and sums are float32: the result is float32's, rounded once."""
    scales = {"spatial_scale": 0.5}
    if isinstance(operator, EdgeRoiAlign):
        scales = {
            "spatial_scales": list(operator.spatial_scales),
            "sampling_ratio": 2,
            "aligned": 0,
            "canonical_level": 4,
            "canonical_size": 224.0,
        }
    model = one_node(operator, **scales)
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for value in (*half.graph.input, *half.graph.output):
        if value.name != "rois":
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.checker.check_model(half, full_check=True)
    rng = np.random.default_rng(0)
    maps = {
        name: rng.standard_normal((2, 3, 20, 20)).astype(np.float16)
        for name in (value.name for value in model.graph.input)
        if name != "rois"
    }
    corner = rng.uniform(0, 60, (2, 30, 2))
    sizes = rng.uniform(1, 300, (2, 30, 2))
    rois = np.concatenate([corner, corner + sizes], axis=-1).astype(np.float32)
    whole = {name: value.astype(np.float32) for name, value in maps.items()}
    (wanted,) = session_of(model).run(None, {"rois": rois, **whole})
    (found,) = session_of(half).run(None, {"rois": rois, **maps})
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, wanted.astype(np.float16))

    half.graph.input[
        0 if isinstance(operator, EdgeRoiAlign) else 1
    ].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(half, full_check=True)


def test_an_unknown_node_is_refused() -> None:
    node = onnx.helper.make_node("EdgeWarp", [], ["y"], domain="edgecv", output_height=1)
    node.attribute.append(onnx.helper.make_attribute("output_width", 1))
    with pytest.raises(ValueError, match="no operator EdgeWarp"):
        operator_of(node)
