"""Every kind of source, and every way in which one can be wrong."""

import os
import socket
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from edgecv.errors import SourceError
from edgecv.stream.sources import Frame, ImageSource, Source, natural_key, open_source
from edgecv.stream.sources.uri import redacted

VideoWriter = Callable[..., Path]


def write_images(folder: Path, *names: str) -> list[Path]:
    """Pictures 4 high and 6 wide; the red channel tells which."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (number * 20, 0, 255)).save(path)
    return paths


def read_all(source: Source) -> list[Frame]:
    with source:
        return list(source)


def names(source: Source) -> list[str]:
    return [frame.path.name for frame in read_all(source) if frame.path is not None]


# Videos


def test_a_video_file(tmp_path: Path, video_writer: VideoWriter) -> None:
    source = open_source(video_writer(tmp_path / "v.mp4", 12, size_hw=(48, 64)))
    assert isinstance(source, Source)
    assert (source.is_live, source.fps, source.num_frames) == (False, 25.0, 12)
    assert source.size_hw == (48, 64)
    frames = read_all(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 25 for k in range(12)])
    for frame in frames:
        assert frame.size_hw == (48, 64)
        assert (frame.format, frame.matrix, frame.range) == ("yuv420p", "bt601", "limited")
        assert not frame.declares_matrix
        # The writer's grey: swscale's conversion to 16..235 and back is off by up to 5.
        pixels = frame.to_array()
        assert abs(int(pixels[24, 48, 0]) - frame.index * 10 % 200) <= 6
        assert pixels[24, 2].min() >= 250


def test_colours_are_blue_green_red(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        red = np.zeros((32, 32, 3), np.uint8)
        red[:, :, 0] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    (frame,) = read_all(open_source(path))
    blue, green, red_value = frame.to_array()[16, 16].tolist()
    assert red_value > 240
    assert max(blue, green) < 16


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV < 18 writes no rotation"
)
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_phone_video_is_turned_upright(
    tmp_path: Path, video_writer: VideoWriter, rotation: int
) -> None:
    path = video_writer(tmp_path / "phone.mp4", 3, size_hw=(48, 64), rotation=rotation)
    source = open_source(path)
    upright_hw = (48, 64) if rotation == 180 else (64, 48)
    assert source.size_hw == upright_hw
    pixels = read_all(source)[0].to_array()
    assert pixels.shape[:2] == upright_hw
    # The bright left edge, turned counter-clockwise: to the bottom, the right, the top.
    edge = {90: pixels[-4:], 180: pixels[:, -4:], 270: pixels[:4]}[rotation]
    assert edge.min() > 240
    assert np.median(pixels) < 60


@pytest.mark.parametrize(
    ("name", "num_frames", "size_hw", "fps", "matrix"),
    [
        ("dog_person_720p.mp4", 289, (720, 1280), 30000 / 1001, "bt709"),
        ("highway_cars_540p.mp4", 221, (540, 960), 25.0, "bt601"),
    ],
)
def test_real_videos(
    shared_data: Path,
    name: str,
    num_frames: int,
    size_hw: tuple[int, int],
    fps: float,
    matrix: str,
) -> None:
    source = open_source(shared_data / "videos" / name)
    assert source.num_frames == num_frames
    assert source.size_hw == size_hw
    assert source.fps == pytest.approx(fps)
    num_read = 0
    with source:
        for frame in source:
            assert frame.pts_s == pytest.approx(frame.index / fps, abs=1e-3)
            assert (frame.format, frame.matrix, frame.declares_matrix) == ("yuv420p", matrix, True)
            num_read += 1
    assert num_read == num_frames


def test_closing_in_the_middle_and_twice(tmp_path: Path, video_writer: VideoWriter) -> None:
    source = open_source(video_writer(tmp_path / "v.mp4"))
    assert next(iter(source)).index == 0
    source.close()
    source.close()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("num_read", [0, 2])
def test_a_source_left_in_the_middle_lets_go_of_its_decoder(
    tmp_path: Path, video_writer: VideoWriter, num_read: int
) -> None:
    source = open_source(video_writer(tmp_path / "v.mp4"))
    alive = weakref.ref(source)
    for _ in islice(source, num_read):
        pass
    source.close()
    del source
    assert alive() is None


def test_a_missing_path() -> None:
    with pytest.raises(SourceError, match=r"`gone/v.mp4`: there is no such file or folder"):
        open_source("gone/v.mp4")


def test_a_text_file_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("dear diary")
    with pytest.raises(SourceError, match=r"notes.mp4`: FFmpeg cannot read it as a video"):
        open_source(path)


def test_an_empty_video_file(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.touch()
    with pytest.raises(SourceError, match=r"v.mp4`: the file is empty \(0 bytes\)"):
        open_source(path)


def test_an_mp4_without_its_index(tmp_path: Path, video_writer: VideoWriter) -> None:
    path = video_writer(tmp_path / "v.mp4", 50)  # the index is at the end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="cut off before its index was written"):
        open_source(path)


def test_an_mp4_that_breaks_off(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "videos" / "dog_person_720p.mp4"  # the index is at the beginning
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:600_000])
    frames: list[int] = []
    with open_source(path) as source:
        indices = (frame.index for frame in source)
        with pytest.raises(SourceError, match="breaks off after frame") as caught:
            frames.extend(indices)  # what came before the error stays
    assert 50 < len(frames) < 150
    assert frames == list(range(len(frames)))
    assert f"after frame {len(frames)} of 289" in str(caught.value)


def test_sound_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        assert isinstance(stream, av.AudioStream)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="must hold a video, found audio"):
        open_source(path)


def test_a_pixel_format_that_cannot_be_converted(
    tmp_path: Path, video_writer: VideoWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.FFmpegError(95, "Operation not supported")

    monkeypatch.setattr("edgecv.stream.sources.decoding.PictureReader.frame", refuse)
    source = open_source(video_writer(tmp_path / "v.mp4", 2))
    with pytest.raises(SourceError, match=r"pixel format `yuv420p` \(Operation not supported\)"):
        read_all(source)


# Pictures


def test_an_image_file(tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, "a.png")
    (frame,) = read_all(open_source(path))
    assert (frame.index, frame.format, frame.path, frame.pts_s) == (0, "rgb24", path, None)
    assert frame.size_hw == (4, 6)
    assert frame.to_array("rgb24")[0, 0].tolist() == [0, 0, 255]


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    write_images(tmp_path, "b2.png", "b10.jpg", "a.webp", "b1.PNG", "deeper/c.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._b2.png").touch()  # what macOS leaves on memory sticks
    source = open_source(tmp_path)
    assert (source.num_frames, source.fps, source.is_live) == (4, None, False)
    assert names(source) == ["a.webp", "b1.PNG", "b2.png", "b10.jpg"]


def test_a_pattern(tmp_path: Path) -> None:
    write_images(tmp_path, "x/2.png", "x/10.png", "y/1.png", "y/1.jpg")
    assert names(open_source(f"{tmp_path}/**/*.png")) == ["2.png", "10.png", "1.png"]
    assert names(open_source(f"{tmp_path}/y/?.[jp]*")) == ["1.jpg", "1.png"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, "a[1].png")
    assert names(open_source(path)) == ["a[1].png"]


def test_a_sequence_keeps_its_order(tmp_path: Path) -> None:
    paths = write_images(tmp_path, "b.png", "a.png")
    source = open_source(paths)
    assert source.num_frames == 2
    assert source.name == "2 images"
    assert names(source) == ["b.png", "a.png"]


def test_natural_key_orders_numbers_by_value() -> None:
    shuffled = ["a10", "10", "a1b", "b", "A2", "1", "a", "2a", "a1"]
    ordered = ["1", "2a", "10", "a", "a1", "a1b", "A2", "a10", "b"]
    assert sorted(shuffled, key=lambda name: natural_key(Path(name))) == ordered


def test_an_empty_sequence() -> None:
    with pytest.raises(SourceError, match="the list of images is empty"):
        ImageSource([])


def test_a_zero_byte_image_comes_after_the_good_ones(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "3.png")
    (tmp_path / "2.png").touch()
    iterator = iter(open_source(tmp_path))
    assert next(iterator).index == 0
    with pytest.raises(SourceError, match=r"2.png.*got an empty file \(0 bytes\)"):
        next(iterator)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a folder must hold images, found it empty"):
        open_source(tmp_path)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(SourceError, match=r"found 2 \.txt, 1 folder"):
        open_source(tmp_path)


def test_a_pattern_that_matches_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(SourceError, match="it matches nothing"):
        open_source(f"{tmp_path}/*.png")
    with pytest.raises(SourceError, match=r"it matches only 1 \.txt"):
        open_source(f"{tmp_path}/*")


# URLs and cameras


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:secret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:se/cr@e?t@cam:554/1?token=x", "rtsp://***@cam:554/1"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("http://cam/1.mjpg?user=a&pwd=secret", "http://cam/1.mjpg"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_an_unreachable_camera_does_not_give_away_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"rtsp://admin:hunter2@127.0.0.1:{port}/cam?key=hunter2"  # nobody listens any more
    with pytest.raises(SourceError, match=rf"rtsp://\*\*\*@127.0.0.1:{port}/cam") as caught:
        open_source(url)
    assert "Connection refused" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_camera_that_never_answers_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(SourceError, match=r"cannot be opened: no answer within 0.3 s\."),
    ):
        open_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam", timeout_s=0.3)


def test_an_unknown_scheme() -> None:
    with pytest.raises(SourceError, match=r"must begin with one of rtsp://.*got `ftp://`"):
        open_source("ftp://user:secret@host/v.mp4")


@pytest.mark.parametrize("uri", [77, "77", "camera:77"])
def test_a_camera_that_is_not_there(uri: str | int) -> None:
    if os.path.exists("/dev/video77"):  # noqa: PTH110
        pytest.skip("this machine has 78 cameras")
    with pytest.raises(SourceError, match=r"camera 77 \(`/dev/video77`\) cannot be opened"):
        open_source(uri)
