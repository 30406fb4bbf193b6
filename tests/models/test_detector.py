"""What a frozen backbone keeps."""

import pytest

torch = pytest.importorskip("torch")

from edgecv.data.targets import Target  # noqa: E402
from edgecv.models import Detector, build_model  # noqa: E402


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
