"""The bars of a stream that runs for weeks: cameras that fail, damaged files, starts and stops.

Usage: python benchmarks/soak.py [--minutes 20] [--bars cameras damage restarts] [--seed N]
                                 [--output runs/soak]

`cameras` is as long as `--minutes` says: four RTSP cameras on loopback (GStreamer's server, see
tests/stream/rtsp_server.py), of which every 15 s one drops its connections, shuts its port, falls
silent, sends damaged pictures or changes their size. `damage` reads files of several containers
and codecs with 10 000 random corruptions of their packets each, in a process for each file.
`restarts` starts and stops 100 streams. The bars run at the same time, each in a process of its
own, so that a crash is a verdict too; a line for each is printed, and `--output` receives a JSON
file for each, and the curve of the cameras' memory as CSV, SVG and PNG. Ends with 1 if a bar does
not hold, and with 77 if there is no RTSP server here.
"""

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from soaking.camera_kit import why_no_cameras

_BARS = ("cameras", "damage", "restarts")
# Threads that come and go leave memory behind in up to 8 arenas a core, for some hundred starts. A
# leak of some KB does not show beside that.
_ENVIRONMENT = {"restarts": {"MALLOC_ARENA_MAX": "1"}}
_NO_SERVER = 77
_GRACE_S = 600.0  # for the bars that work and do not wait; the cameras need none of it


def main() -> int:
    """Run the bars; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--bars", nargs="+", choices=_BARS, default=list(_BARS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--output", type=Path, default=Path("runs/soak"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.here:
        return _run_here(options)
    reason = why_no_cameras()
    if reason is not None:
        print(f"soak: {reason}")
        return _NO_SERVER
    print(
        f"soak: seed {options.seed}, {options.minutes:g} minutes, into {options.output}", flush=True
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the bars end too
    begin_s = time.perf_counter()
    children = {bar: _child(bar, options) for bar in options.bars}
    until_s = begin_s + options.minutes * 60 + _GRACE_S
    try:
        codes = {bar: _ended(bar, child, until_s) for bar, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    words = [f"{bar} {'FAILED' if code else 'passed'}" for bar, code in codes.items()]
    took_s = time.perf_counter() - begin_s
    print(f"soak: {', '.join(words)}, in {took_s:.0f} s, with seed {options.seed}")
    return max(codes.values())


def _child(bar: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    arguments = ["--here", "--bars", bar, "--minutes", str(options.minutes)]
    arguments += ["--seed", str(options.seed), "--output", str(options.output)]
    command = [sys.executable, "-X", "faulthandler", __file__, *arguments]
    environment = os.environ | _ENVIRONMENT.get(bar, {})
    return subprocess.Popen(command, env=environment)  # noqa: S603  # ourselves


def _ended(bar: str, child: subprocess.Popen[bytes], until_s: float) -> int:
    """Wait for a bar; return 0 if it holds and 1 if not."""
    try:
        code = child.wait(max(1.0, until_s - time.perf_counter()))
    except subprocess.TimeoutExpired:
        print(f"soak: {bar}: FAILED: it does not end")
        return 1
    if code < 0:
        print(f"soak: {bar}: FAILED: it crashed with signal {-code}")
    return int(code != 0)


def _run_here(options: argparse.Namespace) -> int:
    (bar,) = options.bars
    run = importlib.import_module(f"soaking.{bar}").run
    verdict = run(options.output, minutes=options.minutes, seed=options.seed)
    path = options.output / f"{bar}.json"
    path.write_text(json.dumps(verdict.to_plain(), indent=1) + "\n")
    print(f"soak: {verdict.line}", flush=True)
    return int(not verdict.is_passed)


if __name__ == "__main__":
    sys.exit(main())
