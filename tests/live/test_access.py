"""Who may see the page: by which name, and with which token."""

import socket

import pytest

from edgecv.errors import InputError
from edgecv.live import Address, LivePage
from edgecv.stream.notices import Notices

from .visitor import TOKEN, Shown, any_spec, ask, change


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a:b"])
def test_a_name_that_begins_to_resolve_here_is_refused(show: Shown, host: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, "/status", Host=host)[0] == 421
        assert ask(stream, "/", Host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "[::1]:8080"])
def test_its_own_names_are_known(show: Shown, host: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, "/status", Host=host)[0] == 200


@pytest.mark.parametrize("path", ["/status", "/stream", "/metrics"])
def test_without_the_token_nothing_is_told(show: Shown, path: str) -> None:
    with show(is_running=False, token=TOKEN) as stream:
        status, headers, body = ask(stream, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert body == b"show the token.\n"
        for wrong in ("Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"):
            assert ask(stream, path, Authorization=wrong)[0] == 401
        assert ask(stream, path, "HEAD", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_token_becomes_a_cookie(show: Shown) -> None:
    with show(token=TOKEN) as stream:
        assert stream.page.url.endswith(f"/?token={TOKEN}")
        status, _, body = ask(stream, "/")
        assert status == 401
        assert b'name="token"' in body
        assert ask(stream, "/?token=wrong")[0] == 401
        status, headers, _ = ask(stream, f"/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/")
        cookie, *flags = headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(flags)
        assert TOKEN not in cookie
        assert cookie.startswith(f"edgecv-{stream.page.address.port}=")
        assert ask(stream, "/", Cookie=f"a=b; {cookie}")[0] == 200
        assert ask(stream, "/status", Cookie=cookie[:-1])[0] == 401
        assert change(stream, {"score": 0.5})[0] == 401
        assert change(stream, {"score": 0.5}, Cookie=cookie)[0] == 200
        # It is known by any name then: a foreign site has no cookie for it.
        assert ask(stream, "/", Host="jetson.example", Cookie=cookie)[0] == 200


def test_probes_need_no_token(show: Shown) -> None:
    with show(token=TOKEN) as stream:
        assert ask(stream, "/healthz")[::2] == (200, b"ok\n")
        assert ask(stream, "/readyz")[::2] == (503, b"no source gives frames: waiting\n")
        stream.give()
        assert ask(stream, "/readyz")[::2] == (200, b"ok\n")


def test_elsewhere_a_token_is_made() -> None:
    with LivePage(any_spec(), Address(0, "0.0.0.0"), Notices()) as page:  # noqa: S104
        first = page.url
        assert "/?token=" in first
        assert socket.gethostname() in first
    with LivePage(any_spec(), Address(0, "0.0.0.0"), Notices()) as page:  # noqa: S104
        assert page.url.partition("=")[2] != first.partition("=")[2]


@pytest.mark.parametrize("token", ["short", "", "é" * 20, "a\nb" * 9])
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(InputError, match=r"at least 16 characters .*Leave it out"):
        LivePage(any_spec(), Address(0), Notices(), token=token)
