"""The live page of a stream: what is served, and how it hangs together with the stream."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgecv.closing import Closing
from edgecv.errors import InputError
from edgecv.live.access import Access, is_own_page, new_token
from edgecv.live.address import Address
from edgecv.live.controls import adjust, parse_changes
from edgecv.live.http import RefusedError, Request, Response, head
from edgecv.live.metrics import CONTENT_TYPE, exposition
from edgecv.live.overlay import palette
from edgecv.live.server import Connection, Hub, Limits, Server, Watcher
from edgecv.live.status import Observer, Reports
from edgecv.live.tap import Tap, packed
from edgecv.stream.accounting import DropReason
from edgecv.stream.notices import Notices

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgecv.spec import ModelSpec
    from edgecv.stream.pipeline import Pipeline, StreamResult

_ASSETS = {
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PAGE, _SIGN_IN = "index.html", "sign_in.html"
_HTML = "text/html; charset=utf-8"
_MOST_TOLD = 20
_STREAM = "application/x-edgecv-live"

_Answer = Callable[[Request, Connection], "Awaitable[Response | None]"]


class LivePage(Closing):
    """Shows a stream in a browser, with sliders, and answers `/healthz`, `/readyz`, `/metrics`.

    A context manager: entering starts it, leaving ends it. It has two threads, neither of which the
    stream ever waits for. Elsewhere than at 127.0.0.1 it wants a token, which is made if there is
    none: `url` holds it.

    Args:
        spec: of the model.
        address: where to listen.
        notices: of the stream.
        title: the model's name.
        token: that clients must show.
        is_drawn: whether the frames have their results drawn in, so that the browser need not.
        max_fps: pictures a second of one source.
        max_width: of the pictures, in pixels.
        limits: on clients.

    Raises:
        InputError: if a value cannot be used.

    Example:
        >>> with LivePage(model.spec, Address(8080), notices) as page:
        ...     print(page.url)
        ...     run_stream(source, model, on_start=page.attach, on_result=page.publish)

    """

    def __init__(
        self,
        spec: "ModelSpec",
        address: Address,
        notices: Notices,
        *,
        title: str = "",
        token: str | None = None,
        is_drawn: bool = False,
        max_fps: float = 15.0,
        max_width: int = 960,
        limits: Limits | None = None,
    ) -> None:
        """Listen; nothing is answered before `start`."""
        if not max_fps > 0 or max_width < 1:
            raise InputError(
                f"LivePage: `max_fps` and `max_width` must be positive, got {max_fps} and "
                f"{max_width}."
            )
        if token is None and not address.is_loopback:
            token = new_token()
        self._spec, self._title, self._is_drawn = spec, title, is_drawn
        self._limits = limits or Limits()
        self._assets = {
            name: resources.files("edgecv.live").joinpath("assets", name).read_bytes()
            for name in [_PAGE, _SIGN_IN, *(name for name, _ in _ASSETS.values())]
        }
        listener = address.listen()
        try:
            self.address = replace(address, port=int(listener.getsockname()[1]))
            self._access = Access(token, self.address.port)
        except BaseException:
            listener.close()
            raise
        self._token = token
        self._observer = Observer(notices)
        self._notices = notices
        self._told: set[str] = set()
        self._hub = Hub(self._watch)
        self._server = Server(
            listener,
            self._route,
            limits=self._limits,
            on_tick=self._tick,
            on_error=self._failed,
        )
        self._tap = Tap(
            spec.classes,
            lambda source, message: self._server.call(self._hub.put, source, message),
            max_fps=max_fps,
            max_width=max_width,
            on_error=self._failed,
        )
        self._generation = 0
        self._status: bytes = b""
        self._routes: dict[tuple[str, str], tuple[_Answer, bool]] = {
            ("GET", "/"): (self._index, False),
            ("GET", "/stream"): (self._stream, True),
            ("GET", "/status"): (self._plain_status, True),
            ("GET", "/metrics"): (self._metrics, True),
            ("GET", "/healthz"): (self._healthz, False),
            ("GET", "/readyz"): (self._readyz, False),
            ("POST", "/thresholds"): (self._thresholds, True),
        }

    @property
    def url(self) -> str:
        """Where a browser finds the page, with the token."""
        return self.address.url("/" if self._token is None else f"/?token={self._token}")

    def start(self) -> None:
        """Answer from now on; `/readyz` says no until a stream gives results."""
        self._tap.start()
        self._server.start()

    def attach(self, pipeline: "Pipeline", reports: Reports = list[Any]) -> None:
        """Show a pipeline from now on.

        Args:
            pipeline: whose results come by `publish`.
            reports: called for the reports of its sinks, from the page's thread.

        """
        self._observer.attach(pipeline, reports)
        self._generation += 1
        self._server.call(self._watch)
        self._server.call(self._hub.wake)

    def publish(self, result: "StreamResult") -> None:
        """Show a result; from the stream's thread, which it does not hold up."""
        self._tap.publish(result)

    def close(self) -> None:
        """End the threads and close all connections."""
        self._tap.close()
        self._server.close()

    def __enter__(self) -> "Self":
        """Start."""
        self.start()
        return self

    def _failed(self, reason: str) -> None:
        """Say what went wrong here, each thing once: the stream goes on."""
        if reason not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(reason)
            self._notices.say("live page", "sink", f"the live page has failed: {reason}")

    def _watch(self) -> None:
        """Have pictures made of what is watched."""
        pipeline = self._observer.pipeline
        names = [] if pipeline is None else list(pipeline.accounts)
        self._tap.watch(frozenset(name for name in names if self._hub.is_watched(name)))

    def _tick(self) -> None:
        self._observer.sample()
        if self._hub.watchers:
            self._status = self._packed_status()
            self._hub.wake()

    async def _route(self, request: Request, connection: Connection) -> Response | None:
        if not self._access.is_host_known(request):
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this page is known as `localhost` and by its IP address alone. "
                "Start it with a token to reach it by another name.",
            )
        method = "GET" if request.method == "HEAD" else request.method
        if method == "GET" and request.path in _ASSETS:
            name, kind = _ASSETS[request.path]
            return Response(body=self._assets[name], kind=kind)
        allowed = sorted(verb for verb, path in self._routes if path == request.path)
        if not allowed:
            return Response.text(HTTPStatus.NOT_FOUND, "there is no such page.")
        if method not in allowed:
            text = f"only {' and '.join(allowed)} is answered here."
            return Response.text(HTTPStatus.METHOD_NOT_ALLOWED, text, Allow=", ".join(allowed))
        answer, needs_token = self._routes[method, request.path]
        if needs_token and not self._access.is_let_in(request):
            return Response.text(
                HTTPStatus.UNAUTHORIZED, "show the token.", WWW_Authenticate="Bearer"
            )
        if request.method == "HEAD" and request.path == "/stream":
            return Response(kind=_STREAM)
        return await answer(request, connection)

    async def _index(self, request: Request, _connection: Connection) -> Response:
        token = request.query.get("token")
        if token is not None and self._access.has_token:
            cookie = self._access.cookie_for(token)
            if cookie is not None:  # and the token leaves the address bar
                headers = {"Location": "/", "Set-Cookie": cookie}
                return Response(HTTPStatus.SEE_OTHER, headers=headers)
        if self._access.is_let_in(request):
            return Response(body=self._assets[_PAGE], kind=_HTML)
        return Response(HTTPStatus.UNAUTHORIZED, self._assets[_SIGN_IN], _HTML)

    async def _healthz(self, _request: Request, _connection: Connection) -> Response:
        return _verdict(self._observer.why_unhealthy())

    async def _readyz(self, _request: Request, _connection: Connection) -> Response:
        return _verdict(self._observer.why_not_ready())

    async def _metrics(self, _request: Request, _connection: Connection) -> Response:
        from edgecv import __version__  # noqa: PLC0415  # reads the package's metadata

        status = self._observer.status(len(self._hub.watchers))
        text = exposition(status, version=__version__, task=self._spec.task)
        return Response(body=text, kind=CONTENT_TYPE)

    async def _plain_status(self, _request: Request, _connection: Connection) -> Response:
        return Response.json(self._observer.status(len(self._hub.watchers)).to_plain())

    async def _thresholds(self, request: Request, _connection: Connection) -> Response:
        pipeline = self._observer.pipeline
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not is_own_page(request):
            raise RefusedError(HTTPStatus.FORBIDDEN, "this comes from another site.")
        if kind != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json.")
        if pipeline is None:
            raise RefusedError(HTTPStatus.CONFLICT, "the stream has not begun.")
        try:
            changed = adjust(pipeline.settings, parse_changes(request.body))
        except InputError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return Response.json({name: control.to_plain() for name, control in changed.items()})

    async def _stream(self, request: Request, connection: Connection) -> Response | None:
        if len(self._hub.watchers) >= self._limits.num_clients:
            text = f"{self._limits.num_clients} clients are watching already."
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, text, Retry_After="5")
        source = request.query.get("source")
        watcher = Watcher(None if source is None else frozenset([source]))
        self._hub.add(watcher)
        end = asyncio.create_task(connection.end())
        end.add_done_callback(lambda _: watcher.woken.set())
        try:
            await connection.send(head(HTTPStatus.OK, {"Content-Type": _STREAM}))
            await self._send_all(watcher, connection)
        finally:
            end.cancel()
            self._hub.remove(watcher)
        return None

    async def _send_all(self, watcher: Watcher, connection: Connection) -> None:
        generation, status = -1, b""
        while not connection.is_closed:
            watcher.woken.clear()  # first: what comes while this sends wakes it again
            if generation != self._generation:
                generation = self._generation
                await connection.send(self._hello())
                await connection.send(self._packed_status())
            if status is not self._status:
                status = self._status
                await connection.send(status)
            for message in self._hub.unseen(watcher):
                await connection.send(message)
            await watcher.woken.wait()

    def _hello(self) -> bytes:
        pipeline = self._observer.pipeline
        return packed(
            {
                "type": "hello",
                "title": self._title,
                "task": self._spec.task,
                "classes": list(self._spec.classes),
                "colours": palette(),
                "sources": [] if pipeline is None else list(pipeline.accounts),
                "is_drawn": self._is_drawn,
                "reasons": {reason.value: reason.sentence for reason in DropReason},
            }
        )

    def _packed_status(self) -> bytes:
        status = self._observer.status(len(self._hub.watchers))
        return packed({"type": "status", **status.to_plain()})


def _verdict(problem: str) -> Response:
    """Return what a probe asks for; the status counts, the line is for people."""
    if problem:
        return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, problem)
    return Response.text(HTTPStatus.OK, "ok")
