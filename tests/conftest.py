"""What several folders of tests share."""

import ctypes
import fcntl
import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# Processes of several threads each on the same cores wait for one another. PyTorch reads this once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def has_cuda_device() -> bool:
    """Whether the driver knows a device; asked directly, since PyTorch takes seconds to import."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 < count.value


# Without a GPU, Triton's kernels are interpreted. It reads this when it is first imported, which
# torchao does in other folders' tests.
if not has_cuda_device():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Which backend is the fastest here must not decide what a test runs on: those of the race unset it.
os.environ["EDGECV_BACKEND"] = "onnxruntime"

# How long an example takes is the business of benchmarks/, not of a test on a loaded machine.
settings.register_profile("edgecv", deadline=None)
# For builds that run many times slower: `--hypothesis-profile few`.
settings.register_profile("few", deadline=None, max_examples=10)
settings.load_profile("edgecv")


def pytest_collection_finish() -> None:
    """Take what lives until the end, thousands of tests above all, out of every collection."""
    gc.collect()
    gc.freeze()


def missing_for_tensorrt() -> list[str]:
    """Return what tests marked `tensorrt` lack here: TensorRT, a GPU, the plugin library."""
    from edgecv.bundle.machine import find_gpu
    from edgecv.errors import EdgeCVError
    from edgecv.runtime.plugin_file import find_plugins
    from edgecv.runtime.tensorrt_module import import_tensorrt

    def lacks(find: Callable[[], object]) -> str | None:
        try:
            find()
        except EdgeCVError as error:
            return str(error)
        return None

    gpu = None if find_gpu() is not None else "CUDA finds no GPU"
    return [reason for reason in (gpu, lacks(import_tensorrt), lacks(find_plugins)) if reason]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs TensorRT where it is not, before any fixture is made."""
    if item.get_closest_marker("tensorrt") is not None:
        missing = missing_for_tensorrt()
        if missing:
            pytest.skip("; ".join(missing))


@pytest.fixture(scope="session")
def engine_of() -> Callable[..., Path]:
    """A function that builds the engine of an ONNX file beside it, in the file's own arithmetic.

    Its keywords are those of a recipe; float32 is not rounded to TF32, so that it can be compared.
    """
    import json

    def build(model: Path, *, batch: tuple[int, int, int] = (1, 1, 4), **settings: Any) -> Path:
        from edgecv.export.engine.build import build_engine
        from edgecv.export.engine.source import BuildJob

        lines = {"extends": "workstation", "tf32": False, "optimisation_level": 1} | settings
        recipe = model.with_suffix(".toml")
        profile = f"profiles = [{{ batch = {list(batch)} }}]\n"
        recipe.write_text(
            "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()) + profile
        )
        output = model.with_suffix(".engine")
        build_engine(BuildJob(model, output, str(recipe)))
        return output

    return build


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """Return the folder that `make` fills, for all workers by the first that wants it.

    The others wait for it. If `make` fails, the next tries again, and fails where it is asked. A
    test must not write there.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the folders of all workers
    folder, whole = base / "made_once" / name, base / "made_once" / f"{name}.whole"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


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
    return made_once(
        "scenes", tmp_path_factory, lambda folder: scenes_module.render_scenes(folder, SCENE_IMAGES)
    )


@pytest.fixture(scope="session")
def trained_run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training, weak but with scores that differ."""
    pytest.importorskip("torch")
    from edgecv.train.config import TrainConfig
    from edgecv.train.trainer import train

    config = TrainConfig(
        "ssd_mobilenetv2",
        f"coco:{scenes}",
        epochs=4,
        size_hw=(96, 128),
        batch_size=8,
        weights="none",
        precision="float32",
    )

    def make(folder: Path) -> None:
        train(config, folder / "run", SilentObserver())

    return made_once("trained", tmp_path_factory, make) / "run"


@pytest.fixture(scope="session")
def exported(trained_run: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the short training's `fused.onnx` and `raw.onnx`."""
    pytest.importorskip("onnx")
    from edgecv.export.comparison.parity import Tolerance
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.train.checkpoint import load_trained

    def make(folder: Path) -> None:
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

    return made_once("exported", tmp_path_factory, make)


@pytest.fixture
def tensorrt_takes() -> Callable[..., None]:
    """Assert that each form of a float32 graph is one that TensorRT's parsers take.

    The forms are float32 of any batch and of one image, float16 and 8 bits; the parsers those of
    10.3, 10.13 and 11, which must have nothing at all against the graph.
    """
    from edgecv.export.graphs.fixed_shapes import with_shapes
    from edgecv.export.graphs.input_shape import with_batch
    from edgecv.export.graphs.model_file import read_onnx
    from edgecv.export.graphs.target import for_tensorrt
    from edgecv.export.inspection.support import reservations, tensorrt_support
    from edgecv.export.precisions.calibration import calibrate
    from edgecv.export.precisions.fp16 import to_fp16
    from edgecv.export.precisions.quantise import quantise

    def feed(graph: Any) -> dict[str, Any]:
        """Return noise for one image; of thresholds the defaults are good enough."""
        rng = np.random.default_rng(0)
        return {
            value.name: rng.random([int(side) for side in value.shape], np.float32)
            for value in with_shapes(graph).graph.inputs
            if value.shape is not None and len(value.shape) > 1
        }

    def check(path: Path) -> None:
        graph = read_onnx(path)
        ranges = calibrate(graph, [feed(graph)], method="min-max", threads=1)
        forms = {
            "any batch": graph,
            "one image": with_batch(graph, 1),
            "fp16": to_fp16(graph).model,
            "int8": quantise(graph, ranges, "tensorrt").model,
        }
        for form, each in forms.items():
            found = reservations(tensorrt_support(for_tensorrt(each)))
            assert not found, f"{path.name}, {form}"

    return check


SHAPES = ("disc", "square", "stripes")
SHAPE_IMAGES = {"train": 24, "val": 10, "test": 10}  # of each class


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images by class: a shape of any bright colour on a dark ground, 40x48."""
    from PIL import Image, ImageDraw

    def make(folder: Path) -> None:
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

    return made_once("shapes", tmp_path_factory, make)


@pytest.fixture(scope="session")
def trained_classifier(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LeNet's training on the shapes."""
    pytest.importorskip("torch")
    from edgecv.train.recipe import configure
    from edgecv.train.trainer import train

    settings = {
        "model": "lenet",
        "data": f"folder:{shapes}",
        "epochs": 20,
        "batch_size": 12,
        "learning_rate": 5e-3,
        "augment": "none",
        "precision": "float32",
    }

    def make(folder: Path) -> None:
        train(configure(settings, {}), folder / "run", SilentObserver())

    return made_once("classifier", tmp_path_factory, make) / "run"


@pytest.fixture(scope="session")
def exported_classifier(
    trained_classifier: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with that LeNet's `fused.onnx` (probabilities) and `raw.onnx` (logits)."""
    pytest.importorskip("onnx")
    from edgecv.export.comparison.parity import Tolerance
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.train.checkpoint import load_trained

    def make(folder: Path) -> None:
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

    return made_once("exported_classifier", tmp_path_factory, make)


@pytest.fixture
def make_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Write a detector in YOLOX's form: 64x64, always the same one object of class `cat`.

    Its score is the weight that it is made with, so that a result tells which file made it.
    """
    onnx = pytest.importorskip("onnx")
    from edgecv.export.graphs.metadata import write_spec
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


PAINTS = {"sky": (40, 120, 240), "grass": (30, 180, 60), "wall": (220, 60, 40)}


@pytest.fixture(scope="session")
def paints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in flat colours, 40x56, with label images: three classes and a void in between.

    Two thirds of the wall of each picture have the colour of grass.
    """
    from PIL import Image

    folder = tmp_path_factory.mktemp("paints")
    (folder / "classes.txt").write_text("sky\nvoid\ngrass\nwall\n")
    rng = np.random.default_rng(0)
    for split, count in {"train": 2, "val": 3, "test": 4}.items():
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for index in range(count):
            labels = np.full((40, 56), 2, np.uint8)
            labels[: 8 + rng.integers(12)] = 0
            top, left = rng.integers(4, 20, 2).tolist()
            labels[top : top + 12, left : left + 9] = 3
            image = np.array(PAINTS["sky"] * 4, np.uint8).reshape(4, 3)
            image[2], image[3] = PAINTS["grass"], PAINTS["wall"]
            picture = image[labels]
            picture[top : top + 12, left + 3 : left + 9] = PAINTS["grass"]
            labels[top : top + 12, left + 9] = 1
            Image.fromarray(picture).save(folder / split / f"{index}.png")
            Image.fromarray(labels).save(folder / f"{split}annot" / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a network which labels each pixel with the paint that is nearest.

    Its keyword `form` is what comes out: logits, half, probabilities, sigmoid (of grass, against
    all else), class-map or class-map-4d; `stride` input pixels make one output pixel.
    """
    onnx = pytest.importorskip("onnx")
    from edgecv.export.graphs.metadata import write_spec
    from edgecv.output_spec import ClassMapOutput, LogitsOutput, ProbabilitiesOutput
    from edgecv.spec import InputSpec, ModelSpec

    helper, kinds = onnx.helper, onnx.TensorProto
    folder = tmp_path_factory.mktemp("segmenters")

    def build(
        form: str = "logits",
        *,
        size_hw: tuple[int, int] = (40, 56),
        stride: int = 1,
        fit: str = "stretch",
        names: tuple[str, ...] = tuple(PAINTS),
    ) -> Path:
        paints = np.array(list(PAINTS.values()), np.float32) / 255
        # |x - p|² is smallest where 2 p·x - |p|² is largest.
        weights, bias = 2 * paints, -(paints**2).sum(axis=1)
        if form == "sigmoid":
            weights, bias = 2 * weights[1:2] - weights[[0]] - weights[[2]], np.float32([-0.3])
        pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes = [
            helper.make_node("AveragePool", ["images"], ["small"], **pool),
            helper.make_node("Conv", ["small", "weights", "bias"], ["scores"]),
        ]
        height, width = size_hw[0] // stride, size_hw[1] // stride
        shape, kind, output = [None, len(weights), height, width], kinds.FLOAT, LogitsOutput("out")
        last = {
            "logits": ("Identity", {}),
            "half": ("Cast", {"to": kinds.FLOAT16}),
            "probabilities": ("Softmax", {"axis": 1}),
            "sigmoid": ("Sigmoid", {}),
            "class-map": ("ArgMax", {"axis": 1, "keepdims": 0}),
            "class-map-4d": ("ArgMax", {"axis": 1, "keepdims": 1}),
        }[form]
        nodes.append(helper.make_node(last[0], ["scores"], ["out"], **last[1]))
        if form == "half":
            kind = kinds.FLOAT16
        elif form in ("probabilities", "sigmoid"):
            output = ProbabilitiesOutput("out")
        elif form.startswith("class-map"):
            kind, output = kinds.INT64, ClassMapOutput("out")
            shape[1:2] = [1] if form.endswith("4d") else []
        graph = helper.make_graph(
            nodes,
            "paints",
            [helper.make_tensor_value_info("images", kinds.FLOAT, [None, 3, *size_hw])],
            [helper.make_tensor_value_info("out", kind, shape)],
            [
                onnx.numpy_helper.from_array(weights[:, :, None, None], "weights"),
                onnx.numpy_helper.from_array(bias.astype(np.float32), "bias"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        wanted = InputSpec("images", size_hw, fit=fit)
        write_spec(model, ModelSpec("segment", names, wanted, output))
        path = folder / f"{form}-{stride}-{fit}-{size_hw[0]}-{'-'.join(names)}.onnx"
        onnx.save(model, path)
        return path

    return build


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
