"""Engines built and run by the real TensorRT: `pytest -m tensorrt` on a machine with a GPU.

The judge is onnxruntime on the CPU, with the same ONNX file; what may differ is what the precision
allows, see `edgecv.export.comparison.parity.TOLERANCES`.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")
import onnx

from edgecv.classes import parse_classes
from edgecv.errors import DeviceError
from edgecv.export.adoption.adopt import adopt
from edgecv.export.comparison.pairs import open_pair
from edgecv.export.comparison.parity import TOLERANCES
from edgecv.export.comparison.verify import Limits, verify
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.graphs.simplify import simplify
from edgecv.export.precisions.calibration import calibrate, image_feeds
from edgecv.export.precisions.fp16 import to_fp16
from edgecv.export.precisions.quantise import quantise
from edgecv.images import read_image
from edgecv.runtime.contenders import Contender
from edgecv.runtime.engine_record import read_record, record_path
from edgecv.runtime.model import Model, load

pytestmark = pytest.mark.tensorrt

BuildEngine = Callable[..., Path]
CPU, TENSORRT = Contender("onnxruntime"), Contender("auto")
PRECISIONS = ("fp32", "fp16", "int8-tensorrt")
BUILD_TIMEOUT_S = 600


def write_forms(source: Path, folder: Path, images: Sequence[Path]) -> None:
    """Write a float32 file, and what is made of it, as `PRECISION.onnx`."""
    graph = simplify(read_onnx(source))
    onnx.save(graph, folder / "fp32.onnx")
    onnx.save(to_fp16(graph).model, folder / "fp16.onnx")
    with load(folder / "fp32.onnx", "cpu", backend="onnxruntime") as model:
        ranges = calibrate(graph, image_feeds(model, images), method="min-max")
    onnx.save(quantise(graph, ranges, "tensorrt").model, folder / "int8-tensorrt.onnx")


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[Path]:
    return sorted((scenes / "test").glob("*.png"))


@pytest.fixture(scope="module")
def forms(exported: Path, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with EdgeNMS in every precision."""
    folder = tmp_path_factory.mktemp("forms")
    write_forms(exported / "fused.onnx", folder, images)
    return folder


@pytest.fixture(scope="module")
def engines(forms: Path, engine_of: BuildEngine) -> Callable[[str], Path]:
    """The engine of a precision, built once, for one to four images."""
    built: dict[str, Path] = {}

    def engine(precision: str) -> Path:
        if precision not in built:
            built[precision] = engine_of(forms / f"{precision}.onnx")
        return built[precision]

    return engine


def on_the_processor(path: Path) -> Model:
    return load(path, "cpu", backend="onnxruntime")


def differences(model: Path, engine: Path, images: Sequence[Path], precision: str) -> list[str]:
    """Return what goes beyond the precision's tolerance; 8 bits are rounded as float16 is."""
    reference, candidate = open_pair(model, engine, backends=(CPU, TENSORRT))
    try:
        found = verify(reference, candidate, images, limits=Limits(), repeat=3)
    finally:
        reference.model.close()
        candidate.model.close()
    assert found.parity.num_reference > 0
    assert found.candidate.backend.startswith("tensorrt ")
    return found.parity.violations(TOLERANCES["fp32" if precision == "fp32" else "fp16"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_finds_what_onnxruntime_finds(
    forms: Path, engines: Callable[[str], Path], images: list[Path], precision: str
) -> None:
    assert differences(forms / f"{precision}.onnx", engines(precision), images, precision) == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_compute_in_the_precision_of_the_file(
    engines: Callable[[str], Path], precision: str
) -> None:
    layers = read_record(engines(precision)).layers
    used = {layer.computes_in for layer in layers if "conv" in layer.name.lower()}
    assert {"fp32": "fp32", "fp16": "fp16", "int8-tensorrt": "int8"}[precision] in used


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_real_images(
    shared_data: Path, tmp_path: Path, engine_of: BuildEngine, precision: str
) -> None:
    source, path = shared_data / "weights" / "yolox_nano_416.onnx", tmp_path / "adopted.onnx"
    adopt(source, path, "yolox", parse_classes("coco"))
    images = sorted((shared_data / "coco" / "val2017").glob("*.jpg"))[:16]
    write_forms(path, tmp_path, images[:4])
    file = tmp_path / f"{precision}.onnx"
    assert differences(file, engine_of(file), images, precision) == []


def test_thresholds_change_between_replays(
    forms: Path, engines: Callable[[str], Path], images: list[Path]
) -> None:
    pixels = read_image(images[0])
    with load(engines("fp32")) as engine, on_the_processor(forms / "fp32.onnx") as model:
        for score, iou in ((0.6, 0.5), (0.01, 0.9), (0.3, 0.1), (0.6, 0.5)):
            found, wanted = (
                one.with_thresholds(score=score, iou=iou)(pixels) for one in (engine, model)
            )
            assert len(found) == len(wanted)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)
        assert len(engine.with_thresholds(score=0.01)(pixels)) > len(
            engine.with_thresholds(score=0.6)(pixels)
        )


def test_any_number_of_images_up_to_the_profile_s(
    engines: Callable[[str], Path], images: list[Path]
) -> None:
    with load(engines("fp32")) as engine:
        batch = np.concatenate(
            [engine.fit(read_image(path), format="rgb24")[0] for path in images[:4]]
        )
        alone = [engine.infer(batch[row : row + 1]) for row in range(4)]
        for count in (4, 2, 3, 1, 4):  # shapes come again: their graphs are kept
            together = engine.infer(batch[:count])
            for name, rows in together.items():
                assert len(rows) == count
                for row in range(count):
                    np.testing.assert_allclose(rows[row], alone[row][name][0], atol=1e-2)
        with pytest.raises(ValueError, match="at most 4 images"):
            engine.infer(np.concatenate([batch, batch]))


def test_outputs_stay_what_they_were(engines: Callable[[str], Path], images: list[Path]) -> None:
    with load(engines("fp32")) as engine:
        first = engine.infer(engine.fit(read_image(images[0]), format="rgb24")[0])
        kept = {name: np.array(values) for name, values in first.items()}
        for path in images[1:]:
            dict(engine.infer(engine.fit(read_image(path), format="rgb24")[0]))
        for name, values in kept.items():
            np.testing.assert_array_equal(first[name], values)


def test_two_engines_in_one_process(
    forms: Path, engines: Callable[[str], Path], images: list[Path]
) -> None:
    with load(engines("fp32")) as one, load(engines("fp16")) as other:
        before = [len(one(path)) for path in images]
        for path in images:
            other(path)
        assert [len(one(path)) for path in images] == before
    with load(engines("fp32")) as again, on_the_processor(forms / "fp32.onnx") as model:
        assert [len(again(path)) for path in images] == [len(model(path)) for path in images]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensorrt": "8.6.1"}, "it was built with TensorRT 8.6.1"),
        ({"compute_capability": "5.3", "gpu": "Nano"}, "it was built for Nano"),
        (
            {"plugins": {"name": "libedgecv_plugins.so", "sha256": "0" * 64}},
            "it was built with other plugins",
        ),
    ],
)
def test_an_engine_of_another_machine_is_refused(
    engines: Callable[[str], Path], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    engine = tmp_path / "moved.engine"
    engine.write_bytes(engines("fp32").read_bytes())
    plain = json.loads(record_path(engines("fp32")).read_text())
    record_path(engine).write_text(json.dumps(plain | change))
    with pytest.raises(DeviceError, match=rf"{said}.*Build it here: `edgecv build "):
        load(engine)


def test_nothing_stalls_while_an_engine_is_built(
    forms: Path, images: list[Path], tmp_path: Path
) -> None:
    file = forms / "fp16.onnx"
    with load(file, backend="tensorrt", cache=tmp_path) as model:
        session: Any = model.session
        assert not session.backend.startswith("tensorrt ")
        expected = [len(model(path)) for path in images]
        served, begin = 0, time.monotonic()
        while not session.wait(0.0):
            assert time.monotonic() - begin < BUILD_TIMEOUT_S, session.backend
            model(images[served % len(images)])
            served += 1
        assert served > 0
        assert session.backend.startswith("tensorrt ")
        assert [len(model(path)) for path in images] == expected
    with load(file, backend="tensorrt", cache=tmp_path) as model:  # the engine is found again
        assert model.session.backend.startswith("tensorrt ")
