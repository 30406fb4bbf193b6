"""`pipeline.toml` becomes a `RunConfig`; what is wrong in it is told with its line."""

import dataclasses
import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from edgecv.errors import InputError, SpecError
from edgecv.records import plain_value
from edgecv.stream.config.config import (
    SCHEMA,
    LineConfig,
    ModelConfig,
    OptionValue,
    OutputConfig,
    RunConfig,
    ServeConfig,
    SourceConfig,
    ZoneConfig,
)
from edgecv.stream.config.toml_lines import KeyPath, lines_of
from edgecv.stream.lines import Line
from edgecv.stream.settings import Thresholds
from edgecv.stream.sources.uri import is_path
from edgecv.stream.tracking import TrackerConfig
from edgecv.stream.zones import Zone

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_SUFFIX = ".toml"
_LINE_OF_ERROR = re.compile(r"\(at line (\d+)")


def is_config_file(path: Path | str) -> bool:
    """Tell whether `edgecv run` is given such a file rather than a model."""
    return str(path).lower().endswith(_SUFFIX)


def read_config(path: Path | str) -> RunConfig:
    """Read a run from a file; paths in it are relative to its folder.

    Raises:
        InputError: if it cannot be read, is not TOML, or something in it is wrong; the message
            begins with the file and the line.

    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"`{path}`: the file cannot be read: {reason}. Check it.") from error
    return dataclasses.replace(
        parse_config(text, folder=path.parent, name=str(path)), file=path.absolute()
    )


def parse_config(text: str, *, folder: Path, name: str = "pipeline.toml") -> RunConfig:
    """Return the run that a text describes.

    Args:
        text: TOML.
        folder: what its paths are relative to.
        name: of the file, for messages.

    Raises:
        InputError: see `read_config`.

    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_OF_ERROR.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise InputError(f"{name}:{line}: this is not TOML: {error}. Correct the line.") from error
    return _run(_Table(plain, (), name, lines_of(text)), folder)


class _Table:
    """A table of the file, of which each key is taken once."""

    def __init__(
        self, values: dict[str, Any], path: KeyPath, name: str, lines: Mapping[KeyPath, int]
    ) -> None:
        self.values, self.path, self._name, self._lines = values, path, name, lines
        self._known: list[str] = []

    def error(self, message: str, *keys: str | int) -> InputError:
        """Return an error on the line of a key, or of the nearest table around it."""
        path = (*self.path, *keys)
        while path and path not in self._lines:
            path = path[:-1]
        return InputError(f"{self._name}:{self._lines.get(path, 1)}: {message}")

    def take(self, key: str, kind: Any, default: Any = None) -> Any:  # noqa: ANN401  # any type
        self._known.append(key)
        if key not in self.values:
            return default
        try:
            return plain_value(kind, self.values[key], where=self._shown(key))
        except SpecError as error:
            raise self.error(str(error), key) from error

    def table(self, key: str) -> "_Table | None":
        self._known.append(key)
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(f"`{key}` must be a table, got {value!r}. Write `[{key}]`.", key)
        return _Table(value, (*self.path, key), self._name, self._lines)

    def tables(self, key: str) -> "list[_Table]":
        self._known.append(key)
        values = self.values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise self.error(f"`{key}` must be a list of tables. Write `[[{key}]]`.", key)
        return [
            _Table(each, (*self.path, key, number), self._name, self._lines)
            for number, each in enumerate(values)
        ]

    def finish(self) -> None:
        """Refuse the keys that nobody took."""
        for key in self.values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1)
                known = f"There are {_listed(self._known)}."
                hint = f"Did you mean `{near[0]}`?" if near else known
                raise self.error(f"there is no key `{self._shown(key)}`. {hint}", key)

    def make(self, kind: Callable[..., T], **values: Any) -> T:  # noqa: ANN401  # any fields
        """Return a dataclass of values; what it refuses is told with the line."""
        try:
            return kind(**values)
        except InputError as error:
            named = re.findall(r"`([A-Za-z_]+)`", str(error))
            key = next((each for each in named if each in self.values), None)
            raise self.error(str(error), *([] if key is None else [key])) from error

    def record(self, kind: type[T], given: Sequence[str] = (), **values: Any) -> T:  # noqa: ANN401
        """Return a dataclass whose fields are this table's keys.

        Args:
            kind: a dataclass.
            given: fields that are not keys.
            values: of these.

        """
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            if field.name in given or field.name in values:
                continue
            if field.name in self.values:
                values[field.name] = self.take(field.name, hints[field.name])
            else:
                self._known.append(field.name)
                if (
                    field.default is dataclasses.MISSING
                    and field.default_factory is dataclasses.MISSING
                ):
                    self.finish()  # a key misspelt says more than one missing
                    raise self.error(f"`{self._shown(field.name)}` is missing. Add it.")
        made = self.make(kind, **values)
        self.finish()
        return made

    def _shown(self, key: str) -> str:
        parts = [str(part) for part in self.path if isinstance(part, str)]
        return ".".join([*parts, key])


def _run(root: _Table, folder: Path) -> RunConfig:
    schema = root.take("schema", int)
    if schema != SCHEMA:
        if schema is None:
            raise root.error(f"`schema` is missing. Begin the file with `schema = {SCHEMA}`.")
        raise root.error(
            f"`schema` must be {SCHEMA}, got {schema}. A newer file needs a newer edgecv: "
            "`pip install --upgrade edgecv`.",
            "schema",
        )
    model = root.table("model")
    tracking, serve = root.table("tracking"), root.table("serve")
    sources, outputs = root.tables("source"), root.tables("output")
    lines, zones = root.tables("line"), root.tables("zone")
    draw, trace = root.take("draw", bool), root.take("trace", str)
    root.finish()
    if model is None:
        raise root.error("`[model]` is missing. Add it with `path`.")
    values: dict[str, Any] = {
        "model": _model(model, folder),
        "sources": tuple(_source(table, folder) for table in sources),
        "outputs": tuple(_output(table, folder) for table in outputs),
        "tracking": None if tracking is None else tracking.record(TrackerConfig),
        "lines": tuple(_line(table) for table in lines),
        "zones": tuple(_zone(table) for table in zones),
        "draw": draw,
        "trace": None if trace is None else _anchored(trace, folder),
        "serve": None if serve is None else serve.record(ServeConfig),
    }
    _refuse_names(sources, values["sources"], outputs, (*lines, *zones))
    return root.make(RunConfig, **values)


def _refuse_names(
    sources: Sequence[_Table],
    made: Sequence[SourceConfig],
    outputs: Sequence[_Table],
    places: Sequence[_Table],
) -> None:
    """Refuse names that are taken, and sources that are not there."""
    names: list[str] = []
    for table, source in zip(sources, made, strict=True):
        if source.name is not None and source.name in names:
            raise table.error(
                f"source: `name` must be of one source, got {source.name!r} twice. Rename one.",
                "name",
            )
        names += [] if source.name is None else [source.name]
    for table in (*outputs, *places):
        for number, name in enumerate(table.values.get("sources", ())):
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are {_listed(names)}."
                raise table.error(
                    f"`sources` must name sources of this file, got {name!r}. {hint}",
                    *("sources", number),
                )
    taken: list[str] = []
    for table in places:
        name = table.values["name"]
        if name in taken:
            raise table.error(
                f"`name` must be of one line or zone, got {name!r} twice. Rename one.", "name"
            )
        taken.append(name)


def _model(table: _Table, folder: Path) -> ModelConfig:
    thresholds = table.table("thresholds")
    wanted = Thresholds() if thresholds is None else thresholds.record(Thresholds)
    model = table.record(ModelConfig, thresholds=wanted)
    return dataclasses.replace(
        model,
        path=_anchored(model.path, folder),
        then=tuple(_anchored(path, folder) for path in model.then),
        cache=None if model.cache is None else _anchored(model.cache, folder),
        proposals=None if model.proposals is None else _anchored(model.proposals, folder),
    )


def _source(table: _Table, folder: Path) -> SourceConfig:
    source = table.record(SourceConfig)
    return dataclasses.replace(source, uri=_anchored(source.uri, folder))


def _output(table: _Table, folder: Path) -> OutputConfig:
    output = table.record(OutputConfig)
    options: dict[str, OptionValue] = dict(output.options)
    spool = options.get("spool")
    if isinstance(spool, str):
        options["spool"] = _anchored(spool, folder)
    uri = output.uri
    if uri.startswith("events://"):
        uri = f"events://{_anchored(uri.removeprefix('events://'), folder)}"
    return dataclasses.replace(output, uri=_anchored(uri, folder), options=options)


def _line(table: _Table) -> LineConfig:
    classes = table.take("classes", tuple[str, ...], ())
    sources = table.take("sources", tuple[str, ...], ())
    line = table.record(Line, given=("class_ids",))
    return LineConfig(line, classes, sources)


def _zone(table: _Table) -> ZoneConfig:
    classes = table.take("classes", tuple[str, ...], ())
    sources = table.take("sources", tuple[str, ...], ())
    zone = table.record(Zone, given=("class_ids",))
    return ZoneConfig(zone, classes, sources)


def _anchored(text: str, folder: Path) -> str:
    """Return a path relative to the file's folder; what is no path stays."""
    return str(folder / text.removeprefix("file://")) if is_path(text) else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
