"""The no-stall start of TensorRT: another backend serves while the engine is built.

Minutes pass until an engine is built, and a camera does not wait. So `--backend tensorrt` opens the
engine that an earlier start has built; where there is none that fits, it builds one in another
process, runs the ONNX file on the fastest other backend meanwhile, and switches between two frames.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from edgecv.bundle.lock import Lock, take_lock
from edgecv.bundle.machine import find_gpu
from edgecv.errors import DeviceError, EdgeCVError, InputError, MissingDependencyError
from edgecv.runtime.build_process import BuildProcess
from edgecv.runtime.engine_record import Host
from edgecv.runtime.engine_store import WantedEngine, wanted_engine
from edgecv.runtime.plugin_file import installed_plugins
from edgecv.runtime.racing import PINNED, open_fastest
from edgecv.runtime.session import RunOptions, Session, open_graph
from edgecv.runtime.switching import Listener, SwitchingSession
from edgecv.runtime.tensorrt_module import import_tensorrt

_PAUSE_S = 0.25  # between two looks at another process's build


def build_command(wanted: WantedEngine) -> list[str]:
    """Return the command line of the process that builds an engine."""
    return [sys.executable, "-m", "edgecv", *wanted.words, "--progress", "json"]


def open_built(path: Path, options: RunOptions) -> Session:
    """Open an engine in TensorRT."""
    from edgecv.runtime.tensorrt import open_engine  # noqa: PLC0415  # TensorRT is optional

    return open_engine(path, options)


@dataclass(frozen=True)
class Workshop:
    """Where engines are made and opened.

    Args:
        command: that builds one, see `edgecv.runtime.build_process`.
        open_engine: opens one.
        grace_s: how long a build that is called off may take to keep what it timed.

    """

    command: Callable[[WantedEngine], Sequence[str]] = build_command
    open_engine: Callable[[Path, RunOptions], Session] = open_built
    grace_s: float = 5.0


def open_while_building(path: Path, options: RunOptions) -> Session:
    """Open the engine of an ONNX file, or a session that becomes one as soon as it is built.

    Args:
        path: the file.
        options: how to run it: `precision` is what the file must compute in, `cache` the folder
            that engines are kept in.

    Raises:
        MissingDependencyError: if TensorRT is not installed, or what builds engines.
        DeviceError: if there is no GPU.
        InputError: if the file or the options cannot be used, or no other backend runs the file.

    """
    if options.device not in ("auto", "cuda"):
        raise InputError(
            f"`device` of tensorrt must be auto or cuda, got {options.device!r}. Leave it out."
        )
    version = str(import_tensorrt().__version__)
    gpu = find_gpu()
    if gpu is None:
        raise DeviceError(
            "TensorRT runs on a GPU, and CUDA finds none here. Check `nvidia-smi` and "
            "CUDA_VISIBLE_DEVICES, or leave out `--backend`."
        )
    host = Host(version, gpu, installed_plugins())
    wanted = wanted_engine(path, host, options.precision, options.cache)
    return open_wanted(wanted, options, Workshop())


def open_wanted(wanted: WantedEngine, options: RunOptions, workshop: Workshop) -> Session:
    """Open an engine if it is built, else a session that becomes it.

    Args:
        wanted: the engine.
        options: how to run it.
        workshop: what builds and opens it.

    Raises:
        MissingDependencyError: if what builds engines is not installed.
        InputError: if no other backend runs the file.

    """
    record = wanted.record()
    unusable = None
    if record is not None:
        try:
            return workshop.open_engine(wanted.path, options)
        except EdgeCVError as error:  # built anew it may open: this one is not tried again
            unusable = record.engine_sha256, str(error)
    missing = [name for name in ("onnx", "onnx_ir") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"`{wanted.model}` has no engine yet, and to build one needs {', '.join(missing)}. "
            "Install it with `pip install 'edgecv[export]'`."
        )
    interim = _open_interim(wanted, options)
    return BuildingSession(interim, wanted, options, workshop, unusable)


def _open_interim(wanted: WantedEngine, options: RunOptions) -> Session:
    """Open the fastest other backend: a race between them is over before the builder disturbs it.

    Raises:
        InputError: if there is none; the message says how to build the engine beforehand.

    """
    other = RunOptions(threads=options.threads)
    try:
        if os.environ.get(PINNED) == "tensorrt":
            return open_graph(wanted.model, replace(other, backend="onnxruntime"))
        return open_fastest(wanted.model, other)
    except InputError as error:
        raise InputError(
            f"no other backend serves while the engine is built: {error} Or build it first, and "
            f"it is found where it lies then: `{wanted.command}`."
        ) from error


def wait_for_engine(session: Session) -> None:
    """Wait until the engine of a session runs, where one is built: for who measures it.

    Raises:
        DeviceError: if it could not be built or opened; the session is closed then.

    """
    if isinstance(session, BuildingSession):
        try:
            session.wait()
        except BaseException:
            session.close()
            raise


class _CalledOffError(Exception):
    """The session was closed."""


class BuildingSession(SwitchingSession):
    """An ONNX file on another backend until its engine is built, opened and warm.

    Where that fails, the other backend goes on. `backend` says what runs and what is awaited,
    `reason` which recipe was taken and why; `listen` tells of the switch or the failure.
    """

    def __init__(
        self,
        interim: Session,
        wanted: WantedEngine,
        options: RunOptions,
        workshop: Workshop,
        unusable: tuple[str, str] | None = None,
    ) -> None:
        """Begin to build, in another process that a thread follows.

        Args:
            interim: what serves meanwhile; closed by this session.
            wanted: the engine.
            options: how to run it.
            workshop: what builds and opens it.
            unusable: checksum of an engine that fits and does not open, and why not.

        """
        super().__init__(interim)
        self._interim = interim
        self.reason = f"recipe {wanted.recipe.name}, {wanted.recipe.reason}; kept as {wanted.path}"
        self._wanted, self._options, self._workshop = wanted, options, workshop
        self._unusable = unusable
        self._awaited = "TensorRT builds (0 %)"
        self._process: BuildProcess | None = None
        self._called_off = threading.Event()
        self._failure: str | None = None
        self._said: list[str] = []
        self._listeners: list[Listener] = []
        self._guard = threading.Lock()
        if unusable is not None:
            self._say(f"`{wanted.path}` is built anew, as it does not open: {unusable[1]}")
        # Daemon: a program that ends without `close` does not wait for it, nor does the builder.
        self._thread = threading.Thread(target=self._work, name="edgecv-engine", daemon=True)
        self._thread.start()

    @property
    def backend(self) -> str:
        """The backend of the next run, and how far the engine is."""
        session, awaited = self._tenure.session, self._awaited
        if session is not self._interim or not awaited:
            return session.backend
        return f"{session.backend}, while {awaited}"

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each sentence, see `TellingSession.listen`."""
        with self._guard:
            earlier = list(self._said)
            self._listeners.append(listener)
        for text in earlier:
            listener(text)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the engine runs, for who measures it and not what serves meanwhile.

        Args:
            timeout_s: how long at the most, None for as long as it takes.

        Returns:
            Whether it runs.

        Raises:
            DeviceError: if it could not be built or opened.

        """
        self._thread.join(timeout_s)
        if self._failure is not None:
            raise DeviceError(self._failure)
        return self._tenure.session is not self._interim

    def close(self) -> None:
        """Call the build off if it runs, and close the session that runs."""
        super().close()  # from here on nothing is switched to
        self._called_off.set()
        with self._guard:
            process = self._process
        if process is not None:
            process.call_off(self._workshop.grace_s)
        if threading.current_thread() is not self._thread:  # a listener may close the session
            self._thread.join()

    def _work(self) -> None:
        """Build, open and warm the engine, and switch to it."""
        began_s = time.monotonic()
        before = self._interim.backend
        try:
            built = self._ensure_engine()
            self._awaited = "TensorRT starts"
            second = self._warm_engine()
        except _CalledOffError:
            self._awaited = ""
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the other backend goes on
            self._awaited = ""
            if not self._called_off.is_set():
                self._failure = f"`{self._wanted.model}` does not run in TensorRT: {error}"
                self._say(f"{self._failure} {before} goes on.")
            return
        if not self.switch(second):
            self._awaited = ""
            second.close()
            return
        how = f"built in {time.monotonic() - began_s:.0f} s" if built else "built elsewhere"
        self._say(f"{second.backend} took over from {before}: its engine was {how}.")

    def _ensure_engine(self) -> bool:
        """Return whether the engine was built here, once it is there.

        Raises:
            _CalledOffError: if the session is closed before that.
            DeviceError: if the build fails.

        """
        lock = self._take_turn()
        try:
            record = self._wanted.record()
            if record is not None and record.engine_sha256 != (self._unusable or ("",))[0]:
                return False
            self._build(lock)
            return True
        finally:
            lock.release()

    def _take_turn(self) -> Lock:
        """Return the right to build, when no other process does."""
        while (lock := take_lock(self._wanted.path)) is None:
            self._awaited = "another process builds its engine of TensorRT"
            if self._called_off.wait(_PAUSE_S):
                raise _CalledOffError
        return lock

    def _build(self, lock: Lock) -> None:
        command = self._workshop.command(self._wanted)
        with self._guard:
            if self._called_off.is_set():
                raise _CalledOffError
            # With the lock in its hands, a builder that outlives this process keeps others waiting.
            process = self._process = BuildProcess(command, [lock.descriptor])
        try:
            process.follow(self._advance)
        finally:
            with self._guard:
                self._process = None
        if self._called_off.is_set():
            raise _CalledOffError

    def _advance(self, fraction: float) -> None:
        self._awaited = f"TensorRT builds ({fraction:.0%})"

    def _warm_engine(self) -> Session:
        """Return the engine, open and run once."""
        if self._called_off.is_set():
            raise _CalledOffError
        session = self._workshop.open_engine(self._wanted.path, self._options)
        try:
            self._check(session)
            session.warm_up()
        except BaseException:
            session.close()
            raise
        return session

    def _check(self, session: Session) -> None:
        """Refuse an engine whose outputs would be understood as those of the file."""
        if session.spec != self.spec:
            raise InputError(
                "the record of its engine describes another model than the file does. Remove "
                f"`{self._wanted.path}`, and start again."
            )

    def _say(self, text: str) -> None:
        with self._guard:
            self._said.append(text)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(text)
