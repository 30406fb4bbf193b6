"""Anchors and boxes of regions against torchvision's generator and coder."""

import pytest

torch = pytest.importorskip("torch")
anchor_utils = pytest.importorskip("torchvision.models.detection.anchor_utils")

from torchvision.models.detection._utils import BoxCoder  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402
from torchvision.ops import clip_boxes_to_image  # noqa: E402

from edgecv.models.regions import (  # noqa: E402
    decode_regions,
    region_anchors,
    scores_of_proper,
)

STRIDES = (4, 8, 16, 32, 64)


@pytest.mark.parametrize("scale", [4.0, 8.0])
@pytest.mark.parametrize("size_hw", [(128, 192), (320, 416), (100, 70)])
def test_anchors_are_torchvisions(size_hw: tuple[int, int], scale: float) -> None:
    generator = anchor_utils.AnchorGenerator(
        tuple((scale * stride,) for stride in STRIDES), ((0.5, 1.0, 2.0),) * len(STRIDES)
    )
    images = ImageList(torch.zeros(1, 3, *size_hw), [size_hw])
    maps = [torch.zeros(1, 1, *(-(-side // stride) for side in size_hw)) for stride in STRIDES]
    (expected,) = generator(images, maps)
    found = region_anchors(STRIDES, size_hw, scale=scale)
    assert [len(level) for level in found] == [3 * x.shape[2] * x.shape[3] for x in maps]
    torch.testing.assert_close(torch.cat(found), expected, rtol=0, atol=0)


def test_anchors_of_several_sizes_are_torchvisions() -> None:
    generator = anchor_utils.AnchorGenerator(((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),))
    images = ImageList(torch.zeros(1, 3, 100, 70), [(100, 70)])
    (expected,) = generator(images, [torch.zeros(1, 1, 7, 5)])
    (found,) = region_anchors((16,), (100, 70), scale=2, num_sizes=5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("variances", [(1.0, 1.0), (0.1, 0.2)])
def test_boxes_are_decoded_as_torchvision_does(variances: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    corner = 80 * torch.rand(50, 2, generator=generator)
    regions = torch.cat([corner, corner + 40 * torch.rand(50, 2, generator=generator)], dim=1)
    offsets = torch.randn(50, 4, generator=generator) * 4 / variances[1]  # many beyond the bound
    coder = BoxCoder((1 / variances[0],) * 2 + (1 / variances[1],) * 2)
    expected = clip_boxes_to_image(coder.decode_single(offsets, regions), (90, 110))
    found = decode_regions(offsets, regions, variances, (90, 110))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_only_proper_boxes_keep_their_score() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 0.5], [3, 0, 2, 9], [0, 0, 1, 1]])
    scores = torch.tensor([0.5, 0.6, 0.7, 0.8])
    found = scores_of_proper(scores, boxes, least_side=1.0)
    assert found.tolist() == pytest.approx([0.5, 0, 0, 0.8])
