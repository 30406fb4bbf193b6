"""Where a page listens."""

import pytest

from edgecv.errors import InputError
from edgecv.live import Address


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("8080", Address(8080, "127.0.0.1"), True),
        ("127.0.0.2:80", Address(80, "127.0.0.2"), True),
        ("localhost:0", Address(0, "localhost"), True),
        ("[::1]:8080", Address(8080, "::1"), True),
        ("0.0.0.0:8080", Address(8080, "0.0.0.0"), False),  # noqa: S104
        ("[::]:8080", Address(8080, "::"), False),
        ("jetson.local:65535", Address(65535, "jetson.local"), False),
    ],
)
def test_what_names_an_address(text: str, address: Address, is_loopback: bool) -> None:  # noqa: FBT001
    assert Address.parse(text) == address
    assert address.is_loopback is is_loopback


@pytest.mark.parametrize("text", ["", ":8080", "8080:", "host", "::1:8080", "65536", "-1", "a b:c"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(InputError, match=r"must be a port or HOST:PORT, got .*Such as `8080`"):
        Address.parse(text)


def test_a_port_that_is_taken_is_told() -> None:
    with Address(0).listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen at 127.0.0.1:{port}: .*Choose"):
            Address(port).listen()


def test_a_host_that_is_elsewhere_is_told() -> None:
    with pytest.raises(InputError, match=r"cannot listen at 192\.0\.2\.1:0"):  # RFC 5737: nobody's
        Address(0, "192.0.2.1").listen()


def test_a_url_can_be_opened() -> None:
    assert Address(8080).url() == "http://127.0.0.1:8080/"
    assert Address(8080, "::1").url("/x") == "http://[::1]:8080/x"
    assert "0.0.0.0" not in Address(8080, "0.0.0.0").url()  # noqa: S104
