"""Classifiers as ONNX files: they compute what PyTorch does, and one that does not is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
torchvision = pytest.importorskip("torchvision")

from edgecv.errors import ParityError  # noqa: E402
from edgecv.export.comparison.parity import Tolerance, check_parity, compare  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.models.fused import FusedTorchSession, torch_session  # noqa: E402
from edgecv.models.session import TorchSession  # noqa: E402
from edgecv.output_spec import LogitsOutput, ProbabilitiesOutput  # noqa: E402
from edgecv.results import Classification  # noqa: E402
from edgecv.runtime.model import Model, load  # noqa: E402
from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec  # noqa: E402
from edgecv.train.checkpoint import load_trained  # noqa: E402

CLASSES = ("disc", "square", "stripes")


def images_of(shapes: Path) -> list[Path]:
    return sorted((shapes / "val").rglob("*.png"))[::6]


HIDDEN = 64


def shrink(network: Any) -> None:
    """Make wide hidden layers narrow and a stack of equal layers short.

    Their kinds and order are what an export can stumble on; a hundred million weights only take
    time to write.
    """
    for part in list(network.modules()):
        layers = [child for child in part.children() if isinstance(child, torch.nn.Linear)]
        if isinstance(part, torch.nn.Sequential) and any(x.out_features == 4096 for x in layers):
            width = layers[0].in_features
            for index, layer in enumerate(part):
                if isinstance(layer, torch.nn.Linear):
                    out = HIDDEN if layer is not layers[-1] else layer.out_features
                    part[index] = torch.nn.Linear(width, out)
                    width = out
        if isinstance(part, torchvision.models.vision_transformer.Encoder):
            part.layers = part.layers[:2]


@pytest.mark.parametrize(
    ("name", "size_hw"),
    [
        ("resnet18", (64, 96)),
        ("mobilenet_v3_small", (64, 64)),
        pytest.param(
            "vgg11", (64, 96), marks=pytest.mark.slow
        ),  # an adaptive pooling that enlarges
        pytest.param("googlenet", (64, 96), marks=pytest.mark.slow),
        pytest.param("alexnet", (64, 96), marks=pytest.mark.slow),
        pytest.param("squeezenet1_1", (64, 96), marks=pytest.mark.slow),
        pytest.param("vit_b_32", (64, 64), marks=pytest.mark.slow),
    ],
)
def test_any_classifier_is_exported(
    shapes: Path, tmp_path: Path, name: str, size_hw: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = build_model(name, 3, size_hw).eval()
    shrink(network)
    spec = ModelSpec("classify", CLASSES, InputSpec("images", size_hw), network.output_spec())
    path = tmp_path / "model.onnx"
    report = export_onnx(
        network, spec, path, images_of(shapes), options=ExportOptions(), tolerance=Tolerance()
    )
    assert (report.unit, report.num_matched, report.box_px) == ("images", 5, 0)
    assert [output.name for output in report.outputs] == ["probabilities"]
    with load(path) as model:
        batch = np.random.default_rng(0).random((3, 3, *size_hw), np.float32)
        found = model.infer(batch)["probabilities"]
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch))[0].softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_each_head_says_what_it_is(exported_classifier: Path) -> None:
    for head, output in (("fused", ProbabilitiesOutput()), ("raw", LogitsOutput())):
        with load(exported_classifier / f"{head}.onnx") as model:
            assert model.spec.output == output
            assert model.spec.task == "classify"
            assert model.spec.provenance.model == "lenet"
        graph = onnx.load(exported_classifier / f"{head}.onnx").graph
        assert [value.name for value in graph.input] == ["images"]
        assert [value.name for value in graph.output] == [output.FORMAT]


def test_a_session_in_pytorch_is_the_one_that_the_description_asks_for(
    exported_classifier: Path, trained_classifier: Path
) -> None:
    network = load_trained(trained_classifier / "best.pt").network
    for head, kind in (("fused", FusedTorchSession), ("raw", TorchSession)):
        with load(exported_classifier / f"{head}.onnx") as model:
            assert type(torch_session(network, model.spec)) is kind


def test_a_wrong_weight_is_noticed(
    exported_classifier: Path, trained_classifier: Path, shapes: Path
) -> None:
    network: Any = load_trained(trained_classifier / "best.pt").network
    candidate = OnnxruntimeSession(exported_classifier / "fused.onnx", "cpu")
    images = images_of(shapes)
    honest = compare(Model(torch_session(network, candidate.spec)), Model(candidate), images)
    assert honest.violations(Tolerance()) == []
    with torch.no_grad():
        network.head.bias[0] += 20  # everything is a disc now
    message = r"output `probabilities` differs .* images have no counterpart; scores differ"
    with pytest.raises(ParityError, match=message):
        check_parity(
            torch_session(network, candidate.spec), candidate, images, tolerance=Tolerance()
        )


class Constant:
    """A model that tells the same of every image."""

    def __init__(self, model: Model, probabilities: list[float]) -> None:
        self.spec, self.fit, self.infer = model.spec, model.fit, model.infer
        self._found = Classification(np.array(probabilities, np.float32))

    def finish(self, *_: object) -> Classification:
        return self._found


def test_a_tie_within_rounding_is_no_other_class(exported_classifier: Path, shapes: Path) -> None:
    with load(exported_classifier / "fused.onnx") as model:
        images = images_of(shapes)[:1]
        reference: Any = Constant(model, [0.4502, 0.4498, 0.1])
        for probabilities, num_matched in (([0.4498, 0.4502, 0.1], 1), ([0.4, 0.5, 0.1], 0)):
            candidate: Any = Constant(model, probabilities)
            assert compare(reference, candidate, images).num_matched == num_matched
