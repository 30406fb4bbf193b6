"""How a TensorRT engine is to be built: what a recipe says, and an engine's record repeats."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from edgecv.records import require

EnginePrecision: TypeAlias = Literal["fp32", "fp16", "int8"]
HardwareCompatibility: TypeAlias = Literal["none", "ampere+", "same-compute-capability"]
Tiling: TypeAlias = Literal["none", "fast", "moderate", "full"]
Sides: TypeAlias = tuple[int, ...]

NO_DLA = -1
_HIGHEST_LEVEL = 5


def _is_range(values: tuple[int, ...]) -> bool:
    smallest, usual, largest = values
    return 1 <= smallest <= usual <= largest


@dataclass(frozen=True)
class Profile:
    """The shapes that one optimisation profile covers: smallest, the one tuned for, largest.

    Args:
        batch: images a call, for inputs whose first side alone is free.
        shapes: by input, all sides of the three; needed where more than the batch is free and the
            model's description does not say how large an image is.

    """

    batch: tuple[int, int, int] = (1, 1, 1)
    shapes: Mapping[str, tuple[Sides, Sides, Sides]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse ranges that are none."""
        rule = "be [smallest, usual, largest], from 1 on and in this order"
        require(_is_range(self.batch), "profiles.batch", rule, self.batch)
        for name, shapes in self.shapes.items():
            key = f"profiles.shapes.{name}"
            ranks = {len(shape) for shape in shapes}
            require(len(ranks) == 1, key, "have three shapes of one rank", shapes)
            is_ordered = all(_is_range(sides) for sides in zip(*shapes, strict=True))
            require(is_ordered, key, "grow from the first shape to the third", shapes)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the builder makes of an ONNX file, on a given machine.

    Args:
        precision: what the file must compute in: a statement that is checked, not a choice, for
            networks are strongly typed. None takes any file.
        device: what it was written for, for people.
        compute_capabilities: of the GPUs that it may build on, such as `8.7`; empty for any.
        profiles: the shapes that the engine accepts, at least one.
        workspace_mib: device memory that a layer may use for itself, 0 for all there is.
        optimisation_level: 0 builds fastest, 5 searches longest; 3 is TensorRT's own.
        timing_iterations: how often each candidate kernel is timed; more where clocks vary.
        timing_cache: keep what was timed for the next build on the same device.
        tiling: how hard to look for tilings that keep activations in the L2 cache; none where the
            version cannot.
        tf32: let float32 products round their factors to 10 bits of mantissa, where the GPU can.
        sparse_weights: consider kernels for weights of which two in four are zero.
        version_compatible: let newer versions of the same major number load the engine, through a
            lean runtime that the application brings: the engine itself carries no code.
        hardware_compatibility: let other GPUs run the engine: `ampere+` any from compute
            capability 8.0 on, slower and not on Jetson; `same-compute-capability` those of equal
            capability.
        dla_core: the deep learning accelerator that takes the layers it can, -1 for none.
        gpu_fallback: let the GPU run what the accelerator cannot.

    """

    precision: EnginePrecision | None = None
    device: str = ""
    compute_capabilities: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = (Profile(),)
    workspace_mib: int = 0
    optimisation_level: int = 3
    timing_iterations: int = 1
    timing_cache: bool = True
    tiling: Tiling = "none"
    tf32: bool = True
    sparse_weights: bool = False
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    dla_core: int = NO_DLA
    gpu_fallback: bool = True

    def __post_init__(self) -> None:
        """Refuse values out of range and settings that exclude each other."""
        require(len(self.profiles) > 0, "profiles", "have at least one entry", self.profiles)
        require(self.workspace_mib >= 0, "workspace_mib", "be 0 or more", self.workspace_mib)
        level = self.optimisation_level
        require(0 <= level <= _HIGHEST_LEVEL, "optimisation_level", "be in 0..5", level)
        iterations = self.timing_iterations
        require(iterations >= 1, "timing_iterations", "be at least 1", iterations)
        require(self.dla_core >= NO_DLA, "dla_core", "be a core or -1", self.dla_core)
        for capability in self.compute_capabilities:
            parts = capability.split(".")
            is_one = len(parts) == 2 and all(part.isdigit() for part in parts)  # noqa: PLR2004
            require(is_one, "compute_capabilities", "hold numbers such as '8.7'", capability)
        if self.uses_dla:
            rule = "be fp16 or int8, which is what the accelerator computes in"
            require(self.precision != "fp32", "precision", rule, self.precision)
            for profile in self.profiles:
                rule = "be one size three times, for the accelerator has fixed shapes"
                require(len(set(profile.batch)) == 1, "profiles.batch", rule, profile.batch)

    @property
    def uses_dla(self) -> bool:
        """Whether a deep learning accelerator takes part."""
        return self.dla_core != NO_DLA
