"""ModelSpec: nothing is lost in its JSON, and what is wrong in one is named with its key path."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import SpecError
from edgecv.output_spec import (
    AnchorLayer,
    ClassMapOutput,
    DetrOutput,
    FusedOutput,
    ImageOutput,
    LogitsOutput,
    NanodetOutput,
    ObjectsOutput,
    OutputSpec,
    ProbabilitiesOutput,
    RowsOutput,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.placement import FITS, Fit
from edgecv.precision import PRECISIONS
from edgecv.spec import METADATA_KEY, InputSpec, ModelSpec, PostprocessSpec, Provenance, Task

INPUT = InputSpec("images", (320, 416))
SSD = SSDOutput(anchors=(AnchorLayer((2, 3), ((0.5, 0.25),)),))
DETECTOR = ModelSpec("detect", ("cat", "dog"), INPUT, SSD)
POSES = ModelSpec(
    "keypoints",
    ("cat", "dog"),
    INPUT,
    FusedOutput(keypoints="keypoints"),
    keypoints=("nose", "tail"),
    skeleton=((0, 1),),
)

FORMATS: dict[Task, list[OutputSpec]] = {
    "detect": [
        FusedOutput(),
        SSD,
        YoloOutput(),
        YoloxOutput(),
        NanodetOutput(),
        DetrOutput(),
        RowsOutput(),
        ObjectsOutput(),
    ],
    "instance": [FusedOutput(masks="masks")],
    "keypoints": [FusedOutput(keypoints="keypoints")],
    "segment": [LogitsOutput(), ProbabilitiesOutput(), ClassMapOutput()],
    "classify": [LogitsOutput(), ProbabilitiesOutput()],
    "stylize": [ImageOutput()],
}
PAIRS = [(task, output) for task, outputs in FORMATS.items() for output in outputs]

names = st.text(min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(0, exclude_min=True, allow_infinity=False)
fractions = st.floats(0, 1)
sizes_hw = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
strides = st.lists(st.integers(1, 128), min_size=1, max_size=5).map(tuple)


def several(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(elements, min_size=1, max_size=3).map(tuple)


@st.composite
def inputs(draw: st.DrawFn, fits: tuple[Fit, ...]) -> InputSpec:
    colour = draw(st.sampled_from(["rgb", "bgr", "gray"]))
    channels = 1 if colour == "gray" else 3
    return InputSpec(
        name=draw(names),
        size_hw=draw(sizes_hw),
        layout=draw(st.sampled_from(["nchw", "nhwc"])),
        dtype=draw(st.sampled_from(["float32", "float16", "uint8"])),
        colour=colour,
        mean=draw(st.tuples(*[finite] * channels)),
        std=draw(st.tuples(*[positive] * channels)),
        scale=draw(positive),
        fit=draw(st.sampled_from(fits)),
        pad=draw(st.integers(0, 255)),
    )


anchor_layers = st.builds(
    AnchorLayer, grid_hw=sizes_hw, shapes_wh=several(st.tuples(positive, positive))
)
OUTPUTS: dict[type, st.SearchStrategy[Any]] = {
    FusedOutput: st.builds(
        FusedOutput,
        boxes=names,
        score_threshold=st.none() | names,
        iou_threshold=st.none() | names,
        masks=st.none() | names,
    ),
    SSDOutput: st.builds(
        SSDOutput,
        anchors=several(anchor_layers),
        variances=st.tuples(positive, positive),
        activation=st.sampled_from(["softmax", "sigmoid"]),
    ),
    YoloOutput: st.builds(
        YoloOutput,
        head=names,
        layout=st.sampled_from(["cn", "nc"]),
        reg_max=st.integers(0, 64),
        strides=strides,
    ),
    RowsOutput: st.builds(RowsOutput, rows=names),
    ObjectsOutput: st.builds(
        ObjectsOutput, boxes=names, scores=names, labels=names, first_label=st.integers(0, 9)
    ),
    ClassMapOutput: st.builds(ClassMapOutput, labels=names),
    YoloxOutput: st.builds(YoloxOutput, head=names, strides=strides),
    NanodetOutput: st.builds(
        NanodetOutput, head=names, strides=strides, reg_max=st.integers(1, 64)
    ),
    DetrOutput: st.builds(
        DetrOutput,
        logits=names,
        boxes=names,
        activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    ),
    LogitsOutput: st.builds(LogitsOutput, logits=names),
    ProbabilitiesOutput: st.builds(ProbabilitiesOutput, probabilities=names),
    ImageOutput: st.builds(ImageOutput, image=names, scale=positive),
}
postprocesses = st.builds(
    PostprocessSpec,
    score_threshold=fractions,
    iou_threshold=fractions,
    max_detections=st.integers(1, 10_000),
    class_agnostic=st.booleans(),
    multi_label=st.booleans(),
)
provenances = st.builds(
    Provenance,
    model=names,
    data=names,
    precision=st.sampled_from(PRECISIONS),
    metrics=st.dictionaries(names, finite, max_size=3),
    versions=st.dictionaries(names, names, max_size=3),
    git_revision=names,
)


@st.composite
def model_specs(draw: st.DrawFn, task: Task, output_kind: type) -> ModelSpec:
    output = draw(OUTPUTS[output_kind])
    if isinstance(output, FusedOutput):
        output = replace(
            output,
            masks=draw(names) if task == "instance" else None,
            keypoints=draw(names) if task == "keypoints" else None,
        )
    classes = several(names).filter(lambda chosen: len(set(chosen)) == len(chosen))
    keypoints = draw(classes) if task == "keypoints" else ()
    limb = st.tuples(*[st.integers(0, max(len(keypoints), 1) - 1)] * 2)
    return ModelSpec(
        task=task,
        classes=() if task == "stylize" else draw(classes),
        input=draw(inputs(FITS[:3] if task == "segment" else FITS)),
        output=output,
        postprocess=draw(postprocesses),
        provenance=draw(provenances),
        keypoints=keypoints,
        skeleton=draw(several(limb)) if keypoints else (),
    )


def edited(**changes: Any) -> str:
    """The detector's JSON with other values; `input__pad=3` changes a nested one."""
    plain = json.loads(DETECTOR.to_json())
    for path, value in changes.items():
        *folders, key = path.split("__")
        place = plain
        for folder in folders:
            place = place[int(folder) if folder.isdigit() else folder]
        place[int(key) if key.isdigit() else key] = value
    return json.dumps(plain)


def test_every_output_format_is_tested() -> None:
    assert set(get_args(OutputSpec)) == set(OUTPUTS) == {type(output) for _, output in PAIRS}
    assert set(get_args(Task)) == set(FORMATS)


@pytest.mark.parametrize(("task", "output"), PAIRS)
@given(data=st.data())
def test_json_keeps_everything(task: Task, output: OutputSpec, data: st.DataObject) -> None:
    spec = data.draw(model_specs(task, type(output)))
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_defaults_may_be_left_out() -> None:
    minimal = (
        '{"schema": 1, "task": "classify", "classes": ["cat"],'
        ' "input": {"name": "x", "size_hw": [8, 9]}, "output": {"format": "logits"}}'
    )
    assert ModelSpec.from_json(minimal) == ModelSpec(
        "classify", ("cat",), InputSpec("x", (8, 9)), LogitsOutput()
    )


def test_a_whole_number_is_a_fine_float() -> None:
    spec = ModelSpec.from_json(edited(input__scale=1))
    assert spec == replace(DETECTOR, input=replace(INPUT, scale=1.0))
    assert isinstance(spec.input.scale, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (edited(tasks="detect"), "unknown key `tasks`. Did you mean `task`?"),
        (edited(input__meen=[0]), "unknown key `input.meen`. Did you mean `mean`?"),
        (edited(output__logit="x"), "unknown key `output.logit`. Did you mean `logits`?"),
        (
            edited(output__anchors__0__grid=[1, 1]),
            "unknown key `output.anchors[0].grid`. Did you mean `grid_hw`?",
        ),
        (
            edited(postprocess__q=1),
            "unknown key `postprocess.q`. Known keys: score_threshold, iou_threshold,",
        ),
        (edited(output__strides=[8]), "unknown key `output.strides`."),  # another format's key
    ],
)
def test_an_unknown_key_is_refused(text: str, message: str) -> None:
    assert message in refusal(lambda: ModelSpec.from_json(text))


@pytest.mark.parametrize("path", [["task"], ["input", "name"], ["output", "anchors", 0, "grid_hw"]])
def test_a_missing_key_is_refused(path: list[Any]) -> None:
    place = plain = json.loads(DETECTOR.to_json())
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    named = ".".join(map(str, path)).replace(".0.", "[0].")
    assert f"`{named}` is missing" in refusal(lambda: ModelSpec.from_json(json.dumps(plain)))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (2, "`schema` is 2, this edgecv reads up to 1. Update it with `pip install --upgrade"),
        (0, "`schema` must be 1, got 0"),
        (None, "`schema` must be 1, got None"),
        (True, "`schema` must be 1, got True"),
        ("1", "`schema` must be 1, got '1'"),
    ],
)
def test_another_schema_is_refused(schema: object, message: str) -> None:
    assert message in refusal(lambda: ModelSpec.from_json(edited(schema=schema)))


def test_a_newer_schema_is_named_before_its_keys() -> None:
    text = edited(schema=7, invention=1)
    assert "`schema` is 7" in refusal(lambda: ModelSpec.from_json(text))


def test_a_missing_schema_is_refused() -> None:
    plain = json.loads(DETECTOR.to_json())
    del plain["schema"]
    message = refusal(lambda: ModelSpec.from_json(json.dumps(plain)))
    assert "`schema` must be 1, got None" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the model description is not JSON: "),
        ('{"schema": 1', "the model description is not JSON: "),
        ("9" * 5000, "the model description is not JSON: "),  # Python limits digits
        ("[" * 100_000, "the model description is not JSON: "),
        ("[]", "the model description is not a JSON object"),
    ],
    ids=["empty", "cut", "digits", "depth", "list"],
)
def test_what_is_no_json_object_is_refused(text: str, message: str) -> None:
    assert message in refusal(lambda: ModelSpec.from_json(text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "detekt"},
            "`task` must be one of detect, instance, keypoints, segment, classify, stylize",
        ),
        ({"task": ["detect"]}, "`task` must be one of detect"),
        ({"classes": "cat"}, "`classes` must be a list, got 'cat'"),
        ({"classes": [1]}, "`classes[0]` must be a str, got 1"),
        ({"input": None}, "`input` must be an object, got None"),
        ({"input__name": None}, "`input.name` must be a str, got None"),
        ({"input__size_hw": [320]}, "`input.size_hw` must have 2 entries, got 1: [320]"),
        ({"input__size_hw": [320, 320.0]}, "`input.size_hw[1]` must be a int, got 320.0"),
        ({"input__size_hw": {"0": 1, "1": 2}}, "`input.size_hw` must be a list"),
        ({"input__pad": True}, "`input.pad` must be a int, got True"),
        ({"input__scale": True}, "`input.scale` must be a float, got True"),
        ({"input__scale": "1"}, "`input.scale` must be a float, got '1'"),
        ({"input__scale": float("nan")}, "`input.scale` must be a float, got nan"),
        ({"input__scale": float("inf")}, "`input.scale` must be a float, got inf"),
        ({"input__scale": 10**400}, "`input.scale` must be a float, got 1000"),
        ({"input__fit": "crop"}, "`input.fit` must be one of letterbox, top-left, stretch, "),
        ({"output": []}, "`output.format` must be one of fused, ssd, yolo, yolox, nanodet, detr, "),
        ({"output__format": "ssdd"}, "`output.format` must be one of fused, .*, got 'ssdd'"),
        ({"output__format": ["ssd"]}, "`output.format` must be one of fused, .*, got ['ssd']"),
        ({"output__anchors__0": 5}, "`output.anchors[0]` must be an object, got 5"),
        ({"postprocess__class_agnostic": 1}, "`postprocess.class_agnostic` must be a bool, got 1"),
        ({"postprocess__max_detections": 1.5}, "`postprocess.max_detections` must be a int"),
        ({"provenance__metrics": [["AP", 0.5]]}, "`provenance.metrics` must be an object"),
        ({"provenance__metrics": {"AP": "high"}}, "`provenance.metrics.AP` must be a float"),
        ({"provenance__versions": {"torch": 2}}, "`provenance.versions.torch` must be a str"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(changes: dict[str, Any], message: str) -> None:
    found = refusal(lambda: ModelSpec.from_json(edited(**changes)))
    for part in message.split(".*"):
        assert part in found


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(INPUT, size_hw=(0, 5)), "`input.size_hw` must be at least 1 x 1"),
        (lambda: replace(INPUT, mean=(0.0,)), "`input.mean` must have 3 entries for colour rgb"),
        (lambda: replace(INPUT, colour="gray"), "`input.mean` must have 1 entries for colour gray"),
        (lambda: replace(INPUT, std=(1.0, 1.0)), "`input.std` must have 3 entries"),
        (lambda: replace(INPUT, std=(1.0, 0.0, 1.0)), "`input.std` must be positive"),
        (lambda: replace(INPUT, scale=0.0), "`input.scale` must be positive, got 0.0"),
        (lambda: replace(INPUT, pad=256), "`input.pad` must be in 0..255, got 256"),
        (lambda: replace(INPUT, pad=-1), "`input.pad` must be in 0..255, got -1"),
        (lambda: AnchorLayer((0, 1), ((1.0, 1.0),)), "`anchors.grid_hw` must be at least 1 x 1"),
        (lambda: AnchorLayer((1, 1), ()), "`anchors.shapes_wh` must hold at least one shape"),
        (lambda: AnchorLayer((1, 1), ((1.0, 0.0),)), "`anchors.shapes_wh` must hold"),
        (lambda: SSDOutput(anchors=()), "`output.anchors` must hold at least one layer"),
        (lambda: replace(SSD, variances=(0.1, 0.0)), "`output.variances` must be positive"),
        (lambda: YoloOutput(reg_max=-1), "`output.reg_max` must be 0 or more, got -1"),
        (
            lambda: YoloOutput(has_objectness=True, reg_max=16),
            "`output.has_objectness` must be false for a head with `reg_max`, got True",
        ),
        (lambda: ObjectsOutput(first_label=-1), "`output.first_label` must be 0 or more, got -1"),
        (lambda: YoloOutput(strides=()), "`output.strides` must be positive"),
        (lambda: YoloxOutput(strides=(8, 0)), "`output.strides` must be positive"),
        (lambda: NanodetOutput(strides=(0,)), "`output.strides` must be positive"),
        (lambda: NanodetOutput(reg_max=0), "`output.reg_max` must be 1 or more, got 0"),
        (lambda: PostprocessSpec(score_threshold=1.1), "`postprocess.score_threshold` must be in"),
        (lambda: PostprocessSpec(iou_threshold=-0.1), "`postprocess.iou_threshold` must be in"),
        (lambda: PostprocessSpec(max_detections=0), "`postprocess.max_detections` must be at leas"),
        (lambda: replace(DETECTOR, classes=()), "`classes` must not be empty for task detect"),
        (
            lambda: replace(DETECTOR, classes=("cat", "dog", "cat")),
            "`classes` must hold each name once, got ['cat']",
        ),
        (
            lambda: ModelSpec("stylize", ("cat",), INPUT, ImageOutput()),
            "`classes` must be empty for task stylize, got ('cat',)",
        ),
        (
            lambda: replace(DETECTOR, output=FusedOutput(masks="m")),
            "`output.masks` must name an output for task instance and be null for every other",
        ),
        (
            lambda: replace(DETECTOR, task="instance", output=FusedOutput()),
            "`output.masks` must name an output for task instance",
        ),
        (
            lambda: replace(DETECTOR, output=FusedOutput(keypoints="k")),
            "`output.keypoints` must name an output for task keypoints and be null for every other",
        ),
        (
            lambda: replace(POSES, output=FusedOutput()),
            "`output.keypoints` must name an output for task keypoints",
        ),
        (
            lambda: replace(POSES, keypoints=()),
            "`keypoints` must name points for task keypoints and be empty for every other, got ()",
        ),
        (
            lambda: replace(DETECTOR, keypoints=("nose",)),
            "`keypoints` must name points for task keypoints and be empty for every other",
        ),
        (
            lambda: replace(POSES, keypoints=("nose", "tail", "nose")),
            "`keypoints` must hold each name once, got ['nose']",
        ),
        (
            lambda: replace(POSES, skeleton=((0, 1), (1, 2))),
            "`skeleton` must join rows of `keypoints`, got [(1, 2)]",
        ),
        (
            lambda: replace(DETECTOR, skeleton=((0, 0),)),
            "`skeleton` must join rows of `keypoints`, got [(0, 0)]",
        ),
        (
            lambda: ModelSpec(
                "segment", ("cat",), replace(INPUT, fit="centre-crop"), LogitsOutput()
            ),
            "`input.fit` must be letterbox, top-left or stretch for task segment",
        ),
    ],
)
def test_contradictory_values_are_refused(build: Callable[[], object], message: str) -> None:
    assert message in refusal(build)


@pytest.mark.parametrize(
    ("task", "output"),
    [
        (task, output)
        for task, outputs in FORMATS.items()
        for _, output in PAIRS
        if type(output) not in map(type, outputs)
    ],
)
def test_a_format_of_another_task_is_refused(task: Task, output: OutputSpec) -> None:
    classes = () if task == "stylize" else ("cat",)
    message = refusal(lambda: ModelSpec(task, classes, INPUT, output))
    assert message.startswith("`output.format` must be one of ")
    assert f"for task {task}, got '{output.FORMAT}'" in message


def test_json_is_checked_for_contradictions_too() -> None:
    message = refusal(lambda: ModelSpec.from_json(edited(postprocess__score_threshold=2)))
    assert message == "`postprocess.score_threshold` must be in [0, 1], got 2.0."


def test_with_postprocess_changes_what_is_given() -> None:
    changed = DETECTOR.with_postprocess(score_threshold=0.0, max_detections=7)
    wanted = replace(DETECTOR.postprocess, score_threshold=0.0, max_detections=7)
    assert changed == replace(DETECTOR, postprocess=wanted)
    assert DETECTOR.with_postprocess() == DETECTOR


def test_metadata_without_a_description_names_file_and_remedy() -> None:
    message = refusal(lambda: ModelSpec.from_metadata({"author": "me"}, path="street.onnx"))
    assert message.startswith("`street.onnx` carries no edgecv description")
    assert "`edgecv adopt MODEL.onnx" in message


def test_metadata_with_a_bad_description_names_the_file() -> None:
    metadata = {METADATA_KEY: edited(schema=9)}
    message = refusal(lambda: ModelSpec.from_metadata(metadata, path="street.onnx"))
    assert message.startswith("`street.onnx`: `schema` is 9")


def test_onnxruntime_reads_it_without_the_onnx_package(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from edgecv.export.graphs.metadata import write_spec  # needs onnx

    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["images"], ["head"])],
        "identity",
        [value("images", onnx.TensorProto.FLOAT, [1, 3, *INPUT.size_hw])],
        [value("head", onnx.TensorProto.FLOAT, [1, 3, *INPUT.size_hw])],
    )
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.helper.set_model_props(model, {"author": "me"})
    spec = ModelSpec("detect", ("Zaubernuß", "猫"), INPUT, YoloOutput(head="head"))
    write_spec(model, DETECTOR)
    write_spec(model, spec)  # in the place of the older one
    assert [entry.key for entry in model.metadata_props] == ["author", METADATA_KEY]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)

    code = (
        "import sys; sys.modules.update(onnx=None, torch=None);"
        "from edgecv.runtime.session import open_session;"
        "sys.stdout.buffer.write(open_session(sys.argv[1], 'cpu').spec.to_json().encode())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], cwd=tmp_path, capture_output=True, check=True
    )
    assert ModelSpec.from_json(result.stdout.decode()) == spec


def refusal(act: Callable[[], object]) -> str:
    """The message with which `act` is refused."""
    with pytest.raises(SpecError) as raised:
        act()
    return str(raised.value)


def test_a_number_that_json_cannot_hold_is_refused() -> None:
    spec = ModelSpec("detect", ("a",), InputSpec("x", (8, 8), scale=float("inf")), FusedOutput())
    with pytest.raises(SpecError, match="finite"):
        spec.to_json()
