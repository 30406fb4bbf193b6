"""Which entry is chosen on machines that were made up for it, and what is said of the others."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.bundle.choosing import Choice, choose
from edgecv.bundle.machine import Gpu, Machine
from edgecv.bundle.manifest import (
    Accuracy,
    Contents,
    EngineEntry,
    Latency,
    Manifest,
    Measured,
    ModelEntry,
)
from edgecv.errors import InputError
from edgecv.output_spec import YoloxOutput
from edgecv.precision import PRECISIONS, Precision
from edgecv.spec import InputSpec, ModelSpec

SPEC = ModelSpec("detect", ("cat",), InputSpec("images", (64, 64)), YoloxOutput())
CONTENTS = Contents(1, "0" * 64)

OLD = Machine("Old CPU")
VNNI = Machine("New CPU", "avx512_vnni")
ORIN = Gpu("Orin", "8.7", "10.3.0")
WITH_GPU = replace(VNNI, backends=("onnxruntime cuda", "onnxruntime cpu"), gpu=ORIN)
WITH_TENSORRT = replace(WITH_GPU, backends=("tensorrt", *WITH_GPU.backends))


def accurate(value: float, max_drop: float | None = None, data: str = "bccd") -> Measured:
    return Measured(Accuracy("AP", {"AP": value}, data, "val"), max_drop)


def timed(ms: float, cpu: str = "New CPU", threads: int = 1) -> Measured:
    return Measured(latencies=(Latency(cpu, "onnxruntime cpu", threads, ms),))


def bundle(models: dict[Precision, Measured], engines: tuple[EngineEntry, ...] = ()) -> Manifest:
    entries = [ModelEntry(name, CONTENTS, (), measured) for name, measured in models.items()]
    return Manifest(SPEC, tuple(entries), engines)


def engine(
    gpu: str = "Orin",
    capability: str = "8.7",
    tensorrt: str = "10.3.0",
    precision: Precision = "fp16",
    measured: Measured | None = None,
) -> EngineEntry:
    return EngineEntry(gpu, capability, tensorrt, precision, CONTENTS, measured or Measured())


UNKNOWN = Measured()


def test_fp32_is_taken_where_nothing_is_known() -> None:
    choice = choose(bundle(dict.fromkeys(PRECISIONS, UNKNOWN)), VNNI)
    assert choice.entry.name == "fp32"
    assert choice.backend == "onnxruntime cpu"
    assert choice.passed_over == {
        "fp16": "a CPU gains nothing from fp16 as a rule, and was not measured to",
        "int8-cpu": "its accuracy was not measured, and its speed was not measured on this "
        "processor",
        "int8-tensorrt": "its signed 8 bits are for TensorRT, and slow without it",
    }


def test_eight_bits_are_taken_where_the_drop_is_allowed_and_the_cpu_is_made_for_it() -> None:
    held = bundle({"fp32": accurate(0.600), "int8-cpu": accurate(0.595, 0.01)})
    choice = choose(held, VNNI)
    assert choice.entry.name == "int8-cpu"
    assert choice.reason == (
        "this CPU has avx512_vnni; its AP of 0.595 is 0.005 below fp32's, within the limit 0.01"
    )
    assert choice.passed_over == {"fp32": "int8-cpu is the better choice"}
    choice = choose(held, OLD)
    assert choice.entry.name == "fp32"
    assert "no 8-bit dot products" in choice.passed_over["int8-cpu"]


@pytest.mark.parametrize(
    ("int8", "why"),
    [
        (accurate(0.55, 0.01), "its AP of 0.550 is 0.050 below fp32's, beyond the limit 0.01"),
        (accurate(0.55), "is 0.050 below fp32's, and no limit was set"),
        (
            accurate(0.6, 0.01, "coco"),
            "AP on coco val) was measured otherwise than fp32's (",
        ),
        (Measured(max_drop=0.01), "its accuracy was not measured"),
    ],
)
def test_eight_bits_are_not_taken_unless_the_drop_is_known_to_be_allowed(
    int8: Measured, why: str
) -> None:
    choice = choose(bundle({"fp32": accurate(0.6), "int8-cpu": int8}), VNNI)
    assert choice.entry.name == "fp32"
    assert why in choice.passed_over["int8-cpu"]


def test_of_files_that_nothing_speaks_for_the_safest_is_taken_not_the_fastest() -> None:
    held = bundle({"fp16": timed(9.0), "int8-cpu": timed(8.0), "int8-tensorrt": timed(5.0)})
    assert choose(held, VNNI).entry.name == "fp16"


def test_the_limit_itself_is_within() -> None:
    held = bundle({"fp32": accurate(0.75), "int8-cpu": accurate(0.5, 0.25)})
    assert choose(held, VNNI).entry.name == "int8-cpu"
    held = bundle({"fp32": accurate(0.75), "int8-cpu": accurate(0.5, 0.2499)})
    assert choose(held, VNNI).entry.name == "fp32"


def test_without_fp32_there_is_nothing_to_compare_with() -> None:
    choice = choose(bundle({"int8-cpu": accurate(0.6, 0.01)}), VNNI)
    assert choice.entry.name == "int8-cpu"
    assert choice.reason.startswith("nothing better can run here (fp32's accuracy was not measured")


@pytest.mark.parametrize("precision", ["fp16", "int8-cpu"])
def test_the_clock_decides_on_the_processor_that_it_was_read_on(precision: Precision) -> None:
    faster = bundle({"fp32": timed(10), precision: timed(4)})
    choice = choose(faster, VNNI)
    assert choice.entry.name == precision
    assert "it was measured faster here, 4.0 ms against 10.0 ms of fp32" in choice.reason
    assert choose(faster, replace(VNNI, cpu="Third CPU")).entry.name == "fp32"
    slower = bundle({"fp32": timed(10), precision: timed(11)})
    choice = choose(slower, VNNI)
    assert choice.entry.name == "fp32"
    assert "not faster here, 11.0 ms against 10.0 ms" in choice.passed_over[precision]


def test_the_clock_does_not_excuse_what_the_metric_forbids() -> None:
    fast = accurate(0.5, 0.01).updated(timed(1))
    held = bundle({"fp32": accurate(0.6).updated(timed(10)), "int8-cpu": fast})
    assert choose(held, VNNI).entry.name == "fp32"


def test_latencies_are_compared_at_the_same_number_of_threads() -> None:
    held = bundle({"fp32": timed(10, threads=4), "int8-cpu": timed(4, threads=1)})
    assert choose(held, VNNI).entry.name == "fp32"
    both = timed(20, threads=1).updated(timed(10, threads=0))
    held = bundle({"fp32": both, "int8-cpu": timed(15, threads=1).updated(timed(11, threads=0))})
    assert choose(held, VNNI).entry.name == "fp32"  # as the default, one thread per core, says


def test_of_two_that_are_faster_the_fastest_is_taken() -> None:
    held = bundle({"fp32": timed(10), "fp16": timed(3), "int8-cpu": timed(4)})
    assert choose(held, VNNI).entry.name == "fp16"
    held = bundle({"fp32": timed(10), "fp16": timed(5), "int8-cpu": timed(4)})
    assert choose(held, VNNI).entry.name == "int8-cpu"


def test_the_file_for_tensorrt_runs_elsewhere_only_if_there_is_no_other() -> None:
    held = bundle(dict.fromkeys(PRECISIONS[::-1], UNKNOWN))
    order = []
    while held.models:
        name = choose(held, OLD).entry.name
        order.append(name)
        rest = tuple(entry for entry in held.models if entry.name != name)
        if not rest:
            break
        held = replace(held, models=rest)
    assert order == ["fp32", "fp16", "int8-cpu", "int8-tensorrt"]


def test_a_gpu_takes_fp16() -> None:
    held = bundle({"fp32": accurate(0.6), "fp16": UNKNOWN, "int8-cpu": accurate(0.6, 0.1)})
    choice = choose(held, WITH_GPU)
    assert (choice.entry.name, choice.backend) == ("fp16", "onnxruntime cuda")
    assert "8 bits on a GPU" in choice.passed_over["int8-cpu"]
    assert choose(held, WITH_GPU, "cpu").entry.name == "int8-cpu"
    lossy = bundle({"fp32": accurate(0.6), "fp16": accurate(0.5, 0.01)})
    assert choose(lossy, WITH_GPU).entry.name == "fp32"
    slow = tuple(
        Measured(latencies=(Latency("Orin", "onnxruntime cuda", 0, ms),)) for ms in (1.0, 2.0)
    )
    assert choose(bundle({"fp32": slow[0], "fp16": slow[1]}), WITH_GPU).entry.name == "fp32"


def test_an_engine_runs_where_it_was_built() -> None:
    held = bundle({"fp32": UNKNOWN, "fp16": UNKNOWN}, (engine(),))
    choice = choose(held, WITH_TENSORRT)
    assert choice == Choice(
        engine(),
        "tensorrt",
        "it was built for this Orin",
        {
            "fp16": "Orin-sm87-trt10.3.0-fp16 is the better choice",
            "fp32": "Orin-sm87-trt10.3.0-fp16 is the better choice",
        },
    )


@pytest.mark.parametrize(
    ("other", "machine", "why"),
    [
        (engine(gpu="Xavier"), WITH_TENSORRT, "it was built for Xavier, and this is Orin"),
        (engine(capability="8.6"), WITH_TENSORRT, "capability 8.6, and this GPU has 8.7"),
        (engine(tensorrt="10.3.0.26"), WITH_TENSORRT, "TensorRT 10.3.0.26, and here is 10.3.0"),
        (engine(tensorrt="8.6.1"), WITH_TENSORRT, "TensorRT 8.6.1, and here is 10.3.0"),
        (
            engine(),
            replace(WITH_TENSORRT, gpu=replace(ORIN, tensorrt=None)),
            "TensorRT 10.3.0, and here is none",
        ),
        (engine(), WITH_GPU, "it fits this GPU, but there is no backend for engines here"),
        (
            engine(),
            replace(VNNI, gpu=ORIN),
            "it fits this GPU, but there is no backend for engines",
        ),
        (engine(), VNNI, "built for Orin, and there is no GPU in use here"),
        (engine(), replace(WITH_TENSORRT, gpu=None), "there is no GPU in use here"),
    ],
)
def test_an_engine_of_another_kind_is_never_loaded(
    other: EngineEntry, machine: Machine, why: str
) -> None:
    held = bundle({"fp32": UNKNOWN}, (other,))
    choice = choose(held, machine)
    assert choice.entry.name == "fp32"
    assert why in choice.passed_over[other.name]
    with pytest.raises(InputError, match="cannot run here: it "):
        choose(held, machine, name=other.name)


def test_an_engine_stays_away_from_the_cpu() -> None:
    held = bundle({"fp32": UNKNOWN}, (engine(),))
    assert choose(held, WITH_TENSORRT, "cpu").entry.name == "fp32"


def test_an_engine_of_eight_bits_must_have_been_measured() -> None:
    int8 = engine(precision="int8-tensorrt")
    half = engine()
    held = bundle({"fp32": accurate(0.6)}, (int8, half))
    assert choose(held, WITH_TENSORRT).entry == half
    good = replace(int8, measured=accurate(0.6, 0.01))
    assert choose(replace(held, engines=(good, half)), WITH_TENSORRT).entry == good
    bad = replace(int8, measured=accurate(0.4, 0.01))
    choice = choose(replace(held, engines=(bad,)), WITH_TENSORRT)
    assert choice.entry.name == "fp32"
    assert "beyond the limit" in choice.passed_over[bad.name]


def test_a_file_without_bodies_is_for_tensorrt_alone() -> None:
    held = bundle({"fp32": UNKNOWN})
    plugged = ModelEntry("fp32", CONTENTS, ("EdgeNMS",))
    with pytest.raises(InputError, match=r"nothing in the bundle can run here\. fp32: it needs"):
        choose(replace(held, models=(plugged,)), VNNI)
    choice = choose(replace(held, models=(plugged, ModelEntry("fp16", CONTENTS))), VNNI)
    assert choice.entry.name == "fp16"
    assert "plugin of EdgeNMS" in choice.passed_over["fp32"]


def test_what_is_asked_for_by_name_is_taken() -> None:
    held = bundle(dict.fromkeys(PRECISIONS, UNKNOWN), (engine(),))
    for precision in PRECISIONS:
        choice = choose(held, OLD, name=precision)
        assert (choice.entry.name, choice.reason) == (precision, "asked for by name")
    assert choose(held, WITH_TENSORRT, name=engine().name).entry == engine()
    with pytest.raises(InputError, match=r"no entry `fp8`\. It has: fp32, fp16, int8-cpu"):
        choose(held, OLD, name="fp8")


def test_a_device_that_is_not_there_is_refused() -> None:
    held = bundle({"fp32": UNKNOWN})
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        choose(held, VNNI, "cuda")
    with pytest.raises(InputError, match="one of auto, cpu, cuda, got 'npu'"):
        choose(held, VNNI, "npu")


MEASURED = st.builds(
    lambda value, limit, ms, cpu: (
        accurate(value, limit) if value else Measured(max_drop=limit)
    ).updated(timed(ms, cpu) if ms else UNKNOWN),
    st.none() | st.floats(0.1, 1),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0.1, 100),
    st.sampled_from(["Old CPU", "New CPU"]),
)


@given(
    st.dictionaries(st.sampled_from(PRECISIONS), MEASURED, min_size=1),
    st.lists(
        st.builds(engine, gpu=st.sampled_from(["Orin", "Xavier"]), measured=MEASURED),
        max_size=2,
        unique_by=lambda each: each.name,
    ),
    st.sampled_from([OLD, VNNI, WITH_GPU, WITH_TENSORRT]),
)
def test_laws_of_every_choice(
    models: dict[Precision, Measured], engines: list[EngineEntry], machine: Machine
) -> None:
    held = bundle(models, tuple(engines))
    choice = choose(held, machine)
    others = {entry.name for entry in held.runnable} - {choice.entry.name}
    assert choice.passed_over.keys() == others
    assert choice.reason
    assert all(choice.passed_over.values())
    assert choice.backend in machine.backends
    if isinstance(choice.entry, EngineEntry):
        assert machine is WITH_TENSORRT
        assert choice.entry.gpu == "Orin"
    elif choice.entry.name == "int8-tensorrt":
        assert set(models) == {"int8-tensorrt"}
    own = choice.entry.measured
    reference = models["fp32"].accuracy if "fp32" in models else None
    if own.accuracy and own.max_drop is not None and reference:
        assert own.accuracy.value >= reference.value - own.max_drop
    backwards = replace(held, models=held.models[::-1], engines=held.engines[::-1])
    assert choose(backwards, machine).entry == choice.entry
