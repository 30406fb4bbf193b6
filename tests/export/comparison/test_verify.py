"""Two forms of a model compared: what is found, what is judged and what is refused."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
pytest.importorskip("torch")
import onnx
from onnx import external_data_helper, numpy_helper

from edgecv.bundle.writing import add, read_model
from edgecv.data import open_classification, open_dataset
from edgecv.engine_recipe import Recipe
from edgecv.errors import InputError
from edgecv.export.comparison.pairs import Opened, open_pair
from edgecv.export.comparison.verify import Limits, Verification, verify
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.graphs.simplify import simplify
from edgecv.export.precisions.fp16 import to_fp16
from edgecv.precision import Precision
from edgecv.runtime.engine_record import EngineRecord, FileIdentity, record_path, sha256_of
from edgecv.runtime.model import load
from edgecv.spec import METADATA_KEY, ModelSpec

NO_LIMITS = Limits()


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[Path]:
    return sorted((scenes / "val").glob("*.png"))[:3]


def altered(
    source: Path,
    path: Path,
    change: Callable[[onnx.ModelProto], None] | None = None,
    spec: Callable[[ModelSpec], ModelSpec] = lambda spec: spec,
) -> Path:
    """Write `source` with a changed graph or description to `path`."""
    model = read_onnx(source)
    if change is not None:
        change(model)
    text = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
    write_spec(model, spec(ModelSpec.from_json(text)))
    onnx.save(model, path)
    return path


def scaled_weight(index: int, factor: float) -> Callable[[onnx.ModelProto], None]:
    """Change the weights of the `index`-th convolution."""

    def change(model: onnx.ModelProto) -> None:
        node = [entry for entry in model.graph.node if entry.op_type == "Conv"][index]
        for tensor in model.graph.initializer:
            if tensor.name == node.input[1]:
                values = numpy_helper.to_array(tensor).copy()
                values *= factor
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change


def run(reference: Path, candidate: Path, images: list[Path], **options: object) -> Verification:
    pair = open_pair(reference, candidate, "cpu", threads=1)
    chosen = {"limits": NO_LIMITS, "repeat": 2} | options
    return verify(*pair, images, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["raw", "fused"])
def test_a_checkpoint_and_its_export_agree(
    trained_run: Path, exported: Path, images: list[Path], head: str
) -> None:
    found = run(trained_run / "best.pt", exported / f"{head}.onnx", images)
    assert found.violations == ()
    assert found.is_judged
    assert (found.reference.backend, found.candidate.backend) == ("torch cpu", "onnxruntime cpu")
    assert found.parity.num_reference == found.parity.num_matched > 0
    assert {entry.name for entry in found.parity.outputs} == (
        {"offsets", "logits"} if head == "raw" else {"boxes", "scores", "classes"}
    )
    json.dumps(found.to_plain(), allow_nan=False)


def test_a_raw_and_a_fused_graph_are_compared_by_their_results(
    exported: Path, images: list[Path]
) -> None:
    found = run(exported / "raw.onnx", exported / "fused.onnx", images, search=True)
    assert found.parity.outputs == ()
    assert found.parity.incomparable == ("logits", "offsets")
    assert found.parity.num_matched == found.parity.num_reference > 0
    assert found.violations == ()
    assert found.divergence is not None
    assert found.divergence.node == ""
    assert found.divergence.num_tensors > 100


def test_a_changed_weight_is_found_in_its_layer(
    exported: Path, images: list[Path], tmp_path: Path
) -> None:
    path = altered(exported / "raw.onnx", tmp_path / "broken.onnx", scaled_weight(30, 1.5))
    node = [entry for entry in read_onnx(path).graph.node if entry.op_type == "Conv"][30]
    found = run(exported / "raw.onnx", path, images)
    assert found.violations
    assert found.divergence is not None
    assert (found.divergence.node, found.divergence.operator) == (node.name, "Conv")
    assert max(entry.relative for entry in found.divergence.inputs) < 1e-5
    assert found.to_plain()["divergence"]["node"] == node.name


def test_the_layers_of_a_checkpoint_are_those_of_its_export(
    trained_classifier: Path, exported_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    pictures = sorted((shapes / "val" / "disc").glob("*.png"))[:2]
    exported = exported_classifier / "raw.onnx"
    path = altered(exported, tmp_path / "broken.onnx", scaled_weight(1, 1.2))
    for pair in ((trained_classifier / "best.pt", path), (path, trained_classifier / "best.pt")):
        found = run(*pair, pictures)
        assert found.divergence is not None
        convolutions = [one for one in read_onnx(path).graph.node if one.op_type == "Conv"]
        assert found.divergence.node == convolutions[1].name
    same = run(trained_classifier / "best.pt", exported, pictures, search=True)
    assert same.divergence is not None
    assert (same.violations, same.divergence.node) == ((), "")


def test_accuracy_is_measured_and_judged(exported: Path, images: list[Path], scenes: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    dataset = open_dataset(f"coco:{scenes}", "val")
    both = exported / "raw.onnx", exported / "fused.onnx"
    found = run(*both, images, dataset=dataset, limits=Limits(0.01))
    assert (found.metric, found.violations) == ("AP", ())
    assert found.drop == found.reference.metrics["AP"] - found.candidate.metrics["AP"]
    gain = run(*both, images, dataset=dataset, limits=Limits(-1.0))
    assert gain.violations == (f"AP drops by {found.drop:.4f} (allowed -1)",)


def test_a_classifier_is_compared_by_its_classes(
    trained_classifier: Path, exported_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    dataset = open_classification(f"folder:{shapes}", "val")
    images = [sample.image_path for sample in dataset.samples][::5]
    pair = trained_classifier / "best.pt", exported_classifier / "fused.onnx"
    found = run(*pair, images, dataset=dataset)
    assert (found.metric, found.drop, found.violations) == ("top1", 0, ())
    assert found.parity.unit == "images"
    broken = altered(pair[1], tmp_path / "broken.onnx", scaled_weight(0, -3.0))
    found = run(pair[1], broken, images, dataset=dataset, limits=Limits(0.1))
    assert found.drop is not None
    assert found.violations == (f"top1 drops by {found.drop:.4f} (allowed 0.1)",)
    assert found.divergence is not None
    assert found.divergence.operator == "Conv"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(relative=1e-6), "output `"),
        (Limits(unmatched=0.0), "have no counterpart"),
        (Limits(relative=10.0), None),
        (Limits(unmatched=1.0), None),
    ],
)
def test_each_limit_judges_its_own(
    exported: Path, images: list[Path], tmp_path: Path, limits: Limits, said: str | None
) -> None:
    path = altered(exported / "raw.onnx", tmp_path / "broken.onnx", scaled_weight(2, 3.0))
    found = run(exported / "raw.onnx", path, images, limits=limits)
    assert found.is_judged
    assert bool(found.violations) == (said is not None)
    assert said is None or all(said in phrase for phrase in found.violations)


def declared(precision: Precision) -> Callable[[ModelSpec], ModelSpec]:
    return lambda spec: replace(spec, provenance=replace(spec.provenance, precision=precision))


def test_8_bits_are_not_judged_without_a_limit(
    exported: Path, images: list[Path], tmp_path: Path
) -> None:
    source, path = exported / "raw.onnx", tmp_path / "bytes.onnx"
    altered(source, path, scaled_weight(2, 3.0), declared("int8-tensorrt"))
    found = run(source, path, images)
    assert (found.violations, found.is_judged, found.divergence) == ((), False, None)
    assert found.candidate.precision == "int8-tensorrt"


def test_float16_may_differ_by_its_rounding_and_no_more(
    exported: Path, images: list[Path], tmp_path: Path
) -> None:
    source = exported / "raw.onnx"
    half, broken = tmp_path / "half.onnx", tmp_path / "broken.onnx"
    onnx.save(to_fp16(simplify(read_onnx(source))).model, half)
    found = run(source, half, images)
    assert (found.violations, found.is_judged) == ((), True)
    assert found.candidate.precision == "fp16"
    altered(source, broken, scaled_weight(-1, 50.0))
    onnx.save(to_fp16(simplify(read_onnx(broken))).model, broken)
    found = run(source, broken, images)
    assert found.is_judged
    assert found.violations


def test_an_engine_is_compared_as_any_other_file(
    exported: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, engine = exported / "raw.onnx", tmp_path / "m.engine"
    engine.write_bytes(b"a program for a GPU")
    record = EngineRecord(
        sha256_of(engine), FileIdentity.of(source), "10.13.3", "Orin", "8.7", 8, None,
        Recipe(tf32=False), "edgecv build raw.onnx", 1.0, "2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    record_path(engine).write_text(record.to_json())

    def opened(path: Path, *rest: Any, **options: Any) -> Any:
        return load(source if path == engine else path, *rest, **options)

    monkeypatch.setattr("edgecv.export.comparison.pairs.load", opened)
    found = run(source, engine, images)
    assert (found.violations, found.notes) == ((), ())
    assert Opened(engine, opened(engine)).rounding == "fp32"
    rounded = replace(record, recipe=Recipe(tf32=True))
    record_path(engine).write_text(rounded.to_json())
    assert Opened(engine, opened(engine)).rounding == "fp16"
    record_path(engine).write_text(record.to_json())
    assert found.candidate.num_bytes == engine.stat().st_size
    other = altered(source, tmp_path / "other.onnx", scaled_weight(2, 3.0))
    found = run(other, engine, images)
    assert found.violations
    assert "are not open to `onnxruntime cpu`. Compare the ONNX file" in found.no_divergence
    (note,) = found.notes
    assert note.startswith(f"`{engine}` was built of `raw.onnx`, which is not `{other}`")
    assert run(engine, engine, images).notes == ()
    engine.write_bytes(b"another")
    with pytest.raises(InputError, match=r"is not the engine that `m\.engine\.json` describes"):
        run(source, engine, images)


def test_thresholds_are_the_reference_s(exported: Path, images: list[Path], tmp_path: Path) -> None:
    def strict(spec: ModelSpec) -> ModelSpec:
        return spec.with_postprocess(score_threshold=0.99, iou_threshold=0.1)

    path = altered(exported / "raw.onnx", tmp_path / "strict.onnx", spec=strict)
    found = run(exported / "fused.onnx", path, images)
    assert found.parity.num_matched == found.parity.num_reference > 0


def test_another_preparation_of_the_input_is_named(
    exported: Path, images: list[Path], tmp_path: Path
) -> None:
    def swapped(spec: ModelSpec) -> ModelSpec:
        return replace(spec, input=replace(spec.input, colour="bgr"))

    path = altered(exported / "raw.onnx", tmp_path / "bgr.onnx", spec=swapped)
    found = run(exported / "raw.onnx", path, images)
    assert found.divergence is not None
    assert found.divergence.node == "the input"


def test_layers_of_a_backend_without_a_graph_are_not_looked_for(
    exported: Path, images: list[Path]
) -> None:
    left, right = open_pair(exported / "raw.onnx", exported / "raw.onnx", "cpu")
    engine = Opened(Path("model.engine"), right.model)
    engine.path = exported / "raw.engine"
    engine.path.write_bytes(b"not looked into")
    engine.record = None  # none that edgecv built
    found = verify(left, engine, images, limits=NO_LIMITS, search=True, repeat=1)
    assert found.divergence is None
    assert "are not open to `onnxruntime cpu`" in found.no_divergence


def test_models_of_another_purpose_are_refused(
    exported: Path, exported_classifier: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the task of .* is detect, of .* classify"):
        open_pair(exported / "raw.onnx", exported_classifier / "raw.onnx")

    def renamed(spec: ModelSpec) -> ModelSpec:
        return replace(spec, classes=tuple(f"other {name}" for name in spec.classes))

    path = altered(exported / "raw.onnx", tmp_path / "renamed.onnx", spec=renamed)
    with pytest.raises(InputError, match="the classes of"):
        open_pair(exported / "raw.onnx", path)


def test_no_images_and_no_data_are_refused(exported: Path, images: list[Path]) -> None:
    with pytest.raises(InputError, match="verify compares on real images, got none"):
        run(exported / "raw.onnx", exported / "raw.onnx", [])
    with pytest.raises(InputError, match="`--max-drop` needs data"):
        run(exported / "raw.onnx", exported / "raw.onnx", images, limits=Limits(0.1))


def test_a_size_holds_the_weights_beside_the_file(exported: Path, tmp_path: Path) -> None:
    model = read_onnx(exported / "raw.onnx")
    external_data_helper.convert_model_to_external_data(model, location="weights.bin")
    onnx.save(model, tmp_path / "out.onnx")
    files = [tmp_path / "out.onnx", tmp_path / "weights.bin"]
    both, _ = open_pair(files[0], files[0])
    assert both.num_bytes == sum(file.stat().st_size for file in files)


def test_entries_of_a_bundle_are_compared_down_to_their_layers(
    exported: Path, images: list[Path], tmp_path: Path
) -> None:
    path = altered(exported / "raw.onnx", tmp_path / "raw.onnx", scaled_weight(20, 1.5))
    bundle = tmp_path / "raw.edgecv"
    add(bundle, read_model(exported / "raw.onnx"), read_model(path, "fp16"))
    found = run(Path(f"{bundle}#fp32"), Path(f"{bundle}#fp16"), images)
    assert found.candidate.backend == "onnxruntime cpu, fp16 of raw.edgecv"
    assert found.candidate.precision == "fp16"
    assert found.candidate.num_bytes == path.stat().st_size
    of_files = run(exported / "raw.onnx", path, images)
    assert of_files.divergence is not None
    searched = verify(
        *open_pair(Path(f"{bundle}#fp32"), Path(f"{bundle}#fp16")),
        images,
        limits=Limits(relative=1e-4),
        repeat=1,
    )
    assert searched.divergence is not None
    assert searched.divergence.node == of_files.divergence.node


def test_what_is_not_finite_is_null_for_machines(exported: Path, images: list[Path]) -> None:
    found = run(exported / "raw.onnx", exported / "raw.onnx", images[:1])
    unknown = replace(found.candidate, metrics={"AP": math.nan})
    plain = replace(found, drop=math.nan, candidate=unknown).to_plain()
    assert plain["drop"] is None
    assert plain["candidate"]["metrics"] == {"AP": None}
