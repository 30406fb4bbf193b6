"""Where a page listens: what `--serve` takes."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from edgecv.errors import InputError

LOOPBACK = "127.0.0.1"

_MOST_PORT = 65535
_WRITTEN = re.compile(r"(?:(?P<host>\[[^\[\]]+\]|[^\[\]:]+):)?(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Address:
    """A host and a port.

    Args:
        port: 0 for any that is free.
        host: a name or an IP address of this machine; `0.0.0.0` for all of its interfaces.

    """

    port: int
    host: str = LOOPBACK

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return what `text` names: `8080`, `0.0.0.0:8080` or `[::1]:8080`.

        Raises:
            InputError: if it names none.

        """
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or int(found["port"]) > _MOST_PORT:
            raise InputError(
                f"`--serve` must be a port or HOST:PORT, got {text!r}. Such as `8080` for this "
                "machine alone, or `0.0.0.0:8080` for others too."
            )
        host = found["host"]
        return cls(int(found["port"]), LOOPBACK if host is None else host.strip("[]"))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def url(self, path: str = "/") -> str:
        """Return the address of a path for a browser; of all interfaces by this machine's name."""
        host = self.host
        if is_ip(host) and ipaddress.ip_address(host).is_unspecified:
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{path}"

    def listen(self) -> socket.socket:
        """Return a socket that listens there.

        Raises:
            InputError: if the host is none of this machine, or the port is taken.

        """
        try:
            family, _, _, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(place, family=family, backlog=64)
        except OSError as error:
            raise InputError(
                f"the live page cannot listen at {self.host}:{self.port}: "
                f"{error.strerror or error}. Choose another port or host for `--serve`."
            ) from error


def is_ip(host: str) -> bool:
    """Tell whether this is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, for this machine alone."""
    if is_ip(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"
