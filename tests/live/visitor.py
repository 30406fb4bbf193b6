"""What the tests of the live page do as its clients."""

import http.client
import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from edgecv.output_spec import YoloOutput
from edgecv.spec import InputSpec, ModelSpec

Shown = Callable[..., AbstractContextManager[Any]]


TOKEN = "a-token-that-is-long"  # noqa: S105


def ask(
    show: Any,
    path: str,
    method: str = "GET",
    *,
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer; of header names `_` becomes `-`."""
    port = show.page.address.port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def talk(show: Any, sent: bytes) -> bytes:
    """Return everything that is answered to some bytes."""
    with socket.create_connection(("127.0.0.1", show.page.address.port), timeout=20) as raw:
        raw.sendall(sent)
        return b"".join(iter(lambda: raw.recv(1 << 16), b""))


class Viewer:
    """A client of `/stream`."""

    def __init__(
        self, show: Any, path: str = "/stream", *, receive_bytes: int | None = None
    ) -> None:
        self._raw = socket.socket()
        self._raw.settimeout(20)
        if receive_bytes is not None:
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._raw.connect(("127.0.0.1", show.page.address.port))
        self._raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._file = self._raw.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() != b"\r\n":
            pass

    def message(self, kind: str = "frame") -> tuple[Any, bytes, bytes]:
        """Return the next message of a kind."""
        while True:
            lengths = struct.unpack("<III", self._file.read(12))
            data, picture, layer = (self._file.read(length) for length in lengths)
            content = json.loads(data)
            if content["type"] == kind:
                return content, picture, layer

    def rest(self) -> bytes:
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self._raw.close()


@contextmanager
def viewer(show: Any, path: str = "/stream", **options: Any) -> Iterator[Viewer]:
    watching = Viewer(show, path, **options)
    with closing(watching):
        if watching.status == 200:
            watching.message("status")  # from now on it is watched
        yield watching


def change(stream: Any, body: Any, **headers: str) -> tuple[int, bytes]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content_Type": "application/json"} | headers
    status, _, answer = ask(stream, "/thresholds", "POST", body=sent, **headers)
    return status, answer


def any_spec() -> ModelSpec:
    return ModelSpec("detect", ("cat",), InputSpec("images", (8, 8)), YoloOutput())
