"""`edgecv run`: what it writes, what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import av
import pytest

onnx = pytest.importorskip("onnx")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_video_to_video_and_json_lines(
    edgecv: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    saved, jsonl, figures = tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "run.json"
    outcome = edgecv(
        *("run", adopted, "--source", video, "--save", saved),
        *("--jsonl", jsonl, "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    for word in ("decode", "fit", "infer", "postprocess", "draw", "encode", "12 frames", "12 dog"):
        assert word in outcome.out
    rows = lines(jsonl)
    assert [row["frame"] for row in rows] == list(range(12))
    assert [row["pts_s"] for row in rows] == pytest.approx([index / 25 for index in range(12)])
    # The 128x128 frame is halved for the 64x64 input: (20, 28) ± 8 doubles on the way back.
    assert rows[0]["detections"] == [
        {"class": "dog", "class_id": 1, "score": 0.9, "box_xyxy": [24.0, 40.0, 56.0, 72.0]}
    ]
    with av.open(str(saved)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    plain = json.loads(figures.read_text())
    assert plain["frames"] == 12
    assert plain["found"] == {"dog": 12}
    assert plain["stages"]["infer"]["work"]["count"] == 12


def test_quiet_prints_nothing(edgecv: Any, adopted: Path, video: Path) -> None:
    outcome = edgecv("run", adopted, "--source", video, "-q")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_a_threshold_may_be_chosen(edgecv: Any, adopted: Path, video: Path, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"
    edgecv("run", adopted, "--source", video, "--score", "0.95", "--jsonl", jsonl)
    assert all(row["detections"] == [] for row in lines(jsonl))


@pytest.fixture
def broken(tmp_path: Path, video: Path, foreign_onnx: Path, adopted: Path) -> Path:
    """A folder of things that cannot be used."""
    (tmp_path / "text.mp4").write_text("this is no video")
    whole = video.read_bytes()
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("this is no model")
    (tmp_path / "foreign.onnx").write_bytes(foreign_onnx.read_bytes())
    model = onnx.load(adopted)
    spec = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps(spec | {"schema": 2})
    onnx.save(model, tmp_path / "newer.onnx")
    model.metadata_props[0].value = json.dumps(spec | {"colour": "red"})
    onnx.save(model, tmp_path / "unknown.onnx")
    model.metadata_props[0].value = json.dumps(spec | {"task": "segment"})
    onnx.save(model, tmp_path / "contradiction.onnx")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("text.mp4", ["text.mp4", "video"]),
        ("truncated.mp4", ["truncated.mp4"]),
        ("zero.jpg", ["zero.jpg", "empty"]),
        ("missing.mp4", ["missing.mp4"]),
        ("empty", ["must hold images"]),
        ("*.png", ["matches nothing"]),
    ],
)
def test_an_unusable_source_is_one_line(
    refused: Any, adopted: Path, broken: Path, source: str, said: list[str]
) -> None:
    before = sorted(broken.rglob("*"))
    line = refused(
        *("run", adopted, "--source", broken / source),
        *("--save", broken / "out.mp4", "--jsonl", broken / "out.jsonl"),
    )
    for word in said:
        assert word in line
    assert sorted(broken.rglob("*")) == before


def test_a_camera_that_is_not_there_is_one_line(refused: Any, adopted: Path) -> None:
    assert "camera 97" in refused("run", adopted, "--source", "97")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing.onnx", ["no such model file"]),
        ("model.engine", ["must end in `.onnx`"]),
        ("text.onnx", ["cannot be opened by onnxruntime", "Export it again"]),
        ("foreign.onnx", ["carries no edgecv description", "edgecv adopt"]),
        ("newer.onnx", ["`schema` is 2", "pip install --upgrade edgecv"]),
        ("unknown.onnx", ["unknown key `colour`"]),
        ("contradiction.onnx", ["`output.format`", "task segment"]),
    ],
)
def test_an_unusable_model_is_one_line(
    refused: Any, video: Path, broken: Path, model: str, said: list[str]
) -> None:
    line = refused("run", broken / model, "--source", video)
    for word in said:
        assert word in line


def test_an_output_that_cannot_be_written_is_one_line(
    refused: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused("run", adopted, "--source", video, "--save", tmp_path / "file/out.mp4", code=1)
    assert "cannot write" in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_output_of_unknown_kind_is_one_line(
    refused: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    assert ".avi" in refused("run", adopted, "--source", video, "--save", tmp_path / "out.avi")


def test_a_gpu_that_is_not_there_is_one_line(refused: Any, adopted: Path, video: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has a CUDA provider")
    line = refused("run", adopted, "--source", video, "--device", "cuda")
    assert "pip install onnxruntime-gpu" in line
