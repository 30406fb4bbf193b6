"""MobileNetV2 as a pyramid: its maps, and its pretrained trunk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from edgecv.errors import DownloadError, InputError  # noqa: E402
from edgecv.models.mobilenet import MobileNetV2Pyramid, imagenet_trunk  # noqa: E402

State = dict[str, Any]


@pytest.fixture(scope="module")
def pyramid() -> MobileNetV2Pyramid:
    torch.manual_seed(0)
    return MobileNetV2Pyramid().eval()


def trunk_of(pyramid: MobileNetV2Pyramid) -> State:
    return {f"features.{key}": value for key, value in pyramid.features.state_dict().items()}


@pytest.mark.parametrize("size_hw", [(64, 64), (96, 160), (65, 127)])
def test_maps_have_the_promised_shapes(
    pyramid: MobileNetV2Pyramid, size_hw: tuple[int, int]
) -> None:
    with torch.inference_mode():
        maps = pyramid(torch.zeros(2, 3, *size_hw))
    expected = [
        (2, channels, -(-size_hw[0] // stride), -(-size_hw[1] // stride))
        for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True)
    ]
    assert [tuple(found.shape) for found in maps] == expected


def test_the_third_map_is_torchvisions_network(pyramid: MobileNetV2Pyramid) -> None:
    reference = torchvision.models.mobilenet_v2(weights=None).eval()
    reference.features.load_state_dict(pyramid.features.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(pyramid(images)[2], reference.features(images))


def test_loads_the_trunk_of_a_file(shared_data: Path) -> None:
    path = shared_data / "weights" / "mobilenetv2_1.0_imagenet_trunk_fp16.pth"
    state = torch.load(path, weights_only=True)
    pyramid = MobileNetV2Pyramid()
    pyramid.load_trunk(state, origin=str(path))
    own = trunk_of(pyramid)
    compared = [key for key in own if not key.endswith("num_batches_tracked")]
    for key in compared:
        torch.testing.assert_close(own[key], state[key].float(), rtol=0, atol=0)
        assert own[key].dtype == torch.float32
    assert len(compared) == 260  # 52 convolutions, each with the four tensors of its norm


def test_a_whole_classifier_loads_too() -> None:
    state = torchvision.models.mobilenet_v2(weights=None).state_dict()
    fresh = MobileNetV2Pyramid()
    fresh.load_trunk(state, origin="hub")
    torch.testing.assert_close(
        trunk_of(fresh)["features.18.0.weight"], state["features.18.0.weight"]
    )


@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda state, key: state.pop(key), "None"),
        (lambda state, key: state.update({key: torch.zeros(5)}), r"\(5,\)"),
    ],
    ids=["missing", "wrong shape"],
)
def test_a_bad_tensor_is_named(
    pyramid: MobileNetV2Pyramid, spoil: Callable[[State, str], object], got: str
) -> None:
    state = trunk_of(pyramid)
    spoil(state, "features.2.conv.0.0.weight")
    fresh = MobileNetV2Pyramid()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    message = (
        rf"`w\.pth`: `features\.2\.conv\.0\.0\.weight` must have .*\(96, 16, 1, 1\), got {got}"
    )
    with pytest.raises(InputError, match=message):
        fresh.load_trunk(state, origin="w.pth")
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("invalid hash")])
def test_a_hub_out_of_reach_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(DownloadError, match=f"{error}.*`--weights FILE`"):
        imagenet_trunk()
