"""A program that behaves as `edgecv build --progress json`, as its test wants it to.

    python builder_program.py FOLDER ENGINE BEHAVIOUR...

FOLDER holds `plan`, which becomes the engine, and `record`, which becomes the file beside it. The
test is told by files that appear there, and tells by such files:

started-PID: the program runs. go: what `wait` waits for. timings: what was timed was kept.

BEHAVIOUR, in order: wait, progress, noise, fail, silent-failure, die, deaf (to SIGINT), build.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, engine = Path(sys.argv[1]), Path(sys.argv[2])


def report(fraction: object) -> None:
    line = {"phase": "tactics", "fraction": fraction, "elapsed_s": 1.0, "remaining_s": None}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def wait() -> None:
    while not (folder / "go").exists():
        report(0.25)
        time.sleep(0.005)


def progress() -> None:
    for step in range(5):
        report(step / 4)


def noise() -> None:
    sys.stdout.write("[TRT] a library prints where it should not\n{}\n[1]\n{\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\xff\xfe\n")
    report("half")
    sys.stderr.write("x" * 300_000 + "\n")  # more than a pipe holds


def fail() -> None:
    sys.stderr.write("[TRT] a warning\nedgecv: nothing can be built. Do something else.\n")
    sys.exit(1)


def fail_silently() -> None:
    sys.exit(3)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deafen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "deaf").touch()


def build() -> None:
    replace(engine, (folder / "plan").read_bytes())
    replace(engine.with_name(f"{engine.name}.json"), (folder / "record").read_bytes())


BEHAVIOURS = {
    "wait": wait,
    "progress": progress,
    "noise": noise,
    "fail": fail,
    "silent-failure": fail_silently,
    "die": die,
    "deaf": deafen,
    "build": build,
}

try:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind `&`, as in CI
    (folder / f"started-{os.getpid()}").touch()
    for each in sys.argv[3:]:
        BEHAVIOURS[each]()
except KeyboardInterrupt:
    (folder / "timings").write_text(str(os.getpid()))
    sys.exit(130)
except BrokenPipeError:
    (folder / "abandoned").touch()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(1)
