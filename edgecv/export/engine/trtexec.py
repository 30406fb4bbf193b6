"""The command of NVIDIA's trtexec that builds the same engine."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from edgecv.bundle.machine import find_gpu
from edgecv.engine_recipe import Recipe
from edgecv.errors import MissingDependencyError
from edgecv.export.engine.shapes import InputShapes, joined
from edgecv.export.engine.source import BuildJob, read_source
from edgecv.export.engine.timing import timing_file
from edgecv.export.graphs.model_file import write_onnx
from edgecv.runtime.tensorrt_module import import_tensorrt

_TILING = ("none", "fast", "moderate", "full")
_COMPATIBILITY = {"ampere+": "ampere+", "same-compute-capability": "sameComputeCapability"}


def command_of(job: BuildJob) -> tuple[str, Path | None]:
    """Return the trtexec command for the same engine, and the file that was written for it.

    The parser reads the graph in the form that edgecv hands it, which is written beside the engine
    as `NAME.tensorrt.onnx` where the file itself has another.
    """
    source = read_source(job)
    written = None
    if source.is_rewritten:
        written = job.output.with_suffix(".tensorrt.onnx")
        write_onnx(source.graph, written)
    gpu = find_gpu()
    timings = None
    if gpu is not None and gpu.tensorrt is not None:
        timings = timing_file(gpu, gpu.tensorrt)
    command = trtexec_command(
        written or job.model,
        job.output,
        source.recipe,
        source.profiles,
        plugins=source.plugins,
        timing_cache=timings,
        names_typing=_weak_types_exist(),
    )
    return command, written


def trtexec_command(
    model: Path,
    engine: Path,
    recipe: Recipe,
    profiles: Sequence[InputShapes],
    *,
    plugins: Path | None = None,
    timing_cache: Path | None = None,
    names_typing: bool = True,
) -> str:
    """Return the command as a shell takes it.

    Args:
        model: the ONNX file as the parser reads it.
        engine: where the engine goes.
        recipe: what it is built by.
        profiles: the shapes of the inputs with free sides.
        plugins: the library that it needs.
        timing_cache: the file with timings to start from and add to.
        names_typing: ask for strong typing, which trtexec up to 10 must be told and 11 no longer
            knows the word for.

    """
    words = ["trtexec", f"--onnx={model}", f"--saveEngine={engine}"]
    words += ["--stronglyTyped"] * names_typing
    words += ["--skipInference", "--profilingVerbosity=detailed"]
    words.append(f"--builderOptimizationLevel={recipe.optimisation_level}")
    words.append(f"--avgTiming={recipe.timing_iterations}")
    if plugins is not None:
        words.append(f"--dynamicPlugins={plugins}")
    if recipe.workspace_mib:
        words.append(f"--memPoolSize=workspace:{recipe.workspace_mib}")
    if not recipe.timing_cache:
        words.append("--noBuilderCache")
    elif timing_cache is not None:
        words.append(f"--timingCacheFile={timing_cache}")
    words += _flags(recipe)
    for index, shapes in enumerate(profiles):
        if len(profiles) > 1:
            words.append(f"--profile={index}")
        for option, name in (("min", "smallest"), ("opt", "usual"), ("max", "largest")):
            spelt = (f"{key}:{joined(getattr(shape, name))}" for key, shape in shapes.items())
            words.append(f"--{option}Shapes={','.join(spelt)}")
    return shlex.join(words)


def _flags(recipe: Recipe) -> list[str]:
    words = []
    if not recipe.tf32:
        words.append("--noTF32")
    if recipe.sparse_weights:
        words.append("--sparsity=enable")
    if recipe.tiling != "none":
        words.append(f"--tilingOptimizationLevel={_TILING.index(recipe.tiling)}")
    if recipe.version_compatible:
        words += ["--versionCompatible", "--excludeLeanRuntime"]
    if recipe.hardware_compatibility != "none":
        spelt = _COMPATIBILITY[recipe.hardware_compatibility]
        words.append(f"--hardwareCompatibilityLevel={spelt}")
    if recipe.uses_dla:
        words.append(f"--useDLACore={recipe.dla_core}")
        words += ["--allowGPUFallback"] * recipe.gpu_fallback
    return words


def _weak_types_exist() -> bool:
    """Tell whether the installed TensorRT still has networks without strong types, if any is.

    Its trtexec then has to be told; where none is installed, older ones are the rule.
    """
    try:
        import_tensorrt()
    except MissingDependencyError:
        return True
    import tensorrt as trt

    return hasattr(trt.BuilderFlag, "FP16")
