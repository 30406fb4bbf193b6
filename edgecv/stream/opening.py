"""From what a user names to results: sources are opened, a pipeline is built and iterated."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgecv.errors import SourceError
from edgecv.images import IMAGE_SUFFIXES
from edgecv.runtime.switching import TellingSession
from edgecv.stream.job import StreamResult
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.policy import Policies
from edgecv.stream.runner import Runnable, models_of
from edgecv.stream.sources import Source, open_source
from edgecv.stream.trace import Trace

if TYPE_CHECKING:
    from edgecv.stream.settings import Settings

SourceLike: TypeAlias = "str | int | Path | Source"
Sources: TypeAlias = "SourceLike | Sequence[SourceLike]"


def stream(
    source: Sources,
    model: Runnable,
    *,
    policy: Policies = None,
    budget_ms: float = 0.0,
    max_batch: int | None = None,
    realtime: bool = False,
    trace: Path | str | None = None,
    notices: Notices | None = None,
) -> Iterator[StreamResult]:
    """Run a model over every frame of a source, or of many that share it.

    The sources are opened at once; the threads start with the first result and end, together with
    the sources, when the iteration does: at the end, by `break`, or by an exception.

    Args:
        source: what `open_source` takes, or an open source, which is closed at the end; or a
            sequence of these, which run at the same time. A sequence of image files alone is one
            source of pictures.
        model: see `edgecv.load`, whose `hint="throughput"` suits files; or one that looks at parts
            of frames (`Tiled`, `RegionOfInterest`), or at what another has found (`Cascade`); or
            several of these by name, which see the same frames.
        policy: `latest`, `every` or `rate=N`, for all sources or a sequence with one for each;
            None for `latest` of live sources and `every` of others, see
            `edgecv.stream.policy.parse`.
        budget_ms: what a frame may wait for others to share a batch with it, counted from its
            capture; 0 for no wait. While the network is busy, frames gather anyway.
        max_batch: frames of a batch at the most, as far as the model takes several; None for one
            frame per source, or one alone on a processor, which gains nothing by more.
        realtime: whether files are held back to their own pace.
        trace: where to write each frame's times, see `edgecv.stream.trace`.
        notices: what happens beside the frames is said there.

    Yields:
        One result per frame, those of one source in order.

    Raises:
        SourceError: if a source cannot be opened, or breaks off: of a single source after all
            results before that, of several when the others have ended too.
        InputError: if an option cannot be used.

    Example:
        >>> for result in edgecv.stream("street.mp4", model):
        ...     print(result.frame.index, len(result.detections))
        >>> for result in edgecv.stream(["rtsp://door/1", "rtsp://yard/1"], model):
        ...     print(result.source, len(result.detections))
        >>> for result in edgecv.stream("street.mp4", {"people": people, "plates": plates}):
        ...     print(len(result.results["people"]), len(result.results["plates"]))

    """
    options: dict[str, Any] = {
        "policy": policy,
        "budget_ms": budget_ms,
        "max_batch": max_batch,
        "realtime": realtime,
    }
    return _results(open_pipeline(source, model, trace=trace, notices=notices, **options))


def open_pipeline(
    source: Sources,
    model: "Runnable | Settings",
    *,
    trace: Path | str | None = None,
    notices: Notices | None = None,
    **options: Any,  # noqa: ANN401  # passed on
) -> Pipeline:
    """Open sources and return the pipeline that will close them.

    Args:
        source: see `stream`, as are `trace` and `notices`.
        model: see `Pipeline`.
        trace: where each frame's times go.
        notices: what happens beside the frames is said there.
        options: others of `Pipeline`.

    Raises:
        EdgeCVError: see `stream`; then nothing stays open.

    """
    notices = Notices() if notices is None else notices
    with ExitStack() as stack:
        opened = [stack.enter_context(each) for each in open_sources(source, notices)]
        tracing = None if trace is None else stack.enter_context(Trace(Path(trace), notices))
        pipeline = Pipeline(opened, model, trace=tracing, notices=notices, **options)
        stack.pop_all()
    for each in models_of(pipeline.settings.current.runner):
        session = getattr(each, "session", None)
        if isinstance(session, TellingSession):
            name = session.spec.provenance.model or "model"
            session.listen(partial(notices.say, name, "backend"))
    return pipeline


def _results(pipeline: Pipeline) -> Iterator[StreamResult]:
    with pipeline:
        yield from pipeline.results()
        broken = [f"{name}: {error}" for name, error in pipeline.errors().items()]
        if broken and not pipeline.is_stopped:
            raise SourceError("; ".join(broken))


def open_sources(source: Sources, notices: Notices | None = None) -> list[Source]:
    """Open what a stream is given.

    Args:
        source: what `open_source` takes, or an open source; or several of these. A sequence of
            image files alone is one source of pictures.
        notices: what happens to the sources later is said there.

    Raises:
        SourceError: if one cannot be opened; then none stays open.

    """
    if isinstance(source, str | int | Path | Source):
        return [_opened(source, notices)]
    pictures = [each for each in source if isinstance(each, str | Path) and _is_picture(each)]
    if len(pictures) == len(source):
        return [open_source(pictures, notices=notices)]
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(each, notices)) for each in source]
        stack.pop_all()
    return opened


def _opened(source: SourceLike, notices: Notices | None) -> Source:
    return source if isinstance(source, Source) else open_source(source, notices=notices)


def _is_picture(source: str | Path) -> bool:
    """Tell whether this names one image file, as opposed to a URL, a pattern or a folder."""
    path = Path(source)
    return "://" not in str(source) and path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
