"""`edgecv run`: what it writes, what it prints, and what it refuses."""

import json
import re
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


def test_tiles_of_a_region_and_a_second_model(
    edgecv: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    second, jsonl, figures = tmp_path / "breed.onnx", tmp_path / "out.jsonl", tmp_path / "run.json"
    second.write_bytes(adopted.read_bytes())
    outcome = edgecv(
        *("run", adopted, "--source", video, "--jsonl", jsonl, "--json", figures),
        *("--roi", "64,0,128,128", "--tile", "64", "--overlap", "0", "--then", second),
    )
    assert outcome.code == 0, outcome.err
    rows = lines(jsonl)
    assert [row["frame"] for row in rows] == list(range(12))
    for row in rows:
        for found in row["detections"]:
            assert found["box_xyxy"][0] >= 64
    assert len(rows[0]["detections"]) > 1  # one a tile at least
    assert set(rows[0]["detections"][0]["attributes"]) == {"breed"}
    stages = json.loads(figures.read_text())["stages"]
    assert stages["breed"]["work"]["count"] == stages["infer"]["work"]["count"] == 12


def test_what_tiles_and_second_models_refuse(refused: Any, adopted: Path, video: Path) -> None:
    run = ("run", adopted, "--source", video)
    assert "`overlap` is that of tiles" in refused(*run, "--overlap", "0.2")
    assert "`roi` must be four numbers" in refused(*run, "--roi", "1,2")
    assert "no-such.onnx" in refused(*run, "--then", "no-such.onnx")


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
        ("model.plan", ["must end in `.onnx`"]),
        ("model.engine", ["no such model file"]),
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


def test_several_sources_share_the_model(
    edgecv: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    figures, trace = tmp_path / "run.json", tmp_path / "trace.json"
    outcome = edgecv(
        *("run", adopted, "--source", video, "--source", other),
        *("--policy", "every", "--policy", "rate=12.5", "--budget-ms", "1", "--batch", "2"),
        *("--save", tmp_path / "out-{source}.mp4", "--json", figures, "--trace", trace),
    )
    assert outcome.code == 0, outcome.err
    for words in ("decoded = delivered + dropped", "6 rate", "18 frames", "6 dropped (6 rate)"):
        assert words in outcome.out
    plain = json.loads(figures.read_text())
    assert plain["source"] == [str(video), str(other)]
    assert plain["sources"][str(video)]["delivered"] == 12
    assert plain["sources"][str(other)]["dropped"] == {"rate": 6}
    for name, count in ((video.stem, 12), ("other", 6)):
        with av.open(str(tmp_path / f"out-{name}.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == count
    assert any(event["ph"] == "f" for event in json.loads(trace.read_text()))


def test_one_of_several_that_breaks_off_is_said_at_the_end(
    edgecv: Any, adopted: Path, video: Path, tmp_path: Path
) -> None:
    cut, figures = tmp_path / "cut", tmp_path / "run.json"
    cut.mkdir()
    (cut / "1.png").write_bytes(b"no picture")
    outcome = edgecv("run", adopted, "--source", video, "--source", cut, "--json", figures)
    assert outcome.code == 1
    assert "1 of 2 sources broke off" in outcome.err
    plain = json.loads(figures.read_text())
    assert plain["sources"][str(video)]["delivered"] == 12
    assert "1.png" in plain["sources"][str(cut)]["error"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "fast"], "`policy` must be latest, every or rate=N, got 'fast'"),
        (["--policy", "every", "--policy", "latest", "--policy", "every"], "each of the 2, got 3"),
        (["--save", "out.mp4"], "out.{source}.mp4"),
        (["--show"], "`--show` shows a single source"),
    ],
)
def test_options_that_several_sources_forbid(
    refused: Any, adopted: Path, video: Path, options: list[str], said: str
) -> None:
    assert said in refused("run", adopted, "--source", video, "--source", video, *options)


def test_a_file_at_its_own_pace(edgecv: Any, adopted: Path, video: Path, tmp_path: Path) -> None:
    figures = tmp_path / "run.json"
    outcome = edgecv("run", adopted, "--source", video, "--realtime", "--json", figures)
    assert outcome.code == 0, outcome.err
    plain = json.loads(figures.read_text())
    assert plain["frames"] == 12
    assert plain["wall_s"] >= 11 / 25 * 0.95


def test_a_live_page_is_shown_while_it_runs(
    edgecv: Any, adopted: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.live import LivePage

    published: list[int] = []
    publish = LivePage.publish

    def counted(page: LivePage, result: Any) -> None:
        published.append(result.frame.index)
        publish(page, result)

    monkeypatch.setattr(LivePage, "publish", counted)
    token = "a-token-that-is-long"  # noqa: S105
    outcome = edgecv("run", adopted, "--source", video, "--serve", "0", "--token", token)
    assert outcome.code == 0, outcome.err
    assert re.search(rf"Live page: http://127\.0\.0\.1:\d+/\?token={token}\n", outcome.out)
    assert published == list(range(12))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--serve", "nowhere"], "`--serve` must be a port or HOST:PORT, got 'nowhere'"),
        (["--serve", "0", "--token", "short"], "`--token` must have at least 16 characters"),
    ],
)
def test_a_live_page_that_cannot_be(
    refused: Any, adopted: Path, video: Path, options: list[str], said: str
) -> None:
    assert said in refused("run", adopted, "--source", video, *options)
