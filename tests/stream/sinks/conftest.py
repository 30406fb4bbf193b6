"""Results to write, and sinks that do as they are told."""

import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecv.errors import OutputError
from edgecv.results import Detections, Result
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import Sink
from edgecv.stream.sources import Frame


def make_result(
    index: int,
    *,
    found: Result | None = None,
    source: str = "",
    pts_s: float | None = None,
    path: Path | None = None,
    size_hw: tuple[int, int] = (48, 64),
    class_ids: tuple[int, ...] = (1,),
) -> StreamResult:
    pixels = np.full((*size_hw, 3), 40 * index % 200, np.uint8)
    if found is None:
        box = np.array([[1.234, 2, 30.5, 40]], np.float32).repeat(len(class_ids), axis=0)
        scores = np.full(len(class_ids), 0.875, np.float32)
        found = Detections(box, scores, np.array(class_ids, np.int32))
    return StreamResult(Frame(index, pixels, "bgr24", pts_s, path), found, Ledger(0.0), source)


class FakeSink(Sink):
    """Notes what it is given; `on_write` may raise or wait."""

    def __init__(
        self,
        on_write: Callable[[int], object] = lambda _index: None,
        *,
        recovers: bool = False,
        name: str = "fake",
        on_open: Callable[[], object] = lambda: None,
    ) -> None:
        self.on_open = on_open
        self.on_write, self.recovers, self._name = on_write, recovers, name
        self.written: list[int] = []
        self.num_closed = self.num_discarded = 0
        self.interrupted = threading.Event()
        self.threads: set[str] = set()

    @property
    def name(self) -> str:
        return self._name

    def open(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.on_open()

    def write(self, result: StreamResult) -> None:
        self.threads.add(threading.current_thread().name)
        self.on_write(result.frame.index)
        self.written.append(result.frame.index)

    def close(self) -> None:
        self.num_closed += 1

    def discard(self) -> None:
        self.num_discarded += 1

    def interrupt(self, *, is_final: bool) -> None:  # noqa: ARG002
        self.interrupted.set()


def full_disk(_index: int) -> None:
    raise OutputError("no space. Free some.")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine for itself, and its key; who trusts it sets SSL_CERT_FILE."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-out", str(paths[0]), "-keyout", str(paths[1])),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return paths


@pytest.fixture
def result() -> Callable[..., StreamResult]:
    return make_result


@pytest.fixture
def fake_sink() -> type[FakeSink]:
    return FakeSink
