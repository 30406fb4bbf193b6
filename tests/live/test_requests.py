"""Requests over real sockets: what is served, and what becomes of those who misbehave."""

import http.client
import socket
from contextlib import ExitStack

import pytest

from edgecv.live.server import Limits

from .visitor import Shown, ask, talk


def test_there_is_room_for_so_many_connections(show: Shown) -> None:
    with show(limits=Limits(num_connections=3)) as stream, ExitStack() as stack:
        place = ("127.0.0.1", stream.page.address.port)
        idle = [stack.enter_context(socket.create_connection(place)) for _ in range(3)]
        stream.until(lambda: len(stream.page._server._tasks) == 3)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(stream, "/healthz")
        idle[0].close()
        stream.until(lambda: len(stream.page._server._tasks) == 2)
        assert ask(stream, "/healthz")[0] == 200


def test_a_request_that_does_not_come_is_not_waited_for(show: Shown) -> None:
    with show(limits=Limits(request_s=0.1)) as stream:
        answer = talk(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 421),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n", 413),
        (
            b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
        ),
    ],
)
def test_what_is_no_request_is_refused(show: Shown, sent: bytes, status: int) -> None:
    with show(is_running=False) as stream:
        answer = talk(stream, sent)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Content-Security-Policy: default-src 'none'" in answer


def test_who_leaves_in_the_middle_of_a_request_does_no_harm(show: Shown) -> None:
    with show(is_running=False) as stream:
        for sent in (b"", b"GET / HT", b"POST /thresholds HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"):
            with socket.create_connection(("127.0.0.1", stream.page.address.port)) as raw:
                raw.sendall(sent)
        assert ask(stream, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../../etc/passwd", "/page.py", "/assets/page.js", "//etc/passwd", "/%2e%2e/"],
)
def test_no_path_reaches_the_disk(show: Shown, path: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, path)[::2] == (404, b"there is no such page.\n")


def test_the_files_of_the_page_load_nothing_from_elsewhere(show: Shown) -> None:
    with show(is_running=False) as stream:
        for path, kind in [
            ("/", "text/html; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ]:
            status, headers, body = ask(stream, path)
            assert (status, headers["Content-Type"]) == (200, kind)
            assert "Access-Control-Allow-Origin" not in headers
            foreign = body.replace(b'xmlns="http://www.w3.org/2000/svg"', b"")
            assert b"http://" not in foreign
            assert b"https://" not in foreign


def test_head_is_get_without_a_body(show: Shown) -> None:
    with show(is_running=False) as stream:
        for path in ("/", "/page.css", "/healthz", "/status", "/stream"):
            status, headers, body = ask(stream, path, "HEAD")
            assert (status, body) == (200, b"")
            assert "Content-Length" in headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/", "GET"), ("GET", "/thresholds", "POST"), ("OPTIONS", "/thresholds", "POST")],
)
def test_other_methods_are_refused(show: Shown, method: str, path: str, allowed: str) -> None:
    with show(is_running=False) as stream:
        status, headers, _ = ask(stream, path, method)
        assert (status, headers["Allow"]) == (405, allowed)
