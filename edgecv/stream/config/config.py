"""What there is to say about a run."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from edgecv.errors import InputError
from edgecv.runtime.session import Backend, ComputePrecision, Hint
from edgecv.stream.lines import Line
from edgecv.stream.places import Units
from edgecv.stream.policy import Keep, Policy
from edgecv.stream.regions import RegionBox
from edgecv.stream.settings import Thresholds
from edgecv.stream.sources import TIMEOUT_S
from edgecv.stream.tracking import TrackerConfig
from edgecv.stream.zones import Zone

SCHEMA = 1
OptionValue: TypeAlias = bool | int | float | str
Device = Literal["auto", "cpu", "cuda", "gpu", "npu"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class ModelConfig:
    """The model, what runs it, and how frames share it.

    Args:
        path: see `edgecv.load`, as are the options up to `cache`.
        device: where it runs.
        threads: threads of one inference on the CPU, 0 for one per core.
        backend: what runs it.
        precision: of a checkpoint, OpenVINO or TensorRT.
        hint: what is tuned for; None for `throughput` where all sources are files that wait, else
            `latency`.
        cache: folder for compiled networks and engines.
        proposals: a file with the regions for a model that looks at given ones.
        batch: frames of a batch at the most; None for one per source.
        budget_ms: what a frame may wait for others to share a batch with, at least 0.
        thresholds: which detections count.
        tile: side in pixels of the tiles that the model looks at one by one, see
            `edgecv.stream.tiling.Tiled`; None for whole frames.
        overlap: least share of a tile's side that neighbours have in common, in [0, 1); None for
            0.2.
        then: models that look at each object found, by the name of the file without its ending,
            see `edgecv.stream.crops.Cascade`; they run where the first does.

    """

    path: str
    device: Device = "auto"
    threads: int = 0
    backend: Backend = "auto"
    precision: ComputePrecision | None = None
    hint: Hint | None = None
    cache: str | None = None
    proposals: str | None = None
    batch: int | None = None
    budget_ms: float = 0.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    tile: int | None = None
    overlap: float | None = None
    then: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name, number, least in (
            ("tile", self.tile, 2),
            ("threads", self.threads, 0),
            ("batch", self.batch, 1),
            ("budget_ms", self.budget_ms, 0),
        ):
            if number is not None and not least <= number < float("inf"):
                raise InputError(f"model: `{name}` must be at least {least}, got {number}.")


@dataclass(frozen=True)
class SourceConfig:
    """One source.

    Args:
        uri: see `edgecv.stream.sources.open_source`, as are `hardware`, `timeout_s` and
            `reconnect`. `${NAME}` stands for the environment's variable: a password.
        name: for results, files and messages; None for the address without password.
        policy: `latest`, `every`, or None for what suits the source.
        rate_hz: at most so many frames a second, None for all.
        region: x1, y1, x2, y2 of the part of each frame that the model looks at, None for all.
        region_units: of the region.
        hardware: who decodes.
        realtime: whether a file keeps its own pace.
        timeout_s: a live source that is silent for longer has stalled.
        reconnect: whether a live source that breaks off is opened again.

    """

    uri: str
    name: str | None = None
    policy: Keep | None = None
    rate_hz: float | None = None
    region: tuple[float, float, float, float] | None = None
    region_units: Units = "relative"
    hardware: str = "off"
    realtime: bool = False
    timeout_s: float = TIMEOUT_S
    reconnect: bool = True

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if not self.uri:
            raise InputError("source: `uri` must not be empty. Write a file, a URL or camera:0.")
        if self.name is not None and not self.name.strip():
            raise InputError("source: `name` must not be empty. Leave it out for the address.")
        if not 0 < self.timeout_s < float("inf"):
            raise InputError(f"source: `timeout_s` must be above 0, got {self.timeout_s}.")
        if self.rate_hz is not None and not 0 < self.rate_hz < float("inf"):
            raise InputError(
                f"source: `rate_hz` must be above 0, got {self.rate_hz:g}. Leave it out for all."
            )
        try:
            _ = self.region_box
        except InputError as error:
            told = str(error).removeprefix("region of interest: ")
            raise InputError(f"source: `region`: {told}") from error

    @property
    def region_box(self) -> RegionBox | None:
        """The region."""
        if self.region is None:
            return None
        return RegionBox(self.region, self.region_units == "relative")

    def policy_of(self, *, is_live: bool) -> Policy:
        """Return which frames are taken."""
        return Policy(self.policy or ("latest" if is_live else "every"), self.rate_hz)


@dataclass(frozen=True)
class OutputConfig:
    """Where results go.

    Args:
        uri: see `edgecv.stream.sinks.uri`; `${NAME}` as in a source's.
        options: by name, in place of those behind `?` or `#` of the address.
        sources: names of the sources whose results go there; empty for all.

    """

    uri: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an address that is none."""
        if not self.uri:
            raise InputError("output: `uri` must not be empty. Write a file, a folder or a URL.")


@dataclass(frozen=True)
class LineConfig:
    """A line and where it lies.

    Args:
        line: without classes.
        classes: names of those that count, empty for all.
        sources: names of the sources that have it; empty for all.

    """

    line: Line
    classes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZoneConfig:
    """A zone and where it lies.

    Args:
        zone: without classes.
        classes: names of those that count, empty for all.
        sources: names of the sources that have it; empty for all.

    """

    zone: Zone
    classes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServeConfig:
    """A live page, see `edgecv.live`.

    Args:
        address: where it listens: `8080` for this machine alone, `0.0.0.0:8080` for others too.
        token: what visitors must show, `${NAME}` as in a source's address; None for one that is
            made where others can reach the page.

    """

    address: str
    token: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """A run.

    Args:
        model: what looks at the frames.
        sources: at least one, of which no two have one name.
        outputs: where results go.
        tracking: how objects are followed; None for not at all, unless there are lines or zones.
        lines: that objects cross.
        zones: that they are in.
        draw: whether results are drawn into the frames; None for where an output shows them.
        trace: file for each frame's times, see `edgecv.stream.trace`.
        serve: the live page, None for none.
        file: that all this was read from, None without one; it is read again on SIGHUP.

    Raises:
        InputError: if two sources have one name, or something names a source that is not there.

    """

    model: ModelConfig
    sources: tuple[SourceConfig, ...]
    outputs: tuple[OutputConfig, ...] = ()
    tracking: TrackerConfig | None = None
    lines: tuple[LineConfig, ...] = ()
    zones: tuple[ZoneConfig, ...] = ()
    draw: bool | None = None
    trace: str | None = None
    serve: ServeConfig | None = None
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse names that are taken or missing."""
        if not self.sources:
            raise InputError("a run must have a source. Name one with `--source`, or `[[source]]`.")
        names = [source.name for source in self.sources if source.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"source: `name` must be of one source, got {name!r} twice.")
        for kind, wanted in (
            *(("output", output.sources) for output in self.outputs),
            *(("line", line.sources) for line in self.lines),
            *(("zone", zone.sources) for zone in self.zones),
        ):
            for name in wanted:
                if name not in names:
                    known = ", ".join(names) or "none: give them a `name`"
                    raise InputError(
                        f"{kind}: `sources` must name sources of this run, got {name!r}. "
                        f"There are {known}."
                    )

    @property
    def tracker(self) -> TrackerConfig | None:
        """How objects are followed, None for not at all."""
        if self.tracking is None and (self.lines or self.zones):
            return TrackerConfig()
        return self.tracking


def expanded(text: str) -> str:
    """Return a text with the environment's variables in the place of `${NAME}`.

    Raises:
        InputError: if there is none of a name; the message shows nothing but the name.

    """

    def value(found: re.Match[str]) -> str:
        held = os.environ.get(found[1])
        if held is None:
            raise InputError(
                f"the environment has no variable `{found[1]}`. "
                f"Set it, such as `export {found[1]}=…`, or write its value."
            )
        return held

    return _VARIABLE.sub(value, text)
