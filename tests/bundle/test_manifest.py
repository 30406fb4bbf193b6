"""The manifest to JSON and back, names of members, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.bundle.manifest import (
    Accuracy,
    CalibrationEntry,
    Contents,
    EngineEntry,
    Latency,
    Manifest,
    Measured,
    ModelEntry,
    common_spec,
    differences,
)
from edgecv.errors import InputError, SpecError
from edgecv.output_spec import YoloxOutput
from edgecv.spec import InputSpec, ModelSpec, Provenance

SPEC = ModelSpec("detect", ("cat", "犬"), InputSpec("images", (64, 96)), YoloxOutput())
CONTENTS = Contents(7, "ab" * 32)
MEASURED = Measured(
    Accuracy("AP", {"AP": 0.5, "AP50": 0.75}, "bccd", "val"),
    0.01,
    (Latency("CPU", "onnxruntime cpu", 1, 3.5), Latency("CPU", "onnxruntime cpu", 2, 2.5)),
)
FULL = Manifest(
    SPEC,
    (ModelEntry("fp32", CONTENTS), ModelEntry("int8-tensorrt", CONTENTS, ("EdgeNMS",), MEASURED)),
    (EngineEntry("NVIDIA RTX A2000/8GB", "12.1", "10.13.3.9", "fp16", CONTENTS, MEASURED),),
    CalibrationEntry(CONTENTS),
)


def test_json_and_back() -> None:
    assert Manifest.from_json(FULL.to_json()) == FULL
    bare = Manifest(SPEC, (ModelEntry("fp16", CONTENTS),))
    assert Manifest.from_json(bare.to_json()) == bare


def test_entries_and_their_files() -> None:
    files = {entry.name: entry.file for entry in FULL.entries}
    engine = "NVIDIA+RTX+A2000%2F8GB-sm121-trt10.13.3.9-fp16"
    assert files == {
        "fp32": "fp32.onnx",
        "int8-tensorrt": "int8-tensorrt.onnx",
        engine: f"{engine}.engine",
        "calibration": "calibration.json",
    }
    assert [entry.name for entry in FULL.runnable] == list(files)[:3]
    with pytest.raises(InputError, match="no entry `fp16`"):
        FULL.entry("fp16")


NAMES = st.text(min_size=1).filter(str.strip).filter(lambda name: name.isprintable())


@given(NAMES, NAMES)
def test_names_of_gpus_make_one_safe_member_each(one: str, other: str) -> None:
    files = [EngineEntry(gpu, "8.7", "10.3", "fp16", CONTENTS).file for gpu in (one, other)]
    assert (files[0] == files[1]) == (one == other)
    for file in files:
        assert file.isascii()
        assert not set(file) & set('/\\:*?"<>|\0')


def test_an_entry_takes_its_place_whatever_the_order() -> None:
    parts = [*FULL.models, *FULL.engines, CalibrationEntry(CONTENTS)]
    others = [
        ModelEntry("fp16", CONTENTS),
        EngineEntry("Orin", "8.7", "10.3.0", "fp16", CONTENTS),
    ]
    forwards = backwards = Manifest(SPEC, (FULL.models[0],))
    for entry in (*parts, *others):
        forwards = forwards.with_entry(entry)
    for entry in reversed((*parts, *others)):
        backwards = backwards.with_entry(entry)
    assert forwards.to_json() == backwards.to_json()
    newer = replace(FULL.models[0], contents=Contents(8, "cd" * 32))
    assert FULL.with_entry(newer).entry("fp32") == newer
    assert len(FULL.with_entry(newer).entries) == len(FULL.entries)


def test_newer_figures_win_and_older_ones_stay() -> None:
    newer = Measured(None, None, (Latency("CPU", "onnxruntime cpu", 2, 1.0),))
    known = MEASURED.updated(newer)
    assert known.accuracy == MEASURED.accuracy
    assert known.max_drop == 0.01
    assert [(each.threads, each.median_ms) for each in known.latencies] == [(1, 3.5), (2, 1.0)]
    assert MEASURED.updated(Measured(max_drop=0.0)).max_drop == 0.0


def test_what_files_of_one_model_may_differ_in() -> None:
    half = replace(
        SPEC,
        input=replace(SPEC.input, dtype="float16"),
        provenance=Provenance("m", precision="fp16", metrics={"AP": 1.0}),
    )
    assert common_spec(half) == common_spec(SPEC)
    other = replace(SPEC, classes=("cat", "dog"), input=replace(SPEC.input, dtype="uint8"))
    assert differences(common_spec(SPEC), common_spec(other)) == [
        "classes[1]: '犬' and 'dog'",
        "input.dtype: 'float32' and 'uint8'",
    ]
    longer = replace(SPEC, classes=("cat", "犬", "x"))
    assert differences(SPEC, longer) == ["classes: ['cat', '犬'] and ['cat', '犬', 'x']"]


def edited(**changes: Any) -> str:
    return json.dumps({**json.loads(FULL.to_json()), **changes})


def in_engine(**changes: Any) -> str:
    engine = json.loads(FULL.to_json())["engines"][0]
    return edited(engines=[engine | changes])


def in_model(**changes: Any) -> str:
    model = json.loads(FULL.to_json())["models"][1]
    return edited(models=[model | changes])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        (edited(schema=2), "`schema` is 2, this edgecv reads up to 1.*--upgrade"),
        (edited(schema=True), "`schema` must be 1"),
        (edited(schema=0), "`schema` must be 1"),
        (edited(extra=1), "unknown key `manifest.extra`"),
        (edited(spec=None), "model description is not a JSON object"),
        (edited(spec={"schema": 1}), "is missing"),
        (edited(models=[]), "hold at least one ONNX file"),
        (edited(models=[{}]), r"models\[0\].precision` is missing"),
        (edited(models=json.loads(FULL.to_json())["models"][:1] * 2), "each entry once.*fp32"),
        (in_model(file="../fp32.onnx"), r"unknown key `manifest.models\[0\].file`"),
        (in_model(precision="fp8"), "one of fp32, fp16"),
        (in_model(contents={"size_bytes": 0, "sha256": "0" * 64}), "at least 1, got 0"),
        (in_model(contents={"size_bytes": 1, "sha256": "0" * 63}), "64 lower-case"),
        (in_model(contents={"size_bytes": 1.5, "sha256": "0" * 64}), "must be a int"),
        (in_model(measured={"max_drop": -0.1}), "be 0 or more, got -0.1"),
        (in_model(measured={"max_drop": float("nan")}), "max_drop` must be a float"),
        (
            in_model(
                measured={"accuracy": {"metric": "AP", "figures": {}, "data": "", "split": ""}}
            ),
            "accuracy.metric",
        ),
        (in_engine(capability="8,7"), "be like 8.7"),
        (in_engine(tensorrt="10"), "be like 10.3.0"),
        (in_engine(tensorrt="10.3/../.."), "be like 10.3.0"),
        (in_engine(gpu=" "), "be the GPU's name"),
    ],
)
def test_what_a_manifest_may_not_say(text: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Manifest.from_json(text)


@pytest.mark.parametrize("change", [{"threads": -1}, {"median_ms": 0.0}])
def test_what_no_clock_shows_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="latency"):
        replace(MEASURED.latencies[0], **change)


def test_a_setting_is_measured_once() -> None:
    with pytest.raises(SpecError, match="each processor, backend and number of threads once"):
        Measured(latencies=MEASURED.latencies[:1] * 2)
