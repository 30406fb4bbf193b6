"""`edgecv run pipeline.toml`: a whole run, dry runs, SIGHUP, and sinks that fail."""

# tables with a case a line

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

pytest.importorskip("onnx")

EXAMPLE = Path(__file__).parents[2] / "docs" / "pipeline.toml"

FILE = """
schema = 1
[model]
path = "{model}"
batch = 2
[model.thresholds]
score = 0.3
[[source]]
name = "door"
uri = "{video}"
region = [0, 0, 1, 1]
[[source]]
name = "bars"
uri = "test://bars?size=128x128&fps=25&frames=10"
policy = "every"
[tracking]
min_hits = 1
[[zone]]
name = "middle"
corners_xy = [[0, 0], [1, 0], [1, 1], [0, 1]]
units = "relative"
classes = ["dog"]
dwell_s = 0.1
[[line]]
name = "gate"
start_xy = [0, 0]
end_xy = [128, 128]
sources = ["door"]
[[output]]
uri = "{{source}}.mp4"
[[output]]
uri = "all.jsonl"
[[output]]
uri = "door.csv"
sources = ["door"]
[[output]]
uri = "events://pictures"
options = {{ dwell = "middle" }}
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def file(tmp_path: Path, adopted: Path, video: Path) -> Path:
    path = tmp_path / "pipeline.toml"
    path.write_text(FILE.format(model=adopted, video=video))
    return path


def test_a_whole_run(edgecv: Any, file: Path, tmp_path: Path) -> None:
    outcome = edgecv("run", file, "--json", tmp_path / "run.json")
    assert outcome.code == 0, outcome
    rows = lines(tmp_path / "all.jsonl")
    of_door = [row for row in rows if row["source"] == "door"]
    assert [row["frame"] for row in of_door] == list(range(12))
    assert {row["detections"][0]["track_id"] for row in of_door} == {1}
    events = [event for row in of_door for event in row.get("events", ())]
    assert [(event["event"], event["name"]) for event in events] == [
        ("zone_entered", "middle"),
        ("zone_dwelled", "middle"),
    ]
    assert events[1]["at_s"] == pytest.approx(0.12)  # the first frame after 0.1 s, of 25 a second
    assert (num_frames(tmp_path / "door.mp4"), num_frames(tmp_path / "bars.mp4")) == (12, 10)
    with (tmp_path / "door.csv").open() as table:
        cells = list(csv.DictReader(table))
    assert [(row["source"], row["track_id"]) for row in cells] == [("door", "1")] * 12
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert [name.split("_")[:2] for name in pictures] == [["bars", "middle"], ["door", "middle"]]
    plain = json.loads((tmp_path / "run.json").read_text())
    assert {name: one["delivered"] for name, one in plain["sources"].items()} == {
        "door": 12,
        "bars": 10,
    }
    assert list(plain["stages"])[4:7] == ["track", "draw", "encode"]
    assert not any(sink["error"] for sink in plain["sinks"])


def test_a_dry_run_shows_the_graph_and_writes_nothing(
    edgecv: Any, file: Path, tmp_path: Path
) -> None:
    outcome = edgecv("run", file, "--dry-run", "--json", tmp_path / "plan.json")
    assert outcome.code == 0, outcome
    for words in (
        "source  door",
        "128x128, 25 fps, every, region",
        "→ fit  ",
        "score 0.3",
        "→ track",
        "zone  middle  (every source)",
        "line  gate  (door)",
        "→ draw",
        "door.csv  (door)",
    ):
        assert words in outcome.out
    graph = json.loads((tmp_path / "plan.json").read_text())
    assert [source["name"] for source in graph["sources"]] == ["door", "bars"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.toml", "plan.json"]


def test_the_live_page_is_the_files_or_the_options(
    edgecv: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = '\n[serve]\naddress = "[::1]:0"\ntoken = "${PAGE_TOKEN}"\n'
    file.write_text(file.read_text() + page)
    monkeypatch.setenv("PAGE_TOKEN", "of-the-environment")
    told = edgecv("run", file, "--dry-run").out
    assert "→ live page  [::1]:0\n" in told
    assert "of-the-environment" not in told
    outcome = edgecv("run", file)
    assert outcome.code == 0, outcome
    assert re.search(r"Live page: http://\[::1\]:\d+/\?token=of-the-environment\n", outcome.out)
    outcome = edgecv("run", file, "--token", "of-the-command-line")
    assert re.search(r"\[::1\]:\d+/\?token=of-the-command-line\n", outcome.out)
    outcome = edgecv("run", file, "--serve", "0")
    assert re.search(r"Live page: http://127\.0\.0\.1:\d+/\n", outcome.out)


def test_the_example_passes_a_dry_run(
    edgecv: Any, tmp_path: Path, foreign_onnx: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.export.adoption.adopt import Preprocessing, adopt

    adopt(
        *(foreign_onnx, tmp_path / "model.onnx", "yolox", ("person", "car")),
        preprocessing=Preprocessing(),
    )
    (tmp_path / "street.mp4").write_bytes(video.read_bytes())
    text = EXAMPLE.read_text()
    (tmp_path / "pipeline.toml").write_text(text)
    monkeypatch.setenv("CAM_PASSWORD", "hunter2")
    monkeypatch.setenv("HOOK_TOKEN", "t0psecret")
    outcome = edgecv("run", tmp_path / "pipeline.toml", "--dry-run", "--json", tmp_path / "p.json")
    assert outcome.code == 0, outcome
    assert "door  rtsp://***@192.168.1.20/stream1  (latest, at most 10 a second" in outcome.out
    assert "not opened" in outcome.out
    for told in (outcome.out, outcome.err, (tmp_path / "p.json").read_text()):
        assert "hunter2" not in told
        assert "t0psecret" not in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "door"', 'nam = "door"', ":9: there is no key `source.nam`"),
        (
            'classes = ["dog"]',
            'classes = ["dgo"]',
            ":18: zone: `classes` must be the model's, got 'dgo'. Did you mean 'dog'?",
        ),
        ('"all.jsonl"', '"all.xlsx"', "an output must end in one of"),
        ('"all.jsonl"', '"all.mp4"', "it must have `{source}` in its name for 2 sources"),
        ('dwell = "middle"', 'dwell = "midle"', "`dwell` must name what there is, got `midle`"),
        ("test://bars", "test://bras", ":14: "),
        ("test://bars", "no/such.mp4", ":14: "),
        ("test://bars", "ftp://host/a", ":14: "),
        ("test://bars", "rtsp://${NO_SUCH_VARIABLE}@host/a", "no variable `NO_SUCH_VARIABLE`"),
        (
            "schema = 1",
            'schema = 1\n[serve]\naddress = "nowhere"',
            ":4: `--serve` must be a port or HOST:PORT, got 'nowhere'",
        ),
        ("schema = 1", "schema = 1\n[serve]\nadress = 1", ":4: there is no key `serve.adress`"),
        (
            "units = ",
            "lost_s = 0.1\nunits = ",
            "`lost_s` of `middle` must be at least the tracker's",
        ),
    ],
)
def test_a_dry_run_finds_what_is_wrong(
    refused: Any, file: Path, old: str, new: str, said: str
) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert said in refused("run", file, "--dry-run")


def test_options_do_not_go_with_a_file(refused: Any, file: Path) -> None:
    assert "`--score` cannot be given with" in refused("run", file, "--score", "0.5")


def test_a_source_must_be_named(refused: Any, adopted: Path) -> None:
    assert "`--source` is missing" in refused("run", adopted)


ENDLESS = """
schema = 1
[model]
path = "{model}"
[[source]]
name = "bars"
uri = "test://bars?size=64x64&fps=100"
policy = "every"
[[zone]]
name = "old"
corners_xy = [[0, 0], [1, 0], [1, 1], [0, 1]]
units = "relative"
[[output]]
uri = "all.jsonl"
"""

CHILD = """
import json, os, signal, sys
from pathlib import Path
from edgecv.stream.config.opening import open_run
from edgecv.stream.config.reading import read_config
from edgecv.stream.notices import Notices

file = Path(sys.argv[1])
whole = file.read_text()
said, seen = [], []

def heard(notice):
    if notice.kind == "reload":
        said.append(notice.text)

notices = Notices()
notices.listen(heard)

def hang_up(text):
    file.write_text(text)
    os.kill(os.getpid(), signal.SIGHUP)

def follow(result):
    seen.append(len(result.detections))
    step = len(said) - 1
    if len(seen) == 10:
        hang_up(whole.replace("[[source]]", "[model.thresholds]\\nscore = 0.95\\n[[source]]"))
    elif step == 1 and seen[-1] == 0 and not follow.is_broken:
        follow.is_broken = True
        hang_up("schema = ")
    elif step == 2 and not follow.is_third:
        follow.is_third = True
        hang_up(whole.replace('"old"', '"new"').replace("bars?", "box?"))
    elif step == 3 and seen[-1] == 1:
        return False

follow.is_broken = follow.is_third = False
with open_run(read_config(file), notices) as opened:
    os.kill(os.getpid(), signal.SIGHUP)  # before it runs
    summary = opened.run(on_result=follow)
    zones = list(opened.scenes.scenes["bars"].zones)
print(json.dumps({"said": said, "seen": seen, "zones": zones, "run": summary.to_plain()}))
"""


def test_sighup_takes_thresholds_and_zones_without_losing_a_frame(
    tmp_path: Path, adopted: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(ENDLESS.format(model=adopted))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    before, first, second, third = told["said"]
    assert before == first == "thresholds, lines and zones were read again."
    assert second.startswith(f"{file}:1: this is not TOML")
    assert second.endswith("The old thresholds and zones stay.")
    assert third.endswith("What else has changed takes a new start: sources.")
    assert told["seen"][:10] == [1] * 10
    assert 0 in told["seen"]
    assert told["zones"] == ["new"]
    counts = told["run"]["sources"]["bars"]
    assert set(counts["dropped"]) <= {"stopped"}
    frames = [row["frame"] for row in lines(tmp_path / "all.jsonl")]
    assert frames == list(range(counts["delivered"]))


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_full_disk_is_one_sink_and_exit_code_1(tmp_path: Path, adopted: Path) -> None:
    """No file may be larger than 20 kB: the lines fail, the small video plays."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    child = subprocess.run(
        [
            *(sys.executable, "-m", "edgecv", "run", str(adopted)),
            *("--source", "test://bars?size=64x64&fps=300&frames=300", "--policy", "every"),
            *("--output", "out.jsonl", "--output", "out.mp4"),
        ],
        cwd=tmp_path,
        env=environment,
        preexec_fn=limited,  # no other thread runs here
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 1, child
    assert child.stderr.count("\n") == 1
    assert "`out.jsonl` is incomplete" in child.stderr
    assert "300 frames in" in child.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert num_frames(tmp_path / "out.mp4") == 300
