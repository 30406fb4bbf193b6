"""A segmentation model from its file to its figures, against counts made by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.bench import bench
from edgecv.data import open_classification, open_segmentation
from edgecv.errors import InputError
from edgecv.evaluation import evaluate_classifier, evaluate_segmentation, examples_of
from edgecv.runtime.model import load

Build = Callable[..., Path]


@pytest.mark.parametrize("form", ["logits", "half", "probabilities", "class-map"])
def test_the_figures_are_those_of_the_files(segmenter: Build, paints: Path, form: str) -> None:
    dataset = open_segmentation(f"labels:{paints}")
    seen = []
    with load(segmenter(form)) as model:
        result = evaluate_segmentation(model, dataset, on_image=lambda: seen.append(1))
    assert len(seen) == 4
    in_both, in_either = np.zeros(3, int), np.zeros(3, int)
    # The file's values 0, 2 and 3 are classes; its pictures' colours are what the model says.
    for path in sorted((paints / "testannot").glob("*.png")):
        truth = np.asarray(Image.open(path))
        colours = np.asarray(Image.open(paints / "test" / path.name))
        for index, (value, red) in enumerate(((0, 40), (2, 30), (3, 220))):
            is_true, is_found = truth == value, (colours[..., 0] == red) & (truth != 1)
            in_both[index] += (is_true & is_found).sum()
            in_either[index] += (is_true | is_found).sum()
    ious = in_both / in_either
    found = [values["IoU"] for values in result.metrics.per_class.values()]
    np.testing.assert_allclose(found, ious)
    assert result.metrics.summary["mIoU"] == pytest.approx(ious.mean())
    assert found[0] == 1
    assert result.to_plain()["num_images"] == 4


def test_what_is_shown_is_the_worst_one_between_and_the_best(
    segmenter: Build, paints: Path
) -> None:
    dataset = open_segmentation(f"labels:{paints}")
    with load(segmenter(names=("wall", "sky", "grass"))) as model:  # wrong names: all is wrong
        metrics = evaluate_segmentation(model, dataset).metrics
        assert metrics.summary["pixel_accuracy"] < 0.5
        shown = examples_of(model, dataset, metrics)
    accuracies = [example.accuracy for example in shown]
    assert accuracies == sorted(accuracies)
    assert accuracies[0] == min(metrics.image_accuracy)
    assert accuracies[-1] == max(metrics.image_accuracy)
    for example in shown:
        is_counted = example.truth != 255
        right = (example.truth == example.found)[is_counted].mean()
        assert right == pytest.approx(example.accuracy)
        assert example.image.shape == (40, 56, 3)


def test_one_image_is_shown_once(segmenter: Build, paints: Path) -> None:
    dataset = open_segmentation(f"labels:{paints}")
    dataset = replace(dataset, samples=dataset.samples[:1])
    with load(segmenter()) as model:
        metrics = evaluate_segmentation(model, dataset).metrics
        assert len(examples_of(model, dataset, metrics)) == 1


def test_each_task_is_measured_on_data_of_its_own(segmenter: Build, shapes: Path) -> None:
    with load(segmenter()) as model, pytest.raises(InputError, match="got segment"):
        evaluate_classifier(model, open_classification(str(shapes), "test"))


def test_a_bench_times_every_stage(segmenter: Build, paints: Path) -> None:
    with load(segmenter()) as model:
        report = bench(model, str(paints / "test"), warm_up=1, repeat=3, threads=0)
    assert report.stages["postprocess"].median_ms > 0
    assert report.stream is not None
    assert report.stream.num_found["grass"] == 4


def test_a_model_that_paints_camvid_is_measured(shared_data: Path, segmenter: Build) -> None:
    names = ("Sky", "Tree", "Building")
    dataset = open_segmentation(f"labels:{shared_data / 'camvid'}", "val")
    with load(segmenter(size_hw=(360, 480), stride=8, names=names)) as model:
        with pytest.raises(InputError, match="does not know: Pole, Road, Pavement"):
            evaluate_segmentation(model, dataset)
        others = [value for value, name in enumerate(dataset.classes) if name not in names]
        values = np.where(np.isin(dataset.values, others), 255, dataset.values)
        order = {dataset.classes.index(name): index for index, name in enumerate(names)}
        ids = np.array([order.get(value, 255) for value in values.tolist()], np.uint8)
        part = replace(dataset, classes=names, values=ids, samples=dataset.samples[:8])
        summary = evaluate_segmentation(model, part).metrics.summary
    # A light blue sky is nearest to the blue paint, and only the sky is.
    assert summary["pixel_accuracy"] > 0.1
    assert summary["mIoU"] > 0.05


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own exporter
def test_a_network_of_torchvision_is_run_and_measured(shared_data: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    torchvision = pytest.importorskip("torchvision")
    from edgecv.export.comparison.parity import compare
    from edgecv.export.graphs.metadata import write_spec
    from edgecv.output_spec import LogitsOutput
    from edgecv.spec import InputSpec, ModelSpec

    dataset = open_segmentation(f"labels:{shared_data / 'camvid'}", "val")
    torch.manual_seed(0)
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=11
    ).eval()

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images)["out"]

    path = tmp_path / "lraspp.onnx"
    torch.onnx.export(
        Logits().eval(),
        (torch.zeros(1, 3, 192, 256),),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    file = onnx.load(path)
    wanted = InputSpec("images", (192, 256), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    write_spec(file, ModelSpec("segment", dataset.classes, wanted, LogitsOutput()))
    onnx.save(file, path)
    part = replace(dataset, samples=dataset.samples[:3])
    with load(path, "cpu", threads=1) as model:
        metrics = evaluate_segmentation(model, part).metrics
        sample = part.samples[0].image_path
        batch, _ = model.fit(np.asarray(Image.open(sample)), format="rgb24")
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch))["out"].numpy()
        np.testing.assert_allclose(model.infer(batch)["logits"], expected, atol=1e-3, rtol=1e-3)
        assert model(sample).labels.shape == (360, 480)  # type: ignore[attr-defined]
        same = compare(model, model, [sample])
    assert metrics.num_images == 3
    assert 0 < metrics.summary["mIoU"] < 0.2  # random weights
    assert (same.num_matched, same.unit) == (360 * 480, "pixels")
