"""A whole export: files, bundle, report, and what is refused, with a small trained network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("torch")
pytest.importorskip("faster_coco_eval")

from edgecv.bundle.reading import Bundle  # noqa: E402
from edgecv.errors import AccuracyError, EdgeCVError, InputError  # noqa: E402
from edgecv.export.calibrating import (  # noqa: E402
    METHODS,
    calibrations_of,
    read_table,
    spread,
    write_table,
)
from edgecv.export.exporting import (  # noqa: E402
    Destination,
    ExportJob,
    Target,
    export_source,
)
from edgecv.export.graphs.metadata import read_spec  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx  # noqa: E402
from edgecv.export.precisions.calibration import Observer  # noqa: E402
from edgecv.export.precisions.noise import LayerCost  # noqa: E402
from edgecv.export.source import GraphOptions, Source, open_source  # noqa: E402
from edgecv.precision import Precision  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402

ALL: tuple[Precision, ...] = ("fp16", "int8-cpu", "int8-tensorrt")


@pytest.fixture(scope="module")
def source(exported: Path) -> Source:
    return open_source(exported / "fused.onnx", GraphOptions())


@pytest.fixture
def job(source: Source, scenes: Path) -> ExportJob:
    return ExportJob(source, images=scenes / "val", num_images=2, calibration=str(scenes / "train"))


def test_each_precision_gets_a_file_that_says_what_it_is(
    job: ExportJob, scenes: Path, tmp_path: Path
) -> None:
    made = export_source(job, Destination(tmp_path / "model.onnx", ("fp32", *ALL)))
    names = ["model.onnx", *(f"model.{precision}.onnx" for precision in ALL)]
    assert [path.name for path in made.written] == names
    image = next((scenes / "val").glob("*.png"))
    for path, precision in zip(made.written, ("fp32", *ALL), strict=True):
        assert read_spec(read_onnx(path), path=path).provenance.precision == precision
        with load(path) as model:
            model(image)
    fp32, *others = made.figures
    assert fp32.precision == "fp32"
    assert fp32.parity is None
    for entry in others:
        assert entry.num_bytes < 0.65 * fp32.num_bytes
        assert entry.num_layers > 30
        assert len(entry.noise) > 30
        assert entry.accuracy is None
        assert entry.latency is not None
        assert entry.parity is not None
        assert entry.parity.num_images == 2
    assert "Accuracy was not measured" in made.facts[0]


def test_accuracy_is_measured_and_reported(job: ExportJob, scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    job = replace(
        job, data=f"coco:{scenes}", max_drop=1.0, report=tmp_path / "report", num_images=1
    )
    made = export_source(job, Destination(tmp_path / "model.edgecv", ("int8-cpu",)))
    entry = made.figures[1]
    assert entry.calibration == "min-max"
    assert [attempt.num_returned for attempt in entry.attempts] == [0]
    assert made.figures[0].accuracy is not None
    assert entry.accuracy is not None
    assert entry.drop == pytest.approx(made.figures[0].accuracy.value - entry.accuracy.value)
    with Bundle(tmp_path / "model.edgecv") as bundle:
        manifest = bundle.manifest
        bundle.verify()
    assert [each.name for each in manifest.entries] == ["fp32", "int8-cpu", "calibration"]
    measured = manifest.entry("int8-cpu").measured
    assert measured.accuracy is not None
    assert measured.accuracy.value == entry.accuracy.value
    assert measured.max_drop == 1.0
    assert len(measured.latencies) == 1
    page = (tmp_path / "report" / "report.html").read_text()
    assert "int8-cpu" in page
    assert page.count("data:image/jpeg;base64,") == 1
    plain = json.loads((tmp_path / "report" / "export.json").read_text())
    assert [each["precision"] for each in plain["precisions"]] == ["fp32", "int8-cpu"]
    assert plain["precisions"][1]["drop"] == pytest.approx(entry.drop)
    assert made.summary()[1][1][-1] == "passed"


def test_what_does_not_pass_is_not_written_and_its_costs_are_named(
    job: ExportJob, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.export.precisions import measuring as precisions

    measured = precisions.accuracy_of

    def as_if_rounding_cost_all(model, *args, **options):  # noqa: ANN001, ANN002, ANN003, ANN202
        found = measured(model, *args, **options)
        is_lower = model.spec.provenance.precision != "fp32"
        figures = dict.fromkeys(found.figures, 0.0 if is_lower else 0.5)
        return replace(found, figures=figures)

    def costs(_reference, _only, layers, _feeds, **_options):  # noqa: ANN001, ANN003, ANN202
        return tuple(LayerCost(name, 0.1) for name in layers)

    monkeypatch.setattr(precisions, "accuracy_of", as_if_rounding_cost_all)
    monkeypatch.setattr(precisions, "rank_layers", costs)  # a test of its own has the real one
    job = replace(job, data=f"coco:{scenes}", max_drop=0.01)
    made = export_source(job, Destination(tmp_path / "model.onnx", ("fp32", "int8-cpu")))
    assert [path.name for path in made.written] == ["model.onnx"]
    entry = made.figures[1]
    assert not entry.has_passed
    assert {attempt.variant for attempt in entry.attempts} == set(METHODS)
    assert len(entry.costs) == entry.num_layers + len(entry.returned)
    with pytest.raises(
        AccuracyError, match=r"int8-cpu drops by 0\.5000 even with 32 of its"
    ) as told:
        made.refuse_failed()
    assert entry.costs[0].name in str(told.value)


def test_a_stopped_calibration_keeps_what_it_saw(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = Observer.observe

    def stopped_at_the_third(self: Observer, feed) -> None:  # noqa: ANN001
        if self.num_images == 2:
            raise KeyboardInterrupt
        observe(self, feed)

    monkeypatch.setattr(Observer, "observe", stopped_at_the_third)
    table = tmp_path / "model.calibration.json"
    with pytest.raises(EdgeCVError, match=r"stopped after 2 of 24 images\. Go on with .*json`"):
        export_source(job, Destination(tmp_path / "model.onnx", ("int8-cpu",)))
    assert [path.name for path in tmp_path.iterdir()] == [table.name]
    assert read_table(table).num_images == 2
    made = export_source(
        replace(job, calibration=str(table)), Destination(tmp_path / "model.onnx", ("int8-cpu",))
    )
    assert made.written == (tmp_path / "model.onnx",)


def test_a_file_for_tensorrt_has_plugins_without_bodies(job: ExportJob, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_source(job, Destination(path, ("int8-tensorrt",), "tensorrt"))
    model = onnx.load(path)
    assert not model.functions
    assert [node.op_type for node in model.graph.node if node.domain == "edgecv"] == ["EdgeNMS"]
    with pytest.raises(InputError, match="TensorRT"):
        load(path)


def test_tables_are_read_as_they_were_written(job: ExportJob, tmp_path: Path) -> None:
    (table,) = calibrations_of(
        job.source, job.calibration, num_images=2, method="mse", stopped=tmp_path / "stopped.json"
    ).values()
    write_table(table, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table
    assert table.method == "mse"
    assert table.num_images == 2
    (tmp_path / "table.json").write_text("{")
    with pytest.raises(InputError, match="is no calibration table"):
        read_table(tmp_path / "table.json")
    with pytest.raises(InputError, match="there is no such calibration"):
        read_table(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("path", "target", "said"),
    [
        ("model.engine", "onnxruntime", r"an export ends in `\.onnx` or `\.edgecv`"),
        ("model.edgecv", "tensorrt", "Leave out `--target`"),
        ("model.onnx", "tensorrt", "Use `--precision int8-tensorrt`"),
    ],
)
def test_a_place_that_does_not_suit_is_refused(path: str, target: Target, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Destination(Path(path), ("int8-cpu",), target)


def test_missing_images_are_asked_for(source: Source, tmp_path: Path, scenes: Path) -> None:
    eight_bits = Destination(tmp_path / "model.onnx", ("int8-cpu",))
    with pytest.raises(InputError, match=r"Name a folder with `--images`"):
        export_source(ExportJob(source), eight_bits)
    with pytest.raises(InputError, match=r"8 bits need images to calibrate with"):
        export_source(ExportJob(source, images=scenes / "val"), eight_bits)
    with pytest.raises(InputError, match=r"`--max-drop` needs annotated images"):
        export_source(ExportJob(source, images=scenes / "val", max_drop=0.1), eight_bits)
    (tmp_path / "empty").mkdir()
    job = ExportJob(source, images=scenes / "val", calibration=str(tmp_path / "empty"))
    with pytest.raises(InputError, match="must hold images"):
        export_source(job, eight_bits)
    Image.new("RGB", (60, 40)).save(tmp_path / "empty" / "small.png")
    with pytest.raises(InputError, match=r"1 of 1 images .* smaller than the input of 96x128"):
        export_source(job, eight_bits)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_is_lowered_already_is_no_source(job: ExportJob, tmp_path: Path) -> None:
    export_source(job, Destination(tmp_path / "model.onnx", ("fp16",)))
    with pytest.raises(InputError, match="is in fp16 already"):
        open_source(tmp_path / "model.onnx", GraphOptions())


def test_options_of_a_checkpoint_do_not_suit_a_graph(exported: Path) -> None:
    with pytest.raises(InputError, match=r"`--opset` chooses how a checkpoint becomes a graph"):
        open_source(exported / "raw.onnx", GraphOptions(opset=19))


def test_a_graph_gets_another_batch(exported: Path) -> None:
    found = open_source(exported / "raw.onnx", GraphOptions(batch=3))
    assert found.graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


@pytest.mark.parametrize(("count", "wanted"), [(1, [0]), (4, [0, 2, 5, 7]), (99, list(range(10)))])
def test_images_are_taken_from_everywhere(count: int, wanted: list[int]) -> None:
    paths = [Path(str(index)) for index in range(10)]
    assert [int(path.name) for path in spread(paths, count)] == wanted
    assert np.unique(wanted).size == len(wanted)


def test_a_graph_gets_another_size_where_it_allows_it(
    segmenter: Callable[..., Path], exported: Path, trained_run: Path
) -> None:
    found = open_source(segmenter("logits"), GraphOptions(size_hw=(80, 96)))
    dims = found.graph.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in dims[2:]] == [80, 96]
    assert found.spec.input.size_hw == (80, 96)
    with pytest.raises(InputError, match="pixels"):
        open_source(exported / "fused.onnx", GraphOptions(size_hw=(80, 96)))  # anchors inside
    with pytest.raises(InputError, match=r"Train it at another with `edgecv train --size`"):
        open_source(trained_run / "best.pt", GraphOptions(size_hw=(80, 96)))
