"""HTTP/1.1 as far as the page needs it: one request a connection, small heads, smaller bodies.

What is not understood is refused rather than guessed: no folded lines, no chunked bodies, no header
twice where it matters.

Source:
    RFC 9112, HTTP/1.1; RFC 9110, HTTP semantics.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

HEAD_BYTES = 8192
BODY_BYTES = 4096

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]*")  # the origin form, no control characters
_ONCE = ("host", "content-length", "content-type", "origin", "authorization", "cookie")
# No script but the page's own, no frame around it, nothing from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RefusedError(Exception):
    """A request that is not served; the answer says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        """Refuse with `status`; `text` is for people."""
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Args:
        method: in capitals.
        path: without the query, not unquoted: the page has no path that needs it.
        query: the last value of each name.
        headers: by lower-case name.
        body: at most `BODY_BYTES`.

    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, found, value in pairs if found}


@dataclass(frozen=True)
class Response:
    """What it is answered.

    Args:
        status: of HTTP.
        body: whole.
        kind: its media type.
        headers: besides `HEADERS`.

    """

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: HTTPStatus, text: str, **headers: str) -> "Response":
        """Return a line for people; of header names `_` becomes `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, f"{text}\n".encode(), headers=named)

    @classmethod
    def json(cls, content: Any) -> "Response":  # noqa: ANN401  # whatever JSON takes
        """Return data."""
        return cls(body=json.dumps(content, allow_nan=False).encode(), kind="application/json")

    def to_bytes(self, *, has_body: bool = True) -> bytes:
        """Return the answer as it is sent, for HEAD without its body."""
        lengths = {"Content-Type": self.kind, "Content-Length": str(len(self.body))}
        return head(self.status, lengths | dict(self.headers)) + (self.body if has_body else b"")


def head(status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """Return the head of an answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    everything = HEADERS | dict(headers) | {"Connection": "close"}
    lines += [f"{name}: {value}" for name, value in everything.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read a request; None if the client closed without one.

    Args:
        reader: whose limit is `HEAD_BYTES`.

    Raises:
        RefusedError: if it cannot be understood, or is too large.

    """
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request ends too early.") from None
        return None
    except asyncio.LimitOverrunError:
        raise RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head exceeds {HEAD_BYTES} bytes."
        ) from None
    request = parse_head(data)
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "`Content-Length` must be a number.")
    if len(length) > len(str(BODY_BYTES)) or int(length) > BODY_BYTES:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {BODY_BYTES} bytes."
        )
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ends too early.") from None
    return Request(request.method, request.path, request.query, request.headers, body)


def parse_head(data: bytes) -> Request:
    """Return the request whose head is `data`, without its body.

    Raises:
        RefusedError: if it is none.

    """
    first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):  # noqa: PLR2004
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is not an HTTP request.")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here.")
    if not _TARGET.fullmatch(target):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the target must be a path.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not _TOKEN.fullmatch(name) or "\n" in value or "\r" in value:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a header line is malformed.")
        if name in headers and name in _ONCE:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"`{name}` comes twice.")
        headers[name] = value.strip(" \t")
    if "transfer-encoding" in headers:
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "send a body with `Content-Length`.")
    url = urlsplit(f"//page{target}")
    query = {name: values[-1] for name, values in parse_qs(url.query, max_num_fields=32).items()}
    return Request(method, url.path, query, headers)
