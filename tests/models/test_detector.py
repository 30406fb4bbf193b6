"""The registry, and what a frozen backbone keeps."""

from typing import Literal

import pytest

torch = pytest.importorskip("torch")

from edgecv.data.targets import Target  # noqa: E402
from edgecv.errors import InputError  # noqa: E402
from edgecv.models import (  # noqa: E402
    Detector,
    build_model,
    default_backbone,
    detector,
    model_names,
    model_options,
    network_options,
    register_model,
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
    monkeypatch.setattr(detector, "_BUILDERS", {})

    def tiny(num_classes: int, size_hw: tuple[int, int]) -> Detector:
        return ssd_mobilenetv2(num_classes, size_hw)

    assert register_model(tiny) is tiny
    assert model_names() == ["tiny"]


def test_options_reach_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_BUILDERS", {})
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


def backbone_state(model: Detector) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.backbone().state_dict().items()}


def changed_keys(model: Detector, before: dict[str, torch.Tensor]) -> list[str]:
    after = model.backbone().state_dict()
    return [key for key, value in before.items() if not torch.equal(value, after[key])]


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_frozen_backbone_keeps_weights_and_statistics(*, is_frozen: bool) -> None:
    torch.manual_seed(0)
    model = build_model("ssd_mobilenetv2", 2, (64, 64))
    if is_frozen:
        model.freeze_backbone()
    model.train()
    before = backbone_state(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    targets = [
        Target(torch.tensor([[5.0, 5, 40, 40]]), torch.tensor([1])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]
    model.losses(torch.randn(2, 3, 64, 64), targets).total.backward()
    optimizer.step()
    changed = changed_keys(model, before)
    if is_frozen:
        assert changed == []
    else:
        assert "trunk.features.0.0.weight" in changed
        assert "trunk.features.0.1.running_mean" in changed


def test_the_heads_of_a_frozen_model_still_train() -> None:
    model = build_model("ssd_mobilenetv2", 2, (64, 64))
    model.freeze_backbone()
    model.train()
    assert not any(module.training for module in model.backbone().modules())
    frozen = {id(parameter) for parameter in model.backbone().parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in frozen]
    assert rest
    assert all(parameter.requires_grad for parameter in rest)
    assert model.training
    assert not model.eval().training


def test_an_unfrozen_backbone_trains_again() -> None:
    model = build_model("ssd_mobilenetv2", 2, (64, 64))
    model.train()
    model.freeze_backbone()
    model.unfreeze_backbone()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.backbone().modules())


@pytest.mark.parametrize("trained_stages", [0, 1, 3])
def test_the_deepest_stages_of_a_frozen_backbone_may_train(trained_stages: int) -> None:
    model = build_model("ssd_mobilenetv2", 2, (64, 64))
    model.train()
    model.freeze_backbone(trained_stages=1)
    model.freeze_backbone(trained_stages=trained_stages)
    stages = model.backbone().stages()
    for index, stage in enumerate(stages):
        trains = index >= len(stages) - trained_stages
        for layer in stage:
            assert layer.training == trains
            assert all(parameter.requires_grad == trains for parameter in layer.parameters())


def test_a_model_with_a_backbone_of_its_own_takes_no_other() -> None:
    with pytest.raises(InputError, match=r"`ssd_mobilenetv2` has a backbone of its own.*resnet18"):
        build_model("ssd_mobilenetv2", 2, (64, 64), backbone="resnet18")


def test_the_default_backbone_is_known_without_building() -> None:
    assert default_backbone("yolo_n") == "csp_n"
    assert default_backbone("ssd_mobilenetv2") is None
    with pytest.raises(InputError, match="no model `yolo_x`"):
        default_backbone("yolo_x")
