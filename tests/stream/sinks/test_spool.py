"""The spool against a list: in order, bounded, there again after every kind of end."""

import struct
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgecv.errors import OutputError
from edgecv.stream.sinks.spool import Spool

MIB = 1 << 20


def waiting(spool: Spool) -> list[bytes]:
    """Take all that waits."""
    messages = []
    while (oldest := spool.oldest()) is not None:
        number, message = oldest
        messages.append(message)
        spool.done(number)
    return messages


def test_what_waits_is_there_after_a_restart(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", MIB) as spool:
        first_id = spool.id
        assert [spool.append(b"%d" % index) for index in range(5)] == [1, 2, 3, 4, 5]
        assert spool.oldest() == (1, b"0")
        spool.done(2)
        assert len(spool) == 3
    with Spool(tmp_path / "spool", MIB) as spool:
        assert spool.id == first_id  # and with it the keys that the server has seen
        assert len(spool) == 3
        assert spool.append(b"new") == 6
        assert waiting(spool) == [b"2", b"3", b"4", b"new"]
        assert spool.oldest() is None
    with Spool(tmp_path / "spool", MIB) as spool:
        assert waiting(spool) == []
        assert spool.append(b"x") == 7


def test_a_message_that_is_not_done_comes_again(tmp_path: Path) -> None:
    with Spool(tmp_path, MIB) as spool:
        spool.append(b"a")
        assert spool.oldest() == spool.oldest() == (1, b"a")


def test_what_a_power_cut_tore_is_left_out(tmp_path: Path) -> None:
    with Spool(tmp_path, MIB) as spool:
        for message in (b"a", b"b", b"c"):
            spool.append(message)
    (file,) = tmp_path.glob("*.spool")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with Spool(tmp_path, MIB) as spool:
        assert spool.append(b"d") == 3
        assert waiting(spool) == [b"a", b"b", b"d"]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    with Spool(tmp_path, MIB) as spool:
        spool.append(b"a")
        spool.append(b"b")
    (file,) = tmp_path.glob("*.spool")
    data = bytearray(file.read_bytes())
    data[struct.calcsize("<IIQ")] ^= 1
    file.write_bytes(data)
    with Spool(tmp_path, MIB) as spool:
        assert waiting(spool) == []


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    with Spool(tmp_path, 65536) as spool:
        for index in range(500):
            spool.append(b"%06d" % index + bytes(994))
        assert sum(file.stat().st_size for file in tmp_path.glob("*.spool")) <= 65536
        left = [int(message[:6]) for message in waiting(spool)]
        assert left == list(range(500 - len(left), 500))
        assert spool.num_lost == 500 - len(left)
        assert len(left) > 40  # most of the room is used


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        Spool(tmp_path, MIB),
        pytest.raises(OutputError, match=r"used by another process. Name another folder"),
    ):
        Spool(tmp_path, MIB)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`max_bytes` must be at least 65536, got 1"):
        Spool(tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another place"):
        Spool(tmp_path / "file" / "spool", MIB)


class SpoolIsAList(RuleBasedStateMachine):
    """Appends, deliveries and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.spool = Spool(self.folder.name, 65536)
        self.model: list[tuple[int, bytes]] = []
        self.last = 0

    @rule(message=st.binary(max_size=2000))
    def append(self, message: bytes) -> None:
        number = self.spool.append(message)
        assert number == self.last + 1
        self.last = number
        self.model.append((number, message))
        lost = len(self.model) - len(self.spool)
        assert lost >= 0
        del self.model[:lost]

    @precondition(lambda self: self.model)
    @rule()
    def deliver(self) -> None:
        assert self.spool.oldest() == self.model[0]
        self.spool.done(self.model.pop(0)[0])

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder.name, 65536)

    @invariant()
    def the_head_is_the_lists(self) -> None:
        assert self.spool.oldest() == (self.model[0] if self.model else None)
        assert len(self.spool) == len(self.model)

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()


TestSpoolIsAList = SpoolIsAList.TestCase
TestSpoolIsAList.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
