"""An exported classifier, called with images and streamed over them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import edgecv  # noqa: E402
from edgecv.bench import bench  # noqa: E402
from edgecv.data import open_classification  # noqa: E402
from edgecv.errors import InputError, SpecError  # noqa: E402
from edgecv.evaluation import evaluate, evaluate_classifier  # noqa: E402
from edgecv.export.graphs.metadata import write_spec  # noqa: E402
from edgecv.metrics.classification import classification_metrics  # noqa: E402
from edgecv.output_spec import ImageOutput, LogitsOutput, YoloOutput  # noqa: E402
from edgecv.placement import Placement  # noqa: E402
from edgecv.results import Classification  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402
from edgecv.runtime.postprocess import finish_classification, refuse_unsupported  # noqa: E402
from edgecv.spec import ModelSpec  # noqa: E402
from edgecv.stream.run import run_stream  # noqa: E402


@pytest.fixture(params=["fused", "raw"])
def model(exported_classifier: Path, request: pytest.FixtureRequest) -> Any:
    with load(exported_classifier / f"{request.param}.onnx") as opened:
        yield opened


def test_an_image_is_told_as_probabilities(model: Any, shapes: Path) -> None:
    found = model(shapes / "train" / "disc" / "00.png")
    assert isinstance(found, edgecv.Classification)
    assert found.probabilities.shape == (3,)
    assert found.probabilities.dtype == np.float32
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert model.spec.classes[found.class_id] == "disc"


def test_probabilities_and_logits_tell_the_same(exported_classifier: Path, shapes: Path) -> None:
    path = shapes / "test" / "square" / "00.png"
    with load(exported_classifier / "fused.onnx") as fused:
        expected = fused(path)
    with load(exported_classifier / "raw.onnx") as raw:
        found = raw(path)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def test_logits_of_any_size_become_probabilities(exported_classifier: Path) -> None:
    with load(exported_classifier / "raw.onnx") as raw:
        spec = raw.spec
    logits = np.array([[1000, 999, -1000]], np.float32)
    placement = Placement.of((32, 32), (32, 32), "stretch")
    found = finish_classification(spec, {"logits": logits}, placement)
    e = np.exp(-1.0)
    np.testing.assert_allclose(found.probabilities, [1 / (1 + e), e / (1 + e), 0], atol=1e-7)


def test_a_stream_counts_frames_by_class(model: Any, shapes: Path) -> None:
    summary = run_stream(str(shapes / "train" / "stripes"), model, draw=True)
    assert summary.num_frames == 24
    assert sum(summary.num_found.values()) == 24
    assert max(summary.num_found, key=summary.num_found.__getitem__) == "stripes"
    assert summary.to_plain()["found"] == dict(summary.num_found)


def test_an_evaluation_counts_what_the_model_says(model: Any, shapes: Path) -> None:
    dataset = open_classification(str(shapes), "test")
    seen: list[int] = []
    result = evaluate_classifier(model, dataset, on_image=lambda: seen.append(1))
    found = [model(sample.image_path) for sample in dataset.samples]
    assert all(isinstance(one, Classification) for one in found)
    expected = classification_metrics(dataset, model.spec.classes, found)
    assert result.metrics.summary == expected.summary
    assert result.metrics.summary["top1"] > 0.9
    assert len(seen) == 30
    plain = result.to_plain()
    assert (plain["data"], plain["split"], plain["num_images"]) == (dataset.name, "test", 30)
    assert sum(map(sum, plain["confusion"]["counts"])) == 30


def test_each_task_is_measured_on_data_of_its_own(model: Any, exported: Path, shapes: Path) -> None:
    dataset = open_classification(str(shapes), "test")
    with pytest.raises(InputError, match=r"task must be detect or instance or keypoints .* got"):
        evaluate(model, dataset)  # type: ignore[arg-type]
    with load(exported / "raw.onnx") as detector, pytest.raises(InputError, match="got detect"):
        evaluate_classifier(detector, dataset)


def test_a_classifier_has_no_thresholds(model: Any) -> None:
    with pytest.raises(
        InputError, match=r"a model of task classify has no thresholds, got score 0\.5"
    ):
        model.with_thresholds(score=0.5)
    assert model.with_thresholds().spec == model.spec


def test_a_bench_times_every_stage(model: Any, shapes: Path) -> None:
    source = str(shapes / "test" / "disc")
    report = bench(model, source, warm_up=1, repeat=3, threads=0)
    assert set(report.stages) == {"fit", "infer", "postprocess"}
    assert report.stream is not None
    assert report.stream.num_frames == 10


def test_a_description_with_other_classes_is_refused(
    exported_classifier: Path, tmp_path: Path
) -> None:
    file = onnx.load(exported_classifier / "fused.onnx")
    with load(exported_classifier / "fused.onnx") as model:
        spec = model.spec
    write_spec(file, replace(spec, classes=("a", "b")))
    onnx.save(file, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"has 2 classes, but the graph's output `probabilities`"):
        load(tmp_path / "other.onnx")


def test_what_cannot_be_run_is_refused(exported_classifier: Path) -> None:
    with load(exported_classifier / "raw.onnx") as model:
        spec = model.spec
    stylist = ModelSpec("stylize", (), spec.input, ImageOutput())
    with pytest.raises(SpecError, match="`task` is 'stylize'; it runs detect, instance, keypoints"):
        refuse_unsupported(stylist)
    with pytest.raises(SpecError, match="must be one of logits, probabilities for task classify"):
        replace(spec, output=YoloOutput())
    refuse_unsupported(replace(spec, output=LogitsOutput()))
