"""The command of trtexec for the same engine."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

import onnx

from edgecv.engine_recipe import Recipe
from edgecv.export.engine.shapes import ShapeRange
from edgecv.export.engine.source import BuildJob
from edgecv.export.engine.trtexec import command_of, trtexec_command

from ...tensorrt_stand_in import Script  # noqa: TID252
from .conftest import Install

PATHS = (Path("m.onnx"), Path("m.engine"))


def test_a_plain_recipe() -> None:
    assert trtexec_command(*PATHS, Recipe(), ()) == (
        "trtexec --onnx=m.onnx --saveEngine=m.engine --stronglyTyped --skipInference "
        "--profilingVerbosity=detailed --builderOptimizationLevel=3 --avgTiming=1"
    )


def test_every_setting_has_its_option() -> None:
    recipe = Recipe(
        "fp16",
        workspace_mib=512,
        optimisation_level=5,
        timing_iterations=2,
        timing_cache=False,
        tiling="moderate",
        tf32=False,
        sparse_weights=True,
        version_compatible=True,
        hardware_compatibility="same-compute-capability",
        dla_core=1,
    )
    words = trtexec_command(*PATHS, recipe, (), plugins=Path("p.so"), names_typing=False).split()
    assert words[3:] == [
        "--skipInference",
        "--profilingVerbosity=detailed",
        "--builderOptimizationLevel=5",
        "--avgTiming=2",
        "--dynamicPlugins=p.so",
        "--memPoolSize=workspace:512",
        "--noBuilderCache",
        "--noTF32",
        "--sparsity=enable",
        "--tilingOptimizationLevel=2",
        "--versionCompatible",
        "--excludeLeanRuntime",
        "--hardwareCompatibilityLevel=sameComputeCapability",
        "--useDLACore=1",
        "--allowGPUFallback",
    ]


def test_shapes_of_each_profile_and_words_with_spaces() -> None:
    shape = ShapeRange((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    rois = ShapeRange((1, 5), (2, 5), (4, 5))
    command = trtexec_command(
        Path("my models/m.onnx"),
        PATHS[1],
        Recipe(),
        ({"x": shape, "rois": rois}, {"x": shape}),
        timing_cache=Path("t.timing"),
    )
    assert command.startswith("trtexec '--onnx=my models/m.onnx' ")
    assert command.endswith(
        "--timingCacheFile=t.timing --profile=0 --minShapes=x:1x3x8x8,rois:1x5 "
        "--optShapes=x:2x3x8x8,rois:2x5 --maxShapes=x:4x3x8x8,rois:4x5 "
        "--profile=1 --minShapes=x:1x3x8x8 --optShapes=x:2x3x8x8 --maxShapes=x:4x3x8x8"
    )


def test_the_graph_that_the_command_reads_is_the_builders(
    install: Install, known: dict[str, Any], model: Path, plugins: Path
) -> None:
    install(Script())
    job = BuildJob(model, model.with_suffix(".engine"), "orin-nx-fp16", plugins=plugins)
    command, written = command_of(job)
    assert written == model.with_suffix(".tensorrt.onnx")
    graph = onnx.load(written)
    assert all(node.name for node in graph.graph.node)
    assert f"--onnx={written}" in command
    assert f"tensorrt/orin-sm87-8mp-tensorrt-{known['version']}.timing" in command
    assert ("--stronglyTyped" in command) == known["version"].startswith("10.")
    again = BuildJob(written, job.output, "orin-nx-fp16", plugins=plugins)
    assert command_of(again) == (command, None)
