"""One writer at a time, across processes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecv.errors import OutputError
from edgecv.files import make_folder, unwritable

_PAUSE_S = 0.02


class Lock:
    """The right to replace a file: the kernel's lock on another file beside it.

    It ends with its holder, even one that was killed, so that there is none to break. A process
    that is started with `descriptor` holds it too: then it ends with the last of them.
    """

    def __init__(self, guard: Path, descriptor: int) -> None:
        """Hold what `take_lock` took."""
        self.descriptor = descriptor
        self._guard = guard

    def release(self) -> None:
        """Let others have it, and remove the file; once."""
        with suppress(OSError):
            self._guard.unlink()  # before the lock ends, or it might be another's
        os.close(self.descriptor)


def take_lock(path: Path) -> Lock | None:
    """Return the right to replace `path`, None while another has it.

    Raises:
        OutputError: if the folder cannot be written.

    """
    import fcntl  # noqa: PLC0415  # not on Windows, where bundles can still be read

    guard = path.with_name(f".{path.name}.lock")
    make_folder(path.parent)
    try:
        descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(unwritable(path, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder may have removed the file between our two calls: then the lock is on
        # a file that nobody else will ever see.
        if _is_same(descriptor, guard):
            return Lock(guard, descriptor)
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def locked(path: Path, *, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold the right to replace `path`; others who ask for it wait.

    Args:
        path: what is to be written.
        timeout_s: how long to wait for another.

    Raises:
        OutputError: if the folder cannot be written, or another holds on for too long.

    """
    deadline = time.monotonic() + timeout_s
    while (lock := take_lock(path)) is None:
        if time.monotonic() > deadline:
            raise OutputError(
                f"`{path}` has been locked by another process for {timeout_s:g} s. Wait until it "
                "has ended (`fuser` names it), and try again; nothing was changed."
            )
        time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        lock.release()


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
