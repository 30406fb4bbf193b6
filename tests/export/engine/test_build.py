"""The whole of a build, on a stand-in with the attributes of each real version of TensorRT."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

import onnx

from edgecv.errors import DeviceError, InputError
from edgecv.export.engine.build import build_engine
from edgecv.export.engine.progress import BuildState
from edgecv.export.engine.source import BuildJob
from edgecv.runtime.engine_record import read_record, record_path

from ...runtime.simulated_device import SimulatedDevice  # noqa: TID252
from ...tensorrt_stand_in import PLAN, Script  # noqa: TID252
from .conftest import Install, write_model

FP16_LAYER = {
    "Name": "features",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "images", "Format/Datatype": "Row major linear FP16 format"}],
    "Outputs": [{"Name": "features", "Format/Datatype": "Row major linear FP16 format"}],
    "Metadata": "[ONNX Layer: features]",
}
LAYERS = json.dumps({"Layers": [FP16_LAYER]})


def job(model: Path, plugins: Path, recipe: object = "orin-nx-fp16", **options: Any) -> BuildJob:
    return BuildJob(model, model.with_suffix(".engine"), str(recipe), plugins=plugins, **options)


def recipe_file(model: Path, text: str) -> Path:
    path = model.with_suffix(".toml")
    path.write_text(text)
    return path


def test_what_is_asked_of_tensorrt(
    install: Install, known: dict[str, Any], model: Path, plugins: Path
) -> None:
    strongly_typed = known["types"]["NetworkDefinitionCreationFlag"]["enum"]["STRONGLY_TYPED"]
    script = Script(layers=LAYERS)
    install(script)
    record = build_engine(job(model, plugins))
    assert script.calls == [
        "Builder",
        "Builder.get_plugin_registry()",
        f"IPluginRegistry.load_library({str(plugins)!r})",
        f"Builder.create_network({1 << strongly_typed})",
        "OnnxParser",
        f"OnnxParser.parse(bytes, {str(model)!r})",
        "Builder.create_builder_config()",
        "IBuilderConfig.builder_optimization_level = 3",
        "IBuilderConfig.avg_timing_iterations = 4",
        "IBuilderConfig.profiling_verbosity = DETAILED",
        "IBuilderConfig.set_memory_pool_limit(WORKSPACE, 2147483648)",
        "Builder.create_optimization_profile()",
        "IOptimizationProfile.set_shape('images', [1, 3, 8, 8], [1, 3, 8, 8], [4, 3, 8, 8])",
        "IOptimizationProfile.set_shape('boxes', [1, 1, 4], [1, 1, 4], [4, 1, 4])",
        "IBuilderConfig.add_optimization_profile(IOptimizationProfile)",
        "IBuilderConfig.create_timing_cache(nothing)",
        "IBuilderConfig.set_timing_cache(ITimingCache, ignore_mismatch=False)",
        "IBuilderConfig.progress_monitor = Monitor",
        "Builder.build_serialized_network(INetworkDefinition, IBuilderConfig)",
        "IBuilderConfig.get_timing_cache()",
        "ITimingCache.serialize()",
        "Runtime",
        "Runtime.engine_host_code_allowed = False",
        "Runtime.get_plugin_registry()",
        f"IPluginRegistry.load_library({str(plugins)!r})",
        "Runtime.deserialize_cuda_engine(bytes)",
        "ICudaEngine.create_engine_inspector()",
        "ICudaEngine.create_execution_context(USER_MANAGED)",
        "ICudaEngine.get_tensor_name(0)",
        "ICudaEngine.get_tensor_mode('images')",
        "ICudaEngine.get_tensor_profile_shape('images', 0)",
        "IExecutionContext.set_input_shape('images', [2, 3, 8, 8])",
        "ICudaEngine.get_tensor_name(1)",
        "ICudaEngine.get_tensor_mode('boxes')",
        "EngineInspector.execution_context = IExecutionContext",
        "EngineInspector.get_engine_information(JSON)",
    ]
    assert model.with_suffix(".engine").read_bytes() == PLAN
    assert read_record(model.with_suffix(".engine")) == record
    assert (record.gpu, record.compute_capability, record.multiprocessors) == ("Orin", "8.7", 8)
    assert record.log == ("warning: something of interest",)
    assert record.plugins is not None
    assert record.plugins.name == plugins.name
    assert [layer.computes_in for layer in record.layers] == ["fp16"]
    command = f"edgecv build {model} -o {model.with_suffix('.engine')} --recipe orin-nx-fp16"
    assert record.command == f"{command} --plugins {plugins}"


def test_every_setting_reaches_the_builder(
    install: Install, known: dict[str, Any], model: Path, plugins: Path
) -> None:
    script = Script(num_dla_cores=2)
    install(script)
    recipe = recipe_file(
        model,
        'precision = "fp16"\nworkspace_mib = 3\noptimisation_level = 5\ntiming_iterations = 2\n'
        'timing_cache = false\ntiling = "full"\ntf32 = false\nsparse_weights = true\n'
        'version_compatible = true\nhardware_compatibility = "ampere+"\ndla_core = 1\n',
    )
    build_engine(job(model, plugins, recipe))
    version = tuple(int(part) for part in known["version"].split(".")[:2])
    asked = [call for call in script.calls if call.startswith("IBuilderConfig")]
    tiling = ["IBuilderConfig.tiling_optimization_level = FULL"] * (version >= (10, 8))
    assert asked == [
        "IBuilderConfig.builder_optimization_level = 5",
        "IBuilderConfig.avg_timing_iterations = 2",
        "IBuilderConfig.profiling_verbosity = DETAILED",
        "IBuilderConfig.set_memory_pool_limit(WORKSPACE, 3145728)",
        "IBuilderConfig.clear_flag(TF32)",
        "IBuilderConfig.set_flag(SPARSE_WEIGHTS)",
        "IBuilderConfig.set_flag(DISABLE_TIMING_CACHE)",
        "IBuilderConfig.set_flag(VERSION_COMPATIBLE)",
        "IBuilderConfig.set_flag(EXCLUDE_LEAN_RUNTIME)",
        "IBuilderConfig.hardware_compatibility_level = AMPERE_PLUS",
        *tiling,
        "IBuilderConfig.default_device_type = DLA",
        "IBuilderConfig.DLA_core = 1",
        "IBuilderConfig.set_flag(GPU_FALLBACK)",
        "IBuilderConfig.add_optimization_profile(IOptimizationProfile)",
        "IBuilderConfig.progress_monitor = Monitor",
    ]
    adjusts = "OnnxParser.set_flag(ADJUST_FOR_DLA)" in script.calls
    assert adjusts == ("ADJUST_FOR_DLA" in known["types"]["OnnxParserFlag"]["enum"])
    assert "Runtime.DLA_core = 1" in script.calls
    log = read_record(model.with_suffix(".engine")).log
    assert any("does not tile" in line for line in log) == (not tiling)


def test_a_compatibility_that_a_version_lacks_is_refused(
    install: Install, known: dict[str, Any], model: Path, plugins: Path
) -> None:
    script = Script()
    install(script)
    recipe = recipe_file(model, 'hardware_compatibility = "same-compute-capability"\n')
    levels = known["types"]["HardwareCompatibilityLevel"]["enum"]
    if "SAME_COMPUTE_CAPABILITY" in levels:
        build_engine(job(model, plugins, recipe))
        level = "IBuilderConfig.hardware_compatibility_level = SAME_COMPUTE_CAPABILITY"
        assert level in script.calls
    else:
        with pytest.raises(DeviceError, match=r"is not known to TensorRT 10\.3.*Take a newer one"):
            build_engine(job(model, plugins, recipe))


def test_an_accelerator_that_is_not_there_is_refused(
    install: Install, model: Path, plugins: Path
) -> None:
    install(Script(num_dla_cores=0))
    with pytest.raises(DeviceError, match=r"`dla_core` 0 is not there.* offers 0 accelerators"):
        build_engine(job(model, plugins, "orin-nx-dla-fp16"))


def test_a_model_without_plugins_and_free_sides_loads_none(
    install: Install, tmp_path: Path
) -> None:
    script = Script()
    install(script)
    text = """<ir_version: 10, opset_import: ["" : 19]>
        tested (float[1, 3, 8, 8] images) => (float[1, 2, 1, 1] features) {
          features = Conv (images, weight)
        }"""
    model = write_model(tmp_path / "plain.onnx", text)
    record = build_engine(BuildJob(model, tmp_path / "plain.engine", "orin-nx-fp32"))
    assert record.plugins is None
    assert not [call for call in script.calls if "Plugin" in call or "Profile" in call]
    assert any("one shape only" in line for line in record.log)


def test_what_the_parser_refuses_is_said_in_one_line(
    install: Install, model: Path, plugins: Path
) -> None:
    words = "In function importConv:\n[8] Assertion failed: kernel\nis odd."
    install(
        Script(
            parser_errors=(
                ("features", "Conv", "UNSUPPORTED_NODE_SHAPE", words),
                ("number", "EdgeNMS", "UNSUPPORTED_NODE", "no plugin of this name"),
                ("", "", "MODEL_DESERIALIZE_FAILED", "damaged"),
            )
        )
    )
    with pytest.raises(InputError) as caught:
        build_engine(job(model, plugins))
    text = str(caught.value)
    assert "\n" not in text
    assert "node `features` (Conv): Assertion failed: kernel is odd. Fix the shape" in text
    assert "node `number` (EdgeNMS): no plugin of this name. Load edgecv's plugins" in text
    assert text.endswith("damaged. Export the model again.")
    assert not model.with_suffix(".engine").exists()


def test_plugins_that_cannot_be_loaded_are_refused(
    install: Install, model: Path, plugins: Path
) -> None:
    install(Script(plugins_load=False))
    with pytest.raises(DeviceError, match=r"cannot load the plugins of .*`ldd "):
        build_engine(job(model, plugins))


@pytest.mark.parametrize(
    ("errors", "remedy"),
    [
        (("CUDA error: Out Of Memory",), "A layer may use 2048 MiB: lower `workspace_mib`"),
        (("Could not find any implementation for node x.",), "Raise `workspace_mib`"),
        ((), "it did not say why"),
    ],
)
def test_a_failed_build_says_why(
    install: Install, model: Path, plugins: Path, errors: tuple[str, ...], remedy: str
) -> None:
    install(Script(plan=None, errors=errors))
    with pytest.raises(DeviceError, match=remedy):
        build_engine(job(model, plugins))
    assert not list(model.parent.glob("*.engine*"))


def test_timings_are_kept_and_merged(install: Install, model: Path, plugins: Path) -> None:
    first = Script()
    install(first)
    build_engine(job(model, plugins))
    (kept,) = (model.parent / "cache" / "tensorrt").glob("*.timing")
    assert kept.name.startswith("orin-sm87-8mp-tensorrt-")
    assert kept.read_bytes() == bytes(sorted({*b"timed"}))

    def another_build_ends(_: object) -> None:
        kept.write_bytes(b"xyz")

    install(Script(while_building=another_build_ends))
    build_engine(job(model, plugins))
    assert kept.read_bytes() == bytes(sorted({*b"timed", *b"xyz"}))


def test_timings_of_another_device_are_left_out(
    install: Install, known: dict[str, Any], model: Path, plugins: Path
) -> None:
    folder = model.parent / "cache" / "tensorrt"
    folder.mkdir(parents=True)
    kept = folder / f"orin-sm87-8mp-tensorrt-{known['version']}.timing"
    kept.write_bytes(b"other")
    script = Script(caches_fit=False)
    install(script)
    record = build_engine(job(model, plugins))
    assert any("of another device and were left out" in line for line in record.log)
    assert script.calls.count("IBuilderConfig.create_timing_cache(nothing)") == 1


def test_ctrl_c_ends_a_build_at_the_next_step(install: Install, model: Path, plugins: Path) -> None:
    answers: list[bool] = []
    seen: list[BuildState] = []
    shown = threading.Event()

    def interrupt(step: Any) -> None:
        answers.append(step(0))
        os.kill(os.getpid(), signal.SIGINT)
        assert shown.wait(10)
        answers.append(step(1))

    def watch(state: BuildState) -> None:
        seen.append(state)
        if state.phase == "calling the build off":
            shown.set()

    before = signal.getsignal(signal.SIGINT)
    install(Script(while_building=interrupt))
    with pytest.raises(KeyboardInterrupt):
        build_engine(job(model, plugins), watch)
    assert answers == [True, False]
    assert signal.getsignal(signal.SIGINT) is before
    assert not model.with_suffix(".engine").exists()
    assert list((model.parent / "cache" / "tensorrt").glob("*.timing")), "what was timed is kept"


def test_progress_ends_at_the_whole(install: Install, model: Path, plugins: Path) -> None:
    seen: list[BuildState] = []
    install(Script())
    build_engine(job(model, plugins), seen.append)
    assert (seen[-1].phase, seen[-1].fraction, seen[-1].remaining_s) == ("done", 1.0, 0.0)


def test_required_precision(install: Install, model: Path, plugins: Path) -> None:
    install(Script(layers=LAYERS))
    build_engine(job(model, plugins, required="fp16"))
    engine = model.with_suffix(".engine")
    engine.unlink()
    record_path(engine).unlink()
    wrong = json.loads(LAYERS.replace("FP16", "FP32"))
    install(Script(layers=json.dumps(wrong)))
    with pytest.raises(DeviceError, match="`features` in fp32, of 1 layers"):
        build_engine(job(model, plugins, required="fp16"))
    assert not engine.exists()
    assert not record_path(engine).exists()


def test_layers_are_timed(
    install: Install, model: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimulatedDevice(0)
    monkeypatch.setattr("edgecv.export.engine.build.open_gpu", lambda: device)
    script = Script(layers=LAYERS)
    install(script)
    record = build_engine(job(model, plugins, with_times=True))
    assert [layer.time_ms for layer in record.layers] == [0.25]
    assert device.num_bytes_taken == [768, 768]
    handle = device.handle(device.streams[0])
    assert script.calls.count(f"IExecutionContext.execute_async_v3({handle})") == 40


def test_an_engine_is_written_though_it_cannot_be_timed(
    install: Install, model: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise DeviceError("there is no driver.")

    monkeypatch.setattr("edgecv.export.engine.build.open_gpu", missing)
    install(Script(layers=LAYERS))
    build_engine(job(model, plugins, with_times=True))
    assert (
        "note: layers were not timed: there is no driver."
        in read_record(model.with_suffix(".engine")).log
    )


def test_an_engine_is_written_though_timings_cannot_be(
    install: Install, model: Path, plugins: Path
) -> None:
    (model.parent / "cache").write_text("no folder")
    install(Script())
    record = build_engine(job(model, plugins))
    assert any("what was timed is lost: cannot write" in line for line in record.log)


def test_a_version_without_progress_builds_all_the_same(
    known: dict[str, Any], install: Install, model: Path, plugins: Path
) -> None:
    del known["types"]["IBuilderConfig"]["class"]["progress_monitor"]
    del known["types"]["IProgressMonitor"]
    install(Script())
    seen: list[BuildState] = []
    build_engine(job(model, plugins), seen.append)
    assert [state.fraction for state in seen][-1] == 1.0


def test_a_recipe_for_another_gpu_is_refused(install: Install, model: Path, plugins: Path) -> None:
    install(Script())
    with pytest.raises(DeviceError, match=r"is for Jetson Thor of .* 11\.0, and this is Orin"):
        build_engine(job(model, plugins, "thor-fp16"))


def test_without_a_gpu_nothing_is_built(
    install: Install, model: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Script())
    monkeypatch.setattr("edgecv.export.engine.build.find_gpu", lambda: None)
    with pytest.raises(DeviceError, match="CUDA finds none here"):
        build_engine(job(model, plugins))


def test_the_recipe_says_what_the_file_must_compute_in(
    install: Install, model: Path, plugins: Path
) -> None:
    install(Script())
    with pytest.raises(InputError, match=r"`precision` is int8, and most of .* in fp16"):
        build_engine(job(model, plugins, "orin-nx-int8"))
    with pytest.raises(InputError, match=r"`--require-precision` is fp32, .*--precision fp32"):
        build_engine(job(model, plugins, "orin-nx", required="fp32"))


def test_a_second_ctrl_c_waits_for_nothing(install: Install, model: Path, plugins: Path) -> None:
    asked, released = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        asked.set()
        assert released.wait(30)

    def watch(_: BuildState) -> None:
        if asked.is_set():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    install(Script(while_building=hang))
    with pytest.raises(KeyboardInterrupt):
        build_engine(job(model, plugins), watch)
    released.set()


def test_the_model_is_not_replaced(model: Path) -> None:
    with pytest.raises(InputError, match=r"`--output` must be an engine file"):
        BuildJob(model, model, "orin-nx")


def test_graphs_reach_the_parser_named_and_without_defaults(model: Path, plugins: Path) -> None:
    from edgecv.export.engine.source import read_source

    source = read_source(job(model, plugins))
    assert source.is_rewritten
    assert [node.name for node in source.graph.graph.node] == [
        "features",
        "rows",
        "scores",
        "number",
    ]
    assert {one.name for one in source.graph.graph.initializer} == {"weight", "shape"}
    assert onnx.load(model).graph.node[0].name == ""
