"""The registry: models by name, with their options."""

from typing import Literal

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.models import (  # noqa: E402
    Detector,
    build_model,
    default_backbone,
    model_names,
    model_options,
    network_options,
    register_model,
    registry,
    ssd_mobilenetv2,
)
from edgecv.options import read_options  # noqa: E402


def test_builds_by_name() -> None:
    assert "ssd_mobilenetv2" in model_names()
    built = build_model("ssd_mobilenetv2", 2, (64, 96))
    assert isinstance(built, Detector)
    assert built.training


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no model `ssd`\. Choose one of: .*ssd_mobilenetv2"):
        build_model("ssd", 2, (64, 64))


def test_registers_a_function_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", {})

    def tiny(num_classes: int, size_hw: tuple[int, int]) -> Detector:
        return ssd_mobilenetv2(num_classes, size_hw)

    assert register_model(tiny) is tiny
    assert model_names() == ["tiny"]


def test_options_reach_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", {})
    seen = []

    @register_model
    def tiny(
        num_classes: int,
        size_hw: tuple[int, int],
        backbone: str = "none",
        *,
        depth: int = 2,
        box_loss: Literal["l1", "l2"] = "l1",
    ) -> Detector:
        seen.append((num_classes, size_hw, backbone, depth, box_loss))
        return ssd_mobilenetv2(num_classes, size_hw)

    assert {name: str(option) for name, option in model_options("tiny").items()} == {
        "depth": "int; default 2",
        "box_loss": "l1, l2; default l1",
    }
    build_model("tiny", 1, (64, 64))
    build_model("tiny", 2, (64, 96), backbone="other", options={"depth": "3", "box_loss": "l2"})
    assert seen == [(1, (64, 64), "none", 2, "l1"), (2, (64, 96), "other", 3, "l2")]
    with pytest.raises(InputError, match="`tiny` has no option `width`"):
        build_model("tiny", 1, (64, 64), options={"width": 1})
    # The loss is the training's.
    assert network_options("tiny", {"box_loss": "l2"}) == {"depth": 2}
    assert network_options("tiny", {"depth": 3}) == {"depth": 3}


def test_every_option_of_every_model_says_what_it_takes() -> None:
    for name in model_names():
        for key, option in model_options(name).items():
            assert read_options(name, {key: option}, {key: option.default}) == {key: option.default}
            assert option.choices or option.kind in (int, float, str) or "tuple" in str(option)


def test_refuses_a_taken_name() -> None:
    with pytest.raises(ValueError, match="the name `ssd_mobilenetv2` is taken"):
        register_model(ssd_mobilenetv2)


def test_a_model_with_a_backbone_of_its_own_takes_no_other() -> None:
    with pytest.raises(InputError, match=r"`ssd_mobilenetv2` has a backbone of its own.*resnet18"):
        build_model("ssd_mobilenetv2", 2, (64, 64), backbone="resnet18")


def test_the_default_backbone_is_known_without_building() -> None:
    assert default_backbone("yolo_n") == "csp_n"
    assert default_backbone("ssd_mobilenetv2") is None
    with pytest.raises(InputError, match="no model `yolo_x`"):
        default_backbone("yolo_x")
