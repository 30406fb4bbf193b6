"""Training classifiers: images by class, measured by how often the first guess is right."""

from pathlib import Path
from typing import cast

import numpy as np

from edgecv.data import open_classification
from edgecv.data.batches import LabelledBatches
from edgecv.errors import DatasetError, InputError
from edgecv.files import replacing
from edgecv.metrics.classification import ClassificationMetrics, classification_metrics
from edgecv.report import ClassificationReport, write_report
from edgecv.results import Classification
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec
from edgecv.train.checkpoint import Progress
from edgecv.train.config import TrainConfig
from edgecv.train.distributed import Ranks
from edgecv.train.task import TrainingTask

_KEPT = "best_probabilities.npy"


class ClassificationTask(TrainingTask):
    """Task `classify`, see `TrainingTask`."""

    figures = ("top1", "top5")

    def __init__(self, config: TrainConfig) -> None:
        """Open training and validation split, see `TrainingTask`."""
        self._training = open_classification(config.data, "train", on_bad=config.on_bad)
        self._validation = open_classification(config.data, "val", on_bad=config.on_bad)
        if self._training.split == self._validation.split:
            raise DatasetError(f"`{config.data}`: training and validation must be two splits.")
        self.classes = self._training.classes
        self.num_images = len(self._training.samples)
        self.problems = tuple(dict.fromkeys((*self._training.problems, *self._validation.problems)))
        self.notes = (self._training.note,) if self._training.note else ()

    def batches(self, wanted: InputSpec, config: TrainConfig, ranks: Ranks) -> LabelledBatches:
        """Return the batches of the training split, see `TrainingTask`."""
        return LabelledBatches(
            self._training,
            wanted,
            batch_size=config.batch_size,
            seed=config.seed,
            workers=config.workers,
            share=(ranks.rank, ranks.size),
            recipe=config.augment,
        )

    def postprocess(self) -> PostprocessSpec:
        """Return the defaults, which no classifier needs, see `TrainingTask`."""
        return PostprocessSpec()

    def validate(self, model: Model, ranks: Ranks) -> list[Classification]:
        """Return the probabilities of each validation image, see `TrainingTask`."""
        samples = self._validation.samples[ranks.rank :: ranks.size]
        return ranks.gathered([cast("Classification", model(s.image_path)) for s in samples])

    def measure(self, found: list[Classification]) -> ClassificationMetrics:
        """Return top-1, top-5 and the figures by class, see `TrainingTask`."""
        return classification_metrics(self._validation, self.classes, found)

    def keep(self, folder: Path, found: list[Classification]) -> None:
        """Write the probabilities of the best epoch, (N, C) float32, see `TrainingTask`."""
        with replacing(folder / _KEPT) as partial, partial.open("wb") as file:
            np.save(file, np.stack([result.probabilities for result in found]))

    def write_report(self, folder: Path, spec: ModelSpec, progress: Progress) -> Path:
        """Write confusion matrix and figures, see `TrainingTask`."""
        dataset = self._validation
        images = f"{len(dataset.samples)} images of the split {dataset.split}"
        report = ClassificationReport(
            title=f"{spec.provenance.model} on {dataset.name}",
            facts=(f"Epoch {progress.best_epoch}, the best of {len(progress.history)}, {images}.",),
            metrics=classification_metrics(dataset, spec.classes, _kept(folder)),
            history=progress.history,
            best_epoch=progress.best_epoch,
        )
        return write_report(report, folder)


def _kept(folder: Path) -> list[Classification]:
    """Return what `ClassificationTask.keep` wrote."""
    path = folder / _KEPT
    try:
        probabilities = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises whatever the damaged bytes lead it to
        raise InputError(f"`{path}` cannot be read: {error}. Validate an epoch anew.") from error
    return [Classification(row) for row in probabilities]
