"""Which camera fails when, how and for how long: all of it by a seed."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind = Literal["drop", "down", "stall", "corrupt", "resize"]
Command: TypeAlias = tuple[object, ...]

EVERY_S = 15.0

_KINDS: tuple[Kind, ...] = ("stall", "drop", "resize", "corrupt", "down")
_DAMAGE = 0.01  # of the bytes: several in every packet
_OTHER_SIZES = ("480x270", "640x360", "256x144")


@dataclass(frozen=True)
class Fault:
    """One failure of one camera.

    Args:
        camera: its number.
        kind: `drop` closes the connection; `down` the port as well; `stall` sends no picture;
            `corrupt` damages all of them; `resize` changes their size, and changes it back.
        at_s: when it begins, from the start of the run.
        lasts_s: when it ends, from its beginning; 0 for a drop, of which nothing lasts.
        begin: what the camera is told then.
        end: what it is told at the end, None for nothing.

    """

    camera: int
    kind: Kind
    at_s: float
    lasts_s: float
    begin: Command
    end: Command | None

    @property
    def silences(self) -> bool:
        """Whether nothing that can be shown comes while it lasts."""
        return self.kind in ("down", "stall", "corrupt")


def planned(seed: int, *, num_cameras: int, until_s: float, size: str) -> Iterator[Fault]:
    """Yield a fault every 15 s, each kind and each camera once before any comes again.

    Args:
        seed: of all that chance decides.
        num_cameras: that fail in turns.
        until_s: none begins so late that it could not be survived before.
        size: of the cameras' pictures, to which a `resize` comes back.

    """
    chance = random.Random(seed)  # noqa: S311  # a test, no secret
    kinds, cameras = _shuffled(_KINDS, chance), _shuffled(range(num_cameras), chance)
    at_s = EVERY_S
    while at_s <= until_s - EVERY_S:
        kind, camera = next(kinds), next(cameras)
        lasts_s, begin, end = _COMMANDS[kind](chance, size)
        yield Fault(camera, kind, at_s, lasts_s, begin, end)
        at_s += EVERY_S


def _shuffled(items: Sequence, chance: random.Random) -> Iterator:
    while True:
        yield from chance.sample(list(items), len(items))


_Made: TypeAlias = tuple[float, Command, Command | None]


def _drop(chance: random.Random, size: str) -> _Made:
    del chance, size
    return 0.0, ("drop",), None


def _down(chance: random.Random, size: str) -> _Made:
    del size
    return chance.uniform(1, 8), ("down",), ("up",)


def _stall(chance: random.Random, size: str) -> _Made:
    del size
    return chance.uniform(1, 12), ("stall",), ("resume",)  # shorter and longer than the timeout


def _corrupt(chance: random.Random, size: str) -> _Made:
    del size
    return chance.uniform(1, 8), ("corrupt", _DAMAGE), ("corrupt", 0)


def _resize(chance: random.Random, size: str) -> _Made:
    return chance.uniform(2, 8), ("resize", chance.choice(_OTHER_SIZES)), ("resize", size)


_COMMANDS: dict[Kind, Callable[[random.Random, str], _Made]] = {
    "drop": _drop,
    "down": _down,
    "stall": _stall,
    "corrupt": _corrupt,
    "resize": _resize,
}
