"""Our own trunks: maps of every stride, and no pretrained weights to be had."""

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.models.backbone import Backbone, has_imagenet_weights  # noqa: E402
from edgecv.models.csp import CSP_SIZES, STRIDES  # noqa: E402


@pytest.mark.parametrize("name", CSP_SIZES)
def test_maps_have_the_promised_widths(name: str) -> None:
    backbone = Backbone(name, STRIDES).eval()
    with torch.inference_mode():
        maps = backbone(torch.zeros(1, 3, 70, 100))
    assert backbone.channels == CSP_SIZES[name].widths
    assert [tuple(x.shape[1:]) for x in maps] == [
        (width, -(-70 // stride), -(-100 // stride))
        for width, stride in zip(CSP_SIZES[name].widths, STRIDES, strict=True)
    ]


def test_the_last_map_sees_far() -> None:
    """Context pooling: a cell of stride 32 hears of what lies six cells away."""
    torch.manual_seed(0)
    backbone = Backbone("csp_n", (32,)).eval()
    images = torch.rand(1, 3, 32, 32 * 14, requires_grad=True)
    backbone(images)[0][0, :, 0, 0].sum().backward()
    assert images.grad is not None
    assert images.grad[..., 32 * 6 :].any()


def test_has_no_imagenet_weights() -> None:
    backbone = Backbone("csp_n", (8, 16, 32))
    assert not has_imagenet_weights("csp_n")
    assert has_imagenet_weights("resnet18")
    with pytest.raises(InputError, match=r"no ImageNet weights of csp_n.*`--weights none`"):
        backbone.imagenet_state()
    with pytest.raises(InputError, match=r"`csp_n` has no map of stride 64"):
        Backbone("csp_n", (64,))
