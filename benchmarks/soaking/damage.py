"""Bar B: files with 10 000 random corruptions of their packets do not crash a stream.

Each is read by a process of its own, through the whole stream and not the decoder alone, and the
process tells what it found, or by which signal it ended.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgecv
from edgecv.errors import SourceError
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.sources import open_source
from soaking.clips import CLIPS, Clip, damaged, packets_of, write_clip
from soaking.tiny_model import write_tiny_model
from soaking.verdict import Check, Verdict

NUM_CORRUPTIONS = 10_000
_NUM_FRAMES = NUM_CORRUPTIONS // 2  # every packet is hit about twice
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Reading:
    """What came of one file.

    Args:
        clip: how it was written.
        num_packets: that it has.
        code: the process's exit code, below 0 for a signal, None if it did not end in time.
        told: what the process said, empty if it crashed.

    """

    clip: Clip
    num_packets: int
    code: int | None
    told: Mapping[str, Any]

    @property
    def is_sound(self) -> bool:
        """Whether it came to an end in order, with an exact account and frames that were read."""
        return self.code == 0 and bool(self.told.get("exact")) and self.told.get("frames", 0) > 0

    def to_plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "clip": self.clip.name,
            "corruptions": NUM_CORRUPTIONS,
            "packets": self.num_packets,
            "exit_code": self.code,
            **self.told,
        }


def run(folder: Path, *, minutes: float, seed: int) -> Verdict:
    """Read a damaged file of every kind.

    Args:
        folder: where to write; a file that breaks something stays there.
        minutes: unused: the file is as long as it is.
        seed: of the damage.

    """
    del minutes
    chance = random.Random(seed)  # noqa: S311  # a test, no secret
    model = write_tiny_model(folder / "tiny.damage.onnx")
    begin_s = time.perf_counter()
    readings = [_reading(clip, folder, model, chance) for clip in CLIPS]
    model.unlink()
    broken = [each for each in readings if not each.is_sound]
    num_frames = sum(each.told.get("frames", 0) for each in readings)
    num_skipped = sum(each.told.get("corrupt", 0) for each in readings)
    names = ", ".join(each.clip.name for each in readings)
    return Verdict(
        "damage",
        (
            Check(
                f"{NUM_CORRUPTIONS} corruptions in each of {len(readings)} files ({names}), "
                f"seed {seed}",
                holds=True,
            ),
            Check(
                "no crash" if not broken else "; ".join(map(_complaint, broken)), holds=not broken
            ),
            Check(
                f"{num_frames} frames of {sum(each.num_packets for each in readings)} packets "
                f"came through, {num_skipped} packets counted as damaged",
                holds=num_frames > 0,
            ),
        ),
        {
            "seed": seed,
            "wall_s": time.perf_counter() - begin_s,
            "files": [each.to_plain() for each in readings],
        },
    )


def _reading(clip: Clip, folder: Path, model: Path, chance: random.Random) -> Reading:
    path = folder / f"damaged_{clip.codec}.{clip.suffix}"
    write_clip(clip, path, num_frames=_NUM_FRAMES)
    packets = packets_of(path)
    path.write_bytes(damaged(path.read_bytes(), packets, chance, NUM_CORRUPTIONS))
    command = [sys.executable, "-X", "faulthandler", "-m", "soaking.damage", path, model]
    try:
        done = subprocess.run(  # noqa: S603  # ourselves
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
            cwd=Path(__file__).parents[1],
        )
    except subprocess.TimeoutExpired:
        return Reading(clip, len(packets), None, {})
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    reading = Reading(clip, len(packets), done.returncode, told)
    if reading.is_sound:
        path.unlink()
    return reading


def _complaint(reading: Reading) -> str:
    if reading.code is None:
        return f"{reading.clip.name}: does not end"
    if reading.code < 0:
        return f"{reading.clip.name}: crashed with signal {-reading.code}"
    return f"{reading.clip.name}: exit code {reading.code}, {dict(reading.told)}"


def read(path: Path, model: Path) -> dict[str, Any]:
    """Stream a file to its end, and return what was found; the body of the process."""
    error = None
    num_frames = 0
    source = open_source(path)
    with Pipeline(source, edgecv.load(model, "cpu", threads=1)) as pipeline:
        try:
            for _ in pipeline.results():
                num_frames += 1
        except SourceError as caught:  # it may be beyond reading; a crash it must not be
            error = str(caught)
    (status,) = pipeline.status().values()
    counts = status.counts
    accounted = counts.delivered + counts.num_dropped
    return {
        "frames": num_frames,
        "corrupt": status.health["num_corrupt"],
        "format_changes": status.health["num_format_changes"],
        "exact": counts.decoded == accounted == status.health["num_frames"] >= num_frames,
        "error": error,
    }


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())))
