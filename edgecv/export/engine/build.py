"""The builder: an ONNX file and a recipe make an engine and its record."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from edgecv.bundle.machine import Gpu, find_gpu
from edgecv.engine_recipe import Recipe
from edgecv.errors import DeviceError, OutputError
from edgecv.export.engine.audit import engine_layers, require_precision, with_times
from edgecv.export.engine.layer_times import layer_times
from edgecv.export.engine.messages import why_no_engine
from edgecv.export.engine.network import parsed_network
from edgecv.export.engine.progress import BuildState, PhaseTree, Watch, progress_monitor
from edgecv.export.engine.settings import add_profiles, configuration
from edgecv.export.engine.source import BuildJob, BuildSource, read_source
from edgecv.export.engine.timing import keep_timings, timing_file, use_timings
from edgecv.files import replacing
from edgecv.interrupts import deferred_interrupt
from edgecv.runtime.engine_record import EngineLayer, EngineRecord, FileIdentity, record_path
from edgecv.runtime.gpu_device import open_gpu
from edgecv.runtime.plugin_file import load_plugins
from edgecv.runtime.tensorrt_messages import Messages, logger
from edgecv.runtime.tensorrt_module import import_tensorrt

T = TypeVar("T")

_LOOK_S = 0.1  # how often the screen and CTRL-C are seen to


@dataclass(frozen=True)
class _Machine:
    gpu: Gpu
    tensorrt: str


def build_engine(job: BuildJob, watch: Watch | None = None) -> EngineRecord:
    """Build an engine; write it and its record, both whole or neither.

    CTRL-C calls the build off at the next step, and the process at once if it comes again. What was
    timed until then is kept, so that the next build is quicker.

    Args:
        job: what to build.
        watch: told how far the build is, some times a second.

    Raises:
        InputError: if the file or the recipe cannot be used, or the parser refuses the file.
        MissingDependencyError: if TensorRT is not installed.
        DeviceError: if there is no GPU, the recipe is for another, TensorRT builds nothing, or the
            engine does not compute in the precision that is required.
        OutputError: if a file cannot be written.
        KeyboardInterrupt: after CTRL-C.

    """
    version = str(import_tensorrt().__version__)
    source = read_source(job)
    machine = _Machine(_suitable_gpu(job, source.recipe), version)
    messages = Messages()
    for note in source.notes:
        messages.note(note)
    began = time.monotonic()
    plan = _build(job, source, machine, messages, watch)
    layers = _audited(plan, job, source, messages)
    record = EngineRecord(
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        onnx=FileIdentity.of(job.model),
        tensorrt=version,
        gpu=machine.gpu.name,
        compute_capability=machine.gpu.capability,
        multiprocessors=machine.gpu.multiprocessors,
        plugins=None if source.plugins is None else FileIdentity.of(source.plugins),
        recipe=source.recipe,
        command=job.command,
        duration_s=round(time.monotonic() - began, 1),
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        log=tuple(messages.lines),
        layers=layers,
        spec=source.spec,
    )
    with replacing(job.output) as engine, replacing(record_path(job.output)) as beside:
        engine.write_bytes(plan)
        beside.write_text(record.to_json(), encoding="utf-8")
    return record


def _suitable_gpu(job: BuildJob, recipe: Recipe) -> Gpu:
    """Return the GPU of this machine, if the recipe is for it."""
    gpu = find_gpu()
    if gpu is None:
        raise DeviceError(
            "an engine is built on the GPU that runs it, and CUDA finds none here. Check "
            "`nvidia-smi` and CUDA_VISIBLE_DEVICES, or `--print-trtexec` for another machine."
        )
    if recipe.compute_capabilities and gpu.capability not in recipe.compute_capabilities:
        raise DeviceError(
            f"recipe `{job.recipe}` is for {recipe.device or 'GPUs'} of compute capability "
            f"{', '.join(recipe.compute_capabilities)}, and this is {gpu.name} with "
            f"{gpu.capability}. Build it there: an engine runs on the kind of GPU that built it."
        )
    return gpu


def _build(
    job: BuildJob,
    source: BuildSource,
    machine: _Machine,
    messages: Messages,
    watch: Watch | None,
) -> bytes:
    """Return the engine's bytes; the builder's memory is given back."""
    import tensorrt as trt

    recipe, log = source.recipe, logger(messages)
    builder = trt.Builder(log)
    if source.plugins is not None:
        load_plugins(builder.get_plugin_registry(), source.plugins)
    parsed = parsed_network(builder, log, source.graph, job.model, for_dla=recipe.uses_dla)
    config = configuration(builder, recipe, messages)
    add_profiles(builder, config, source.profiles)
    timings = timing_file(machine.gpu, machine.tensorrt)
    if recipe.timing_cache and not use_timings(config, timings):
        messages.note(f"the timings in `{timings}` are of another device and were left out")
    tree = PhaseTree()
    monitor = None
    if hasattr(config, "progress_monitor"):
        monitor = progress_monitor(tree)
        config.progress_monitor = monitor
    plan = _followed(
        lambda: builder.build_serialized_network(parsed.network, config),
        tree,
        watch,
        can_cancel=monitor is not None,
    )
    if recipe.timing_cache:
        try:
            keep_timings(config, timings)
        except OutputError as error:  # the engine is worth more
            messages.note(f"what was timed is lost: {error}")
    if tree.cancelled.is_set():
        raise KeyboardInterrupt
    if plan is None:
        raise DeviceError(why_no_engine(messages.errors, recipe.workspace_mib))
    return bytes(cast("Any", plan))


def _audited(
    plan: bytes, job: BuildJob, source: BuildSource, messages: Messages
) -> tuple[EngineLayer, ...]:
    """Return what an engine consists of, if that is in the precision that is required."""
    import tensorrt as trt

    runtime = trt.Runtime(logger(messages))
    runtime.engine_host_code_allowed = False
    if source.recipe.uses_dla:
        runtime.DLA_core = source.recipe.dla_core
    if source.plugins is not None:
        load_plugins(runtime.get_plugin_registry(), source.plugins)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise DeviceError(
            "TensorRT cannot load the engine that it built. Is its runtime of the same version? "
            "`edgecv doctor` lists what is installed."
        )
    layers = engine_layers(engine)
    if job.required is not None:
        require_precision(layers, source.layers, job.required)
    if not job.with_times:
        return layers
    try:
        return with_times(layers, layer_times(engine, open_gpu()))
    except DeviceError as error:  # the engine is worth more
        messages.note(f"layers were not timed: {error}")
        return layers


def _followed(
    work: Callable[[], T], tree: PhaseTree, watch: Watch | None, *, can_cancel: bool
) -> T:
    """Return what `work` does in a thread of its own, while this one shows how far it is.

    TensorRT holds on to the thread that builds: a signal would wait there until the build is done.
    Where nothing can call the work off, CTRL-C leaves it behind.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="TensorRT build", daemon=True)
    with deferred_interrupt() as interrupted:
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_S)
            if interrupted.is_set():
                if not can_cancel:
                    raise KeyboardInterrupt
                tree.cancelled.set()
            if watch is not None:
                state = tree.state()
                cancelling = replace(state, phase="calling the build off")
                watch(cancelling if tree.cancelled.is_set() else state)
    if failures:
        raise failures[0]
    if watch is not None and not tree.cancelled.is_set():
        watch(BuildState("done", 1.0, tree.state().elapsed_s, 0.0))
    return results[0]
