"""SSD: its anchors, and that the heads' rows are those of the anchors."""

import pytest

torch = pytest.importorskip("torch")
anchor_utils = pytest.importorskip("torchvision.models.detection.anchor_utils")

import numpy as np  # noqa: E402

from edgecv.anchors import anchor_boxes  # noqa: E402
from edgecv.data.targets import Target  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.models.ssd import (  # noqa: E402
    SSD,
    SSD300,
    SSD512,
    SSDLITE,
    AnchorScheme,
    ssd_anchor_layers,
)

STRIDES = (8, 16, 32, 64, 128)


SCHEMES = {
    "lite": (SSDLITE, STRIDES, 320),
    "300": (SSD300, (*STRIDES, 256), 300),
    "512": (SSD512, (*STRIDES, 256, 512), 512),
}


@pytest.mark.parametrize(("scheme", "strides", "side"), SCHEMES.values(), ids=SCHEMES)
def test_anchors_are_torchvisions(
    scheme: AnchorScheme, strides: tuple[int, ...], side: int
) -> None:
    layers = ssd_anchor_layers(scheme, strides, (side, side))
    generator = anchor_utils.DefaultBoxGenerator(
        [list(ratios) for ratios in scheme.ratios], scales=list(scheme.scales), clip=False
    )
    grids = [list(layer.grid_hw) for layer in layers]
    expected = side * generator._grid_default_boxes(grids, [side, side])
    np.testing.assert_allclose(anchor_boxes(layers, (side, side)), expected, rtol=1e-6)


@pytest.mark.parametrize("size_hw", [(320, 320), (128, 256)])
@pytest.mark.parametrize("scheme", [SSDLITE, AnchorScheme((0.2, 0.4, 0.6), ((), (2.0, 3.0)))])
def test_all_pairs_are_every_size_with_every_ratio(
    scheme: AnchorScheme, size_hw: tuple[int, int]
) -> None:
    strides = STRIDES[: len(scheme.ratios)]
    some = ssd_anchor_layers(scheme, strides, size_hw, "n+m-1")
    every = ssd_anchor_layers(scheme, strides, size_hw, "all-pairs")
    for level, ratios in enumerate(scheme.ratios):
        sizes = scheme.scales[level], (scheme.scales[level] * scheme.scales[level + 1]) ** 0.5
        shapes = {1.0, *ratios, *(1 / ratio for ratio in ratios)}
        pairs = [(size, ratio) for size in sizes for ratio in shapes]
        for layers, count in ((some, 2 + len(shapes) - 1), (every, 2 * len(shapes))):
            sides = np.array(layers[level].shapes_wh) * size_hw[::-1] / min(size_hw)
            found = np.sqrt(sides.prod(axis=1)), sides[:, 0] / sides[:, 1]
            assert len(sides) == count
            wanted = [
                pair for pair in pairs if layers is every or pair[0] == sizes[0] or pair[1] == 1
            ]
            rounded = [(round(s, 6), round(r, 6)) for s, r in wanted]
            assert sorted(rounded) == sorted(
                (round(s, 6), round(r, 6)) for s, r in zip(*found, strict=True)
            )
        assert every[level].grid_hw == some[level].grid_hw


@pytest.mark.parametrize("size_hw", [(128, 256), (256, 128)])
def test_square_anchors_stay_square_in_any_input(size_hw: tuple[int, int]) -> None:
    for level, layer in enumerate(ssd_anchor_layers(SSDLITE, STRIDES, size_hw)):
        sides = np.array(layer.shapes_wh) * size_hw[::-1]
        np.testing.assert_allclose(sides[0], SSDLITE.scales[level] * 128)
        np.testing.assert_allclose(sides[1, 0], sides[1, 1])
        areas = np.delete(sides, 1, axis=0).prod(axis=1)  # the ratios keep the square's area
        np.testing.assert_allclose(areas, areas[0])


@pytest.mark.parametrize(
    ("name", "side", "cells"),
    [("ssd300", 300, (38, 19, 10, 5, 3, 2)), ("ssd512", 512, (64, 32, 16, 8, 4, 2, 1))],
)
def test_the_networks_of_the_paper(name: str, side: int, cells: tuple[int, ...]) -> None:
    model = build_model(name, 20, (side, side)).eval()
    assert isinstance(model, SSD)
    assert [layer.grid_hw for layer in model.layers] == [(count, count) for count in cells]
    with torch.inference_mode():
        offsets, logits = model(torch.rand(1, 3, side, side))
    assert offsets.shape == (1, len(model.anchors), 4)
    assert logits.shape == (1, len(model.anchors), 21)
    assert model.pyramid.norm is not None  # VGG has no norms of its own
    with torch.inference_mode():
        lengths = model.pyramid(torch.rand(1, 3, side, side))[0].norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 20.0))


def test_other_backbones_need_no_norm() -> None:
    for name, backbone in (("ssd300", "resnet18"), ("ssdlite", "mobilenet_v3_small")):
        model = build_model(name, 2, (128, 128), backbone=backbone).eval()
        assert isinstance(model, SSD)
        assert model.pyramid.norm is None
        with torch.inference_mode():
            offsets, _ = model(torch.rand(1, 3, 128, 128))
        assert offsets.shape[1] == len(model.anchors)


def test_the_options_of_every_ssd_reach_it() -> None:
    for name in ("ssd_mobilenetv2", "ssdlite", "ssd300", "ssd512"):
        options = {"anchors": "all-pairs", "box_loss": "diou"}
        model = build_model(name, 2, (64, 64), options=options)
        assert isinstance(model, SSD)
        assert model.box_loss == "diou"
        assert len(model.layers[1].shapes_wh) == 2 * 5
        assert model.output_spec().anchors == model.layers


@pytest.mark.parametrize("box_loss", ["smooth-l1", "giou", "diou", "ciou"])
def test_a_few_steps_lower_the_loss(box_loss: str) -> None:
    torch.manual_seed(0)
    options = {"anchors": "all-pairs", "box_loss": box_loss}
    model = build_model("ssdlite", 2, (64, 96), backbone="mobilenet_v3_small", options=options)
    model.train()
    images = torch.rand(2, 3, 64, 96)
    targets = [
        Target(torch.tensor([[10.0, 10, 40, 50], [60, 20, 90, 60]]), torch.tensor([1, 0])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    boxes = []
    for _ in range(10):
        losses = model.losses(images, targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        boxes.append(losses.parts["box"].item())
    assert boxes[-1] < 0.8 * boxes[0]


@pytest.fixture
def model() -> SSD:
    torch.manual_seed(0)
    built = build_model("ssd_mobilenetv2", 3, (70, 100)).eval()
    assert isinstance(built, SSD)
    return built


def test_heads_have_a_row_per_anchor(model: SSD) -> None:
    with torch.inference_mode():
        offsets, logits = model(torch.zeros(2, 3, 70, 100))
    # Cells times shapes: 9x13, 5x7, 3x4, 2x2 and 1x1 cells.
    count = 117 * 4 + 35 * 6 + 12 * 6 + 4 * 4 + 1 * 4
    assert offsets.shape == (2, count, 4)
    assert logits.shape == (2, count, 1 + 3)
    assert model.anchors.shape == (count, 4)
    assert sum(len(layer.shapes_wh) * np.prod(layer.grid_hw) for layer in model.layers) == count


def test_rows_come_in_the_order_of_the_anchors(model: SSD) -> None:
    """Each head is made to report where it stands: offsets must then name their own anchor."""

    def report(level: int) -> object:
        layer = model.layers[level]

        def hook(_module: object, _inputs: object, head: torch.Tensor) -> torch.Tensor:
            rows, columns = head.shape[-2:]
            shapes = torch.tensor(layer.shapes_wh) * torch.tensor([100.0, 70.0])
            told = torch.empty(1, len(shapes), 4, rows, columns)
            told[:, :, 0] = (torch.arange(columns) + 0.5) * 100 / columns
            told[:, :, 1] = ((torch.arange(rows) + 0.5) * 70 / rows)[:, None]
            told[:, :, 2:] = shapes[None, :, :, None, None]
            return told.reshape(1, -1, rows, columns)

        return hook

    for level, head in enumerate(model.offset_heads):
        head.register_forward_hook(report(level))
    with torch.inference_mode():
        offsets, _ = model(torch.zeros(1, 3, 70, 100))
    torch.testing.assert_close(offsets[0], model.anchors)


def test_logits_come_in_the_same_order(model: SSD) -> None:
    """A head's channels are shape by shape, each with the background and then every class."""

    def hook(_module: object, _inputs: object, head: torch.Tensor) -> torch.Tensor:
        channels, rows, columns = head.shape[1:]
        per_channel = torch.arange(channels, dtype=torch.float32).view(1, channels, 1, 1)
        cells = 100.0 * torch.arange(rows * columns).view(1, 1, rows, columns)
        return per_channel + cells

    for head in model.logit_heads:
        head.register_forward_hook(hook)
    with torch.inference_mode():
        _, logits = model(torch.zeros(1, 3, 70, 100))
    expected = [
        [100 * cell + 4 * shape + entry for entry in range(4)]
        for layer in model.layers
        for cell in range(int(np.prod(layer.grid_hw)))
        for shape in range(len(layer.shapes_wh))
    ]
    np.testing.assert_array_equal(logits[0], expected)


def test_zero_offsets_decode_to_the_anchors_without_the_background(model: SSD) -> None:
    count = len(model.anchors)
    logits = torch.randn(1, count, 4, generator=torch.Generator().manual_seed(0))
    boxes, scores = model.decoded((torch.zeros(1, count, 4), logits))
    centre, size = model.anchors[:, :2], model.anchors[:, 2:]
    torch.testing.assert_close(boxes[0], torch.cat([centre - size / 2, centre + size / 2], dim=1))
    exponentials = logits.exp()
    expected = exponentials[..., 1:] / exponentials.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(scores, expected)


def test_the_loss_vanishes_where_the_heads_name_the_objects(model: SSD) -> None:
    boxes, class_ids = torch.tensor([[10.0, 10, 60, 50], [70, 20, 90, 60]]), torch.tensor([2, 0])

    def losses(offsets: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        return model.head_losses((offsets, logits), [Target(boxes, class_ids)]).parts

    count = len(model.anchors)
    offsets, logits = torch.zeros(1, count, 4, requires_grad=True), torch.zeros(1, count, 4)
    for _ in range(60):  # descend: the slope of smooth L1 leads to the targets one by one
        (slope,) = torch.autograd.grad(losses(offsets, logits)["box"], offsets)
        num_matched = int((slope != 0).any(dim=-1).sum())
        offsets = (offsets - slope * num_matched).detach().requires_grad_()
    matched = (offsets != 0).any(dim=-1)[0]
    decoded, _ = model.decoded((offsets, logits))
    nearest = torch.cdist(decoded[0, matched], boxes).min(dim=1)
    torch.testing.assert_close(nearest.values, torch.zeros_like(nearest.values), rtol=0, atol=1e-3)
    assert set(nearest.indices.tolist()) == {0, 1}

    wanted = torch.zeros(count, dtype=torch.int64)
    wanted[matched] = class_ids[nearest.indices] + 1
    right = 100.0 * torch.nn.functional.one_hot(wanted, 4)[None]
    assert losses(offsets, right)["class"].item() == 0.0


def test_the_description_holds_the_anchors(model: SSD) -> None:
    spec = model.output_spec()
    np.testing.assert_array_equal(anchor_boxes(spec.anchors, (70, 100)), model.anchors)
    assert (spec.offsets, spec.logits) == model.head_names
