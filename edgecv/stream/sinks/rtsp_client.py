"""Pushes H.264 to an RTSP server: ANNOUNCE, SETUP, RECORD, and RTP within the same connection.

FFmpeg's RTSP output would do it, but PyAV holds Python's lock while that connects: a server that
accepts and says nothing would stop every thread of the process. Here each wait has an end.

Source: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 6184 (H.264 in RTP), RFC 2617 (authentication).
"""

import base64
import hashlib
import random
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from edgecv.closing import Closing

_BLOCK = 65536
_MOST_BYTES = 1400  # of a NAL unit in one packet: what fits an Ethernet frame behind the server
_PAYLOAD_TYPE = 96
_SPS, _PPS, _FU_A = 7, 8, 28
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_OK, _UNAUTHORIZED = 200, 401
_MOST_REPLY = 65536


@dataclass(frozen=True)
class RtspAddress:
    """Where to push to; `user` and `password` do not show in `url` or in a message."""

    host: str
    port: int
    url: str
    user: str | None = None
    password: str = field(default="", repr=False)
    is_encrypted: bool = False


class RtspPublisher(Closing):
    """A connection that carries one H.264 video.

    Args:
        address: of the server.
        timeout_s: for connecting, for each answer, and for the server to take what is sent.

    Raises:
        OSError: if the server cannot be reached within `timeout_s`.

    """

    def __init__(self, address: RtspAddress, *, timeout_s: float) -> None:
        """Connect."""
        self._address, self._timeout_s = address, timeout_s
        self._socket = socket.create_connection((address.host, address.port), timeout_s)
        if address.is_encrypted:
            try:
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=address.host)
            except BaseException:
                self._socket.close()
                raise
        self._number = 0  # of the request
        self._session = ""
        self._challenge = ""
        self._is_interrupted = threading.Event()
        self._sequence, self._source = random.getrandbits(16), random.getrandbits(32)

    def announce(self, units: Sequence[bytes]) -> None:
        """Agree on the video with the server, up to RECORD.

        Args:
            units: NAL units of the first frame, with its parameter sets.

        Raises:
            OSError: if the server refuses, closes the connection or does not answer in time.

        """
        sets = [unit for unit in units if unit[0] & 31 in (_SPS, _PPS)]
        sprop = ",".join(base64.b64encode(unit).decode() for unit in sets)
        profile = sets[0][1:4].hex() if sets else "42e01e"
        parameters = f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sprop}"
        description = "\r\n".join(
            (
                "v=0",
                "o=- 0 0 IN IP4 127.0.0.1",
                "s=edgecv",
                "c=IN IP4 0.0.0.0",
                "t=0 0",
                "a=control:*",
                f"m=video 0 RTP/AVP {_PAYLOAD_TYPE}",
                f"a=rtpmap:{_PAYLOAD_TYPE} H264/90000",
                f"a=fmtp:{_PAYLOAD_TYPE} {parameters}",
                "a=control:streamid=0",
                "",
            )
        )
        url = self._address.url
        self._request("ANNOUNCE", url, "Content-Type: application/sdp", body=description)
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        self._request("SETUP", f"{url.rstrip('/')}/streamid=0", transport)
        self._request("RECORD", url, "Range: npt=0.000-")

    def send(self, units: Sequence[bytes], ticks: int) -> None:
        """Send one frame.

        Args:
            units: its NAL units.
            ticks: its time in 1 / 90000 s.

        Raises:
            OSError: if the server closed the connection, or takes nothing for `timeout_s`.

        """
        self._read_away()
        packets = bytearray()
        payloads = [payload for unit in units for payload in payloads_of(unit)]
        for position, payload in enumerate(payloads, 1):
            marker = 0x80 if position == len(payloads) else 0
            self._sequence = (self._sequence + 1) & 0xFFFF
            size = 12 + len(payload)
            packets += struct.pack(
                ">cBHBBHII",
                b"$",
                0,
                size,
                0x80,
                marker | _PAYLOAD_TYPE,
                self._sequence,
                ticks & 0xFFFFFFFF,
                self._source,
            )
            packets += payload
        try:
            self._socket.sendall(packets)
        except TimeoutError as error:
            raise TimeoutError(f"the server took nothing for {self._timeout_s:g} s") from error

    def interrupt(self) -> None:
        """End what another thread waits for here."""
        self._is_interrupted.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Say goodbye without waiting for an answer, and disconnect."""
        with suppress(OSError):
            if self._session:
                self._socket.settimeout(min(self._timeout_s, 0.2))
                self._socket.sendall(self._head("TEARDOWN", self._address.url, ()))
        self._socket.close()

    def _request(self, method: str, url: str, *headers: str, body: str = "") -> None:
        data = body.encode()
        if data:
            headers = (*headers, f"Content-Length: {len(data)}")
        for is_second in (False, True):
            self._socket.sendall(self._head(method, url, headers) + data)
            status, reason, fields = self._answer()
            if status == _UNAUTHORIZED and self._address.user is not None and not is_second:
                self._challenge = fields.get("www-authenticate", "")
                continue
            if status != _OK:
                raise OSError(f"it answered {status} {reason} to {method}")
            self._session = fields.get("session", self._session).partition(";")[0]
            return

    def _head(self, method: str, url: str, headers: Iterable[str]) -> bytes:
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: edgecv"]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenge:
            lines.append(f"Authorization: {self._credentials(method, url)}")
        return "\r\n".join((*lines, *headers, "", "")).encode()

    def _credentials(self, method: str, url: str) -> str:
        user, password = self._address.user or "", self._address.password
        if not self._challenge.lower().startswith("digest"):
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        asked = dict(re.findall(r'(\w+)="([^"]*)"', self._challenge))
        realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
        response = digest(user, realm, password, nonce=nonce, method=method, url=url)
        return (
            f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}", '
            f'response="{response}"'
        )

    def _answer(self) -> tuple[int, str, dict[str, str]]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
            if len(data) > _MOST_REPLY:
                raise OSError("its answer does not end")
        head, _, rest = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("utf-8", "replace").split("\r\n")
        found = re.fullmatch(r"RTSP/1\.\d (\d{3}) ?(.*)", status_line)
        if found is None:
            raise OSError(f"it answered `{status_line[:40]}`, which is not RTSP")
        pairs = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = fields.get("content-length", "0")
        missing = (int(length) if length.isdecimal() else 0) - len(rest)
        while missing > 0:
            missing -= len(self._received())
        return int(found[1]), found[2], fields

    def _received(self) -> bytes:
        try:
            data = self._socket.recv(_BLOCK)
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from error
        if not data:
            is_ours = self._is_interrupted.is_set()
            raise OSError("it was interrupted" if is_ours else "the server closed the connection")
        return data

    def _read_away(self) -> None:
        """Take what the server says meanwhile: receiver reports, nothing that we need."""
        self._socket.settimeout(0)
        try:
            while True:
                self._received()
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self._socket.settimeout(self._timeout_s)


def nal_units(stream: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream (H.264, annex B), without their start codes."""
    return [unit.rstrip(b"\0") for unit in _START_CODE.split(stream) if unit]


def payloads_of(unit: bytes) -> list[bytes]:
    """Return the RTP payloads of a NAL unit: itself, or fragments of it (RFC 6184, 5.8)."""
    if len(unit) <= _MOST_BYTES:
        return [unit]
    indicator, kind = unit[0] & 0xE0 | _FU_A, unit[0] & 31
    rest = [unit[begin : begin + _MOST_BYTES] for begin in range(1, len(unit), _MOST_BYTES)]
    fragments = []
    for position, part in enumerate(rest):
        flags = 0x80 if position == 0 else 0x40 if position == len(rest) - 1 else 0
        fragments.append(bytes((indicator, flags | kind)) + part)
    return fragments


def digest(user: str, realm: str, password: str, *, nonce: str, method: str, url: str) -> str:
    """Return the answer to a challenge of a server (RFC 2069, which RTSP servers ask for)."""
    secret = _md5(f"{user}:{realm}:{password}")
    return _md5(f"{secret}:{nonce}:{_md5(f'{method}:{url}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
