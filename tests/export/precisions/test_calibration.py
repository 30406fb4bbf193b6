"""Calibration: ranges of known tensors, bad input by name, and a table that survives JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgecv.errors import InputError
from edgecv.export.precisions.calibration import (
    Calibration,
    ImageFeed,
    Observer,
    calibrate,
    image_feeds,
    smaller_than_input,
)
from edgecv.export.precisions.ranges import TensorRange
from edgecv.runtime.model import load


def conv_chain(weight: float = 2.0) -> onnx.ModelProto:
    """An image doubled by a wide Conv, cut by a Relu, summed by another Conv."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17]>
        chain (float[N, 16, 4, 4] x) => (float[N, 16, 4, 4] y) {
            c = Conv<pads = [1, 1, 1, 1]>(x, w1)
            r = Relu(c)
            y = Conv<pads = [1, 1, 1, 1]>(r, w1)
        }""")
    for node, name in zip(model.graph.node, ("first", "relu", "second"), strict=True):
        node.name = name
    eye = np.zeros((16, 16, 3, 3), np.float32)  # wide enough to be no stem
    eye[:, :, 1, 1] = weight * np.eye(16)
    model.graph.initializer.append(onnx.numpy_helper.from_array(eye, "w1"))
    return model


def feed(low: float, high: float) -> dict[str, NDArray[np.float32]]:
    values = np.full((1, 16, 4, 4), 0.5, np.float32)
    values[0, 0, 0, :2] = low, high
    return {"x": values}


def test_ranges_are_over_all_images() -> None:
    found = calibrate(conv_chain(), [feed(-1, 1), feed(0, 3)], method="min-max", threads=1)
    assert found.num_images == 2
    assert found.of("x") == TensorRange(-1, 3, 3)
    assert found.of("r") == TensorRange(0, 6, 6)
    assert found.of("y") == TensorRange(0, 12, 12)


def test_it_can_be_asked_at_any_time_and_by_any_method() -> None:
    observer = Observer(conv_chain(), threads=1)
    observer.observe(feed(-1, 1))
    assert observer.calibration("min-max").of("x") == TensorRange(-1, 1, 1)
    observer.observe(feed(-2, 1))
    assert observer.calibration("mse").of("x").low < -1
    assert observer.calibration("mse").num_images == 2


def test_what_results_are_read_from_keeps_its_whole_range() -> None:
    rng = np.random.default_rng(0)
    many = [{"x": rng.random((1, 16, 4, 4), np.float32)} for _ in range(200)]
    many[0]["x"][0, 0, 0, 0] = 50
    found = calibrate(conv_chain(), many, method="percentile", threads=1)
    assert found.of("r").high < 10
    assert found.of("y").high == 200


def test_every_batch_is_reported() -> None:
    calls = []
    batches = [feed(0, 1)] * 3
    calibrate(conv_chain(), batches, method="min-max", on_batch=lambda: calls.append(1), threads=1)
    assert len(calls) == 3


def test_nothing_to_calibrate_with_is_refused() -> None:
    with pytest.raises(InputError, match="no images to calibrate with"):
        calibrate(conv_chain(), [], method="min-max", threads=1)


def test_an_infinite_value_names_layer_and_image(tmp_path: Path) -> None:
    observer = Observer(conv_chain(3e38), threads=1)
    overflowing = ImageFeed(feed(0, 3), tmp_path / "bright.png")
    with pytest.raises(InputError, match=r"`first` \(Conv\) .*bright\.png"):
        observer.observe(overflowing)
    with pytest.raises(InputError, match=r"the input `x` .* number 0"):
        observer.observe(feed(np.nan, 1))
    assert observer.num_images == 0


def test_a_graph_that_does_not_run_is_refused() -> None:
    model = conv_chain()
    model.opset_import.add(domain="elsewhere", version=1)
    model.graph.node[1].domain = "elsewhere"
    with pytest.raises(InputError, match="cannot run the graph"):
        Observer(model, threads=1)


def test_a_table_survives_json() -> None:
    table = calibrate(conv_chain(), [feed(-1, 1)], method="entropy", threads=1)
    assert Calibration.from_plain(json.loads(json.dumps(table.to_plain()))) == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "`schema` 1, got 2"),
        ({"method": "median"}, "`calibration.method` must be one of"),
        ({"extra": 1}, "unknown key `calibration.extra`"),
        ({"ranges": {"x": {"low": 1.0, "high": 2.0, "magnitude": 2.0}}}, "ranges around zero"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    plain = calibrate(conv_chain(), [feed(-1, 1)], method="min-max", threads=1).to_plain()
    with pytest.raises(InputError, match=message):
        Calibration.from_plain(plain | change)


def test_a_table_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"no range of the tensor `z`.*another model"):
        Calibration("mse", 1, {}).of("z")


def test_images_pass_the_models_own_pipeline(exported: Path, scenes: Path) -> None:
    paths = sorted((scenes / "train").glob("*.png"))[:2]
    with load(exported / "fused.onnx", "cpu", threads=1) as model:
        feeds = list(image_feeds(model, paths))
        wanted, _ = model.fit(np.asarray(Image.open(paths[1]).convert("RGB")), format="rgb24")
        assert [list(one) for one in feeds] == [[model.spec.input.name]] * 2
        np.testing.assert_array_equal(feeds[1][model.spec.input.name], wanted)
        found = calibrate(onnx.load(exported / "fused.onnx"), feeds, method="mse", threads=1)
    assert found.num_images == 2


def test_images_with_less_detail_than_the_network_sees_are_found(
    exported: Path, tmp_path: Path
) -> None:
    sizes = {"small": (127, 95), "wide": (128, 40), "equal": (128, 96), "large": (640, 480)}
    paths = [tmp_path / f"{name}.png" for name in sizes]
    for path, size in zip(paths, sizes.values(), strict=True):
        Image.new("RGB", size).save(path)
    with load(exported / "raw.onnx", "cpu", threads=1) as model:
        assert smaller_than_input(model, paths) == (paths[0],)


def test_an_image_that_cannot_be_read_is_named(exported: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with load(exported / "raw.onnx", "cpu", threads=1) as model:
        with pytest.raises(InputError, match=r"broken\.png"):
            list(image_feeds(model, [broken]))
        with pytest.raises(InputError, match=r"broken\.png"):
            smaller_than_input(model, [broken])
