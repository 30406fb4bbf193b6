"""Bar C: 100 starts and stops leave no thread, no descriptor, no process and no memory behind.

A stream is stopped in every way that there is: at its end, by leaving the loop, by `stop`, by an
error of the consumer's, before its first result, and while a camera is silent.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import edgecv
from edgecv.runtime.model import Model
from edgecv.stream.opening import open_pipeline
from edgecv.stream.run import run_stream
from edgecv.stream.sinks import make_sink
from edgecv.stream.sources import open_source
from edgecv.stream.sources.heap import trim_heap
from soaking.camera_kit import CameraKit
from soaking.clips import CLIPS, write_clip
from soaking.process_state import ProcessState, rss_bytes, settled
from soaking.tiny_model import write_tiny_model
from soaking.verdict import Check, Verdict

NUM_STARTS = 100
MOST_GROWTH_BYTES = 5_000_000

_NUM_WARM = 20  # what is imported and allocated once
_NUM_FRAMES = 25


@dataclass(frozen=True)
class Place:
    """What the streams of this bar are made of.

    Args:
        model: kept for all of them, as a server would.
        model_path: its file, for those that load their own.
        video: a short file.
        kit: one camera that sends, and one that is silent after its first picture.
        folder: where to write.

    """

    model: Model
    model_path: Path
    video: Path
    kit: CameraKit
    folder: Path


Start: TypeAlias = Callable[[Place], object]


def a_file_to_its_end(place: Place) -> None:
    """Read all of a file."""
    assert sum(1 for _ in edgecv.stream(place.video, place.model)) == _NUM_FRAMES


def a_file_left_at_once(place: Place) -> None:
    """Leave after the first result."""
    for _ in edgecv.stream(place.video, place.model):
        break


def a_failing_consumer(place: Place) -> None:
    """Raise among the results."""
    with suppress(ZeroDivisionError):
        for result in edgecv.stream(place.video, place.model):
            _ = 1 // (3 - result.frame.index)


def a_stream_never_begun(place: Place) -> None:
    """Open the sources and take no result."""
    open_pipeline(place.video, place.model).close()


def a_start_without_a_result(place: Place) -> None:
    """Start the threads and leave."""
    with open_pipeline([place.video, "test://box?fps=30"], place.model):
        pass


def many_sources(place: Place) -> None:
    """Stop four live sources and a file in the middle."""
    sources = [*(f"test://box?size=64x48&fps={fps}" for fps in (25, 30, 50, 60)), place.video]
    with open_pipeline(sources, place.model) as pipeline:
        for number, _ in enumerate(pipeline.results()):
            if number == 10:  # noqa: PLR2004
                pipeline.stop()


def a_recording(place: Place) -> None:
    """Write a video and lines."""
    paths = [place.folder / name for name in ("restarts.mp4", "restarts.jsonl")]
    source, classes = open_source(place.video), place.model.spec.classes
    sinks = [make_sink(path, source, classes) for path in paths]
    summary = run_stream(source, place.model, sinks=sinks, draw=True)
    assert summary.num_frames == _NUM_FRAMES


def a_model_of_its_own(place: Place) -> None:
    """Load the model anew."""
    model = edgecv.load(place.model_path, "cpu", threads=1)
    list(islice(edgecv.stream(place.video, model), 3))


def a_camera(place: Place) -> None:
    """Take three results of a camera."""
    list(islice(edgecv.stream(place.kit.urls[0], place.model), 3))


def a_silent_camera(place: Place) -> None:
    """Leave while a camera is silent."""
    with open_pipeline(place.kit.urls[1], place.model) as pipeline:
        next(pipeline.results())
        place.kit.tell("stall", 1)
    place.kit.tell("resume", 1)


STARTS: tuple[Start, ...] = (
    a_file_to_its_end,
    a_file_left_at_once,
    a_failing_consumer,
    a_stream_never_begun,
    a_start_without_a_result,
    many_sources,
    a_recording,
    a_model_of_its_own,
    a_camera,
    a_silent_camera,
)


def run(folder: Path, *, minutes: float, seed: int) -> Verdict:
    """Start and stop streams, and count before and after.

    Args:
        folder: where to write.
        minutes: unused: it takes as long as it takes.
        seed: unused: nothing is left to chance.

    """
    del minutes, seed
    model_path = write_tiny_model(folder / "tiny.restarts.onnx")
    video = folder / "restarts_source.mp4"
    write_clip(CLIPS[0], video, num_frames=_NUM_FRAMES)
    model = edgecv.load(model_path, "cpu", threads=1)
    begin_s = time.perf_counter()
    with CameraKit(2, size="160x96", fps=30) as kit:
        place = Place(model, model_path, video, kit, folder)
        before = ProcessState.now()
        for number in range(_NUM_WARM):
            STARTS[number % len(STARTS)](place)
        warm, warm_used_bytes = _counted(before)
        took_s: Counter[str] = Counter()
        for number in range(NUM_STARTS):
            start = STARTS[number % len(STARTS)]
            started_s = time.perf_counter()
            start(place)
            took_s[start.__name__] += time.perf_counter() - started_s
        after, after_used_bytes = _counted(before)
    wall_s = time.perf_counter() - begin_s
    for path in (model_path, video, folder / "restarts.mp4", folder / "restarts.jsonl"):
        path.unlink(missing_ok=True)
    growth_bytes = after_used_bytes - warm_used_bytes
    kept_bytes = after.rss_bytes - warm.rss_bytes
    num_threads = after.num_threads - before.num_threads
    num_descriptors = after.num_descriptors - before.num_descriptors
    num_children = len(set(after.children) - set(before.children))
    return Verdict(
        "restarts",
        (
            Check(
                f"{NUM_STARTS} starts and stops in {len(STARTS)} ways, {wall_s:.0f} s", holds=True
            ),
            Check(f"{num_threads} threads left", holds=num_threads <= 0),
            Check(f"{num_descriptors} descriptors left", holds=num_descriptors <= 0),
            Check(f"{num_children} processes left", holds=num_children == 0),
            Check(
                f"memory in use {growth_bytes / 1e6:+.1f} MB after {_NUM_WARM} starts of warm-up "
                f"(at most {MOST_GROWTH_BYTES / 1e6:g}; {kept_bytes / 1e6:+.1f} MB with what the "
                "C library keeps)",
                holds=growth_bytes < MOST_GROWTH_BYTES,
            ),
        ),
        {
            "before": asdict(before),
            "warm": asdict(warm),
            "after": asdict(after),
            "used_bytes": {"warm": warm_used_bytes, "after": after_used_bytes},
            "took_s": dict(took_s),
        },
    )


def _counted(before: ProcessState) -> tuple[ProcessState, int]:
    """Return what is held now, and the memory when freed parts of it were given back."""
    state = settled(lambda state: _is_back(state, before))
    gc.collect()
    trim_heap()
    return state, rss_bytes()


def _is_back(state: ProcessState, to: ProcessState) -> bool:
    return state.num_threads <= to.num_threads and state.num_descriptors <= to.num_descriptors
