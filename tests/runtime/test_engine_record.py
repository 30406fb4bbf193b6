"""The record beside an engine: what is written is read, and every mismatch is said in words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecv.bundle.machine import Gpu
from edgecv.engine_recipe import Profile, Recipe
from edgecv.errors import DeviceError, InputError, SpecError
from edgecv.output_spec import FusedOutput
from edgecv.runtime.engine_record import (
    EngineLayer,
    EngineRecord,
    FileIdentity,
    Host,
    check_engine,
    mismatches,
    read_record,
    record_path,
    sha256_of,
)
from edgecv.spec import InputSpec, ModelSpec

ORIN = Gpu("Orin", "8.7", "10.3.0", 16)
SPEC = ModelSpec("detect", ("cell",), InputSpec("images", (64, 96)), FusedOutput())
COMMAND = "edgecv build m.onnx -o m.engine --recipe agx-orin-fp16"


def record(**changes: Any) -> EngineRecord:
    made = EngineRecord(
        engine_sha256="0" * 64,
        onnx=FileIdentity("m.onnx", "1" * 64),
        tensorrt="10.3.0",
        gpu="Orin",
        compute_capability="8.7",
        multiprocessors=16,
        plugins=None,
        recipe=Recipe("fp16", profiles=(Profile((1, 1, 4)),)),
        command=COMMAND,
        duration_s=81.5,
        built_at="2026-01-02T03:04:05+00:00",
        log=("warning: it is warm",),
        layers=(EngineLayer("conv", "CaskConvolution", ("conv",), "fp16", 0.25),),
        spec=SPEC,
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"spec": None}, {"plugins": FileIdentity("libedgecv_plugins.so", "2" * 64)}],
)
def test_what_is_written_is_read(changes: dict[str, Any], tmp_path: Path) -> None:
    written = record(**changes)
    assert EngineRecord.from_json(written.to_json(), path=tmp_path) == written


def saved(tmp_path: Path, **changes: Any) -> Path:
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"a plan")
    made = record(engine_sha256=sha256_of(engine), **changes)
    record_path(engine).write_text(made.to_json())
    return engine


def test_an_engine_that_fits_is_opened(tmp_path: Path) -> None:
    engine = saved(tmp_path)
    assert record_path(engine).name == "m.engine.json"
    found = check_engine(engine, Host("10.3.0", ORIN))
    assert found.spec == SPEC


def test_an_engine_and_its_record_stay_together(tmp_path: Path) -> None:
    engine = saved(tmp_path)
    engine.write_bytes(b"another plan")
    with pytest.raises(InputError, match=rf"is not the engine that `m\.engine\.json`.*{COMMAND}"):
        read_record(engine)
    record_path(engine).unlink()
    with pytest.raises(InputError, match=r"m\.engine\.json`: there is no such file.*side by side"):
        read_record(engine)
    engine.unlink()
    with pytest.raises(InputError, match=r"m\.engine`: there is no such file"):
        read_record(engine)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a record of schema 1"),
        ('{"schema": 2}', "Update edgecv"),
        ('{"schema": 1, "gpus": 3}', "unknown key `gpus`. Did you mean `gpu`"),
        ('{"schema": 1}', "`engine_sha256` is missing"),
    ],
)
def test_records_that_are_none_are_refused(text: str, said: str, tmp_path: Path) -> None:
    engine = saved(tmp_path)
    record_path(engine).write_text(text)
    with pytest.raises(SpecError, match=said):
        read_record(engine)


PORTABLE = Recipe(hardware_compatibility="ampere+")
SAME = Recipe(hardware_compatibility="same-compute-capability")
LASTING = Recipe(version_compatible=True)


@pytest.mark.parametrize(
    ("recipe", "version", "gpu", "said"),
    [
        (Recipe(), "10.3.0", ORIN, []),
        (Recipe(), "10.3.0", Gpu("Orin", "8.7", None, 20), []),
        (Recipe(), "10.13.3.9", ORIN, ["built with TensorRT 10.3.0, and this is 10.13.3.9"]),
        (LASTING, "10.13.3.9", ORIN, []),
        (LASTING, "10.1.0", ORIN, ["and this is 10.1.0"]),
        (LASTING, "11.4.0", ORIN, ["and this is 11.4.0"]),
        (Recipe(), "10.3.0", Gpu("Thor", "11.0", None, 20), ["this is Thor (compute capability"]),
        (PORTABLE, "10.3.0", Gpu("RTX", "12.0", None, 84), []),
        (PORTABLE, "10.3.0", Gpu("T4", "7.5", None, 40), ["this is T4"]),
        (Recipe(), "10.3.0", Gpu("Orin", "8.7", None, 8), ["this board has 8"]),
        (SAME, "10.3.0", Gpu("Orin", "8.7", None, 8), []),
        (SAME, "10.3.0", Gpu("A100", "8.0", None, 108), ["this is A100"]),
        (
            Recipe(),
            "11.4.0",
            Gpu("Thor", "11.0", None, 20),
            ["TensorRT 10.3.0", "compute capability 8.7"],
        ),
    ],
)
def test_what_an_engine_was_not_built_for(
    recipe: Recipe, version: str, gpu: Gpu, said: list[str]
) -> None:
    found = mismatches(record(recipe=recipe), Host(version, gpu))
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True)), found


def test_plugins_are_told_apart_by_content(tmp_path: Path) -> None:
    library = tmp_path / "libedgecv_plugins.so"
    library.write_bytes(b"plugins")
    made = record(plugins=FileIdentity.of(library))
    assert mismatches(made, Host("10.3.0", ORIN, library)) == []
    assert "are not here" in mismatches(made, Host("10.3.0", ORIN))[0]
    library.write_bytes(b"newer plugins")
    assert "built with other plugins" in mismatches(made, Host("10.3.0", ORIN, library))[0]


def test_a_mismatch_ends_with_the_command_that_helps(tmp_path: Path) -> None:
    engine = saved(tmp_path)
    with pytest.raises(DeviceError, match=rf"does not fit this machine: .*: `{COMMAND}`\.$"):
        check_engine(engine, Host("10.13.3.9", ORIN))


def test_numbers_stay_readable_for_machines() -> None:
    plain = json.loads(record().to_json())
    assert plain["spec"]["input"]["size_hw"] == [64, 96]
    assert plain["recipe"]["profiles"] == [{"batch": [1, 1, 4], "shapes": {}}]
