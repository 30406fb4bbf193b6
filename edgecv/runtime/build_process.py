"""`edgecv build` in a process of its own: started, followed, called off."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress

from edgecv.errors import DeviceError

NICENESS = 10  # below our own: the frames that are served meanwhile go first


class BuildProcess:
    """A build that reports a line of JSON a step, see `edgecv build --progress json`.

    It ends with whoever started it: the pipe of its reports breaks then. `call_off` may come from
    another thread than `follow`.

    Args:
        command: the program and its words.
        held: descriptors that it is to keep open.

    Raises:
        DeviceError: if it cannot be started.

    """

    def __init__(self, command: Sequence[str], held: Sequence[int] = ()) -> None:
        """Start it."""
        # A file takes whatever libraries print; nobody would empty a pipe while `follow` reads.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `follow`
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # CTRL-C at the terminal is for this process to pass on
                pass_fds=held,
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(
                f"`{command[0]}` cannot be started: {error.strerror}. Is there memory left?"
            ) from error
        own = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(OSError):  # it has ended, or the system does not allow it
            os.setpriority(os.PRIO_PROCESS, self._process.pid, own + NICENESS)

    def follow(self, watch: Callable[[float], object]) -> None:
        """Wait until it ends.

        Args:
            watch: told the fraction that is done, in 0..1.

        Raises:
            DeviceError: with what it said last, if it failed.

        """
        with self._errors, self._process as process:
            for line in process.stdout or ():
                fraction = _fraction(line)
                if fraction is not None:
                    watch(fraction)
            code = process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", errors="replace").strip()
        if code < 0:
            raise DeviceError(
                f"the build was ended by {signal.Signals(-code).name}, as the system does when "
                "memory runs out."
            )
        if code:
            last = said.rpartition("\n")[2].removeprefix("edgecv: ")
            raise DeviceError(last or f"the build ended with code {code} and did not say why.")

    def call_off(self, grace_s: float) -> None:
        """End it: by SIGINT, upon which it keeps what it timed, and by force if that takes long.

        Args:
            grace_s: how long it may take.

        """
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # and what it may have started
            self._process.wait()


def _fraction(line: bytes) -> float | None:
    """Return what a line reports, None for one that a library printed."""
    try:
        fraction = json.loads(line)["fraction"]
    except (ValueError, TypeError, KeyError):
        return None
    return float(fraction) if isinstance(fraction, int | float) else None
