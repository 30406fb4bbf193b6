"""Trying other inputs: the way in which a model was trained to be fed stands out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.adoption.adopt import Preprocessing, adopt  # noqa: E402
from edgecv.export.adoption.adoption_check import (  # noqa: E402
    best_of,
    check_picture_path,
    confidences,
    describe_input,
    is_clear,
    options_of,
    try_inputs,
    write_check,
)
from edgecv.export.adoption.conventions import IMAGENET_MEAN  # noqa: E402
from edgecv.results import Classification, Detections, Result  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402

BLUE, RED = 230, 20


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    path = tmp_path / "blue.png"
    Image.fromarray(np.full((64, 64, 3), (RED, 40, BLUE), np.uint8)).save(path)
    return path


def adopt_thermometer(tmp_path: Path, **preprocessing: Any) -> Path:
    """Adopt a detector of one object whose score is the first channel's mean / 255.

    It was trained on pixel values 0..255, and its first channel is the one that is bright.
    """
    nodes = [
        helper.make_node("Gather", ["images", "first"], ["channel"], axis=1),
        helper.make_node("ReduceMean", ["channel"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "unit"], ["score"]),
        helper.make_node("Reshape", ["score", "one"], ["cell"]),
        helper.make_node("Concat", ["box", "cell", "class"], ["rows"], axis=2),
    ]
    constants = {
        "first": np.int64(0),
        "unit": np.float32(1 / 255),
        "one": np.ones(3, np.int64),
        "box": np.array([[[16, 16, 48, 48]]], np.float32),
        "class": np.zeros((1, 1, 1), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "thermometer",
        [helper.make_tensor_value_info("images", 1, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("rows", 1, [1, 1, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "in.onnx")
    path = tmp_path / "out.onnx"
    wanted = Preprocessing(**preprocessing)
    adopt(tmp_path / "in.onnx", path, "yolov10", ("thing",), preprocessing=wanted)
    return path


def test_the_way_of_its_training_stands_out(tmp_path: Path, blue: Path) -> None:
    done = []
    with load(adopt_thermometer(tmp_path)) as model:
        trials = try_inputs(model, [blue, blue], lambda *step: done.append(step))
    assert done[-1] == (24, 24)  # 2 orders of colours, 4 ranges of values, 3 fits
    assert (trials[0].changed, trials[0].confidence) == ((), 0)
    best = best_of(trials)
    assert best.changed == ("bgr", "0..255")  # the fit makes no difference: it is left alone
    assert best.confidence == pytest.approx(BLUE / 255, abs=1e-3)
    assert best.top_mean == pytest.approx(BLUE / 255 / 5, abs=1e-3)
    assert is_clear(best, trials[0], 1)
    assert describe_input(best.input) == "bgr, 0..255, letterbox, pad 114"
    assert options_of(best.input) == (
        "--input-colour bgr --fit letterbox --scale 1 --mean=0 --std 1"
    )


def test_a_right_description_is_the_best(tmp_path: Path, blue: Path) -> None:
    with load(adopt_thermometer(tmp_path, colour="bgr", scale=1.0)) as model:
        trials = try_inputs(model, [blue])
    assert best_of(trials) is trials[0]
    assert not is_clear(trials[0], trials[0], 1)


def test_every_way_is_fed_as_it_says(tmp_path: Path, blue: Path) -> None:
    with load(adopt_thermometer(tmp_path, colour="bgr", scale=1.0, fit="stretch")) as model:
        trials = try_inputs(model, [blue])
    by_words = {trial.changed: trial.input for trial in trials}
    assert len(by_words) == len(trials) == 24
    assert by_words[("rgb",)].colour == "rgb"
    assert by_words[("top-left",)].fit == "top-left"
    assert by_words[("0..1",)].scale == 1 / 255
    # Values are in the order of the channels, and these begin with blue.
    assert by_words[("ImageNet",)].mean == IMAGENET_MEAN[::-1]
    assert by_words[("rgb", "ImageNet")].mean == IMAGENET_MEAN
    signed = by_words[("-1..1",)]
    assert 255 * signed.scale - signed.mean[0] == pytest.approx(1)


def test_a_difference_must_exceed_what_images_vary() -> None:
    trial = best_of([make_trial(1.0, ()), make_trial(1.4, ("rgb",))])
    assert trial.changed == ("rgb",)
    assert not is_clear(trial, make_trial(1.0, ()), 1)
    assert is_clear(trial, make_trial(1.0, ()), 4)  # 1 + 0.5 / sqrt(4) = 1.25 times


def make_trial(confidence: float, changed: tuple[str, ...]) -> Any:
    from edgecv.export.adoption.adoption_check import Trial
    from edgecv.spec import InputSpec

    return Trial(InputSpec("x", (8, 8)), changed, Detections.empty(), confidence, 0)


def test_the_picture_shows_what_differs_in_one_thing_and_the_best(
    tmp_path: Path, blue: Path
) -> None:
    with load(adopt_thermometer(tmp_path)) as model:
        trials = try_inputs(model, [blue])
    write_check(trials, [blue], tmp_path / "check.png", ("thing",))
    with Image.open(tmp_path / "check.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    # Described, bgr, three ranges, two fits, and the best, which differs in two things.
    frames = {
        colour: (pixels == colour).all(axis=2) for colour in ((236, 238, 242), (86, 222, 120))
    }
    rows, columns = (np.flatnonzero(frames[86, 222, 120].any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (64, 64)  # the tile's own size: around it and nothing else
    assert frames[86, 222, 120].sum() == 64 * 64 - 54 * 54
    assert frames[236, 238, 242].sum() >= 64 * 64 - 54 * 54  # and the title's letters


def test_confidence_is_the_sum_of_the_scores() -> None:
    boxes = np.zeros((6, 4), np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
    found = confidences(Detections(boxes, scores, np.zeros(6, np.int32)))
    assert found == pytest.approx((3.9, 3.5 / 5))
    one = confidences(Classification(np.array([0.3, 0.7], np.float32)))
    assert one == pytest.approx((0.7, 1 / 5))
    assert confidences(Detections.empty()) == (0, 0)


def test_a_result_without_scores_is_refused() -> None:
    class Other(Result):
        def to_records(self, classes: Any) -> Any: ...
        def counted(self) -> Any: ...
        def headline(self, classes: Any) -> Any: ...

    with pytest.raises(InputError, match=r"and a Other has none\. Look at it with `edgecv run"):
        confidences(Other())


def test_a_picture_of_another_kind_is_refused() -> None:
    check_picture_path(Path("a.JPG"))
    with pytest.raises(InputError, match=r"must end in .jpg, .*, got `a.gif`"):
        check_picture_path(Path("a.gif"))


def test_yolox_is_best_as_its_project_feeds_it(shared_data: Path, tmp_path: Path) -> None:
    """Described as a YOLO would be, it finds nothing; its own way is found on four images."""
    from edgecv.classes import parse_classes

    source = shared_data / "weights" / "yolox_nano_416.onnx"
    wrong = Preprocessing(colour="rgb", fit="letterbox", scale=1 / 255)
    adopt(source, tmp_path / "x.onnx", "auto", parse_classes("coco"), preprocessing=wrong)
    folder = shared_data / "coco" / "val2017"
    names = ("000000017627", "000000062554", "000000000139", "000000000802")
    with load(tmp_path / "x.onnx") as model:
        trials = try_inputs(model, [folder / f"{name}.jpg" for name in names])
    best = best_of(trials)
    assert trials[0].confidence == 0
    assert describe_input(best.input) == "bgr, 0..255, top-left, pad 114"
    assert is_clear(best, trials[0], len(names))
