"""Engines without TensorRT: the ONNX file itself, built by a program, opened in onnxruntime."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.bundle.machine import Gpu
from edgecv.engine_recipe import Recipe
from edgecv.kernels import letterbox
from edgecv.runtime.building import Workshop
from edgecv.runtime.engine_record import EngineRecord, FileIdentity, Host, record_path, sha256_of
from edgecv.runtime.engine_store import RecipeChoice, WantedEngine
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.session import RunOptions, Session

PROGRAM = Path(__file__).with_name("builder_program.py")
GPU = Gpu("Orin", "8.7", "10.3.0", 8)
HOST = Host("10.3.0", GPU)
LIMIT_S = 60.0  # of waiting for what happens within milliseconds


def until(happened: Callable[[], Any]) -> Any:
    """Wait for something that another process does, and return what tells of it."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class StagedFrame:
    """A frame that a session has fitted, and will run for nobody else."""

    def __init__(self, owner: "StandInEngine", tensor: Any) -> None:
        self.owner, self.tensor = owner, tensor


class StandInEngine(OnnxruntimeSession):
    """Runs an engine of the stand-in builder, and fits frames itself, as TensorRT's runner does."""

    frame_formats = ("bgr24", "rgb24")

    def __init__(self, engine: Path, shop: "StandInWorkshop") -> None:
        super().__init__(engine, "cpu", threads=1, content=engine.read_bytes())
        self.backend = "tensorrt Orin"
        self.max_batch = shop.max_batch
        self.shop = shop
        self.num_inside = self.num_closed = 0
        self.guard = threading.Lock()

    def stage(self, frame: Any, *, format: Any, matrix: Any, range: Any) -> Any:  # noqa: A002
        assert not self.num_closed
        wanted = self.spec.input
        tensor, placement = letterbox(
            frame, wanted.size_hw, format=format, matrix=matrix, range=range, fit=wanted.fit,
            scale=wanted.scale, pad=wanted.pad, dtype=wanted.dtype, layout="chw",
        )  # fmt: skip
        return StagedFrame(self, tensor[None]), placement

    def run(self, batch: Any, scalars: Any = None, proposals: Any = None) -> Any:
        staged = [batch] if isinstance(batch, StagedFrame) else batch
        if isinstance(staged, list):
            assert all(one.owner is self for one in staged)
            batch = np.concatenate([one.tensor for one in staged])
        with self.guard:
            assert not self.num_closed
            assert len(batch) <= self.max_batch
            self.num_inside += 1
        try:
            return super().run(batch, scalars, proposals)
        finally:
            with self.guard:
                self.num_inside -= 1

    def warm_up(self) -> None:
        if self.shop.warm_up_fails:
            raise RuntimeError("the GPU fell asleep")
        super().warm_up()

    def close(self) -> None:
        with self.guard:
            assert self.num_inside == 0
            self.num_closed += 1
        super().close()


class StandInWorkshop:
    """A folder with a model, the program that builds it, and what opens the result.

    Attributes:
        behaviour: of the program, see `builder_program.py`.
        opened: the engines, in the order in which they were opened.

    """

    def __init__(self, folder: Path, model: Path, behaviour: Sequence[str]) -> None:
        self.folder, self.model = folder, model
        self.behaviour = tuple(behaviour)
        self.max_batch = sys.maxsize
        self.opening_fails: list[Exception] = []
        self.warm_up_fails = False
        self.opened: list[StandInEngine] = []
        self.num_commands = 0
        engine = folder / "kept" / "model.engine"
        choice = RecipeChoice("orin", "for a test")
        self.wanted = WantedEngine(model, engine, choice, HOST)
        folder.mkdir(exist_ok=True)
        (folder / "plan").write_bytes(model.read_bytes())
        (folder / "record").write_text(self.record().to_json())

    def record(self, **changes: Any) -> EngineRecord:
        given: dict[str, Any] = {
            "engine_sha256": sha256_of(self.folder / "plan"),
            "onnx": FileIdentity.of(self.model),
            "tensorrt": HOST.tensorrt,
            "gpu": GPU.name,
            "compute_capability": GPU.capability,
            "multiprocessors": GPU.multiprocessors,
            "plugins": None,
            "recipe": Recipe(),
            "command": self.wanted.command,
            "duration_s": 60.0,
            "built_at": "2026-01-02T03:04:05+00:00",
        }
        return EngineRecord(**(given | changes))

    def keep(self, **changes: Any) -> None:
        """Put an engine where an earlier start would have."""
        engine = self.wanted.path
        engine.parent.mkdir(exist_ok=True)
        engine.write_bytes((self.folder / "plan").read_bytes())
        record_path(engine).write_text(self.record(**changes).to_json())

    def go(self) -> None:
        """Let the program go on."""
        (self.folder / "go").touch()

    def builders(self) -> list[int]:
        """The processes that were started, until now."""
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("started-*")]

    def command(self, wanted: WantedEngine) -> list[str]:
        self.num_commands += 1
        words = (PROGRAM, self.folder, wanted.path, *self.behaviour)
        return [sys.executable, "-I", *map(str, words)]

    def open_engine(self, engine: Path, options: RunOptions) -> Session:
        assert isinstance(options, RunOptions)
        if self.opening_fails:
            raise self.opening_fails.pop()
        self.opened.append(StandInEngine(engine, self))
        return self.opened[-1]

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.command, self.open_engine, grace_s=LIMIT_S)
