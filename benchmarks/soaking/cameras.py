"""Bar A: four network cameras, one of which fails every 15 s.

None of them is given up, none is silent for more than 5 s beyond its fault, every frame is
accounted for, and memory stays flat.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgecv
from edgecv.provenance import cpu_name
from edgecv.stream.accounting import SourceStatus
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.sources import open_source
from soaking.camera_kit import CameraKit
from soaking.curve import Sample, draw, growth_of, write_csv
from soaking.faults import Fault, planned
from soaking.process_state import ProcessState
from soaking.silences import Interval, SilenceLog, longest_beyond
from soaking.tiny_model import write_tiny_model
from soaking.verdict import Check, Verdict

NUM_CAMERAS, SIZE, FPS = 4, "320x180", 15
TIMEOUT_S = 5.0
MOST_BEYOND_S = 5.0
MOST_GROWTH_BYTES = 5_000_000

_LONGEST_WARM_UP_S = 180.0
_SAMPLE_S = 1.0
_LETTERS = {"drop": "D", "down": "O", "stall": "S", "corrupt": "C", "resize": "R"}


@dataclass(frozen=True)
class Happened:
    """A fault, and when it took place by the clock of the run."""

    fault: Fault
    begin_s: float
    end_s: float


class Tormentor:
    """The thread that lets cameras fail as planned."""

    def __init__(self, kit: CameraKit, plan: Sequence[Fault], begin_s: float) -> None:
        """Take the plan; see `start`."""
        self.begun: dict[Fault, float] = {}
        self.ended: dict[Fault, float] = {}
        self.error: BaseException | None = None
        self._kit, self._begin_s = kit, begin_s
        steps = [(fault.at_s, fault, fault.begin, self.begun) for fault in plan]
        steps += [(each.at_s + each.lasts_s, each, each.end, self.ended) for each in plan]
        self._steps = sorted(steps, key=lambda step: step[0])  # a fault may outlast the next one
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tormentor")

    def start(self) -> None:
        """Let it all happen."""
        self._thread.start()

    def stop(self) -> None:
        """Leave out what is left of the plan."""
        self._stopped.set()
        self._thread.join()

    def happened(self) -> list[Happened]:
        """Return the faults that are over, and when they were."""
        return [Happened(fault, self.begun[fault], end_s) for fault, end_s in self.ended.items()]

    def _run(self) -> None:
        try:
            for at_s, fault, command, times in self._steps:
                if self._stopped.wait(max(0.0, self._begin_s + at_s - time.perf_counter())):
                    return
                # A silence begins after the command, and ends with it at the latest.
                if times is self.begun:
                    times[fault] = time.perf_counter()
                if command is not None:
                    name, *values = command
                    self._kit.tell(str(name), fault.camera, *values)
                if times is self.ended:
                    times[fault] = time.perf_counter()
        except BaseException as error:  # noqa: BLE001  # a check of the verdict
            self.error = error


class Sampler:
    """The thread that looks once a second at memory, and at whether the counts add up."""

    def __init__(self, pipeline: Pipeline, begin_s: float) -> None:
        """Take the pipeline; see `start`."""
        self.samples: list[Sample] = []
        self.num_wrong_sums = 0
        self._pipeline, self._begin_s = pipeline, begin_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def start(self) -> None:
        """Look until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_SAMPLE_S):
            counts = [account.counts() for account in self._pipeline.accounts.values()]
            for each in counts:
                self.num_wrong_sums += (
                    each.decoded != each.delivered + each.num_dropped + each.in_flight
                )
            state = ProcessState.now()
            self.samples.append(
                Sample(
                    time.perf_counter() - self._begin_s,
                    state.rss_bytes,
                    state.num_descriptors,
                    state.num_threads,
                    sum(each.delivered for each in counts),
                )
            )


class Tally:
    """What the consumer itself counts, to compare with what the stream says."""

    def __init__(self, names: Sequence[str]) -> None:
        """Begin with nothing."""
        self.num_delivered = dict.fromkeys(names, 0)
        self.num_out_of_order = 0
        self._last_index = dict.fromkeys(names, -1)

    def result(self, name: str, index: int) -> None:
        """Count a result."""
        self.num_delivered[name] += 1
        self.num_out_of_order += index <= self._last_index[name]
        self._last_index[name] = index

    def mistakes(self, status: dict[str, SourceStatus]) -> list[str]:
        """Return where the stream's account differs from what its two ends have counted."""
        found = []
        for name, each in status.items():
            counts, num_read = each.counts, each.health["num_frames"]
            accounted = counts.delivered + counts.num_dropped
            if counts.decoded != accounted or counts.in_flight:
                found.append(f"{name}: {counts.decoded} decoded, {accounted} accounted for")
            if counts.decoded != num_read:
                found.append(f"{name}: {counts.decoded} decoded, {num_read} read")
            if counts.delivered != self.num_delivered[name]:
                found.append(
                    f"{name}: {counts.delivered} delivered, {self.num_delivered[name]} received"
                )
        return found


def run(folder: Path, *, minutes: float, seed: int) -> Verdict:
    """Let four cameras fail for so long, and write `cameras.csv`, `cameras.svg` and `.png`.

    Args:
        folder: where to write.
        minutes: of the run.
        seed: of the faults.

    """
    duration_s = minutes * 60
    warm_s = min(_LONGEST_WARM_UP_S, duration_s / 2)
    plan = list(planned(seed, num_cameras=NUM_CAMERAS, until_s=duration_s, size=SIZE))
    model = edgecv.load(write_tiny_model(folder / "tiny.onnx"), "cpu", threads=1)
    notices = Notices()
    said: list[dict[str, Any]] = []
    notices.listen(lambda notice: said.append(asdict(notice)))
    with ExitStack() as stack:
        kit = stack.enter_context(CameraKit(NUM_CAMERAS, size=SIZE, fps=FPS))
        sources = [
            stack.enter_context(open_source(url, timeout_s=TIMEOUT_S, notices=notices))
            for url in kit.urls
        ]
        pipeline = stack.enter_context(Pipeline(sources, model, notices=notices))
        begin_s = time.perf_counter()
        silences, tally = SilenceLog(NUM_CAMERAS, begin_s), Tally(list(pipeline.accounts))
        numbers = {name: number for number, name in enumerate(pipeline.accounts)}
        sampler, tormentor = Sampler(pipeline, begin_s), Tormentor(kit, plan, begin_s)
        sampler.start()
        tormentor.start()
        clock = threading.Timer(duration_s, pipeline.stop)
        clock.start()
        try:
            for result in pipeline.results():
                silences.result(numbers[result.source], time.perf_counter())
                tally.result(result.source, result.frame.index)
        finally:
            silences.end(time.perf_counter())
            clock.cancel()
            tormentor.stop()
            sampler.stop()
    status, happened = pipeline.status(), tormentor.happened()
    given_up = pipeline.errors()
    beyond_s, worst = longest_beyond(silences.found, _times(happened))
    growth = growth_of(sampler.samples, warm_s=warm_s)
    mistakes = tally.mistakes(status)
    num_decoded = sum(each.counts.decoded for each in status.values())
    num_dropped = sum(each.counts.num_dropped for each in status.values())
    marks = [(each.begin_s - begin_s, _LETTERS[each.fault.kind]) for each in happened]
    title = f"{NUM_CAMERAS} RTSP cameras, {len(happened)} faults in {minutes:g} minutes"
    write_csv(sampler.samples, folder / "cameras.csv")
    for suffix in ("svg", "png"):
        draw(sampler.samples, marks, folder / f"cameras.{suffix}", warm_s=warm_s, title=title)
    return Verdict(
        "cameras",
        (
            Check(f"{NUM_CAMERAS} RTSP streams for {minutes:g} min, seed {seed}", holds=True),
            Check(
                f"{len(happened)} of {len(plan)} faults survived, {len(given_up)} cameras given up",
                holds=len(happened) == len(plan) and not given_up and tormentor.error is None,
            ),
            Check(*_told(happened, status)),
            Check(
                f"longest silence beyond a fault {beyond_s:.1f} s (at most {MOST_BEYOND_S:g})",
                holds=beyond_s <= MOST_BEYOND_S,
            ),
            Check(
                f"{num_decoded} decoded = {num_decoded - num_dropped} delivered + {num_dropped} "
                f"dropped, {len(mistakes)} mistakes",
                holds=not mistakes
                and sampler.num_wrong_sums == 0
                and tally.num_out_of_order == 0
                and num_decoded > 0,
            ),
            Check(
                f"memory {growth.bytes / 1e6:+.1f} MB after {warm_s:g} s of warm-up (at most "
                f"{MOST_GROWTH_BYTES / 1e6:g})",
                holds=growth.bytes < MOST_GROWTH_BYTES,
            ),
        ),
        {
            "cpu": cpu_name(),
            "minutes": minutes,
            "seed": seed,
            "timeout_s": TIMEOUT_S,
            "longest_silence_beyond_s": beyond_s,
            "worst_silence": None
            if worst is None
            else {
                **asdict(worst),
                "begin_s": worst.begin_s - begin_s,
                "end_s": worst.end_s - begin_s,
            },
            "growth": asdict(growth),
            "mistakes": mistakes,
            "error": None if tormentor.error is None else repr(tormentor.error),
            "given_up": {name: str(error) for name, error in given_up.items()},
            "sources": {name: each.to_plain() for name, each in status.items()},
            "faults": [
                {
                    "camera": each.fault.camera,
                    "kind": each.fault.kind,
                    "begin_s": each.begin_s - begin_s,
                    "end_s": each.end_s - begin_s,
                }
                for each in happened
            ],
            "notices": said,
        },
    )


def _told(happened: Sequence[Happened], status: Mapping[str, SourceStatus]) -> tuple[str, bool]:
    """Return what the sources say that happened to them, and whether no fault is missing."""
    kinds = Counter(each.fault.kind for each in happened)
    num_stalls = sum(
        each.fault.kind == "stall" and each.end_s - each.begin_s > TIMEOUT_S + 1
        for each in happened
    )
    wanted = {
        "reconnects": kinds["drop"] + kinds["down"],
        "restarts": num_stalls,
        "format_changes": 2 * kinds["resize"],
        "corrupt": kinds["corrupt"],
    }
    found = {name: sum(each.health[f"num_{name}"] for each in status.values()) for name in wanted}
    text = "{reconnects} reconnects, {restarts} restarts, {format_changes} changes of size and "
    text += "{corrupt} damaged packets told"
    return text.format(**found), all(found[name] >= wanted[name] for name in wanted)


def _times(happened: Sequence[Happened]) -> list[list[Interval]]:
    """Return for each camera when it gave nothing because it was told so."""
    times: list[list[Interval]] = [[] for _ in range(NUM_CAMERAS)]
    for each in happened:
        if each.fault.silences:
            times[each.fault.camera].append((each.begin_s, each.end_s))
    return times
