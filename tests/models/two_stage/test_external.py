"""Fast R-CNN and R-CNN: detectors of regions that come with the image."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead  # noqa: E402
from torchvision.models.detection.roi_heads import RoIHeads  # noqa: E402
from torchvision.ops import box_iou, roi_align  # noqa: E402

from edgecv.data.targets import Target  # noqa: E402
from edgecv.errors import DatasetError, InputError  # noqa: E402
from edgecv.models.external import Classifier, FastRCNN, fast_rcnn, rcnn  # noqa: E402
from edgecv.models.fused import FusedDetector, FusedTorchSession  # noqa: E402
from edgecv.models.region_detector import Features, RegionSizes, trunk_of  # noqa: E402
from edgecv.models.region_reader import RoiOperator  # noqa: E402
from edgecv.models.roi_heads import SampledRegions  # noqa: E402
from edgecv.models.svm import margin_labels, margin_loss, margin_scores  # noqa: E402
from edgecv.results import Detections  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402

SIZE_HW = (96, 128)
BACKBONE = "mobilenet_v3_small"
Pixels = Callable[..., Any]


def tiny(features: Features = "single", roi: RoiOperator = "pool") -> FastRCNN:
    strides = (8, 16, 32) if features == "fpn" else (16,)
    sizes = RegionSizes(strides, 32, 64, num_proposals=40, num_sampled_regions=24)
    trunk = trunk_of(BACKBONE, features, sizes)
    return FastRCNN(trunk, 3, SIZE_HW, sizes, roi=roi)


def regions(count: int, seed: int = 0) -> Any:
    """Boxes (count, 4) all over the image."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([SIZE_HW[1], SIZE_HW[0]])
    corners = torch.rand(2, count, 2, generator=generator) * size
    return torch.cat([corners.amin(dim=0), corners.amax(dim=0)], dim=1)


def padded(boxes: Any, count: int) -> Any:
    return torch.nn.functional.pad(boxes, (0, 0, 0, count - len(boxes)))


def objects() -> list[Target]:
    """Two objects with proposals near and far; then an image without objects."""
    boxes = torch.tensor([[20.0, 30, 80, 90], [100, 20, 120, 60]])
    near = boxes.repeat(4, 1) + torch.tensor([[-4.0, 3, 5, -2]] * 2 + [[3.0, -4, -2, 4]] * 6)
    return [
        Target(boxes, torch.tensor([2, 0]), proposals=torch.cat([near, regions(30)])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), proposals=regions(30, seed=1)),
    ]


def detections_of(model: Any, images: Any, proposals: Any, score: float = 0.5) -> Any:
    fused = FusedDetector(model, max_detections=50, class_agnostic=False)
    with torch.inference_mode():
        return fused(images, torch.tensor(score), torch.tensor(0.5), proposals)


@pytest.mark.parametrize(("features", "roi"), [("single", "pool"), ("fpn", "align")])
def test_detections_of_fast_rcnn_are_torchvisions(
    noise: Pixels, features: Features, roi: RoiOperator
) -> None:
    torch.manual_seed(0)
    model = tiny(features, roi).eval()
    with torch.no_grad():
        model.box_head.logits.weight.mul_(40)
        model.box_head.offsets.weight.mul_(100)
    channels = model.map_channels
    head, predictor = TwoMLPHead(channels * 49, 64), FastRCNNPredictor(64, 4)
    head.load_state_dict(
        {
            f"fc{6 + index}.{name}": value
            for index, layer in enumerate((model.box_head.fc1, model.box_head.fc2))
            for name, value in layer.state_dict().items()
        }
    )
    with torch.no_grad():
        predictor.cls_score.load_state_dict(model.box_head.logits.state_dict())
        predictor.bbox_pred.weight[4:] = model.box_head.offsets.weight
        predictor.bbox_pred.bias[4:] = model.box_head.offsets.bias

    def read(maps: dict[str, Any], boxes: list[Any], sizes: object) -> Any:
        del sizes
        rows = [torch.nn.functional.pad(own, (1, 0), value=k) for k, own in enumerate(boxes)]
        return model.reader.of_rows(
            list(maps.values()), torch.cat(boxes), torch.cat(rows)[:, 0].long(), (7, 7)
        )

    theirs = RoIHeads(read, head, predictor, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 50).eval()
    images, boxes = noise(2, SIZE_HW), [regions(40), regions(25, seed=1)]
    with torch.inference_mode():
        maps = dict(enumerate(model.maps(images)))
        expected, _ = theirs(maps, boxes, [SIZE_HW] * 2)
    proposals = torch.stack([padded(own, 40) for own in boxes])
    counts, found, scores, classes = detections_of(model, images, proposals, 0.05)
    assert min(counts) >= 3
    for image, wanted in enumerate(expected):
        count = int(counts[image])
        assert count == len(wanted["scores"])
        torch.testing.assert_close(found[image, :count], wanted["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(scores[image, :count], wanted["scores"], rtol=0, atol=1e-4)
        assert torch.equal(1 + classes[image, :count], wanted["labels"].int())


def test_a_crop_is_the_region_with_its_context(noise: Pixels) -> None:
    """Of a crop of 64 pixels with 8 of context, the middle 48 are the region itself."""
    model = rcnn(3, SIZE_HW, BACKBONE, crop=64, context=8)
    images = noise(2, SIZE_HW)
    boxes = torch.tensor([[[30.0, 30, 54, 78]], [[0, 0, 24, 24]]])
    crops = model.reader.of_images([images], boxes, (64, 64))
    inner = roi_align(images, list(boxes), (48, 48), sampling_ratio=2, aligned=True)
    torch.testing.assert_close(crops[:, 0, :, 8:-8, 8:-8], inner, rtol=0, atol=1e-4)
    assert (crops[1, 0, :, :4] == 0).all()  # beyond the image
    rows = model.reader.of_rows([images], boxes[:, 0], torch.tensor([0, 1]), (64, 64))
    torch.testing.assert_close(rows, crops[:, 0])


def sampled(boxes: Any, ids: Any) -> SampledRegions:
    zeros = torch.zeros(len(boxes), dtype=torch.int64)
    return SampledRegions(boxes, ids, zeros, zeros, torch.zeros(len(boxes), 4))


def test_margin_labels_follow_the_overlap_with_each_class() -> None:
    targets = objects()
    boxes = torch.cat([targets[0].boxes_xyxy, regions(60), regions(20, seed=3)])
    ids = torch.tensor([0] * 62 + [1] * 20)
    labels = margin_labels(sampled(boxes, ids), targets, 3)
    for row, (box, image) in enumerate(zip(boxes, ids.tolist(), strict=True)):
        for class_id in range(3):
            own = targets[image].boxes_xyxy[targets[image].class_ids == class_id]
            best = float(box_iou(box[None], own).max()) if len(own) else 0.0
            wanted = 1 if best >= 0.7 else -1 if best < 0.3 else 0
            assert labels[row, class_id] == wanted
    assert {-1.0, 0.0, 1.0} == set(labels.flatten().tolist())


def test_margin_loss_is_its_definition() -> None:
    targets = objects()
    boxes = torch.cat([targets[0].boxes_xyxy, regions(40)])
    chosen = sampled(boxes, torch.zeros(42, dtype=torch.int64))
    generator = torch.Generator().manual_seed(0)
    margins = 2 * torch.randn(42, 3, generator=generator)
    labels = margin_labels(chosen, targets, 3).numpy()
    total = 0.0
    for class_id in range(3):
        values = margins[:, class_id].numpy().astype(np.float64)
        positive = [max(0, 1 - v) ** 2 for v in values[labels[:, class_id] == 1]]
        negative = sorted(max(0, 1 + v) ** 2 for v in values[labels[:, class_id] == -1])
        hardest = negative[-3 * max(1, len(positive)) :]
        total += sum(positive) / max(1, len(positive)) + sum(hardest) / len(hardest)
    assert float(margin_loss(margins, chosen, targets)) == pytest.approx(total / 3, rel=1e-5)


def test_margin_scores_keep_the_order() -> None:
    scores = margin_scores(torch.linspace(-5, 5, 1001))
    assert (scores.diff() > 0).all()
    assert float(scores[500]) == pytest.approx(0.5)
    assert 0 <= scores[0] < 1e-4
    slope = margin_scores(torch.tensor([-0.01, 0.01])).diff() / 0.02
    assert float(slope) == pytest.approx(0.5, abs=1e-3)  # of (1 + margin) / 2


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quicken_norms(model: Any) -> None:
    """Let statistics follow in tens of steps; this backbone's own rate needs hundreds."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1


def small_rcnn(classifier: Classifier) -> Any:
    model = rcnn(3, SIZE_HW, BACKBONE, classifier=classifier, crop=64, context=4, num_proposals=40)
    model.sizes = RegionSizes((1,), num_proposals=40, num_sampled_regions=12)
    return model


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    ("build", "num_steps", "is_sharp"),
    [
        (tiny, 80, True),
        (lambda: tiny("fpn", "align"), 80, True),
        pytest.param(lambda: small_rcnn("softmax"), 80, True, marks=pytest.mark.slow),
        # Machines that were taught so shortly hold a few more regions for objects.
        pytest.param(lambda: small_rcnn("svm"), 100, False, marks=pytest.mark.slow),
    ],
    ids=["fast", "fast-fpn", "softmax", "svm"],
)
def test_learns_a_few_images_by_heart(
    noise: Pixels, build: Callable[[], Any], num_steps: int, *, is_sharp: bool
) -> None:
    torch.manual_seed(0)
    model = build().train()
    quicken_norms(model)
    targets = objects()
    images = 0.1 * noise(2, SIZE_HW)
    images[0, 0, 30:90, 20:80] += 2
    images[0, 1, 20:60, 100:120] -= 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(num_steps):
        losses = model.losses(images, targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert set(losses.parts) == {"class", "box"}
    proposals = torch.stack([padded(target.proposals[:40], 40) for target in targets])
    counts, boxes, scores, classes = detections_of(model.eval(), images, proposals, 0.01)
    elsewhere = scores[1, : counts[1]].tolist()
    for box, class_id in zip(targets[0].boxes_xyxy, (2, 0), strict=True):
        best = int((classes[0] == class_id).nonzero()[0])  # rows are best first
        assert box_iou(box[None], boxes[0, best, None]) > 0.75
        assert scores[0, best] > max([0.5, *elsewhere])
        if is_sharp:
            torch.testing.assert_close(boxes[0, best], box, rtol=0, atol=6)
    if is_sharp:
        assert (scores > 0.5).sum(dim=1).tolist() == [2, 0]


@pytest.mark.parametrize("build", [tiny, lambda: small_rcnn("svm")], ids=["fast", "svm"])
def test_a_row_without_a_region_has_no_score(noise: Pixels, build: Callable[[], Any]) -> None:
    model = build().eval()
    proposals = torch.zeros(2, 40, 4)
    proposals[0, :3] = regions(3)
    with torch.inference_mode():
        _, scores = model.decoded(model(noise(2, SIZE_HW), proposals))
    assert (scores[0].view(40, 3, 3).amax(dim=(1, 2)) > 0).tolist() == [True] * 3 + [False] * 37
    assert not scores[1].any()


@pytest.mark.parametrize("build", [tiny, lambda: small_rcnn("svm")], ids=["fast", "svm"])
def test_images_without_proposals_or_objects_teach_every_parameter(
    noise: Pixels, build: Callable[[], Any]
) -> None:
    model = build().train()
    nothing = Target(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), proposals=torch.zeros(0, 4)
    )
    losses = model.losses(noise(2, SIZE_HW), [nothing, nothing])
    losses.total.backward()
    assert losses.total.isfinite()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_losses_stand_half_precision(noise: Pixels) -> None:
    for model in (tiny(), tiny("c4"), small_rcnn("svm")):
        with torch.autocast("cpu", torch.bfloat16):
            losses = model.train().losses(noise(2, SIZE_HW), objects())
        losses.total.backward()
        assert all(value.dtype == torch.float32 for value in losses.parts.values())
        assert all(value.isfinite() for value in losses.parts.values())


def test_proposals_are_needed_to_learn() -> None:
    target = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DatasetError, match=r"the images have none.*edgecv data propose"):
        tiny().losses(torch.zeros(1, 3, *SIZE_HW), [target])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 32}, r"`crop` must be at least 64.*got 32 and 8"),
        ({"context": 56}, r"`context` in \[0, crop / 2\), got 112 and 56"),
        ({"num_proposals": 0}, "`num_proposals` must be at least 1, got 0"),
    ],
)
def test_unusable_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rcnn(3, SIZE_HW, BACKBONE, **options)  # type: ignore[arg-type]


def rows_of(outputs: Any) -> list[Detections]:
    """The detections of each image."""
    names = ("boxes", "scores", "classes")
    return [
        Detections(*(outputs[name][image, :count] for name in names))
        for image, count in enumerate(outputs["num_detections"])
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "operator"),
    [
        (tiny, "EdgeRoiPool"),
        (lambda: fast_rcnn(3, SIZE_HW, BACKBONE, features="c4", num_proposals=40), "EdgeRoiPool"),
        (lambda: small_rcnn("svm"), "EdgeRoiAlign"),
    ],
    ids=["fast", "fast-c4", "svm"],
)
def test_the_file_finds_what_pytorch_finds(
    noise: Pixels,
    tmp_path: Path,
    tensorrt_takes: Callable[[Path], None],
    build: Callable[[], Any],
    operator: str,
) -> None:
    onnx = pytest.importorskip("onnx")
    from edgecv.export.comparison.parity import Tolerance, match_detections
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.images import read_image
    from edgecv.proposals import sliding_windows
    from edgecv.runtime.model import load

    torch.manual_seed(0)
    model = build().train()
    quicken_norms(model)
    with torch.no_grad():
        model.box_head.logits.weight.mul_(40)
        for seed in range(20):  # statistics of norms that are those of the images
            images = 0.3 * noise(2, SIZE_HW)
            model(images, torch.stack([regions(40, seed), regions(40, seed + 50)]))
    model.eval()
    spec = ModelSpec(
        task="detect",
        classes=("circle", "square", "triangle"),
        input=InputSpec("images", SIZE_HW, mean=(0.5,) * 3, std=(0.5,) * 3),
        output=model.output_spec(),
        postprocess=PostprocessSpec(score_threshold=0.05),
        proposals=model.proposals_spec(),
    )
    images = [tmp_path / "0.png", tmp_path / "1.png"]
    for file, values in zip(images, 0.5 + 0.15 * noise(2, SIZE_HW), strict=True):
        pixels = (255 * values.clamp(0, 1)).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file)
    path = tmp_path / "model.onnx"
    report = export_onnx(model, spec, path, images, options=ExportOptions(), tolerance=Tolerance())
    assert report.num_matched > 5
    bodies = {body.name for body in onnx.load(path).functions}
    assert bodies == {"EdgeNMS", operator}
    tensorrt_takes(path)
    with load(path) as opened:
        assert opened.spec.proposals == model.proposals_spec()
        opened.session.warm_up()
        windows = sliding_windows(read_image(images[0]).shape[:2], 40)
        assert len(opened(images[0], proposals=windows)) > 0
        with pytest.raises(InputError, match=r"given none.*proposals=boxes"):
            opened(images[0])
        reference = FusedTorchSession(model, opened.spec)
        for batch in (1, 4):
            pixels = 0.3 * noise(batch, SIZE_HW).numpy()
            given = np.stack([padded(regions(30 + k, k), 40).numpy() for k in range(batch)])
            thresholds = {"score_threshold": 0.1, "iou_threshold": 0.4}
            expected = reference.run(pixels, thresholds, given)
            found = opened.session.run(pixels, thresholds, given)
            assert expected["num_detections"].sum() > 0
            for wanted, actual in zip(rows_of(expected), rows_of(found), strict=True):
                pairs = match_detections(wanted, actual)  # scores may tie but for rounding
                assert len(pairs) == len(wanted) == len(actual)
                left, right = pairs.T
                boxes = wanted.boxes_xyxy[left], actual.boxes_xyxy[right]
                np.testing.assert_allclose(*boxes, atol=0.05)
                np.testing.assert_allclose(wanted.scores, actual.scores, atol=1e-3)
