"""The demo end to end, shortened: on rendered scenes, as on a machine without data or network."""

import os
import signal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from edgecv.data import open_dataset
from edgecv.demo import demo
from edgecv.demo.report import write_report
from edgecv.demo.scenes import render_scenes
from edgecv.errors import EdgeCVError
from edgecv.images import read_image
from edgecv.train.config import TrainConfig


def test_scenes_are_a_valid_data_set_and_repeat(tmp_path: Path) -> None:
    for name in ("one", "two"):
        render_scenes(tmp_path / name, {"train": 5, "test": 2}, seed=3)
    first = open_dataset(f"coco:{tmp_path / 'one'}", "train")
    assert len(first.samples) == 5
    assert first.classes == ("disc", "square", "triangle")
    assert min(len(sample.class_ids) for sample in first.samples) >= 1
    for sample in first.samples:
        twin = tmp_path / "two" / "train" / sample.image_path.name
        np.testing.assert_array_equal(read_image(sample.image_path), read_image(twin))


def test_ctrl_c_ends_the_demo_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_observer: Any
) -> None:
    render_scenes(tmp_path / "scenes", {"train": 8, "val": 2, "test": 2})
    config = TrainConfig(
        "ssd_mobilenetv2",
        f"coco:{tmp_path / 'scenes'}",
        epochs=2,
        size_hw=(64, 96),
        batch_size=4,
        weights="none",
    )
    monkeypatch.setattr(demo, "_choose_data", lambda *_: (config.data, False))
    monkeypatch.setattr(demo, "_configure", lambda *_: config)
    silent_observer.stepped = lambda **_: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(EdgeCVError, match=r"edgecv train --resume .*training"):
        demo.run_demo(tmp_path / "demo", silent_observer, lambda _: None)
    assert (tmp_path / "demo" / "training" / "last.pt").is_file()


class Tags(HTMLParser):
    """Counts the tags that a page opens."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.opened[tag] = self.opened.get(tag, 0) + 1


def test_without_data_and_network_scenes_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_observer: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").mkdir()  # an empty mirror: every download fails at once
    monkeypatch.delenv("EDGECV_DATA", raising=False)
    monkeypatch.setenv("EDGECV_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "EPOCHS", 2)
    monkeypatch.setattr(demo, "SIZE_HW", (96, 128))
    monkeypatch.setattr(demo, "SCENES", {"train": 16, "val": 8, "test": 4})
    monkeypatch.setattr(demo, "imagenet_is_available", lambda: False)
    said: list[str] = []
    folder = tmp_path / "demo"
    result = demo.run_demo(folder, silent_observer, said.append)  # type: ignore[arg-type]
    assert not result.is_real
    assert any("NOT real images" in line for line in said)
    assert any("random weights" in line for line in said)
    assert result.evaluation.metrics.num_images == 4
    with av.open(str(result.video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4
    page = folder / "index.html"
    write_report(result, page)
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.opened["table"] == 3
    assert tags.opened["svg"] == tags.opened["img"] == tags.opened["video"] == 1
    assert "rendered scenes, not real images" in text
    assert "$" not in text  # every field of the page was filled
