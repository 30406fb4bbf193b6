"""`edgecv adopt` from the command line: what it says, what it draws, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

import edgecv as package


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)
    return path


def test_it_says_what_it_believed_and_why(edgecv: Any, foreign_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "adopted.onnx"
    outcome = edgecv("adopt", foreign_onnx, "--classes", "cat,dog", "-o", path)
    assert outcome.code == 0, outcome.err
    assert (
        "Read as yolox: one output [1, 84, 7] = 5 + 2 classes, the cells of strides 8, 16, 32 at "
        "64x64; " in outcome.out
    )
    assert "2 classes, input `images` 64x64 bgr, fit top-left, pad 114" in outcome.out
    with package.load(path) as model:
        assert model.spec.classes == ("cat", "dog")


def test_a_check_draws_its_picture(
    edgecv: Any, foreign_onnx: Path, tmp_path: Path, image: Path
) -> None:
    path = tmp_path / "adopted.onnx"
    words = ("adopt", foreign_onnx, "--classes", "cat,dog", "-o", path, "--check", image)
    outcome = edgecv(*words)
    assert outcome.code == 0, outcome.err
    assert "Check on 1 image: the scores add up to 0.90 as described (1 dog)" in outcome.out
    assert "None of 23 other inputs gives more." in outcome.out
    with Image.open(tmp_path / "adopted-check.jpg") as picture:
        assert picture.format == "JPEG"
    named = tmp_path / "folder" / "named.png"
    assert edgecv(*words, "--check", image, "--check-output", named, "-q").out == ""
    with Image.open(named) as picture:
        assert picture.format == "PNG"


@pytest.fixture
def brightness(tmp_path: Path) -> Path:
    """A file that finds one object, the more surely the greater the values of the input are."""
    import onnx
    from onnx import helper, numpy_helper

    constants = {
        "box": np.array([[[4, 4, 8, 8]]], np.float32),
        "class": np.zeros((1, 1, 1), np.float32),
        "one": np.ones(3, np.int64),
        "unit": np.float32(1 / 255),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "unit"], ["score"]),
        helper.make_node("Reshape", ["score", "one"], ["cell"]),
        helper.make_node("Concat", ["box", "cell", "class"], ["rows"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", 1, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("rows", 1, [1, 1, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "bright.onnx"
    onnx.save(model, path)
    return path


def test_a_check_tells_of_a_better_input(
    edgecv: Any, brightness: Path, tmp_path: Path, image: Path
) -> None:
    words = ("adopt", brightness, "--format", "yolov10", "--classes", "thing")
    outcome = edgecv(*words, "-o", tmp_path / "out.onnx", "--check", image)
    assert outcome.code == 0, outcome.err
    assert "0.00 as described (no object)" in outcome.out
    assert "0..255 looks better: 0." in outcome.out
    assert "--input-colour rgb --fit letterbox --scale 1 --mean=0 --std 1" in outcome.out
    # As advised, nothing is clearly better.
    advised = outcome.out.split("`")[-2].split()
    outcome = edgecv(*words, *advised, "-o", tmp_path / "out.onnx", "--check", image)
    assert outcome.code == 0, outcome.err
    assert "looks better" not in outcome.out
    dark = tmp_path / "dark.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(dark)
    outcome = edgecv(*words, "-o", tmp_path / "out.onnx", "--check", dark)
    assert "Nothing is found under any input" in outcome.out


def test_what_cannot_be_checked_is_refused_before_anything_is_written(
    refused: Any, foreign_onnx: Path, tmp_path: Path, image: Path
) -> None:
    words = ("adopt", foreign_onnx, "--classes", "cat,dog", "-o", tmp_path / "out.onnx")
    assert "needs an image" in refused(*words, "--check-output", tmp_path / "a.png")
    assert "must end in .jpg" in refused(*words, "--check", image, "--check-output", "a.gif")
    assert "another file than" in refused(*words, "--check", image, "--check-output", image)
    assert "no such file" in refused(*words, "--check", tmp_path / "missing.jpg")
    assert not (tmp_path / "out.onnx").exists()


def test_classes_must_come_from_somewhere(refused: Any, foreign_onnx: Path, tmp_path: Path) -> None:
    line = refused("adopt", foreign_onnx, "-o", tmp_path / "out.onnx")
    assert "does not name its classes. It seems to have 2 (yolox)" in line
    line = refused("adopt", foreign_onnx, "-o", tmp_path / "out.onnx", "--classes", "a,b,c")
    assert "it looks like yolox with 2 classes" in line


def test_every_format_can_be_named() -> None:
    from typing import get_args, get_type_hints

    from edgecv.cli.adopt import adopt
    from edgecv.export.adoption.reading import FORMATS

    assert get_args(get_type_hints(adopt)["format"]) == ("auto", *FORMATS)
