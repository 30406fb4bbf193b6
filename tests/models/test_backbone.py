"""Backbones: their maps, and their pretrained weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from edgecv.errors import DownloadError, InputError  # noqa: E402
from edgecv.models.backbone import Backbone, backbone_names, features_of  # noqa: E402

State = dict[str, Any]
STRIDES = (4, 8, 16, 32)


@pytest.fixture(scope="module")
def mobilenet() -> Backbone:
    torch.manual_seed(0)
    return Backbone("mobilenet_v2", (8, 16, 32)).eval()


def snapshot(module: Any) -> State:
    return {key: value.clone() for key, value in module.state_dict().items()}


def check_shapes(backbone: Backbone, size_hw: tuple[int, int]) -> None:
    with torch.inference_mode():
        maps = backbone.eval()(torch.zeros(2, 3, *size_hw))
    expected = [
        (2, channels, -(-size_hw[0] // stride), -(-size_hw[1] // stride))
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert [tuple(found.shape) for found in maps] == expected


@pytest.mark.parametrize("name", backbone_names())
def test_every_backbone_has_the_promised_maps(name: str) -> None:
    backbone = Backbone(name, STRIDES)
    assert backbone.strides == STRIDES
    assert backbone.training
    check_shapes(backbone, (64, 96))


@pytest.mark.parametrize("size_hw", [(96, 160), (65, 127)])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vgg16", "csp_n"])
def test_maps_of_odd_sizes(name: str, size_hw: tuple[int, int]) -> None:
    check_shapes(Backbone(name, STRIDES), size_hw)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_models_of_timm(name: str) -> None:
    pytest.importorskip("timm")
    check_shapes(Backbone(f"timm:{name}", (8, 32)), (64, 96))


def test_building_moves_no_statistics() -> None:
    means = [
        value for key, value in Backbone("resnet18", (8,)).state_dict().items() if "mean" in key
    ]
    assert means
    assert not any(mean.any() for mean in means)


def test_the_last_map_is_torchvisions_network(mobilenet: Backbone) -> None:
    reference = torchvision.models.mobilenet_v2(weights=None).eval()
    reference.load_state_dict(mobilenet.trunk.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(mobilenet(images)[2], reference.features(images))


def test_any_named_layer_can_be_read() -> None:
    model = torchvision.models.resnet18(weights=None).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    seen = []
    hook = model.layer3[1].conv2.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        model(images)
        hook.remove()
        found = features_of(model, ["layer3.1.conv2"])(images)
    assert list(found) == ["layer3.1.conv2"]
    torch.testing.assert_close(found["layer3.1.conv2"], seen[0], rtol=0, atol=0)


def test_loads_the_trunk_of_a_file(shared_data: Path) -> None:
    path = shared_data / "weights" / "mobilenetv2_1.0_imagenet_trunk_fp16.pth"
    state = torch.load(path, weights_only=True)
    backbone = Backbone("mobilenet_v2", (8, 16, 32))
    backbone.load(state, origin=str(path))
    own = backbone.trunk.state_dict()
    compared = [key for key in own if not key.endswith("num_batches_tracked")]
    for key in compared:
        torch.testing.assert_close(own[key], state[key].float(), rtol=0, atol=0)
        assert own[key].dtype == torch.float32
    assert len(compared) == 260  # 52 convolutions, each with the four tensors of its norm


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vgg16"])
def test_a_whole_classifier_loads_too(name: str) -> None:
    state = torchvision.models.get_model(name, weights=None).state_dict()
    backbone = Backbone(name, (8, 16))
    backbone.load(state, origin="hub")
    for key, value in backbone.trunk.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda state, key: state.pop(key), "None"),
        (lambda state, key: state.update({key: torch.zeros(5)}), r"\(5,\)"),
    ],
    ids=["missing", "wrong shape"],
)
def test_a_bad_tensor_is_named(
    mobilenet: Backbone, spoil: Callable[[State, str], object], got: str
) -> None:
    state = snapshot(mobilenet.trunk)
    spoil(state, "features.2.conv.0.0.weight")
    fresh = Backbone("mobilenet_v2", (8, 16, 32))
    before = snapshot(fresh)
    message = (
        rf"`w\.pth`: `features\.2\.conv\.0\.0\.weight` must have .*\(96, 16, 1, 1\), got {got}"
    )
    with pytest.raises(InputError, match=message):
        fresh.load(state, origin="w.pth")
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("invalid hash")])
def test_a_hub_out_of_reach_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, mobilenet: Backbone, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(DownloadError, match=f"{error}.*`--weights FILE`"):
        mobilenet.imagenet_state()


def test_refuses_what_is_not_there() -> None:
    with pytest.raises(InputError, match=r"no backbone `resnet19`.*resnet18.*timm:NAME"):
        Backbone("resnet19", (8,))
    with pytest.raises(InputError, match=r"`resnet18` has no map of stride 64.*\[4, 8, 16, 32\]"):
        Backbone("resnet18", (8, 64))
    with pytest.raises(InputError, match=r"features_of: .*layer9"):
        features_of(torchvision.models.resnet18(weights=None), ["layer9"])


def test_refuses_what_timm_lacks() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=r"timm has no model `mobilenet_v77`"):
        Backbone("timm:mobilenet_v77", (8,))
    with pytest.raises(InputError, match=r"no map of stride 64"):
        Backbone("timm:resnet18", (64,))


def test_stages_are_those_of_the_paper() -> None:
    backbone = Backbone("resnet18", (8, 16, 32))
    names = {id(layer): name for name, layer in backbone.trunk.named_modules()}
    found = [{names[id(layer)].partition(".")[0] for layer in s} for s in backbone.stages()]
    assert found == [{"conv1", "bn1"}, {"layer1"}, {"layer2"}, {"layer3"}, {"layer4"}]


@pytest.mark.parametrize("name", backbone_names())
def test_every_parameter_and_statistic_is_in_one_stage(name: str) -> None:
    backbone = Backbone(name, (8, 16, 32))
    assert len(backbone.stages()) == 5
    layers = [layer for stage in backbone.stages() for layer in stage]
    tensors = [
        id(tensor)
        for layer in layers
        for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
    ]
    assert len(tensors) == len(set(tensors))
    assert set(tensors) == {id(x) for x in (*backbone.parameters(), *backbone.buffers())}
    assert backbone.training
