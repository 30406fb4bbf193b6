"""Results by HTTP POST: tried again, and on disk until the server has them."""

import base64
import http.client
import random
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from edgecv.errors import InputError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.records import as_message
from edgecv.stream.sinks.sink import Sink

if TYPE_CHECKING:
    from edgecv.stream.sinks.spool import Spool

TIMEOUT_S = 5.0
SPOOL_BYTES = 100_000_000

_NUM_TRIES = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_JOIN_S = 1.0
# The message itself is refused: it would be refused for ever, and hold up all behind it.
_OF_MESSAGE = (400, 413, 422)
_MOST_READ = 65536


class WebhookSink(Sink):
    """POSTs each result as JSON, in order.

    Every request has an `Idempotency-Key`, the same when it is sent again, by which a server can
    tell what it has already. Without a spool a message is tried three times while the next ones
    wait. With one, it is on disk first and tried until the server answers 2xx, also by the next
    run; only a message that the server refuses for itself (400, 413, 422) is dropped and said.

    Args:
        url: `http://` or `https://`; a user and password in it are sent as basic authentication.
        classes: the model's class names.
        spool: folder in which messages wait.
        spool_bytes: size of the spool; when it is full the oldest messages are dropped.
        timeout_s: for connecting and for each answer.
        notices: where what happens in the background is said.
        first_wait_s: seconds before the second try; they double up to a minute.

    Raises:
        InputError: if the URL has no host.
        OutputError: from `open`, if the spool cannot be used.

    """

    recovers = True

    def __init__(
        self,
        url: str,
        classes: Sequence[str],
        *,
        spool: Path | str | None = None,
        spool_bytes: int = SPOOL_BYTES,
        timeout_s: float = TIMEOUT_S,
        notices: Notices | None = None,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        """Check the URL."""
        self._client = _Client(url, timeout_s)
        self._classes, self._notices = tuple(classes), notices
        self._first_wait_s = first_wait_s
        self._key = uuid4().hex
        self._number = self._num_interrupts = 0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._spool: Spool | None = None
        self._spool_at = None if spool is None else (spool, spool_bytes)

    @property
    def name(self) -> str:
        """Scheme and host: the path of many webhooks is their password."""
        return self._client.name

    def open(self) -> None:
        """Open the spool and begin to deliver what waits in it, see `Sink`."""
        if self._spool_at is not None and self._spool is None and not self._is_closing:
            from edgecv.stream.sinks import spool as on_disk  # noqa: PLC0415  # not on Windows

            self._spool = on_disk.Spool(*self._spool_at)
            self._key = self._spool.id
            self._thread = threading.Thread(
                target=self._deliver, args=(self._spool,), name="edgecv-webhook", daemon=True
            )
            self._thread.start()

    def write(self, result: StreamResult) -> None:
        """Send one result, or put it into the spool, see `Sink`.

        Raises:
            InputError: if the server refuses this message.
            OutputError: if it is not there, or does not take messages now.

        """
        self.open()
        message = as_message(result, self._classes)
        if self._spool is not None:
            self._spool.append(message)
            self._wake.set()
            return
        self._number += 1
        num_interrupts, attempt = self._num_interrupts, 1
        while (error := self._try(message, f"{self._key}-{self._number}")) is not None:
            is_last = attempt == _NUM_TRIES or self._num_interrupts != num_interrupts
            if is_last or self._stop.wait(self._wait_s(attempt, error)):
                raise error
            attempt += 1

    def close(self) -> None:
        """Deliver what waits, as long as the server takes it, see `Sink`; the rest stays."""
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._end()

    def discard(self) -> None:
        """Stop at once; what waits in the spool stays."""
        self.interrupt(is_final=True)
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._end()

    def interrupt(self, *, is_final: bool) -> None:
        """Give up the request and the waiting, see `Sink`."""
        if is_final:
            self._stop.set()
        self._num_interrupts += 1
        self._wake.set()
        self._client.interrupt()

    def _end(self) -> None:
        self._client.close()
        if self._spool is not None:
            num_left = len(self._spool)
            if num_left:
                self._say(f"{num_left} messages wait in the spool for the next run.")
            self._spool.close()
            self._spool = self._thread = None

    def _try(self, message: bytes, key: str) -> "_NotNowError | None":
        try:
            self._client.post(message, key)
        except _NotNowError as error:
            return error
        return None

    def _deliver(self, spool: "Spool") -> None:
        """Send what is in the spool until the end."""
        attempt = num_lost = 0
        while not self._stop.is_set():
            self._wake.clear()
            try:
                oldest = spool.oldest()
                if oldest is not None:
                    self._send(spool, *oldest)
            except OSError as error:
                attempt += 1
                if attempt == 1:
                    self._say(f"{error} Messages wait in the spool.")
                if self._is_closing or self._stop.wait(self._wait_s(attempt, error)):
                    return
                continue
            if attempt:
                self._say("The server takes messages again.")
                attempt = 0
            if spool.num_lost > num_lost == 0:
                self._say("The spool is full; the oldest messages are dropped.")
            num_lost = spool.num_lost
            if oldest is None:
                if self._is_closing:
                    return
                self._wake.wait()

    def _send(self, spool: "Spool", number: int, message: bytes) -> None:
        try:
            self._client.post(message, f"{self._key}-{number}")
        except InputError as error:
            self._say(f"{error} The message was dropped.")
        spool.done(number)

    def _wait_s(self, attempt: int, error: Exception) -> float:
        if isinstance(error, _NotNowError) and error.retry_after_s is not None:
            return min(error.retry_after_s, _LONGEST_WAIT_S)
        wait_s = min(self._first_wait_s * 2.0 ** min(attempt - 1, 20), _LONGEST_WAIT_S)
        return wait_s * random.uniform(0.5, 1)  # noqa: S311  # so that many do not come at once

    def _say(self, text: str) -> None:
        if self._notices is not None:
            self._notices.say(self.name, "sink", text)


class _NotNowError(OutputError):
    """The server does not take messages now; a later try may succeed."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _Client:
    """One connection that is opened when needed."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise InputError(f"`{parts.scheme}://`: a webhook must name a host. Add it.")
        try:
            port = parts.port
        except ValueError as error:
            raise InputError(
                f"`{parts.scheme}://{parts.hostname}`: the port must be a number up to 65535."
            ) from error
        path = parts.path or "/"
        self._path = f"{path}?{parts.query}" if parts.query else path
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "edgecv"}
        if parts.username is not None:
            both = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def post(self, message: bytes, key: str) -> None:
        """Send a message.

        Raises:
            InputError: if the server refuses this message.
            _NotNowError: if it does not answer 2xx for another reason.

        """
        try:
            if self._connection.sock is None:
                self._connection.connect()
                with self._lock:
                    self._socket = self._connection.sock
            self._connection.request(
                "POST", self._path, message, self._headers | {"Idempotency-Key": key}
            )
            answer = self._connection.getresponse()
            answer.read(_MOST_READ)
            if answer.will_close or not answer.isclosed():
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = (
                "no answer in time"
                if isinstance(error, TimeoutError)
                else (str(error) or type(error).__name__)
            )
            raise _NotNowError(
                f"`{self.name}`: the server cannot be reached: {reason}. Check that it runs."
            ) from None  # the original may hold the address
        self._judge(answer)

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        with self._lock:
            self._socket = None
        with suppress(OSError):
            self._connection.close()

    def interrupt(self) -> None:
        """Let whoever waits for the server fail at once."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _judge(self, answer: http.client.HTTPResponse) -> None:
        status = f"{answer.status} {answer.reason}".strip()
        if 200 <= answer.status < 300:  # noqa: PLR2004  # as HTTP numbers success
            return
        if answer.status in _OF_MESSAGE:
            raise InputError(
                f"`{self.name}`: the server refused a message ({status}). Check what it expects."
            )
        if 300 <= answer.status < 400:  # noqa: PLR2004  # redirections
            raise _NotNowError(
                f"`{self.name}`: the server redirects ({status}). Name its new address."
            )
        after = answer.getheader("Retry-After", "")
        raise _NotNowError(
            f"`{self.name}`: the server answered {status}. Check address and permissions.",
            float(after) if after.isdecimal() else None,
        )
