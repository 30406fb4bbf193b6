"""The fault kit of the tests, `tests/stream/rtsp_server.py`, as a child of this process."""

import subprocess
import threading
from pathlib import Path

from edgecv.closing import Closing

PYTHON = "/usr/bin/python3"  # which has GStreamer's bindings
SERVER = Path(__file__).parents[2] / "tests" / "stream" / "rtsp_server.py"


def why_no_cameras() -> str | None:
    """Return why the kit cannot run here, None if it can."""
    if not Path(PYTHON).exists():
        return f"there is no {PYTHON}"
    probe = subprocess.run(  # noqa: S603  # our own program
        [PYTHON, SERVER], capture_output=True, text=True, check=False, timeout=120
    )
    if probe.returncode == 0:
        return None
    reason = (probe.stderr.strip().splitlines() or ["it fails"])[-1]
    return (
        f"no RTSP server ({reason}): apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
        "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
    )


class CameraKit(Closing):
    """Cameras on loopback that fail on command."""

    def __init__(self, num_cameras: int, *, size: str, fps: int) -> None:
        """Start them.

        Args:
            num_cameras: each has a port of its own.
            size: of the pictures, such as `320x180`.
            fps: pictures a second.

        """
        self._lock = threading.Lock()
        arguments = ["--cameras", str(num_cameras), "--size", size, "--fps", str(fps)]
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [PYTHON, SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.urls = [f"rtsp://127.0.0.1:{port}/cam" for port in self._answer().split()]

    def tell(self, command: str, camera: int, *values: object) -> None:
        """Give a command, see `rtsp_server.py`; returns when it acts."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{command} {camera} {' '.join(map(str, values))}\n")
            self._process.stdin.flush()
            answer = self._answer()
        if answer != "ok\n":
            raise RuntimeError(f"the cameras answered {answer!r} to `{command} {camera}`")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
