"""Two real processes under torchrun: the result of one, stopped together, continued exactly."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.train import trainer  # noqa: E402
from edgecv.train.checkpoint import load_trained, read_checkpoint  # noqa: E402
from edgecv.train.distributed import Ranks  # noqa: E402

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The order of sums is then that of torchrun's processes, which have one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def two_ranks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs of two processes."""
    folder = tmp_path_factory.mktemp("two_ranks")
    done = subprocess.run(
        [*TORCHRUN, SCRIPT, scenes, folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def state_of(folder: Path) -> dict[str, Any]:
    return dict(read_checkpoint(folder / "last.pt")["detector"])


def distance(left: dict[str, Any], right: dict[str, Any]) -> float:
    squares = [
        (tensor.double() - right[name].double()).square().sum() for name, tensor in left.items()
    ]
    return float(torch.stack(squares).sum().sqrt())


@pytest.fixture(scope="module")
def alone(
    two_ranks: ModuleType, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder of the same run by one process, and the weights it started from."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    trainer.train(two_ranks.config_for(scenes), folder, two_ranks.Losses())
    torch.manual_seed(0)
    return folder, two_ranks.ssd_of_group_norms(3, (64, 96)).state_dict()


def assert_same_course(folder: Path, alone: tuple[Path, dict[str, Any]]) -> None:
    """Losses and weights agree, but for the order of sums, which AdamW amplifies: where a gradient
    is close to zero, the sign of its rounding error makes a whole step.
    """
    expected, start = alone
    ours, theirs = (json.loads((f / "history.json").read_text()) for f in (folder, expected))
    for record, other in zip(ours, theirs, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=5e-3)
    travelled = distance(state_of(expected), start)
    assert distance(state_of(folder), state_of(expected)) < 0.1 * travelled


ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_give_the_gradients_of_the_whole_batch(
    two_ranks: ModuleType, accumulate: int
) -> None:
    whole, parts = (two_ranks.gradients_of(ALONE, number) for number in (1, accumulate))
    assert (parts - whole).norm() < 1e-5 * whole.norm()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_two_processes_give_the_gradients_of_one(
    runs: Path, two_ranks: ModuleType, accumulate: int
) -> None:
    whole = two_ranks.gradients_of(ALONE, 1)
    for rank in (0, 1):
        shared = torch.load(runs / f"gradients_{accumulate}_{rank}.pt")
        assert (shared - whole).norm() < 1e-5 * whole.norm()


def test_two_processes_take_the_course_of_one(
    runs: Path, alone: tuple[Path, dict[str, Any]]
) -> None:
    assert_same_course(runs / "one_by_one", alone)


def test_another_batch_takes_another_course(
    two_ranks: ModuleType, scenes: Path, tmp_path: Path, alone: tuple[Path, dict[str, Any]]
) -> None:
    config = two_ranks.config_for(scenes, batch_size=7)
    trainer.train(config, tmp_path / "run", two_ranks.Losses())
    with pytest.raises(AssertionError):
        assert_same_course(tmp_path / "run", alone)


def test_a_signal_to_one_process_stops_both_and_resume_continues_exactly(
    runs: Path,
) -> None:
    for rank in (0, 1):
        assert (runs / f"rank_{rank}.txt").read_text() == (
            f"rank {rank} interrupted True, then epochs [1, 2]\n"
        )
    whole, resumed = state_of(runs / "whole"), state_of(runs / "stopped")
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    averaged, again = (
        load_trained(runs / name / "best.pt").network.state_dict() for name in ("whole", "stopped")
    )
    for name, tensor in averaged.items():
        assert torch.equal(tensor, again[name]), name


def test_one_process_continues_the_run_of_two(
    runs: Path,
    two_ranks: ModuleType,
    alone: tuple[Path, dict[str, Any]],
) -> None:
    folder = runs / "handed_over"
    assert read_checkpoint(folder / "last.pt")["progress"]["step"] == 2
    observer = two_ranks.Losses()
    trainer.resume(folder, observer)
    assert len(observer.losses) == 4
    assert_same_course(folder, alone)


def test_the_command_line_speaks_once(scenes: Path, tmp_path: Path) -> None:
    command = [
        *TORCHRUN,
        *("-m", "edgecv", "train", "ssd_mobilenetv2", "--data", f"coco:{scenes}"),
        *("--epochs", "1", "--size", "64", "--batch", "8", "--weights", "none"),
        *("--accumulate", "2", "--device", "cpu", "--precision", "float32"),
        *("--json", "figures.json"),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   1/1") == 1
    assert done.stdout.count("2 processes share each batch of 8") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["ssd_mobilenetv2-1"]
    assert json.loads((tmp_path / "figures.json").read_text())["ending"] == ""


def test_a_batch_smaller_than_its_parts_is_refused(
    two_ranks: ModuleType, scenes: Path, tmp_path: Path
) -> None:
    config = two_ranks.config_for(scenes, batch_size=2, accumulate=3)
    with pytest.raises(InputError, match=r"a batch of 2 images cannot be split.*3 parts"):
        trainer.train(config, tmp_path / "run", two_ranks.Losses())


def test_alone_nothing_is_exchanged() -> None:
    ranks = Ranks(0, 1, torch.device("cpu"))
    values = torch.arange(3.0)
    assert torch.equal(ranks.sum(values), torch.arange(3.0))
    assert ranks.from_first("x") == "x"
    assert ranks.gathered([1, 2]) == [1, 2]
    assert ranks.any(is_true=True)
    assert not ranks.any(is_true=False)


def test_processes_validate_with_the_same_ranges(runs: Path, two_ranks: ModuleType) -> None:
    pytest.importorskip("torchao")
    alone = two_ranks.ranges_of(Ranks(0, 1, torch.device("cpu")))
    first, second = (torch.load(runs / f"ranges_{rank}.pt") for rank in range(2))
    assert any(key.endswith("min_val") for key in alone)
    for key, value in alone.items():  # the first process' are those of one that is alone
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-4)
        assert torch.equal(first[key], second[key]), key
