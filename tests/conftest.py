"""What several folders of tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Processes of several threads each on the same cores wait for one another. PyTorch reads this once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes is the business of benchmarks/, not of a test on a loaded machine.
settings.register_profile("edgecv", deadline=None)
# For builds that run many times slower: `--hypothesis-profile few`.
settings.register_profile("few", deadline=None, max_examples=10)
settings.load_profile("edgecv")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets: $EDGECV_DATA, else `shared/data` beside the checkout."""
    named = os.environ.get("EDGECV_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(named).expanduser() if named else beside
    if not root.is_dir():
        pytest.skip("needs the real data sets: set EDGECV_DATA")
    return root


SCENE_IMAGES = {"train": 24, "val": 6, "test": 6}


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small COCO data set of rendered scenes, train, val and test."""
    scenes_module = pytest.importorskip("edgecv.demo.scenes")
    folder = tmp_path_factory.mktemp("scenes")
    scenes_module.render_scenes(folder, SCENE_IMAGES)
    return folder


@pytest.fixture(scope="session")
def trained_run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training, weak but with scores that differ."""
    pytest.importorskip("torch")
    from edgecv.train.config import TrainConfig
    from edgecv.train.trainer import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    config = TrainConfig(
        "ssd_mobilenetv2",
        f"coco:{scenes}",
        epochs=4,
        size_hw=(96, 128),
        batch_size=8,
        weights="none",
        precision="float32",
    )
    train(config, folder, SilentObserver())
    return folder


@pytest.fixture(scope="session")
def exported(trained_run: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the short training's `fused.onnx` and `raw.onnx`."""
    pytest.importorskip("onnx")
    from edgecv.export.parity import Tolerance
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.train.checkpoint import load_trained

    folder = tmp_path_factory.mktemp("exported")
    trained = load_trained(trained_run / "best.pt")
    images = sorted((scenes / "val").glob("*.png"))[:2]
    for head in ("fused", "raw"):
        export_onnx(
            trained.network,
            trained.spec,
            folder / f"{head}.onnx",
            images,
            options=ExportOptions(head=head),
            tolerance=Tolerance(),
        )
    return folder


SHAPES = ("disc", "square", "stripes")
SHAPE_IMAGES = {"train": 24, "val": 10, "test": 10}  # of each class


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images by class: a shape of any bright colour on a dark ground, 40x48."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for split, count in SHAPE_IMAGES.items():
        for name in SHAPES:
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (48, 40), tuple(rng.integers(0, 80, 3).tolist()))
                pen, colour = ImageDraw.Draw(image), tuple(rng.integers(140, 256, 3).tolist())
                left, top = rng.integers(6, 15, 2).tolist()
                box = (left, top, left + 22, top + 22)
                if name == "disc":
                    pen.ellipse(box, fill=colour)
                elif name == "square":
                    pen.rectangle(box, fill=colour)
                else:
                    for y in range(top, top + 24, 8):
                        pen.rectangle((left, y, left + 22, y + 3), fill=colour)
                image.save(folder / split / name / f"{index:02}.png")
    return folder


@pytest.fixture(scope="session")
def trained_classifier(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LeNet's training on the shapes."""
    pytest.importorskip("torch")
    from edgecv.train.recipe import configure
    from edgecv.train.trainer import train

    folder = tmp_path_factory.mktemp("classifier") / "run"
    settings = {
        "model": "lenet",
        "data": f"folder:{shapes}",
        "epochs": 20,
        "batch_size": 12,
        "learning_rate": 5e-3,
        "augment": "none",
        "precision": "float32",
    }
    train(configure(settings, {}), folder, SilentObserver())
    return folder


@pytest.fixture(scope="session")
def exported_classifier(
    trained_classifier: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with that LeNet's `fused.onnx` (probabilities) and `raw.onnx` (logits)."""
    pytest.importorskip("onnx")
    from edgecv.export.parity import Tolerance
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.train.checkpoint import load_trained

    folder = tmp_path_factory.mktemp("exported_classifier")
    trained = load_trained(trained_classifier / "best.pt")
    images = sorted((shapes / "val").rglob("*.png"))[::10]
    for head in ("fused", "raw"):
        export_onnx(
            trained.network,
            trained.spec,
            folder / f"{head}.onnx",
            images,
            options=ExportOptions(head=head),
            tolerance=Tolerance(),
        )
    return folder


@pytest.fixture
def make_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Write a detector in YOLOX's form: 64x64, always the same one object of class `cat`.

    Its score is the weight that it is made with, so that a result tells which file made it.
    """
    onnx = pytest.importorskip("onnx")
    from edgecv.export.metadata import write_spec
    from edgecv.output_spec import YoloxOutput
    from edgecv.spec import InputSpec, ModelSpec, Provenance

    def make(
        name: str = "model.onnx",
        *,
        precision: str = "fp32",
        weight: float = 0.9,
        classes: tuple[str, ...] = ("cat", "dog"),
        operator: tuple[str, str] = ("", "Add"),
        **provenance: str,
    ) -> Path:
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        cells = 8 * 8 + 4 * 4 + 2 * 2
        head = np.zeros((1, cells, 5 + len(classes)), np.float32)
        head[0, 26] = [0.5, 0.5, np.log(2), np.log(2), weight, 1.0] + [0.0] * (len(classes) - 1)
        domain, last = operator
        graph = helper.make_graph(
            [
                helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
                helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
                helper.make_node(last, ["head", "nothing"], ["output"], domain=domain),
            ],
            "constant",
            [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
            [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, list(head.shape))],
            [
                numpy_helper.from_array(head, "head"),
                numpy_helper.from_array(np.float32(0), "nought"),
            ],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("edgecv", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        where = InputSpec("images", (64, 64))
        made = Provenance(precision=precision, **provenance)  # type: ignore[arg-type]
        write_spec(model, ModelSpec("detect", classes, where, YoloxOutput(), provenance=made))
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return make


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 12 frames, 128x128."""
    import av

    path = tmp_path_factory.mktemp("video") / "video.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 128, 128, "yuv420p"
        for index in range(12):
            pixels = np.full((128, 128, 3), 20 * index, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode())
    return path


@pytest.fixture
def silent_observer() -> "SilentObserver":
    """Follows a training and says nothing."""
    return SilentObserver()


class SilentObserver:
    """Follows a training and says nothing."""

    def started(self, **_: object) -> None:
        """Nothing."""

    def stepped(self, **_: object) -> None:
        """Nothing."""

    def finished_epoch(self, record: object) -> None:
        """Nothing."""
