"""The shared-memory ring: read by Python and by C, never torn, whoever is faster."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError, OutputError, SourceError
from edgecv.frame_formats import FRAME_FORMATS, planes_of
from edgecv.results import Detections
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import ring_layout
from edgecv.stream.sinks.ring_layout import ring_path
from edgecv.stream.sinks.ring_reader import RingReader
from edgecv.stream.sinks.ring_writer import RingSink
from edgecv.stream.sources import Frame

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")  # noqa: S108


@pytest.fixture
def ring() -> Iterator[str]:
    name = f"test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    yield name
    assert not ring_path(name).exists()


def pixels_of(format: str, size_hw: tuple[int, int]) -> Any:  # noqa: A002
    height, width = size_hw
    rng = np.random.default_rng(0)
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes: Any = {
        "yuv420p": (size_hw, half, half),
        "nv12": (size_hw, (*half, 2)),
        "bgr24": ((*size_hw, 3),),
        "rgb24": ((*size_hw, 3),),
        "yuyv422": ((*size_hw, 2),),
    }.get(format, (size_hw,))
    planes = tuple(rng.integers(0, 256, shape, np.uint8) for shape in shapes)
    return planes if len(planes) > 1 else planes[0]


@pytest.mark.parametrize("format", FRAME_FORMATS)
def test_every_format_comes_out_as_it_went_in(ring: str, format: Any) -> None:  # noqa: A002
    size_hw = (48, 64) if format == "yuyv422" else (47, 63)
    frame = Frame(
        7, pixels_of(format, size_hw), format, 1.5, matrix="bt709", range="full", captured_s=0.0
    )
    with RingSink(ring, CLASSES) as sink:
        sink.write(StreamResult(frame, Detections.empty(), Ledger(0.0), "door"))
        with RingReader(ring) as reader:
            read = reader.read(timeout_s=0)
    assert read is not None
    assert (read.number, read.record) == (
        0,
        {"source": "door", "frame": 7, "pts_s": 1.5, "detections": []},
    )
    got = read.frame
    assert got is not None
    assert (got.index, got.format, got.pts_s) == (7, format, 1.5)
    assert (got.matrix, got.range, got.size_hw) == ("bt709", "full", size_hw)
    for ours, theirs in zip(
        planes_of("test", frame.pixels, format), planes_of("test", got.pixels, format), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_cropped_frame_is_dense_in_the_ring(ring: str, result: MakeResult) -> None:
    given_ = result(0)
    whole = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    crop = replace(given_.frame, pixels=whole[5:20, 3:40])
    with RingSink(ring, CLASSES) as sink, open_after(sink, replace(given_, frame=crop)) as reader:
        read = reader.latest()
        assert read is not None
        assert read.frame is not None
        np.testing.assert_array_equal(read.frame.pixels, whole[5:20, 3:40])


def open_after(sink: RingSink, first: Any) -> RingReader:
    sink.write(first)
    return RingReader(sink.name.removeprefix("shm://"))


def test_records_come_in_order_and_what_was_missed_is_counted(
    ring: str, result: MakeResult
) -> None:
    with (
        RingSink(ring, CLASSES, num_slots=4, has_pixels=False) as sink,
        open_after(sink, result(0)) as reader,
    ):
        sink.write(result(1))
        first = [reader.read(timeout_s=0), reader.read(timeout_s=0), reader.read(timeout_s=0)]
        assert [one and one.number for one in first] == [0, 1, None]
        assert first[0] is not None
        assert first[0].frame is None
        for index in range(2, 12):
            sink.write(result(index))
        rest = []
        while (one := reader.read(timeout_s=0)) is not None:
            rest.append(one.record["frame"])
        assert rest == list(range(12 - len(rest), 12))
        assert 3 <= len(rest) <= 4
        assert reader.num_missed == 10 - len(rest)
        newest = reader.latest()
        assert newest is not None
        assert newest.record["frame"] == 11


def test_a_reader_that_comes_late_begins_with_the_oldest(ring: str, result: MakeResult) -> None:
    with RingSink(ring, CLASSES, num_slots=4, has_pixels=False) as sink:
        for index in range(10):
            sink.write(result(index))
        with RingReader(ring) as reader:
            read = reader.read(timeout_s=0)
            assert read is not None
            assert read.number == 6


def test_the_end_is_told(ring: str, result: MakeResult) -> None:
    sink = RingSink(ring, CLASSES)
    with open_after(sink, result(0)) as reader:
        sink.close()
        sink.close()
        assert reader.read() is not None  # what was written can still be read
        assert reader.read() is None  # without waiting for ever
    with pytest.raises(InputError, match="the reader was closed"):
        reader.read()
    with pytest.raises(SourceError, match=r"there is no such ring. Start the program"):
        RingReader(ring)


def test_a_larger_frame_makes_a_new_ring(ring: str, result: MakeResult) -> None:
    with RingSink(ring, CLASSES) as sink, open_after(sink, result(0)) as old:
        sink.write(result(1, size_hw=(24, 32)))  # a smaller one fits
        sink.write(result(2, size_hw=(96, 128)))
        assert [old.read() and 1, old.read() and 1, old.read()] == [1, 1, None]
        with RingReader(ring) as reader:
            read = reader.read()
            assert read is not None
            assert read.frame is not None
            assert read.frame.size_hw == (96, 128)


def test_a_second_writer_is_refused_and_a_dead_one_replaced(ring: str, result: MakeResult) -> None:
    first, second = RingSink(ring, CLASSES), RingSink(ring, CLASSES)
    first.write(result(0))
    with pytest.raises(OutputError, match=r"another process writes this ring. Choose another name"):
        second.write(result(0))
    first.close()
    ring_path(ring).write_bytes(b"left by a process that was killed")
    second.write(result(0))
    second.discard()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * 100, "is no ring"),
        (b"short", "is no ring"),
        (b"", "no such ring"),
        (ring_layout.HEADER.pack(b"EDGECVRG", 99, 2, 64, 0, 0, 0), "must be 1, got 99. Use the"),
    ],
)
def test_what_is_no_ring(ring: str, content: bytes, message: str) -> None:
    ring_path(ring).write_bytes(content)
    try:
        with pytest.raises(SourceError, match=message):
            RingReader(ring)
    finally:
        ring_path(ring).unlink()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\0b"])
def test_names_that_could_be_no_ring(name: str) -> None:
    with pytest.raises(InputError, match=r"must be one word without `/`. Write shm://camera"):
        RingSink(name, CLASSES)


def test_too_much_json_is_refused(ring: str, result: MakeResult) -> None:
    with RingSink(ring, CLASSES, json_bytes=64) as sink:
        with pytest.raises(InputError, match=r"must fit 64 bytes, got \d+. Write .*json=128KB"):
            sink.write(result(0, class_ids=(1,) * 9))
        sink.write(result(0, class_ids=()))


@pytest.mark.parametrize("options", [{"num_slots": 1}, {"json_bytes": 0}])
def test_limits(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="`num_slots` must be at least 2 and `json_bytes`"):
        RingSink("x", CLASSES, **options)


def test_without_memory_the_sink_says_what_to_do(
    ring: str, result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    sink = RingSink(ring, CLASSES)
    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", fail)
        with pytest.raises(OutputError, match=r"No space left on device. Free some shared memory"):
            sink.write(result(0))
    sink.write(result(1))  # there is room again
    with RingReader(ring) as reader:
        assert reader.read() is not None
    sink.close()


# Never torn: the writer writes at the worst moments, then from another process all the time


@given(st.lists(st.integers(0, 6), min_size=4, max_size=4))
def test_a_writer_in_between_is_noticed(plan: list[int]) -> None:
    """At every step of a reader's copying the writer writes as many records as the plan says."""
    name = f"test-{os.getpid()}-torn"
    state = {"index": 0, "step": 0}
    sink = RingSink(name, CLASSES, num_slots=3, has_pixels=True)

    def write() -> None:
        sink.write(patterned(state["index"]))
        state["index"] += 1

    def interfere() -> None:
        step, state["step"] = state["step"], state["step"] + 1
        for _ in range(plan[step] if step < len(plan) else 0):
            write()

    class Watched(RingReader):
        def _fence(self) -> None:
            interfere()
            super()._fence()

        def _copy(self, begin: int, num_bytes: int, end: int) -> bytes:
            middle = begin + num_bytes // 2
            first = super()._copy(begin, middle - begin, end)
            interfere()
            return first + super()._copy(middle, begin + num_bytes - middle, end)

    with sink:
        write()
        with Watched(name) as reader:
            state["step"] = 0
            last = -1
            while (read := reader.read(timeout_s=0)) is not None:
                assert is_whole(read)
                assert read.number > last
                last = read.number
            assert last == state["index"] - 1


def patterned(index: int) -> StreamResult:
    pixels = np.full((32, 32, 3), index % 251, np.uint8)
    return StreamResult(Frame(index, pixels, "bgr24"), Detections.empty(), Ledger(0.0))


def is_whole(read: Any) -> bool:
    index = read.record["frame"]
    pixels = read.frame.pixels
    return bool(read.number == index == read.frame.index and (pixels == index % 251).all())


def write_for_ever(name: str, count: int) -> None:
    with RingSink(name, CLASSES, num_slots=2) as sink:
        sink.write(patterned(0))
        for index in range(1, count):
            sink.write(patterned(index))


@pytest.mark.parametrize("reader_kind", ["python", "c"])
def test_a_writer_in_another_process_never_shows_half_a_record(
    ring: str, tmp_path: Path, reader_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other process looks for this module in the checkout, and for edgecv where it is built.
    checkout = str(Path(__file__).parents[3])
    others = [each for each in sys.path if each not in ("", checkout)]
    monkeypatch.setattr(sys, "path", [*others, checkout])
    program = compiled(tmp_path) if reader_kind == "c" else None
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=write_for_ever, args=(ring, 4000))
    writer.start()
    try:
        while not ring_path(ring).exists():
            writer.join(0.01)
            assert writer.exitcode in (None, 0)
        if program is None:
            numbers = read_all(ring)
            assert numbers == sorted(set(numbers))
            assert numbers
        else:
            done = subprocess.run(
                [program, str(ring_path(ring))],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            assert int(done.stdout) > 0
    finally:
        writer.join(60)
    assert writer.exitcode == 0


def read_all(ring: str) -> list[int]:
    numbers = []
    with RingReader(ring) as reader:
        while (read := reader.read(timeout_s=20)) is not None:
            assert is_whole(read)
            numbers.append(read.number)
    return numbers


C_READER = r"""
#include "edgecv_ring.h"
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(edgecv_ring_header) == 64, "header");
_Static_assert(sizeof(edgecv_ring_slot) == 128, "slot");

int main(int argc, char **argv) {
  edgecv_ring ring;
  uint64_t next = 0, num_read = 0;
  if (argc != 2 || edgecv_ring_open(&ring, argv[1]) != 0) return 2;
  edgecv_ring_slot *copy = malloc(ring.slot_bytes);
  for (;;) {
    uint64_t num_records = edgecv_ring_num_records(&ring);
    if (next >= num_records) {
      if (edgecv_ring_is_closed(&ring)) break;
      continue;
    }
    if (edgecv_ring_read(&ring, next, copy) != 0) {
      next = num_records > ring.num_slots ? num_records - ring.num_slots + 1 : next + 1;
      if (next < 1) next = 1;
      continue;
    }
    unsigned long index = strtoul(strstr(edgecv_ring_json(copy), "\"frame\":") + 8, NULL, 10);
    const uint8_t *pixels = edgecv_ring_pixels(copy);
    if (index != next || copy->index != next || copy->pixels_bytes != 3072) return 3;
    if (copy->width != 32 || copy->height != 32 || memcmp(copy->format, "BGR3", 4) != 0) return 4;
    if (copy->pts_ns != EDGECV_RING_NO_PTS || copy->captured_unix_ns <= 0) return 5;
    for (int i = 0; i < 3072; i++)
      if (pixels[i] != next % 251) { fprintf(stderr, "torn: %lu\n", index); return 6; }
    next++;
    num_read++;
  }
  printf("%lu\n", (unsigned long)num_read);
  free(copy);
  edgecv_ring_close(&ring);
  return 0;
}
"""


def compiled(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (folder / "reader.c").write_text(C_READER)
    header = Path(ring_layout.__file__).parent
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [compiler, *flags, f"-I{header}", str(folder / "reader.c"), "-o", str(folder / "reader")],
        check=True,
    )
    return folder / "reader"
