"""Who may see the page: a token, and the checks that keep other web sites out of a browser's way.

A page that listens at 127.0.0.1 is reached by every site that the browser there has open. Such a
site cannot read answers of another origin, unless its own name begins to resolve to 127.0.0.1 (DNS
rebinding): then the browser still says that name in `Host`. And it cannot send JSON to another
origin without asking first, which nobody answers here.
"""

import hashlib
import hmac
import secrets

from edgecv.errors import InputError
from edgecv.live.address import is_ip
from edgecv.live.http import Request

LEAST_TOKEN = 16  # characters

_COOKIE_DAYS = 30


class Access:
    """Lets requests in or not.

    Args:
        token: that a client must show, at least 16 characters of those that URLs and headers can
            hold; None lets everybody in who comes by an IP address or as `localhost`.
        port: of the page: cookies are shared by all ports of a host.

    Raises:
        InputError: if the token can be guessed or written in no header.

    """

    def __init__(self, token: str | None, port: int) -> None:
        """Take the token."""
        if token is not None and not (
            len(token) >= LEAST_TOKEN and token.isascii() and token.isprintable()
        ):
            raise InputError(
                f"`--token` must have at least {LEAST_TOKEN} characters of ASCII, got "
                f"{len(token)}. Leave it out to have one made."
            )
        self._token = token
        self._name = f"edgecv-{port}"
        # What the browser keeps is not the token itself.
        self._cookie = "" if token is None else _digest(token, "cookie")

    @property
    def has_token(self) -> bool:
        """Whether one must be shown."""
        return self._token is not None

    def is_host_known(self, request: Request) -> bool:
        """Tell whether the request was meant for this page.

        With a token any name is: a foreign site that took this address over has no cookie for it.
        """
        host = hostname(request.headers.get("host", ""))
        return host is not None and (self.has_token or is_ip(host) or host == "localhost")

    def is_let_in(self, request: Request) -> bool:
        """Tell whether the request shows the token, as a cookie or as a bearer's."""
        if self._token is None:
            return True
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        is_bearer = kind.lower() == "bearer" and _is_same(bearer.strip(), self._token)
        return is_bearer or _is_same(request.cookies.get(self._name, ""), self._cookie)

    def cookie_for(self, token: str) -> str | None:
        """Return the header that lets a browser in from now on, None if the token is wrong."""
        if self._token is None or not _is_same(token, self._token):
            return None
        return (
            f"{self._name}={self._cookie}; Path=/; Max-Age={_COOKIE_DAYS * 86400}; "
            "HttpOnly; SameSite=Lax"  # Strict would leave it out where a link was followed
        )


def is_own_page(request: Request) -> bool:
    """Tell whether a request that changes something comes from this page, or from none at all."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "").lower()
    host = request.headers.get("host", "").lower()
    is_own = origin in ("", f"http://{host}", f"https://{host}")
    return is_own and site in ("same-origin", "none")


def new_token() -> str:
    """Return a token that nobody guesses: 192 bits."""
    return secrets.token_urlsafe(24)


def hostname(host: str) -> str | None:
    """Return the name in a `Host` header, in lower case and without the port; None if malformed."""
    name, port = host, ""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif ":" in host:
        name, _, port = host.partition(":")
    is_port = not port or (port.isascii() and port.isdigit())
    return name.lower().removesuffix(".") if name and is_port else None


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _digest(token: str, purpose: str) -> str:
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()
