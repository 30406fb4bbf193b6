"""A trunk in two parts computes what it computes whole."""

import copy

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.models.backbone import Backbone  # noqa: E402
from edgecv.models.split_backbone import SplitBackbone  # noqa: E402


@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenet_v2", "csp_n", "timm:mobilenetv3_small_100", "timm:convnext_atto"],
)
def test_two_parts_are_the_whole(name: str) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    whole, split = Backbone(name, (16, 32)), SplitBackbone(name)
    split.load(whole.trunk.state_dict(), origin="the whole")
    assert (*split.channels, split.last_channels) == whole.channels
    assert [len(stage) for stage in split.stages()] == [len(stage) for stage in whole.stages()]
    images = torch.randn(4, 3, 96, 64)
    for is_training in (True, False):  # the statistics of norms move alike
        whole.train(is_training)
        split.train(is_training)
        middle, last = whole(images)
        (found,) = split(images)
        torch.testing.assert_close(found, middle)
        torch.testing.assert_close(split.last_stage(found), last)


def test_regions_pass_the_last_stage_one_by_one() -> None:
    split = SplitBackbone("mobilenet_v3_small").eval()
    bins = torch.randn(2, 3, split.channels[0], 14, 14)
    found = split.last_stage(bins)
    assert found.shape == (2, 3, split.last_channels, 7, 7)
    torch.testing.assert_close(found[1, 2], split.last_stage(bins[1, 2][None])[0])


def test_a_copy_has_weights_of_its_own() -> None:
    split = SplitBackbone("mobilenet_v3_small")
    other = copy.deepcopy(split)
    with torch.no_grad():
        for parameter in other.last.parameters():
            parameter.zero_()
    assert all(parameter.any() for parameter in split.last.parameters() if parameter.ndim > 1)


def test_a_trunk_without_a_last_stage_is_refused() -> None:
    with pytest.raises(InputError, match=r"`vgg16` has no layers with weights behind.*single"):
        SplitBackbone("vgg16")
