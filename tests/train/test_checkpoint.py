"""Checkpoints: never half written, and nothing else is taken for one."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.records import from_plain, to_plain  # noqa: E402
from edgecv.train.checkpoint import (  # noqa: E402
    MARK,
    load_trained,
    read_checkpoint,
    save_checkpoint,
)
from edgecv.train.config import TrainConfig  # noqa: E402


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    script = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        import torch
        from edgecv.errors import OutputError
        from edgecv.train.checkpoint import save_checkpoint

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save_checkpoint(Path({str(path)!r}), {{"step": torch.zeros(1_000_000)}})
        except OutputError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "cannot write" in done.stdout
    assert read_checkpoint(path)["step"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.pt"
    save_checkpoint(truncated, {"step": torch.zeros(1000)})
    truncated.write_bytes(truncated.read_bytes()[:2000])
    foreign = tmp_path / "foreign.pt"
    torch.save({"weights": 1}, foreign)
    for path, message in (
        (tmp_path / "missing.pt", "there is no such checkpoint"),
        (truncated, "not a readable checkpoint"),
        (foreign, "not a checkpoint that this edgecv reads"),
    ):
        with pytest.raises(InputError, match=message):
            read_checkpoint(path)


def test_configuration_survives_a_checkpoint() -> None:
    config = TrainConfig("ssd_mobilenetv2", "bccd", mean=(0.5, 0.5, 0.5), backbone_rate=0.1)
    assert from_plain(TrainConfig, to_plain(config), where="") == config


def test_a_checkpoint_of_another_version_says_so(trained_classifier: Path, tmp_path: Path) -> None:
    whole = read_checkpoint(trained_classifier / "best.pt")
    del whole[MARK]
    first, *_ = whole["averaged"]
    renamed = {f"old.{first}" if key == first else key: v for key, v in whole["averaged"].items()}
    changes = {
        "the layers of its lenet are others": {"averaged": renamed},
        "unknown key `config.momentum`": {"config": {**whole["config"], "momentum": 0.9}},
        "the model description is not JSON": {"spec": "?"},
    }
    for reason, change in changes.items():
        save_checkpoint(tmp_path / "old.pt", {**whole, **change})
        with pytest.raises(InputError, match=r"was written by .* and cannot be read: ") as told:
            load_trained(tmp_path / "old.pt")
        assert reason in str(told.value)
        assert "\n" not in str(told.value)
