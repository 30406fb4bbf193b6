"""The steps of the demo, each the same call that its command makes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.bench import BenchReport, bench
from edgecv.data import DetectionDataset, data_root, open_dataset
from edgecv.demo.scenes import SPLITS, render_scenes
from edgecv.errors import DownloadError, EdgeCVError
from edgecv.evaluation import Evaluation, evaluate
from edgecv.export.comparison.parity import ParityReport, Tolerance
from edgecv.export.to_onnx import ExportOptions, export_onnx
from edgecv.models import build_model
from edgecv.runtime.model import load
from edgecv.stream.run import RunSummary, run_stream
from edgecv.stream.sinks import ImageSink, VideoSink
from edgecv.stream.sources import ImageSource
from edgecv.train.checkpoint import load_trained
from edgecv.train.config import IMAGENET_MEAN, IMAGENET_STD, TrainConfig
from edgecv.train.observer import Observer, TrainResult
from edgecv.train.trainer import train

MODEL = "ssd_mobilenetv2"
EPOCHS = 10  # with a pretrained backbone; one from random weights takes twice as many
SIZE_HW = (240, 320)
SCENES = SPLITS

_TRUNK = Path("weights") / "mobilenetv2_1.0_imagenet_trunk_fp16.pth"
_SLIDES_PER_S = 2.0


@dataclass(frozen=True)
class DemoResult:
    """What the demo did, for its page.

    Args:
        data: the data set, and whether it is real.
        weights: what the backbone started from.
        epochs: how many the training was to have.
        training: the run.
        parity: the exported file against PyTorch.
        evaluation: on the test split, through the pipeline.
        run: the stream that made picture and video.
        speed: of the exported file on this machine.
        model, picture, video: the files.
        seconds: from start to end.

    """

    data: str
    is_real: bool
    weights: str
    epochs: int
    training: TrainResult
    parity: ParityReport
    evaluation: Evaluation
    run: RunSummary
    speed: BenchReport
    model: Path
    picture: Path
    video: Path
    seconds: float

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers."""
        return {
            "data": self.data,
            "is_real": self.is_real,
            "weights": self.weights,
            "training_seconds": round(self.training.seconds, 1),
            "history": self.training.history,
            "parity": self.parity.to_plain(),
            "evaluation": self.evaluation.to_plain(),
            "run": self.run.to_plain(),
            "speed": self.speed.to_plain(),
            "seconds": round(self.seconds, 1),
        }


def run_demo(folder: Path, observer: Observer, say: Callable[[str], None]) -> DemoResult:
    """Train, export, check, evaluate and run, into `folder`.

    Args:
        folder: for the model, the picture, the video and the run of the training.
        observer: follows the training.
        say: is told each step in a sentence.

    Raises:
        EdgeCVError: if the training was interrupted; it can be resumed by itself.

    """
    start = time.monotonic()
    address, is_real = _choose_data(folder, say)
    config = _configure(address, say)
    training = train(config, folder / "training", observer)
    if training.was_interrupted:
        raise EdgeCVError(
            "the demo was stopped during its training. Start it again, or go on with the training "
            f"alone: `edgecv train --resume {training.folder}`."
        )

    trained = load_trained(folder / "training" / "best.pt")
    model_path, picture, video = folder / "model.onnx", folder / "picture.jpg", folder / "video.mp4"
    validation = open_dataset(address, "val")
    say(f"Exporting to {model_path} and comparing it with PyTorch, image by image.")
    parity = export_onnx(
        trained.network,
        trained.spec,
        model_path,
        [sample.image_path for sample in validation.samples[:8]],
        options=ExportOptions(),
        tolerance=Tolerance(),
    )
    test = open_dataset(address, "test")
    say(f"Measuring it on the {len(test.samples)} test images, which the training never saw.")
    with load(model_path) as model:
        evaluation = evaluate(model, test)
        paths = [sample.image_path for sample in test.samples]
        run_stream(ImageSource([_liveliest(test)]), model, sinks=[ImageSink(picture)], draw=True)
        summary = run_stream(
            ImageSource(paths), model, sinks=[VideoSink(video, _SLIDES_PER_S)], draw=True
        )
        speed = bench(model, None, warm_up=5, repeat=50, threads=0)
    return DemoResult(
        data=f"{test.name}, {len(test.samples)} test images",
        is_real=is_real,
        weights=config.weights,
        epochs=config.epochs,
        training=training,
        parity=parity,
        evaluation=evaluation,
        run=summary,
        speed=speed,
        model=model_path,
        picture=picture,
        video=video,
        seconds=time.monotonic() - start,
    )


def _choose_data(folder: Path, say: Callable[[str], None]) -> tuple[str, bool]:
    """Return the address of BCCD, or of rendered scenes where BCCD cannot be had."""
    try:
        dataset = open_dataset("bccd", "train")
    except DownloadError as error:
        say(f"BCCD is not here and cannot be fetched: {error}")
        say("Rendering scenes of discs, squares and triangles instead: NOT real images.")
        scenes = folder / "scenes"
        render_scenes(scenes, SCENES)
        return f"coco:{scenes}", False
    say(f"Data: BCCD, blood cells under a microscope, {len(dataset.samples)} training images.")
    return "bccd", True


def _configure(address: str, say: Callable[[str], None]) -> TrainConfig:
    """Choose the backbone's weights: a local trunk, the hub's, or none."""
    root = data_root()
    weights, mean, std = "imagenet", IMAGENET_MEAN, IMAGENET_STD
    if root is not None and (root / _TRUNK).is_file():
        # This trunk was trained on pixels in -1..1.
        weights, mean, std = str(root / _TRUNK), (0.5,) * 3, (0.5,) * 3
    elif not imagenet_is_available():
        say(
            "The ImageNet weights are not here and cannot be fetched: the backbone starts from "
            "random weights and learns for longer."
        )
        weights = "none"
    is_pretrained = weights != "none"
    epochs = EPOCHS if is_pretrained else 2 * EPOCHS
    say(f"Training {MODEL} at {SIZE_HW[1]}x{SIZE_HW[0]} for {epochs} epochs.")
    return TrainConfig(
        model=MODEL,
        data=address,
        epochs=epochs,
        size_hw=SIZE_HW,
        batch_size=8,
        backbone_rate=0.3 if is_pretrained else 1.0,
        weights=weights,
        mean=mean,
        std=std,
    )


def imagenet_is_available() -> bool:
    """Tell whether the hub's weights of the backbone are cached or can be downloaded."""
    try:
        build_model(MODEL, 1, SIZE_HW).backbone().imagenet_state()
    except DownloadError:
        return False
    return True


def _liveliest(dataset: DetectionDataset) -> Path:
    """Return the image with the most kinds of objects, then the most objects."""

    def liveliness(index: int) -> tuple[int, int]:
        class_ids = dataset.samples[index].class_ids
        return len(set(class_ids.tolist())), len(class_ids)

    return dataset.samples[max(range(len(dataset.samples)), key=liveliness)].image_path
