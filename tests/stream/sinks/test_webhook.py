"""Webhooks against a server that refuses, fails, hangs, closes in the middle, and comes back."""

import base64
import json
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import InputError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.sinks.webhook import WebhookSink

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]


class Server:
    """Does with each request what the plan says, and then answers 200."""

    def __init__(self) -> None:
        self.plan: list[str] = []
        self.received: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
        self.may_go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one packet

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                step = outer.plan.pop(0) if outer.plan else "200"
                if step == "hang":
                    outer.may_go.wait(20)
                    self.close_connection = True
                    return
                if step == "close":
                    self.close_connection = True
                    return
                if step == "nonsense":
                    self.wfile.write(b"220 mail.example ESMTP\r\n\r\n")
                    self.close_connection = True
                    return
                self.send_response(int(step))
                if step == "503":
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
                if step.startswith("2"):
                    outer.received.put((dict(self.headers), json.loads(body)))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook/secret?token=secret"

    def encrypt(self, certificate: tuple[Path, Path]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def frames(self, count: int) -> list[int]:
        return [self.received.get(timeout=10)[1]["frame"] for _ in range(count)]

    def close(self) -> None:
        self.may_go.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_post_a_result(server: Server, result: MakeResult) -> None:
    url = server.url.replace("//", "//me%40x:pass%2Fword@")
    with WebhookSink(url, CLASSES) as sink:
        sink.write(result(3, source="door", pts_s=0.5))
        sink.write(result(4))
    headers, record = server.received.get(timeout=10)
    assert (record["source"], record["frame"], record["pts_s"]) == ("door", 3, 0.5)
    assert record["detections"][0]["class"] == "dög"
    assert record["captured_at"] > 0
    assert headers["Content-Type"] == "application/json"
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"me@x:pass/word"
    assert headers["Idempotency-Key"] != server.received.get(timeout=10)[0]["Idempotency-Key"]
    assert sink.name == f"http://127.0.0.1:{server.server.server_port}"  # no secret


@pytest.mark.parametrize("trouble", ["500", "429", "503", "404", "close", "nonsense"])
def test_trouble_that_passes_is_not_noticed(
    server: Server, result: MakeResult, trouble: str
) -> None:
    server.plan = [trouble, trouble]
    with WebhookSink(server.url, CLASSES, first_wait_s=0.001) as sink:
        sink.write(result(0))
        sink.write(result(1))
    assert server.frames(2) == [0, 1]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("500", "answered 500 Internal Server Error. Check address and permissions"),
        ("401", "answered 401 Unauthorized"),
        ("301", "redirects .301 Moved Permanently.. Name its new address"),
        ("close", "cannot be reached: Remote end closed connection without response"),
        ("nonsense", "cannot be reached: 220 mail.example"),
    ],
)
def test_trouble_that_stays_is_an_error_without_secrets(
    server: Server, result: MakeResult, trouble: str, message: str
) -> None:
    server.plan = [trouble] * 3
    with WebhookSink(server.url, CLASSES, first_wait_s=0.001) as sink:
        with pytest.raises(OutputError, match=message) as caught:
            sink.write(result(0))
        assert "secret" not in str(caught.value)
        sink.write(result(1))
    assert server.frames(1) == [1]


def test_a_server_that_says_nothing(server: Server, result: MakeResult) -> None:
    server.plan = ["hang"] * 3
    with (
        WebhookSink(server.url, CLASSES, timeout_s=0.1, first_wait_s=0.001) as sink,
        pytest.raises(OutputError, match=r"cannot be reached: no answer in time. Check that"),
    ):
        sink.write(result(0))


def test_nobody_listens(result: MakeResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        WebhookSink(f"http://127.0.0.1:{port}/", CLASSES, first_wait_s=0.001) as sink,
        pytest.raises(OutputError, match=r"Connection refused. Check that it runs"),
    ):
        sink.write(result(0))


def test_a_message_that_the_server_refuses_is_refused(server: Server, result: MakeResult) -> None:
    server.plan = ["422"]
    with WebhookSink(server.url, CLASSES) as sink:
        with pytest.raises(InputError, match=r"refused a message \(422 .*Check what it expects"):
            sink.write(result(0))
        sink.write(result(1))
    assert server.frames(1) == [1]


def test_waiting_for_a_silent_server_can_be_interrupted(server: Server, result: MakeResult) -> None:
    server.plan = ["hang"]
    sink = WebhookSink(server.url, CLASSES, timeout_s=60, first_wait_s=60)
    errors: queue.Queue[str] = queue.Queue()

    def write() -> None:
        try:
            sink.write(result(0))
        except OutputError as error:
            errors.put(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    while server.plan:  # until the server has the request
        thread.join(0.005)
    sink.interrupt(is_final=False)
    assert "cannot be reached" in errors.get(timeout=10)
    thread.join()
    sink.write(result(1))  # it was not for good
    assert server.frames(1) == [1]
    sink.close()


# With a spool


def test_the_spool_delivers_in_order_whatever_happens(
    server: Server, result: MakeResult, tmp_path: Path
) -> None:
    server.plan = ["500", "close", "200", "503", "nonsense", "200", "400", "200"]
    notices = Notices()
    with WebhookSink(
        server.url, CLASSES, spool=tmp_path / "spool", notices=notices, first_wait_s=0.001
    ) as sink:
        for index in range(6):
            sink.write(result(index))
        assert server.frames(5) == [0, 1, 3, 4, 5]
    texts = [notice.text for notice in notices.recent()]
    assert any("answered 500" in text and "wait in the spool" in text for text in texts)
    assert any("refused a message (400 Bad Request)" in text for text in texts)
    assert texts.count("The server takes messages again.") == 2
    assert not any("secret" in text for text in texts)


def test_by_tls_to_a_server_that_is_trusted(
    certificate: tuple[Path, Path], result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    server.encrypt(certificate)
    url = server.url.replace("http:", "https:")
    try:
        with (
            WebhookSink(url, CLASSES, first_wait_s=0.001) as stranger,
            pytest.raises(OutputError, match=r"certificate verify failed.*self-signed"),
        ):
            stranger.write(result(0))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with WebhookSink(url, CLASSES) as sink:
            for index in range(3):
                sink.write(result(index))
        assert server.frames(3) == [0, 1, 2]
    finally:
        server.close()


def test_a_restart_delivers_what_the_last_run_could_not(
    server: Server, result: MakeResult, tmp_path: Path
) -> None:
    server.plan = ["200", "close", *["500"] * 1000]
    notices = Notices()
    sink = WebhookSink(server.url, CLASSES, spool=tmp_path, notices=notices, first_wait_s=0.001)
    for index in range(4):
        sink.write(result(index))
    assert server.frames(1) == [0]
    sink.close()
    assert notices.recent()[-1].text == "3 messages wait in the spool for the next run."
    server.plan = []
    with WebhookSink(server.url, CLASSES, spool=tmp_path) as sink:
        sink.write(result(4))
    received = [server.received.get(timeout=10) for _ in range(4)]
    assert [record["frame"] for _, record in received] == [1, 2, 3, 4]
    keys = [headers["Idempotency-Key"] for headers, _ in received]
    assert [key.rpartition("-")[2] for key in keys] == ["2", "3", "4", "5"]
    assert len({key.rpartition("-")[0] for key in keys}) == 1


def test_what_waits_is_delivered_as_soon_as_the_sink_is_open(
    server: Server, result: MakeResult, tmp_path: Path
) -> None:
    server.plan = ["close", *["500"] * 1000]
    sink = WebhookSink(server.url, CLASSES, spool=tmp_path, first_wait_s=0.001)
    sink.write(result(7))
    sink.close()
    server.plan = []
    again = WebhookSink(server.url, CLASSES, spool=tmp_path)
    again.open()
    again.open()
    assert server.frames(1) == [7]
    again.close()


def test_a_message_whose_answer_was_lost_has_the_same_key(
    server: Server, result: MakeResult, tmp_path: Path
) -> None:
    seen: list[str] = []
    sink = WebhookSink(server.url, CLASSES, spool=tmp_path, first_wait_s=0.001)
    post = sink._client.post

    def watched(message: bytes, key: str) -> None:
        seen.append(key)
        post(message, key)

    sink._client.post = watched  # type: ignore[method-assign]
    server.plan = ["close"]
    sink.write(result(0))
    assert server.frames(1) == [0]
    sink.close()
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_a_full_spool_is_said(server: Server, result: MakeResult, tmp_path: Path) -> None:
    server.plan = ["hang"]
    notices, is_said = Notices(), threading.Event()
    notices.listen(lambda notice: is_said.set() if "spool is full" in notice.text else None)
    sink = WebhookSink(
        server.url, CLASSES, spool=tmp_path, spool_bytes=65536, notices=notices, first_wait_s=0.001
    )
    for index in range(400):
        sink.write(result(index, class_ids=(1,) * 4))
    server.may_go.set()
    assert is_said.wait(10)
    sink.close()
    frames = [server.received.get_nowait()[1]["frame"] for _ in range(server.received.qsize())]
    assert frames == list(range(400 - len(frames), 400))


def test_closing_in_a_hurry_keeps_what_waits(
    server: Server, result: MakeResult, tmp_path: Path
) -> None:
    server.plan = ["hang"]
    sink = WebhookSink(server.url, CLASSES, spool=tmp_path, timeout_s=60)
    for index in range(3):
        sink.write(result(index))
    while server.plan:
        server.may_go.wait(0.005)
    sink.interrupt(is_final=True)
    sink.close()
    with WebhookSink(server.url, CLASSES, spool=tmp_path) as again:
        assert server.frames(3) == [0, 1, 2]
    again.close()
    again.discard()


def test_discarding_does_not_wait(server: Server, result: MakeResult, tmp_path: Path) -> None:
    server.plan = ["hang"]
    sink = WebhookSink(server.url, CLASSES, spool=tmp_path, timeout_s=60)
    sink.write(result(0))
    sink.discard()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http:///path", "must name a host. Add it"),
        ("http://host:99999/", "port must be a number up to 65535"),
    ],
)
def test_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        WebhookSink(url, CLASSES)
