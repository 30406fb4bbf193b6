"""Checkpoints in PyTorch: what they find, whenever a device gets round to it, and the refusals."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import edgecv
from edgecv.data import open_classification, open_dataset
from edgecv.errors import InputError, MissingDependencyError
from edgecv.evaluation import evaluate, evaluate_classifier
from edgecv.kernels import letterbox
from edgecv.models import build_model
from edgecv.models.fused import Fused, FusedTorchSession
from edgecv.output_spec import ProbabilitiesOutput
from edgecv.results import Detections
from edgecv.runtime import session as session_module
from edgecv.runtime import torch as backend
from edgecv.runtime.device import Device, HostDevice
from edgecv.runtime.model import Model, load
from edgecv.runtime.session import FrameSession, open_session
from edgecv.runtime.torch import TorchSession
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.run import run_stream

from .simulated_device import SimulatedDevice

TOLERANCE = 1e-4  # of a score, a corner: another order of float32 sums, as `Tolerance.relative`
SIZE_HW = (12, 20)


def assert_same(found: Detections, expected: Detections, tolerance: float = TOLERANCE) -> None:
    """Scores in order, and every box among those of its class: near equals change places."""
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=tolerance)
    for box, class_id in zip(found.boxes_xyxy, found.class_ids, strict=True):
        others = expected.boxes_xyxy[expected.class_ids == class_id]
        assert np.abs(others - box).max(axis=1).min() < 100 * tolerance


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[Path]:
    return sorted((scenes / "test").glob("*.png"))


@pytest.fixture(scope="module")
def checkpoint(trained_run: Path) -> Path:
    return trained_run / "best.pt"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Iterator[Model]:
    with load(checkpoint, "cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def graph(exported: Path) -> Iterator[Model]:
    with load(exported / "fused.onnx", "cpu") as opened:
        yield opened


def test_a_checkpoint_finds_what_its_export_finds(
    model: Model, graph: Model, images: list[Path]
) -> None:
    assert model.session.backend == "torch cpu"
    assert isinstance(model.session, FrameSession)
    assert model.answers_later
    assert not graph.answers_later
    assert model.spec.output == graph.spec.output
    for image in images:
        expected = graph(image)
        assert len(expected) > 0
        assert_same(model(image), expected)


def test_thresholds_are_obeyed_in_any_order(model: Model, graph: Model, images: list[Path]) -> None:
    counts = []
    best = float(graph(images[0]).scores[0])
    for score, iou, most in ((0.0, 0.45, 100), (0.99 * best, 0.2, 100), (0.0, 0.2, 7), (1, 1, 1)):
        options: dict[str, Any] = {"score": score, "iou": iou, "max_detections": most}
        found = model.with_thresholds(**options)(images[0])
        assert_same(found, graph.with_thresholds(**options)(images[0]))
        counts.append(len(found))
    assert counts[0] > counts[1] > 0
    assert counts[2:] == [7, 0]


def test_frames_of_a_batch_do_not_meddle(model: Model, images: list[Path]) -> None:
    frames = [edgecv.images.read_image(path) for path in images[:3]]
    frames[1] = frames[1][10:-30, 5:]  # another size
    staged = [model.fit(frame, format="rgb24") for frame in frames]
    session = model.session
    together = session.run([batch for batch, _ in staged])  # type: ignore[arg-type]
    for index, (batch, placement) in enumerate(staged):
        alone = model.finish(session.run(batch), placement)
        row = {name: value[index : index + 1] for name, value in together.items()}
        assert_same(model.finish(row, placement), alone, 1e-5)


def test_an_array_is_a_batch_too(model: Model, graph: Model, images: list[Path]) -> None:
    pixels = edgecv.images.read_image(images[0])
    batch, placement = graph.fit(pixels, format="rgb24")
    outputs = model.infer(np.repeat(batch, 2, axis=0))
    assert {len(value) for value in outputs.values()} == {2}
    first = {name: value[:1] for name, value in outputs.items()}
    assert_same(model.finish(first, placement), graph(images[0]))


def test_a_stream_and_its_accuracy_are_those_of_the_export(
    model: Model, graph: Model, scenes: Path, video: Path
) -> None:
    data = open_dataset(f"coco:{scenes}", "test")
    found, expected = (evaluate(one, data).metrics.summary for one in (model, graph))
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)
    summary = run_stream(video, model.with_thresholds(score=0.0))
    assert summary.num_frames == 12
    names = ["decode", "fit", "infer", "fetch", "postprocess", "deliver"]
    assert list(summary.stages) == names


def test_a_classifier_is_sure_of_the_same(
    trained_classifier: Path, exported_classifier: Path, shapes: Path
) -> None:
    data = open_classification(f"folder:{shapes}", "test")
    with (
        load(trained_classifier / "best.pt", "cpu") as found,
        load(exported_classifier / "fused.onnx", "cpu") as expected,
    ):
        for sample in data.samples[::5]:
            path = sample.image_path
            np.testing.assert_allclose(
                found(path).probabilities, expected(path).probabilities, atol=1e-5
            )
        top1 = [evaluate_classifier(one, data).metrics.summary["top1"] for one in (found, expected)]
        assert top1[0] == top1[1] > 0.5
        with pytest.raises(ValueError, match=r"`scalars` must be of none, got iou"):
            found.session.run(np.zeros((1, 3, *found.spec.input.size_hw), np.float32), {"iou": 1})


@pytest.mark.parametrize("name", ["mask_rcnn_lite", "keypoint_rcnn_lite", "fast_rcnn"])
def test_regions_masks_and_keypoints(name: str) -> None:
    """Against the reference that an export is compared with; the weights are random."""
    torch.manual_seed(0)
    points = ("nose", "tail") if name.startswith("keypoint") else ()
    options = {"backbone": "mobilenet_v3_small", "num_keypoints": len(points)}
    network = build_model(name, 2, (64, 64), **options).eval()  # type: ignore[arg-type]
    spec = ModelSpec(
        network.task,
        ("a", "b"),
        InputSpec("images", (64, 64)),
        network.fused_output(),
        proposals=network.proposals_spec(),
        keypoints=points,
    ).with_postprocess(max_detections=5)
    session = backend.open_network(network, spec, "cpu")
    reference = FusedTorchSession(network, spec)
    batch = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    scalars = {"score_threshold": 0.05, "iou_threshold": 0.5}
    boxes = None
    if spec.proposals is not None:
        boxes = np.zeros((1, spec.proposals.count, 4), np.float32)
        boxes[0, :3] = [[0, 0, 40, 40], [10, 20, 60, 50], [30, 5, 64, 64]]
    session.warm_up()
    found, expected = (one.run(batch, scalars, boxes) for one in (session, reference))
    assert int(expected["num_detections"][0]) > 0
    assert set(found) == set(expected)
    if boxes is not None:
        with pytest.raises(ValueError, match=r"`proposals` must be \(1, \d+, 4\), got None"):
            session.run(batch, scalars)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4)


def test_half_precision_is_near(checkpoint: Path, model: Model, images: list[Path]) -> None:
    with load(checkpoint, "cpu", precision="fp16") as half:
        assert half.session.backend == "torch cpu fp16"
        assert half.spec.provenance.precision == "fp16"
        found, expected = half(images[0]), model(images[0])
    # 11 bits a product, some fifty layers of them; boxes of near scores change places.
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
    assert not np.array_equal(found.scores, expected.scores)
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32


class Toy(Fused):
    """The mean of each channel times a threshold: quick, and every input counts."""

    scalar_names = ("score_threshold",)

    def __init__(self) -> None:
        super().__init__()
        self.output_names = ["probabilities"]

    def forward(self, images: Tensor, score_threshold: Tensor) -> tuple[Tensor, ...]:
        return (images.mean(dim=(2, 3)) * score_threshold,)


def toy_session(device: Device) -> TorchSession:
    wanted = InputSpec("images", SIZE_HW)
    spec = ModelSpec("classify", ("r", "g", "b"), wanted, ProbabilitiesOutput())
    return TorchSession(Toy().eval(), spec, device)


def toy_frame(rng: np.random.Generator, pixel_format: str) -> Any:
    height, width = rng.integers(2, 30, 2) * 2
    if pixel_format == "rgb24":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    chroma = [(height // 2, width // 2)] * 2
    if pixel_format == "nv12":
        chroma = [(height // 2, width // 2, 2)]
    return tuple(rng.integers(0, 256, side, np.uint8) for side in ((height, width), *chroma))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), captures=st.booleans())
def test_frames_thresholds_and_results_keep_together(seed: int, captures: bool) -> None:  # noqa: FBT001
    """On a device that does its work late, and in any order that its events allow."""
    rng = np.random.default_rng(seed)
    logging.disable(logging.WARNING)
    session = toy_session(SimulatedDevice(seed, captures=captures))
    pending: list[tuple[Any, Any]] = []
    for _ in range(12):
        threshold = float(np.float32(rng.choice([0.25, 0.5, 1.0])))
        colours: Any = {
            "format": str(rng.choice(["rgb24", "yuv420p", "nv12"])),
            "matrix": "bt709",
            "range": "full",
        }
        frames = [toy_frame(rng, colours["format"]) for _ in range(rng.integers(1, 3))]
        inputs = [letterbox(frame, SIZE_HW, **colours)[0] for frame in frames]
        expected = np.stack(inputs).mean(axis=(2, 3)) * np.float32(threshold)
        if rng.random() < 0.3:
            batch: Any = np.stack(inputs)
        else:
            batch = [session.stage(frame, **colours)[0] for frame in frames]
        outputs = session.run(batch, {"score_threshold": threshold})
        if isinstance(batch, np.ndarray):
            batch[:] = np.nan  # the caller's again
        del batch
        pending.append((outputs, expected))
        while len(pending) > rng.integers(0, 4):
            found, wanted = pending.pop(0)
            np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    for found, wanted in pending:
        np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    session.close()
    logging.disable(logging.NOTSET)


def test_a_stream_over_a_late_device_is_in_order(video: Path) -> None:
    device = SimulatedDevice(0)
    found = []
    with contextlib.closing(toy_session(device)) as session:
        model = Model(session)
        session.warm_up()
        device.num_copied = dict.fromkeys(device.num_copied, 0)
        run_stream(video, model, on_result=lambda told: found.append(told.result))
    means = [result.probabilities.mean() for result in found]  # type: ignore[attr-defined]
    assert len(means) == 12
    assert (np.diff(means) > 0).all()  # each picture of the video is brighter than the one before
    # Up go the planes of yuv420p, rounded up to 256 bytes; down come three float32 a frame.
    assert device.num_copied["up"] == 12 * (128 * 128 + 2 * 64 * 64)
    assert device.num_copied["down"] == 12 * 3 * 4


def test_what_cannot_be_captured_runs_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    session = toy_session(SimulatedDevice(0, captures=False))
    assert session.backend == "torch simulated"
    for size in (1, 2, 1, 3):
        batch = np.full((size, 3, *SIZE_HW), 0.5, np.float32)
        assert session.run(batch, {"score_threshold": 1.0})["probabilities"][-1, 0] == 0.5
    assert [record.message for record in caplog.records] == [
        "the network waits for the device. Its kernels are launched one by one."
    ]
    assert session.backend == "torch simulated without a CUDA graph"


def test_a_mosaic_is_fitted_by_the_processor() -> None:
    model = Model(toy_session(SimulatedDevice(0)))
    frame = np.full((8, 8), 51, np.uint8)
    batch, _ = model.fit(frame, format="bayer_rggb8")
    assert isinstance(batch, np.ndarray)
    model = Model(toy_session(HostDevice()))
    batch, _ = model.fit(frame, format="bayer_rggb8")
    assert not isinstance(batch, np.ndarray)


def test_a_closed_session_and_a_batch_of_another_form_are_refused() -> None:
    session = toy_session(HostDevice())
    for batch in (np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, *SIZE_HW))):
        with pytest.raises(ValueError, match=r"`batch` must be float32 \(B, 3, 12, 20\), got"):
            session.run(batch)
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        session.run([])
    good = np.zeros((2, 3, *SIZE_HW), np.float32)
    with pytest.raises(ValueError, match=r"`proposals` must be None, got \(1, 5, 4\)"):
        session.run(good, proposals=np.zeros((1, 5, 4), np.float32))
    with pytest.raises(ValueError, match=r"`scalars` must be of score_threshold, got iou, x"):
        session.run(good, {"x": 1, "iou": 1})
    with pytest.raises(ValueError, match="letterbox: `frame` must be"):
        session.stage(np.zeros((4, 4), np.uint8), format="rgb24", matrix="bt601", range="full")
    pending = session.run(good)
    session.close()
    session.close()
    assert pending["probabilities"].shape == (2, 3)
    with pytest.raises(ValueError, match="the session is closed"):
        session.run(good)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("best.pt", {"backend": "onnxruntime"}, r"is a checkpoint.*`edgecv export`"),
        ("m.onnx", {"backend": "torch"}, r"is no checkpoint.*leave out `--backend`"),
        ("m.edgecv", {"backend": "torch"}, r"is no checkpoint"),
        ("triton://host/m", {"backend": "onnxruntime"}, r"run by a server"),
        ("m.onnx", {"precision": "fp16"}, r"`edgecv export --precision`"),
        ("missing.pt", {}, r"there is no such model file"),
        ("model.tflite", {}, r"must end in `.onnx`, `.edgecv`, `.engine` or `.pt`, got `.tflite`"),
    ],
)
def test_another_backend_than_the_files_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_session(name, "cpu", **options)


def test_without_pytorch_the_extra_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecv\[train\]'"):
        open_session(checkpoint, "cpu")


def test_a_device_that_is_not_there_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"`device` must be one of auto, cpu, cuda, got 'tpu'"):
        open_session(checkpoint, "tpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match=r"`device` is 'cuda', but this PyTorch .* without CUDA"):
        open_session(checkpoint, "cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"finds no NVIDIA GPU.*`nvidia-smi`"):
        open_session(checkpoint, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backend, "why_not", lambda: "edgecv was built without CUDA kernels. Do so.")
    with pytest.raises(InputError, match=r"but edgecv was built without CUDA kernels"):
        open_session(checkpoint, "cuda")
    assert open_session(checkpoint, "auto").backend == "torch cpu"


def test_threads_are_those_of_pytorch(checkpoint: Path) -> None:
    before = torch.get_num_threads()
    try:
        open_session(checkpoint, "cpu", threads=before + 1).close()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.cuda
@pytest.mark.skipif(backend.why_no_gpu() is not None, reason="needs an NVIDIA GPU and CUDA kernels")
class TestOnAGpu:
    """The same checkpoint there: as a graph, with frames and results in flight."""

    @pytest.fixture(scope="class")
    def there(self, checkpoint: Path) -> Iterator[Model]:
        with load(checkpoint, "cuda") as opened:
            yield opened

    def test_it_finds_the_same(self, there: Model, model: Model, images: list[Path]) -> None:
        previous = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            for image in images:
                assert_same(there(image), model(image), 1e-3)
        finally:
            torch.backends.cudnn.allow_tf32 = previous
        assert "without a CUDA graph" not in there.session.backend

    def test_thresholds_change_without_another_graph(
        self, there: Model, images: list[Path]
    ) -> None:
        everything = there.with_thresholds(score=0.0)(images[0])
        assert len(there.with_thresholds(score=1.0)(images[0])) == 0
        again = there.with_thresholds(score=0.0)(images[0])
        np.testing.assert_array_equal(again.scores, everything.scores)
        assert len(there.session._programs) == 1  # type: ignore[attr-defined]

    def test_frames_in_flight_keep_apart(self, there: Model, images: list[Path]) -> None:
        frames = [edgecv.images.read_image(path) for path in images]
        alone = [there(frame, format="rgb24") for frame in frames]
        staged = [there.fit(frame, format="rgb24") for frame in frames * 5]
        flying = [(there.infer(batch), placement) for batch, placement in staged]
        for index, (outputs, placement) in enumerate(flying):
            found = there.finish(outputs, placement)
            np.testing.assert_array_equal(found.scores, alone[index % len(frames)].scores)

    def test_half_precision_is_near(
        self, checkpoint: Path, there: Model, images: list[Path]
    ) -> None:
        with load(checkpoint, "cuda", precision="fp16") as half:
            np.testing.assert_allclose(half(images[0]).scores, there(images[0]).scores, atol=0.01)
