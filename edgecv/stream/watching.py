"""Tracker, lines and zones of every source of a stream: a stage behind the model."""

from collections.abc import Mapping

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.job import Job
from edgecv.stream.scene import Scene, SceneConfig
from edgecv.stream.sources import Frame


class Scenes:
    """What is watched in each source of a stream.

    Args:
        configs: by the source's name; the tracker's scores of all of them are the same.

    """

    def __init__(self, configs: Mapping[str, SceneConfig]) -> None:
        """Begin with nobody."""
        self._wanted = dict(configs)
        self.scenes = {name: Scene(config) for name, config in configs.items()}

    @property
    def lowest_score(self) -> float:
        """Down to which the trackers want to see detections."""
        return min((scene.config.tracker.low_score for scene in self.scenes.values()), default=0.0)

    def apply(self, configs: Mapping[str, SceneConfig]) -> None:
        """Watch other lines and zones from each source's next frame on; from any thread.

        Args:
            configs: by the source's name, see `Scene.change`.

        """
        self._wanted = dict(configs)

    def watch(self, job: Job) -> None:
        """Give the detections of a frame their ids, and the frame its events: a stage's work.

        Raises:
            InputError: if the model finds no objects.

        """
        found = job.result
        if not isinstance(found, Detections):
            raise InputError(
                f"tracking: the model must find objects, got a {type(found).__name__}. "
                "Leave out tracking, lines and zones."
            )
        name = job.inlet.name
        scene, wanted = self.scenes[name], self._wanted[name]
        if scene.config is not wanted and scene.config != wanted:
            scene.change(wanted)
        tracked, events = scene.update(found, time_s(job.frame), frame_hw=job.frame.size_hw)
        job.result = job.setting.reported(tracked)
        job.events = tuple(events)


def time_s(frame: Frame) -> float:
    """Return when a frame was taken: its time of presentation, or of capture where it has none."""
    return frame.captured_s if frame.pts_s is None else frame.pts_s
