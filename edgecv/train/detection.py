"""Training detectors: images with objects, measured as COCO does."""

from pathlib import Path
from typing import cast

from edgecv.data import DetectionDataset, open_dataset
from edgecv.data.batches import TrainingBatches
from edgecv.errors import DatasetError, InputError
from edgecv.metrics.confusion import confusion_matrix
from edgecv.metrics.detection import DetectionMetrics, detection_metrics, with_shapes_of
from edgecv.models import model_task, takes_proposals
from edgecv.proposals import Proposals, read_proposals
from edgecv.report import Report, write_report
from edgecv.results import Detections
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec
from edgecv.train.checkpoint import Progress
from edgecv.train.config import TrainConfig
from edgecv.train.distributed import Ranks
from edgecv.train.report import keep_detections, kept_detections
from edgecv.train.task import TrainingTask

_VALIDATION_SCORE = 0.01  # lower scores add time and nothing to a comparison of epochs
_FIGURES = ("AP", "AP50", "AP75")
_MASK_FIGURES = ("mask_AP", "mask_AP50", "AP", "AP50")
_KEYPOINT_FIGURES = ("keypoint_AP", "keypoint_AP50", "AP", "AP50")
_LEAST_SIDE = 64  # two cells of stride 32


class DetectionTask(TrainingTask):
    """Tasks `detect`, `instance` and `keypoints`, see `TrainingTask`."""

    def __init__(self, config: TrainConfig) -> None:
        """Open training and validation split, see `TrainingTask`."""
        if min(config.size_hw) < _LEAST_SIDE:
            raise InputError(
                f"train: `size` must be at least {_LEAST_SIDE} x {_LEAST_SIDE} for a detector, got "
                f"{config.size_hw}."
            )
        task = model_task(config.model)
        self._with_masks = task == "instance"
        self._with_keypoints = task == "keypoints"
        self._training = open_dataset(config.data, "train", on_bad=config.on_bad)
        self._validation = open_dataset(config.data, "val", on_bad=config.on_bad)
        for dataset in (self._training, self._validation):
            _refuse_empty(dataset, config.data)
        self._proposals = _proposals_for(config)
        if self._proposals is not None:
            self.proposal_method = self._proposals.method
            self._training = self._training.with_proposals(self._proposals)
            self._validation = self._validation.with_proposals(self._proposals)
        self.figures = _FIGURES
        if self._with_masks and self._validation.has_outlines:
            self.figures = _MASK_FIGURES
        if self._with_keypoints:
            _refuse_other_keypoints(self._training, self._validation, config)
            self.keypoints = self._training.keypoint_names
            self.skeleton = self._training.skeleton
            if self._validation.has_keypoints:
                self.figures = _KEYPOINT_FIGURES
        self.classes = self._training.classes
        self.num_images = len(self._training.samples)
        self.problems = (*self._training.problems, *self._validation.problems)

    def batches(self, wanted: InputSpec, config: TrainConfig, ranks: Ranks) -> TrainingBatches:
        """Return the batches of the training split, see `TrainingTask`."""
        return TrainingBatches(
            self._training,
            wanted,
            batch_size=config.batch_size,
            seed=config.seed,
            workers=config.workers,
            share=(ranks.rank, ranks.size),
            recipe=config.augment,
            num_epochs=config.epochs,
            with_masks=self._with_masks,
            with_keypoints=self._with_keypoints,
            with_proposals=self._proposals is not None,
        )

    def postprocess(self) -> PostprocessSpec:
        """Return the default thresholds, see `TrainingTask`."""
        return PostprocessSpec(multi_label=True)

    def validate(self, model: Model, ranks: Ranks) -> list[Detections]:
        """Return the detections of each validation image, see `TrainingTask`."""
        model = model.with_thresholds(score=_VALIDATION_SCORE)
        if self._proposals is not None:
            model = model.with_proposals(self._proposals)
        samples = self._validation.samples[ranks.rank :: ranks.size]
        return ranks.gathered([cast("Detections", model(s.image_path)) for s in samples])

    def measure(self, found: list[Detections]) -> DetectionMetrics:
        """Return COCO's metrics, see `TrainingTask`."""
        return detection_metrics(self._validation, self.classes, found)

    def keep(self, folder: Path, found: list[Detections]) -> None:
        """Write the detections of the best epoch, see `TrainingTask`."""
        keep_detections(folder, found)

    def write_report(self, folder: Path, spec: ModelSpec, progress: Progress) -> Path:
        """Write curves, confusion matrix and figures, see `TrainingTask`."""
        dataset, found = self._validation, kept_detections(folder)
        images = f"{len(dataset.samples)} images of the split {dataset.split}"
        of_boxes = detection_metrics(dataset, spec.classes, found)
        report = Report(
            title=f"{spec.provenance.model} on {dataset.name}",
            facts=(f"Epoch {progress.best_epoch}, the best of {len(progress.history)}, {images}.",),
            metrics=with_shapes_of(of_boxes, progress.history[progress.best_epoch - 1]),
            confusion=confusion_matrix(
                dataset, spec.classes, found, score_threshold=spec.postprocess.score_threshold
            ),
            history=progress.history,
            best_epoch=progress.best_epoch,
        )
        return write_report(report, folder)


def _refuse_empty(dataset: DetectionDataset, address: str) -> None:
    if not any(len(sample.class_ids) for sample in dataset.samples):
        raise DatasetError(
            f"`{address}`: the split {dataset.split} holds no object at all. "
            "Nothing can be learnt or measured on it; check its annotations."
        )


def _refuse_other_keypoints(
    training: DetectionDataset, validation: DetectionDataset, config: TrainConfig
) -> None:
    """Refuse data that give keypoints nothing to learn from, or splits that name others."""
    if not training.has_keypoints:
        raise DatasetError(
            f"`{config.data}`: the split {training.split} labels no keypoint, and "
            f"`{config.model}` learns from keypoints. Name them in the category and label them in "
            "the annotations, both under `keypoints`, or train a detector."
        )
    if validation.keypoint_names not in ((), training.keypoint_names):
        raise DatasetError(
            f"`{config.data}`: the keypoints of the splits {training.split} and "
            f"{validation.split} must be the same, got {', '.join(training.keypoint_names)} and "
            f"{', '.join(validation.keypoint_names)}. Mend the categories."
        )


def _proposals_for(config: TrainConfig) -> Proposals | None:
    """Return the regions that the detector looks at, None if it finds them itself."""
    if takes_proposals(config.model) != (config.proposals is not None):
        raise InputError(
            f"train: `{config.model}` finds regions itself. Leave out `--proposals`."
            if config.proposals is not None
            else f"train: `{config.model}` looks at regions that are proposed outside of it. Make "
            "them with `edgecv data propose` and name the file with `--proposals`."
        )
    return None if config.proposals is None else read_proposals(Path(config.proposals))
