"""Connections: one thread with an event loop for all of them, and limits on each.

A client that reads slowly has its own place in the newest messages: between two it may wait as long
as it likes, up to a bound, and goes on with what is newest then. It holds up nobody.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from edgecv.live import http
from edgecv.live.http import RefusedError, Request, Response, read_request

TICK_S = 1.0

_SEND_BYTES = 1 << 18  # in the system's hands: more would only grow old there
_LINGER_S = 1.0


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Args:
        num_clients: that watch at the same time.
        num_connections: of whatever kind.
        request_s: for a request to arrive.
        stall_s: that a client may leave what it was sent.

    """

    num_clients: int = 8
    num_connections: int = 64
    request_s: float = 5.0
    stall_s: float = 10.0


@dataclass(eq=False)
class Watcher:
    """A client that watches.

    Args:
        sources: whose messages it gets; None for all.

    """

    sources: frozenset[str] | None
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[str, int] = field(default_factory=dict)

    def wants(self, source: str) -> bool:
        """Whether it gets messages of a source."""
        return self.sources is None or source in self.sources


class Hub:
    """The newest message of each source, and who waits for it; of the loop's thread alone."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        """Begin without any.

        Args:
            on_change: called when a watcher came or went.

        """
        self._on_change = on_change
        self.watchers: set[Watcher] = set()
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._serial = 0

    def put(self, source: str, message: bytes) -> None:
        """Replace the newest message of a source."""
        self._serial += 1
        self._newest[source] = self._serial, message
        for watcher in self.watchers:
            if watcher.wants(source):
                watcher.woken.set()

    def wake(self) -> None:
        """Let every watcher look up: there is something to tell beside the frames."""
        for watcher in self.watchers:
            watcher.woken.set()

    def add(self, watcher: Watcher) -> None:
        """Take in a watcher."""
        self.watchers.add(watcher)
        self._on_change()

    def remove(self, watcher: Watcher) -> None:
        """Let a watcher go; what nobody watches any more is forgotten, for it grows old."""
        self.watchers.discard(watcher)
        for source in [name for name in self._newest if not self.is_watched(name)]:
            del self._newest[source]
        self._on_change()

    def is_watched(self, source: str) -> bool:
        """Whether anybody gets messages of a source."""
        return any(watcher.wants(source) for watcher in self.watchers)

    def unseen(self, watcher: Watcher) -> Iterable[bytes]:
        """Yield the newest messages that a watcher has not had, asked anew after each."""
        for source in list(self._newest):
            serial, message = self._newest.get(source, (0, b""))
            if watcher.wants(source) and serial > watcher.seen.get(source, 0):
                watcher.seen[source] = serial
                yield message


class Connection:
    """A client's connection, as a route sees it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits
    ) -> None:
        """Take both over."""
        self._reader, self._writer, self._limits = reader, writer, limits
        writer.transport.set_write_buffer_limits(high=0)  # drained means handed to the system

    @property
    def is_closed(self) -> bool:
        """Whether the client is gone."""
        return self._writer.is_closing()

    async def end(self) -> None:
        """Wait until the client hangs up, or says more than it was asked: both end it."""
        with suppress(OSError):
            await self._reader.read(1)
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send, and wait until the client has taken most of it.

        Raises:
            OSError: if it is gone, or does not read.

        """
        self._writer.write(data)
        try:
            await asyncio.wait_for(self._writer.drain(), self._limits.stall_s)
        except asyncio.TimeoutError:
            raise ConnectionAbortedError("the client does not read") from None


Route = Callable[[Request, Connection], Awaitable[Response | None]]


class Server:
    """Serves requests in a thread of its own.

    Args:
        listener: a socket that listens; taken over.
        route: answers a request, or sends by itself and returns None.
        limits: on clients.
        on_tick: called in the thread every `TICK_S`.
        on_error: called in the thread with what a route raised.

    """

    def __init__(
        self,
        listener: socket.socket,
        route: Route,
        *,
        limits: Limits,
        on_tick: Callable[[], object],
        on_error: Callable[[str], object],
    ) -> None:
        """Prepare the thread; nothing is accepted yet."""
        self._listener, self._route, self._limits = listener, route, limits
        self._on_tick, self._on_error = on_tick, on_error
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgecv-page", daemon=True)

    def start(self) -> None:
        """Accept connections from now on."""
        self._thread.start()
        self._started.wait()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called in the thread, soon; for any thread, does nothing at the end."""
        if self._loop is not None:
            with suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Close all connections and end the thread; twice does no harm."""
        if self._thread.ident is None:
            self._listener.close()
            return
        if self._closing is not None:
            self.call(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._listener.close()
            self._started.set()

    async def _serve(self) -> None:
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(
            self._connected, sock=self._listener, limit=http.HEAD_BYTES
        )
        self._started.set()
        try:
            while not self._closing.is_set():
                try:
                    self._on_tick()
                except Exception as error:  # noqa: BLE001  # idem
                    self._on_error(f"{type(error).__name__}: {error}")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), TICK_S)
        finally:
            server.close()
            while self._tasks:  # before Python 3.12 `wait_for` may swallow a cancellation
                for task, writer in self._tasks.items():
                    writer.transport.abort()
                    task.cancel()
                await asyncio.wait(list(self._tasks), timeout=TICK_S)
            await asyncio.sleep(0)  # the transports close in the loop's next round

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._limits.num_connections:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._served(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(self._tasks.pop)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
            connection = Connection(reader, writer, self._limits)
            response = await self._answer(reader, connection)
            if response is None:
                return
            await connection.send(response)
            # A client that is still writing would lose the answer to the reset.
            writer.write_eof()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_drained(reader), _LINGER_S)
        except OSError:
            pass  # the client is gone
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, connection: Connection) -> bytes | None:
        has_body = True
        try:
            request = await asyncio.wait_for(read_request(reader), self._limits.request_s)
            if request is None:
                return None
            has_body = request.method != "HEAD"
            response = await self._route(request, connection)
        except RefusedError as error:
            response = Response.text(error.status, str(error))
        except asyncio.TimeoutError:
            response = Response.text(HTTPStatus.REQUEST_TIMEOUT, "the request took too long.")
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # a page that fails must not end a stream
            self._on_error(f"{type(error).__name__}: {error}")
            response = Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "this has failed.")
        return None if response is None else response.to_bytes(has_body=has_body)


async def _drained(reader: asyncio.StreamReader) -> None:
    while await reader.read(http.HEAD_BYTES):
        pass
