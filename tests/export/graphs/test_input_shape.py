"""Another batch or size: the same results, or a refusal that names what holds the old shape."""

from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import numpy_helper, parser  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.graphs.input_shape import with_batch, with_size  # noqa: E402
from edgecv.export.graphs.metadata import write_spec  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx  # noqa: E402
from edgecv.output_spec import YoloOutput  # noqa: E402
from edgecv.spec import METADATA_KEY, InputSpec, ModelSpec  # noqa: E402

CONV = "Conv <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]>"
RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.standard_normal((3, 3, 3, 3)).astype(np.float32),
    "one_image": np.array([1, 3, -1]),
    "two_images": np.array([2, 3, -1]),
    "all_cells": np.array([0, 3, 64]),
    "one_offset": RNG.standard_normal((1, 3, 8, 8)).astype(np.float32),
    "two_offsets": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32),
    "sizes": np.array([1, 3, 16, 16]),
    "from": np.array([0, 0]),
    "to": np.array([8, 8]),
    "axes": np.array([2, 3]),
    "first": np.array([0]),
    "grown": np.array([1, 3, 8, 8]),
}


def graph(body: str, image: str = "1, 3, 8, 8", output: str = "a, b, c", **settings: Any) -> Any:
    """A graph of `x`; `body` makes `y` of it and of the constants above."""
    model = parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : {settings.get("opset", 20)}]>
tested (float[{image}] x) => (float[{output}] y) {{
{body}
}}""")
    named = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in named
    )
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    return onnx.shape_inference.infer_shapes(model)


def run(model: Any, x: Any) -> Any:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def shape(value: Any) -> list[Any]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("attribute", ["", "<allowzero: int = 1>"])
def test_a_fixed_batch_becomes_free_and_another(attribute: str) -> None:
    model = graph(f"c = {CONV} (x, w)\n y = Reshape {attribute} (c, one_image)")
    x = RNG.standard_normal((3, 3, 8, 8)).astype(np.float32)
    alone = np.concatenate([run(model, image[None]) for image in x])
    for batch in (None, 3):
        result = with_batch(model, batch)
        assert shape(result.graph.input[0]) == ["batch" if batch is None else 3, 3, 8, 8]
        assert shape(result.graph.output[0]) == [batch or "batch", 3, 64]
        # The sums of 27 products of one convolution, perhaps in another order.
        np.testing.assert_allclose(run(result, x), alone, atol=27 * 2**-23 * np.abs(alone).max())
    assert shape(with_batch(with_batch(model, None), 1).graph.output[0]) == [1, 3, 64]


@pytest.mark.parametrize(
    ("body", "image", "node"),
    [
        ("y = Add (x, two_offsets)", "2, 3, 8, 8", r"node `make_y` \(Add\)"),
        (
            """
            t = Transpose <perm: ints = [1, 0, 2, 3]> (x)
            b = Transpose <perm: ints = [1, 0, 2, 3]> (t)
            m = ReduceMax (b, first)
            y = Mul (x, m)""",
            "1, 3, 8, 8",
            r"node `make_m` \(ReduceMax\)",
        ),
    ],
)
def test_a_graph_that_holds_its_batch_is_refused(body: str, image: str, node: str) -> None:
    model = graph(body, image, output="a, b, c, d")
    with pytest.raises(InputError, match=rf"cannot take a batch of 3: ({node}) stands in the way"):
        with_batch(model, 3)


def test_a_free_size_and_another() -> None:
    model = graph(f"c = {CONV} (x, w)\n y = Relu (c)", output="a, b, c, d")
    free, other = with_size(model, None), with_size(model, (16, 24))
    assert shape(free.graph.input[0]) == [1, 3, "height", "width"]
    assert shape(free.graph.output[0])[:2] == [1, 3]
    assert shape(other.graph.output[0]) == [1, 3, 16, 24]
    x = RNG.standard_normal((1, 3, 16, 24)).astype(np.float32)
    np.testing.assert_array_equal(run(free, x), run(other, x))
    # Away from the border, a part of the image alone gives the same.
    part = run(model, np.ascontiguousarray(x[..., :8, :8]))
    largest = np.abs(part).max()
    np.testing.assert_allclose(
        run(other, x)[..., :7, :7], part[..., :7, :7], atol=27 * 2**-23 * largest
    )


@pytest.mark.parametrize(
    ("body", "node"),
    [
        ("y = Add (x, one_offset)", r"node `make_y` \(Add\)"),
        ("c = Relu (x)\n y = Resize (c, , , sizes)", r"node `make_y` \(Resize\)"),
        ("y = Slice (x, from, to, axes)", r"node `make_y` \(Slice\)"),
        ("m = GlobalMaxPool (x)\n y = Expand (m, grown)", r"node `make_y` \(Expand\)"),
        ("r = Reshape (x, all_cells)\n y = Unsqueeze (r, last)", r"node `make_r` \(Reshape\)"),
    ],
)
@pytest.mark.parametrize("size_hw", [None, (16, 24)])
def test_a_graph_that_holds_its_size_is_refused(
    body: str, node: str, size_hw: tuple[int, int] | None
) -> None:
    if "last" in body:
        body = "last = Constant <value_ints: ints = [3]> ()\n" + body
    model = graph(body, output="a, b, c, d")
    what = "any size" if size_hw is None else "16x24 pixels"
    with pytest.raises(InputError, match=rf"cannot take {what}: {node} stands in the way"):
        with_size(model, size_hw)


def test_the_description_follows_the_size() -> None:
    model = graph(f"c = {CONV} (x, w)\n y = Reshape (c, one_image)")
    output = YoloOutput(head="y")
    write_spec(model, ModelSpec("detect", ("a",), InputSpec(name="x", size_hw=(8, 8)), output))
    result = with_size(model, (16, 24))
    (entry,) = [entry for entry in result.metadata_props if entry.key == METADATA_KEY]
    assert ModelSpec.from_json(entry.value).input.size_hw == (16, 24)


def test_a_detector_takes_any_batch_and_no_other_size(exported: Path) -> None:
    for head in ("raw", "fused"):
        model = read_onnx(exported / f"{head}.onnx")
        fixed = with_batch(model, 2)
        assert shape(fixed.graph.output[0])[0] == 2
        assert shape(with_batch(fixed, None).graph.output[0])[0] == "batch"
        with pytest.raises(InputError, match=r"any size: (its description lists the anchors|node)"):
            with_size(model, None)


def test_what_is_no_batch_size_or_image_is_refused() -> None:
    model = graph("y = Relu (x)", output="a, b, c, d")
    with pytest.raises(InputError, match="`batch` must be 1 or more, got 0"):
        with_batch(model, 0)
    with pytest.raises(InputError, match=r"`size_hw` must be positive, got \(0, 4\)"):
        with_size(model, (0, 4))
    flat = graph("y = Relu (x)", image="1, 3", output="a, b")
    with pytest.raises(InputError, match="must have one image input of rank 4, its inputs are x"):
        with_batch(flat, 2)
