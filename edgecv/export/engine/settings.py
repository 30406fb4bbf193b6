"""A recipe as TensorRT's configuration: whatever a version lacks is asked of the module itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecv.engine_recipe import HardwareCompatibility, Recipe, Tiling
from edgecv.errors import DeviceError
from edgecv.export.engine.shapes import InputShapes
from edgecv.runtime.tensorrt_messages import Messages

if TYPE_CHECKING:
    import tensorrt as trt

_MIB = 1 << 20


def configuration(
    builder: "trt.Builder", recipe: Recipe, messages: Messages
) -> "trt.IBuilderConfig":
    """Return the configuration of a recipe, without shapes and timings.

    Args:
        builder: of the network to build.
        recipe: what to set.
        messages: takes a note of each setting that this version does without.

    Raises:
        DeviceError: if the recipe asks for what this version or this machine lacks and the engine
            would be another without it.

    """
    import tensorrt as trt

    config = builder.create_builder_config()
    config.builder_optimization_level = recipe.optimisation_level
    config.avg_timing_iterations = recipe.timing_iterations
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the audit reads layers
    if recipe.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_mib * _MIB)
    if not recipe.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if recipe.sparse_weights:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if not recipe.timing_cache:
        config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
    if recipe.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # The lean runtime inside an engine is code, which edgecv's runner does not load.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if recipe.hardware_compatibility != "none":
        config.hardware_compatibility_level = _level(recipe.hardware_compatibility)
    if recipe.tiling != "none":
        _tile(config, recipe.tiling, messages)
    if recipe.uses_dla:
        _use_dla(builder, config, recipe)
    return config


def add_profiles(
    builder: "trt.Builder", config: "trt.IBuilderConfig", profiles: Sequence[InputShapes]
) -> None:
    """Let the engine accept the shapes of each profile.

    Raises:
        DeviceError: if TensorRT refuses one.

    """
    import tensorrt as trt

    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            ranges = (shape.smallest, shape.usual, shape.largest)
            profile.set_shape(name, *(trt.Dims(list(sides)) for sides in ranges))
        if config.add_optimization_profile(profile) < 0:
            raise DeviceError(
                f"TensorRT refuses the shapes {dict(shapes)}. Correct `profiles` in the recipe."
            )


def _level(wanted: HardwareCompatibility) -> "trt.HardwareCompatibilityLevel":
    import tensorrt as trt

    if wanted == "ampere+":
        return trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if hasattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY"):
        level: trt.HardwareCompatibilityLevel = (
            trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
        )
        return level
    raise DeviceError(
        f"recipe: `hardware_compatibility` {wanted!r} is not known to TensorRT {trt.__version__}. "
        "Take a newer one, or build on each kind of GPU."
    )


def _tile(config: "trt.IBuilderConfig", tiling: Tiling, messages: Messages) -> None:
    import tensorrt as trt

    if hasattr(config, "tiling_optimization_level") and hasattr(trt, "TilingOptimizationLevel"):
        level = getattr(trt.TilingOptimizationLevel, tiling.upper())
        config.tiling_optimization_level = level
    else:
        messages.note(f"TensorRT {trt.__version__} does not tile; `tiling` has no effect")


def _use_dla(builder: "trt.Builder", config: "trt.IBuilderConfig", recipe: Recipe) -> None:
    import tensorrt as trt

    if builder.num_DLA_cores <= recipe.dla_core:
        raise DeviceError(
            f"recipe: `dla_core` {recipe.dla_core} is not there: TensorRT {trt.__version__} offers "
            f"{builder.num_DLA_cores} accelerators on this machine. Take a recipe without `-dla`."
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = recipe.dla_core
    if recipe.gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
