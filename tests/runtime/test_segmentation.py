"""From scores and class maps to a label for every pixel of the frame, and through a file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgecv
from edgecv.errors import InputError, SpecError
from edgecv.kernels.reference.segmentation import resized_logits
from edgecv.output_spec import ClassMapOutput, LogitsOutput, OutputSpec, ProbabilitiesOutput
from edgecv.placement import FITS, Placement
from edgecv.results import Segmentation
from edgecv.runtime.model import load
from edgecv.runtime.postprocess import refuse_unsupported
from edgecv.runtime.segmentation import finish_segmentation
from edgecv.spec import InputSpec, ModelSpec

FORMS = ("logits", "half", "probabilities", "class-map", "class-map-4d")
NAMES = ("sky", "grass", "wall")
Build = Callable[..., Path]


def spec_of(output: OutputSpec, classes: tuple[str, ...] = NAMES) -> ModelSpec:
    return ModelSpec("segment", classes, InputSpec("images", (8, 8)), output)


def labels_of(path: Path) -> np.ndarray:
    """The labels of a picture's own colours, pixel by pixel."""
    from PIL import Image

    paints = [(40, 120, 240), (30, 180, 60), (220, 60, 40)]
    with Image.open(path) as image:
        width, height = image.size
        places = [(x, y) for y in range(height) for x in range(width)]
        labels = [paints.index(image.getpixel(place)) for place in places]
    return np.array(labels, np.uint8).reshape(height, width)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_output_labels_every_pixel(segmenter: Build, paints: Path, form: str) -> None:
    path = paints / "test" / "0.png"
    with load(segmenter(form)) as model:
        found = model(path)
    assert isinstance(found, edgecv.Segmentation)
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, labels_of(path))


def test_one_plane_of_two_classes_is_the_second(segmenter: Build, paints: Path) -> None:
    path = paints / "test" / "0.png"
    with load(segmenter("sigmoid", names=("other", "grass"))) as model:
        found = model(path)
    np.testing.assert_array_equal(found.labels, labels_of(path) == 1)


@pytest.mark.parametrize("form", ["logits", "class-map"])
@pytest.mark.parametrize("fit", ["letterbox", "top-left", "stretch"])
def test_labels_come_back_to_the_pixels_of_a_frame_that_was_fitted(
    segmenter: Build, form: str, fit: str
) -> None:
    # Wide and high: bars on either side. Edges lie where output cells of 4 x 4 meet.
    for size_hw in ((64, 128), (128, 64)):
        height, width = size_hw
        frame = np.empty((height, width, 3), np.uint8)
        frame[:] = (40, 120, 240)
        frame[height // 2 :, : width // 2] = (220, 60, 40)
        with load(segmenter(form, size_hw=(64, 64), stride=4, fit=fit)) as model:
            found = model(frame, format="rgb24").labels
        expected = np.zeros(size_hw, np.uint8)
        expected[height // 2 :, : width // 2] = 2
        is_far = np.ones(size_hw, bool)  # where two colours meet, the fit has mixed them
        is_far[height // 2 - 8 : height // 2 + 8, : width // 2 + 8] = False
        is_far[height // 2 - 8 :, width // 2 - 8 : width // 2 + 8] = False
        np.testing.assert_array_equal(found[is_far], expected[is_far])
        assert set(np.unique(found)) <= {0, 1, 2}


@given(data=st.data())
def test_a_class_map_is_read_at_the_nearest_label(data: st.DataObject) -> None:
    sides = st.integers(1, 12)
    frame_hw, size_hw, map_hw = (data.draw(st.tuples(sides, sides)) for _ in range(3))
    fit = data.draw(st.sampled_from([fit for fit in FITS if fit != "centre-crop"]))
    placement = Placement.of(frame_hw, size_hw, fit)
    labels = np.arange(map_hw[0] * map_hw[1]).reshape(1, *map_hw)
    spec = spec_of(ClassMapOutput(), tuple(map(str, range(labels.size))))
    found = finish_segmentation(spec, {"labels": labels}, placement).labels
    assert found.shape == frame_hw
    for y in range(frame_hw[0]):
        for x in range(frame_hw[1]):
            place = []
            for axis, pixel in ((0, y), (1, x)):
                # Twice a coordinate is whole; so is a product of whole numbers.
                top = (2 * pixel + 1) * placement.resized_hw[axis]
                top += 2 * placement.offset_xy[1 - axis] * frame_hw[axis]
                cell = top * map_hw[axis] / (2 * frame_hw[axis] * size_hw[axis])
                place.append(min(int(cell), map_hw[axis] - 1))
            assert found[y, x] == labels[0, place[0], place[1]]


@given(data=st.data(), dtype=st.sampled_from([np.float16, np.float32]))
def test_scores_are_compared_in_the_frame(data: st.DataObject, dtype: Any) -> None:
    sides = st.integers(1, 9)
    frame_hw, size_hw = (data.draw(st.tuples(sides, sides)) for _ in range(2))
    seed = data.draw(st.integers(0, 2**32 - 1))
    logits = np.random.default_rng(seed).normal(size=(1, 3, 4, 5)).astype(dtype)
    placement = Placement.of(frame_hw, size_hw, "letterbox")
    found = finish_segmentation(spec_of(LogitsOutput()), {"logits": logits}, placement).labels
    resized = resized_logits(logits[0], frame_hw, placement=placement)
    best = np.take_along_axis(resized, found[None].astype(np.intp), axis=0)[0]
    assert (best >= resized.max(axis=0) - 1e-5).all()


@pytest.mark.parametrize(
    ("output", "scores", "expected"),
    [
        (LogitsOutput("s"), [[-0.5, 0.5]], [[0, 1]]),
        (ProbabilitiesOutput("s"), [[0.25, 0.75]], [[0, 1]]),
        (LogitsOutput("s"), [[0.0, -1e-3]], [[0, 0]]),
    ],
)
def test_a_sigmoid_decides_at_a_half(
    output: OutputSpec, scores: list[list[float]], expected: list[list[int]]
) -> None:
    spec = spec_of(output, ("no", "yes"))
    placement = Placement.of((1, 2), (1, 2), "stretch")
    values = np.array(scores, np.float32)[None, None]
    assert finish_segmentation(spec, {"s": values}, placement).labels.tolist() == expected


@pytest.mark.parametrize(("label", "named"), [(3, "got 3"), (-1, "got -1")])
def test_a_label_that_is_no_class_is_refused(label: int, named: str) -> None:
    values = np.full((1, 2, 2), label, np.int64)
    placement = Placement.of((2, 2), (2, 2), "stretch")
    with pytest.raises(InputError, match=rf"must hold 0\.\.2, as it has 3 classes, {named}"):
        finish_segmentation(spec_of(ClassMapOutput()), {"labels": values}, placement)


def test_planes_that_a_graph_leaves_open_are_counted_when_it_runs() -> None:
    values = np.zeros((1, 5, 2, 2), np.float32)
    placement = Placement.of((2, 2), (2, 2), "stretch")
    with pytest.raises(InputError, match="a plane for each of its 3 classes, got 5"):
        finish_segmentation(spec_of(LogitsOutput()), {"logits": values}, placement)


@pytest.mark.parametrize(
    ("form", "names", "message"),
    [
        ("logits", ("a", "b", "c", "d"), r"has 4 classes, \[B, 4, h, w\], but .* `out` is tensor"),
        ("logits", ("a", "b"), r"has 2 classes, \[B, 1 or 2, h, w\], but"),
        ("sigmoid", NAMES, r"has 3 classes, \[B, 3, h, w\], but"),
    ],
)
def test_a_description_with_other_classes_is_refused(
    segmenter: Build, form: str, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(segmenter(form, names=names))


def test_a_map_of_floats_is_refused(segmenter: Build, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from edgecv.export.graphs.metadata import write_spec

    file = onnx.load(segmenter("logits"))
    with load(segmenter("logits")) as model:
        spec = model.spec
    write_spec(file, replace(spec, output=ClassMapOutput("out")))
    onnx.save(file, tmp_path / "floats.onnx")
    with pytest.raises(InputError, match=r"a class map, integers \[B, h, w\], but .*tensor\(float"):
        load(tmp_path / "floats.onnx")


def test_labels_are_bytes() -> None:
    most = spec_of(LogitsOutput(), tuple(map(str, range(255))))
    refuse_unsupported(most)
    with pytest.raises(SpecError, match="must tell apart 2 to 255 classes, got 256"):
        refuse_unsupported(replace(most, classes=(*most.classes, "one more")))


def test_one_class_would_be_everywhere() -> None:
    with pytest.raises(SpecError, match=r"got 1\. Name every label, also the background's"):
        refuse_unsupported(spec_of(LogitsOutput(), ("crack",)))


def test_there_are_no_thresholds(segmenter: Build) -> None:
    with load(segmenter()) as model, pytest.raises(InputError, match="segment has no thresholds"):
        model.with_thresholds(score=0.5)


def test_a_result_of_one_class(segmenter: Build) -> None:
    with load(segmenter("logits", size_hw=(64, 64), stride=4)) as model:
        found = model(np.zeros((5, 7, 3), np.uint8), format="rgb24")
    assert isinstance(found, Segmentation)
    assert found.labels.shape == (5, 7)
    assert len(found.counted()) == 1
