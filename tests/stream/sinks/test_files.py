"""What is written, and that it is written whole or not at all."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from edgecv.errors import InputError, OutputError, SourceError
from edgecv.frame_formats import ColourMatrix, ColourRange
from edgecv.results import Detections
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import (
    ImageSink,
    JsonlSink,
    Sink,
    VideoSink,
    make_sink,
)
from edgecv.stream.sinks.encoder import H264_ENCODERS, h264_encoder
from edgecv.stream.sources import Frame, ImageFormat, ImageSource, open_source

CLASSES = ("cat", "dög")

MakeSink = Callable[[Path], Sink]


def result(
    index: int,
    *,
    pts_s: float | None = None,
    path: Path | None = None,
    size_hw: tuple[int, int] = (48, 64),
    format: ImageFormat = "bgr24",  # noqa: A002
) -> StreamResult:
    pixels = np.full((*size_hw, 3), 40 * index % 200, np.uint8)
    pixels[:, :, 2] = 250  # red in bgr24, blue in rgb24
    box = np.array([[1.234, 2, 30.5, 40]], np.float32)
    found = Detections(box, np.array([0.875], np.float32), np.array([1], np.int32))
    return StreamResult(Frame(index, pixels, format, pts_s, path), found, Ledger(0.0))


def write_one_and_raise(sink: Sink, kind: type[BaseException]) -> None:
    with sink:
        sink.write(result(0))
        raise kind


def decoded(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


SINKS: dict[str, MakeSink] = {
    "out.jsonl": lambda path: JsonlSink(path, CLASSES),
    "out.mp4": lambda path: VideoSink(path, 25),
}


@pytest.fixture(params=SINKS)
def maker(request: pytest.FixtureRequest) -> tuple[str, MakeSink]:
    return request.param, SINKS[request.param]


# What every sink that writes one file does


def test_a_file_appears_when_the_sink_is_closed(
    maker: tuple[str, MakeSink], tmp_path: Path
) -> None:
    name, make = maker
    target = tmp_path / "deeper" / name
    with make(target) as sink:
        sink.write(result(0))
        assert not target.exists()
    assert target.stat().st_size > 0
    assert [path.name for path in target.parent.iterdir()] == [name]
    sink.close()
    sink.discard()
    assert target.exists()


@pytest.mark.parametrize("kind", [SourceError, KeyboardInterrupt])
def test_what_was_delivered_is_kept_when_the_source_ends_early(
    maker: tuple[str, MakeSink], tmp_path: Path, kind: type[BaseException]
) -> None:
    name, make = maker
    with pytest.raises(kind):
        write_one_and_raise(make(tmp_path / name), kind)
    assert (tmp_path / name).stat().st_size > 0


def test_after_any_other_error_the_old_file_is_as_it_was(
    maker: tuple[str, MakeSink], tmp_path: Path
) -> None:
    name, make = maker
    (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_one_and_raise(make(tmp_path / name), ZeroDivisionError)
    assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_sink_that_got_nothing_writes_nothing(
    maker: tuple[str, MakeSink], tmp_path: Path
) -> None:
    name, make = maker
    (tmp_path / name).write_text("old")
    with make(tmp_path / name):
        pass
    assert (tmp_path / name).read_text() == "old"


def test_a_place_below_a_file_is_refused(maker: tuple[str, MakeSink], tmp_path: Path) -> None:
    name, make = maker
    (tmp_path / "file").touch()
    sink = make(tmp_path / "file" / name)
    with pytest.raises(OutputError, match=f"cannot write `.*{name}`: .*choose another place"):
        sink.write(result(0))


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from edgecv.errors import OutputError
from edgecv.results import Detections
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import ImageSink, JsonlSink, VideoSink
from edgecv.stream.sources import Frame

path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
kind = {".jsonl": lambda: JsonlSink(path, ("a",)), ".mp4": lambda: VideoSink(path, 25)}
rng = np.random.default_rng(0)
found = Detections(np.zeros((50, 4), np.float32), np.ones(50, np.float32), np.zeros(50, np.int32))
try:
    with kind.get(path.suffix, lambda: ImageSink(path))() as sink:
        for index in range(int(sys.argv[3])):
            pixels = rng.integers(0, 256, (240, 320, 3), np.uint8)
            sink.write(StreamResult(Frame(index, pixels, "bgr24"), found, Ledger(0.0)))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4", "pictures"])
@pytest.mark.parametrize(("limit", "num_frames"), [(100_000, 60), (10, 1)])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str, limit: int, num_frames: int) -> None:
    """The kernel's file size limit stands for the disk; 10 bytes fail only when closing."""
    target = tmp_path / name
    if name == "pictures":
        limit = min(limit, 10_000)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(target), str(limit), str(num_frames)],
        cwd=tmp_path,  # not the checkout, whose package has no native module
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write `{target}")
    assert "File too large. Free some space or choose another place" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# JSON lines


def test_one_line_per_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonlSink(path, CLASSES) as sink:
        sink.write(result(0, pts_s=0.04))
        sink.write(result(1, path=Path("a/b.png")))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [{"class": "dög", "class_id": 1, "score": 0.875, "box_xyxy": [1.23, 2.0, 30.5, 40.0]}]
    assert lines == [
        {"frame": 0, "pts_s": 0.04, "detections": found},
        {"frame": 1, "pts_s": None, "path": "a/b.png", "detections": found},
    ]


# Videos


def test_a_video_keeps_timestamps_size_and_pictures(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times = [5.0, 5.04, 5.5, 5.54]  # begins late, with a gap as a dropped frame leaves it
    with VideoSink(path, 25) as sink:
        for index, pts_s in enumerate(times):
            sink.write(result(index, pts_s=pts_s))
    frames = decoded(path)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.04, 0.5, 0.54])
    for frame in frames:
        assert frame.size_hw == (48, 64)
        assert (frame.matrix, frame.range, frame.declares_matrix) == ("bt601", "limited", True)
        blue, _, red = frame.to_array()[24, 32].tolist()
        assert red > 235
        assert abs(blue - 40 * frame.index % 200) < 12
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_a_video_of_pictures_has_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    with VideoSink(path, 10) as sink:
        for index in range(5):
            sink.write(result(index, format="rgb24"))
    frames = decoded(path)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    assert frames[2].to_array()[24, 32, 0] > 235  # blue stays blue


def test_timestamps_that_run_backwards_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, 25) as sink:
        for index, pts_s in enumerate([1.0, 1.04, 1.04, 0.2, 1.08]):
            sink.write(result(index, pts_s=pts_s))
    times = [frame.pts_s or 0.0 for frame in decoded(path)]
    assert len(times) == 5
    assert times == sorted(set(times))


def test_a_first_frame_without_time_as_rtsp_has_it(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, 25) as sink:
        for index, pts_s in enumerate([None, 900.0, 900.04]):
            sink.write(result(index, pts_s=pts_s))
    assert [frame.pts_s for frame in decoded(path)] == pytest.approx([0, 0.04, 0.08])


def test_odd_sides_are_padded(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, None) as sink:
        sink.write(result(1, size_hw=(47, 63)))
    (frame,) = decoded(path)
    assert frame.size_hw == (48, 64)
    assert frame.to_array()[47, 63, 2] > 235


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
@pytest.mark.parametrize(
    ("matrix", "declares_matrix"), [("bt601", True), ("bt709", True), ("bt601", False)]
)
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_colours_survive_the_way_through_a_file(
    tmp_path: Path,
    name: str,
    matrix: ColourMatrix,
    declares_matrix: bool,  # noqa: FBT001
    range_: ColourRange,
) -> None:
    # Flat planes: what is left of the encoder's loss is a unit.
    planes = tuple(np.full(shape, value, np.uint8) for shape, value in PLANES_OF_47_BY_63)
    given = Frame(0, planes, "yuv420p", None, None, 0.0, matrix, range_, declares_matrix)
    with VideoSink(tmp_path / name, 25) as sink:
        sink.write(StreamResult(given, Detections.empty(), Ledger(0.0)))
    (frame,) = decoded(tmp_path / name)
    assert (frame.format, frame.size_hw) == ("yuv420p", (48, 64))
    assert (frame.matrix, frame.range, frame.declares_matrix) == (matrix, range_, declares_matrix)
    for plane, (_, value) in zip(frame.pixels, PLANES_OF_47_BY_63, strict=True):
        np.testing.assert_allclose(plane, np.full(plane.shape, value), atol=1)


PLANES_OF_47_BY_63 = (((47, 63), 120), ((24, 32), 100), ((24, 32), 170))


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(result(0))
    with pytest.raises(InputError, match=r"as large as the first, 64x48, got 32x24 \(b.png\)"):
        sink.write(result(1, size_hw=(24, 32), path=Path("b.png")))
    sink.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_container_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="FFmpeg cannot begin a video here"),
        VideoSink(tmp_path / "out.nonsense", 25) as sink,
    ):
        sink.write(result(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", H264_ENCODERS)
def test_the_encoder_is_one_that_is_there(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4", name})
    assert h264_encoder() == name


def test_without_any_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    with pytest.raises(OutputError, match=r"no H\.264 encoder"):
        h264_encoder()


# Pictures


def test_a_folder_keeps_the_names_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with ImageSink(folder) as sink:
        for index, path in enumerate(["x/a.png", "x/b.jpg", "y/a.png"]):
            sink.write(result(index, path=Path(path), format="rgb24"))
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a_2.png", "b.jpg"]
    assert Image.open(folder / "a_2.png").getpixel((0, 0)) == (80, 80, 250)


def test_a_folder_numbers_the_frames_of_a_video(tmp_path: Path) -> None:
    with ImageSink(tmp_path) as sink:
        sink.write(result(0))
        sink.write(result(7))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "frame_000000.jpg",
        "frame_000007.jpg",
    ]


def test_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    with ImageSink(path) as sink:
        sink.write(result(1))
        assert Image.open(path).getpixel((3, 3)) == (250, 40, 40)
        with pytest.raises(InputError, match="one picture holds one frame"):
            sink.write(result(2))


# By suffix


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", JsonlSink),
        ("a.MP4", VideoSink),
        ("a.mkv", VideoSink),
        ("a.png", ImageSink),
        ("folder", ImageSink),
        (".", ImageSink),
    ],
)
def test_the_suffix_chooses(tmp_path: Path, name: str, kind: type[Any]) -> None:
    assert type(make_sink(tmp_path / name, ImageSource(["a.png"]), CLASSES)) is kind


def test_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in one of .*\.mp4.*got `\.xlsx`"):
        make_sink(tmp_path / "a.xlsx", ImageSource(["a.png"]), CLASSES)
