"""`pipeline.toml`: what it says, and what it is refused for, each with its line."""

# tables with a case a line

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.stream.config.config import (
    ModelConfig,
    OutputConfig,
    RunConfig,
    ServeConfig,
    SourceConfig,
    expanded,
)
from edgecv.stream.config.outputs import address_of
from edgecv.stream.config.reading import parse_config, read_config
from edgecv.stream.settings import Thresholds
from edgecv.stream.tracking import TrackerConfig

LEAST = 'schema = 1\n[model]\npath = "m.onnx"\n[[source]]\nname = "door"\nuri = "rtsp://a/1"\n'
EXAMPLE = Path(__file__).parents[3] / "docs" / "pipeline.toml"


def parsed(text: str, folder: str = ".") -> RunConfig:
    return parse_config(text, folder=Path(folder), name="p.toml")


def test_the_least_there_is_to_say() -> None:
    assert parsed(LEAST) == RunConfig(
        ModelConfig("m.onnx"), (SourceConfig("rtsp://a/1", name="door"),)
    )


def test_the_example() -> None:
    config = read_config(EXAMPLE)
    assert [source.name for source in config.sources] == ["door", "street"]
    assert config.sources[0].region_box is not None
    assert config.model.thresholds.score_of_class == {"person": 0.5}
    assert config.serve == ServeConfig("8080")
    assert config.tracker == TrackerConfig(lost_s=1.5)
    assert config.lines[0].classes == ("person",)
    assert config.zones[0].zone.dwell_s == 20
    assert [address_of(one).removeprefix(str(EXAMPLE.parent) + "/") for one in config.outputs] == [
        "{source}.mkv?segment=10min&keep=144",
        "results.jsonl?append=on&rotate=100MB&keep=5",
        "counts.csv?rows=events",
        f"events://{EXAMPLE.parent}/pictures?line=gate&dwell=yard&cooldown=10s",
        f"https://example.org/hooks/${{HOOK_TOKEN}}#class=person&cooldown=1min&spool={EXAMPLE.parent}/spool",
    ]


def test_paths_are_relative_to_the_file() -> None:
    text = LEAST + '[[source]]\nuri = "a.mp4"\n[[source]]\nuri = "camera:0"\n[[source]]\nuri = "/b"'
    config = parsed(text, "/site")
    assert config.model.path == "/site/m.onnx"
    then = parsed(LEAST.replace("[model]", '[model]\nthen = ["b.onnx", "/c.onnx"]'), "/site")
    assert then.model.then == ("/site/b.onnx", "/c.onnx")
    assert [one.uri for one in config.sources] == ["rtsp://a/1", "/site/a.mp4", "camera:0", "/b"]


def test_lines_alone_are_a_reason_to_track() -> None:
    line = '[[line]]\nname = "g"\nstart_xy = [0, 0]\nend_xy = [9, 9]\n'
    assert parsed(LEAST).tracker is None
    assert parsed(LEAST + line).tracker == TrackerConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = [", "p.toml:1: this is not TOML"),
        (LEAST + "x = \n", "p.toml:7: this is not TOML"),
        ('[model]\npath = "m"\n', "p.toml:1: `schema` is missing. Begin the file with"),
        ("schema = 2", "p.toml:1: `schema` must be 1, got 2."),
        ("schema = 1\n", "p.toml:1: `[model]` is missing"),
        ('schema = 1\n[model]\npath="m"', "a run must have a source"),
        ("schema = 1\nmodle = 1", "p.toml:2: there is no key `modle`. Did you mean `model`?"),
        ("schema = 1\nzzz = 1", "p.toml:2: there is no key `zzz`. There are schema, model"),
        ("schema = 1\nmodel = 3", "p.toml:2: `model` must be a table, got 3. Write `[model]`."),
        (
            "schema = 1\n[source]\n",
            "p.toml:2: `source` must be a list of tables. Write `[[source]]`.",
        ),
        (
            "schema = 1\n[model]\npaht = 'm'",
            "p.toml:3: there is no key `model.paht`. Did you mean `path`?",
        ),
        ("schema = 1\n[model]\n[[source]]\nuri='a'", "p.toml:2: `model.path` is missing"),
        (
            LEAST.replace("path", "threads = -1\npath"),
            "p.toml:3: model: `threads` must be at least 0",
        ),
        (
            LEAST.replace("path", "device = 'tpu'\npath"),
            "p.toml:3: `model.device` must be one of auto",
        ),
        (
            LEAST.replace("path", "budget_ms = '5'\npath"),
            "p.toml:3: `model.budget_ms` must be a float",
        ),
        (
            LEAST + "polcy = 'latest'",
            "p.toml:7: there is no key `source.polcy`. Did you mean `policy`?",
        ),
        (LEAST + "policy = 'newest'", "p.toml:7: `source.policy` must be one of latest, every"),
        (LEAST + "rate_hz = 0", "p.toml:7: source: `rate_hz` must be above 0, got 0"),
        (LEAST + "timeout_s = 0", "p.toml:7: source: `timeout_s` must be above 0, got 0"),
        (
            LEAST + "region = [0, 0, 2, 1]",
            "p.toml:7: source: `region`: a relative box must be in [0, 1]",
        ),
        (LEAST + "region = [0, 0, 1]", "p.toml:7: `source.region` must have 4 entries, got 3"),
        (
            LEAST + "[[source]]\nname = 'door'\nuri = 'b'",
            "p.toml:8: source: `name` must be of one source",
        ),
        (
            LEAST + "[[output]]\nuri = 'a.csv'\nsources = [\n'dor']",
            "p.toml:10: `sources` must name sources of this file, got 'dor'. Did you mean 'door'?",
        ),
        (LEAST + "[tracking]\nlost_s = -1", "p.toml:8: tracker: `lost_s` must be finite"),
        (
            LEAST + "[model.thresholds]\nscore = 1.5",
            "p.toml:8: thresholds: `score` must be in [0, 1]",
        ),
        (
            LEAST + "[[line]]\nname = 'g'\nstart_xy = [1, 1]\nend_xy = [1, 1]",
            "p.toml:9: line `g`: `start_xy` and `end_xy` must differ",
        ),
        (
            LEAST + "[[zone]]\nname = 'z'\ncorners_xy = [[0, 0], [1, 1]]",
            "p.toml:9: zone `z`: `corners_xy` must have at least 3",
        ),
        (
            LEAST + "[[zone]]\nname = 'z'\ncorners_xy = [[0, 0], [1, 1], [0, 1]]\nclass_ids = [1]",
            "p.toml:10: there is no key `zone.class_ids`. Did you mean `classes`?",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed(text)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(tmp_path / "p.toml")


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM_PASSWORD", "hunter2")
    monkeypatch.delenv("OTHER", raising=False)
    assert expanded("rtsp://u:${CAM_PASSWORD}@h/1?a=$b{c}") == "rtsp://u:hunter2@h/1?a=$b{c}"
    with pytest.raises(InputError, match="no variable `OTHER`"):
        expanded("rtsp://${CAM_PASSWORD}:${OTHER}@h")
    assert "hunter2" not in repr(SourceConfig("rtsp://u:${CAM_PASSWORD}@h/1"))


def toml_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'''{value}'''"
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_of, value))}]"
    if isinstance(value, dict):
        pairs = (f'"{key}" = {toml_of(each)}' for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return repr(value)


def table_of(header: str, record: Any, *, leave_out: tuple[str, ...] = ()) -> str:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    rows = (
        f"{name} = {toml_of(value)}\n"
        for name, value in values.items()
        if value is not None and name not in leave_out
    )
    return f"{header}\n{''.join(rows)}"


NAMES = st.text("abc xyz-", min_size=1, max_size=8).filter(str.strip)
SHARES = st.floats(0, 1)
MODELS = st.builds(
    ModelConfig,
    NAMES.map("/m/{}".format),
    threads=st.integers(0, 64),
    batch=st.none() | st.integers(1, 64),
    budget_ms=st.floats(0, 1e6),
    thresholds=st.builds(
        Thresholds,
        st.none() | SHARES,
        st.none() | SHARES,
        st.none() | st.integers(1, 300),
        st.dictionaries(NAMES, SHARES, max_size=3),
    ),
)
SOURCES = st.builds(
    SourceConfig,
    NAMES.map("rtsp://h/{}".format),
    name=NAMES,
    policy=st.sampled_from([None, "latest", "every"]),
    rate_hz=st.none() | st.floats(0.1, 1e3),
    region=st.none() | st.just((0.0, 0.25, 0.5, 1.0)),
    realtime=st.booleans(),
    reconnect=st.booleans(),
)
OUTPUTS = st.builds(
    OutputConfig,
    NAMES.map("/o/{}".format),
    st.dictionaries(NAMES, st.booleans() | st.integers(-9, 9) | NAMES, max_size=3),
)


@given(
    MODELS,
    st.lists(SOURCES, min_size=1, max_size=3, unique_by=lambda one: one.name),
    st.lists(OUTPUTS, max_size=2),
)
def test_what_is_written_is_read(
    model: ModelConfig, sources: list[SourceConfig], outputs: list[OutputConfig]
) -> None:
    text = "schema = 1\n" + table_of("[model]", model, leave_out=("thresholds",))
    text += table_of("[model.thresholds]", model.thresholds)
    text += "".join(table_of("[[source]]", one) for one in sources)
    text += "".join(table_of("[[output]]", one) for one in outputs)
    assert parsed(text) == RunConfig(model, tuple(sources), tuple(outputs))
