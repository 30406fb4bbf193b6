"""edge_nms against the reference, image by image, and its own properties."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.kernels import reference  # noqa: E402
from edgecv.kernels.triton import candidates  # noqa: E402
from edgecv.kernels.triton.nms import NmsOutput, edge_nms  # noqa: E402

Floats = NDArray[Any]
Result = tuple[NDArray[Any], ...]

K = 20


def poisoned(batch: int, max_detections: int, device: str) -> NmsOutput:
    """Outputs in which an element that nobody writes stays -7 or NaN."""
    rows = batch, max_detections
    return NmsOutput(
        torch.full((batch,), -7, dtype=torch.int32, device=device),
        torch.full((*rows, 4), np.nan, device=device),
        torch.full(rows, np.nan, device=device),
        torch.full(rows, -7, dtype=torch.int32, device=device),
    )


def run(
    device: str, boxes: Floats, scores: Floats, *, max_detections: int = K, **options: Any
) -> Result:
    out = poisoned(len(boxes), max_detections, device)
    options = {"score_threshold": 0.25, "iou_threshold": 0.5} | options
    with np.errstate(all="ignore"):  # interpreted, what a GPU does without a word is a warning
        found = edge_nms(
            torch.from_numpy(boxes).to(device),
            torch.from_numpy(scores).to(device),
            max_detections=max_detections,
            out=out,
            **options,
        )
    assert found is out
    return tuple(tensor.cpu().numpy() for tensor in found)


def definition(
    boxes: Floats,
    scores: Floats,
    *,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
    max_detections: int = K,
    class_agnostic: bool = False,
    background_class: int = -1,
    most: int = 30000,
) -> Result:
    """The outputs for one image: its pairs, ranked, suppressed by the reference and padded."""
    values = scores.astype(np.float64)
    takes_part = values > np.float32(score_threshold)
    if background_class >= 0:
        takes_part[:, background_class] = False
    if class_agnostic:
        best = np.where(takes_part, values, -1).argmax(axis=1)
        takes_part &= best[:, None] == np.arange(scores.shape[1])
    rows, classes = np.nonzero(takes_part)
    ranked = np.lexsort((classes, rows, -values[rows, classes]))[:most]
    rows, classes = rows[ranked], classes[ranked]
    kept = reference.nms(
        boxes[rows],
        values[rows, classes],
        None if class_agnostic else classes,
        iou_threshold=float(np.float32(iou_threshold)),
        max_detections=max_detections,
    )
    out_boxes = np.zeros((max_detections, 4), np.float32)
    out_scores = np.zeros(max_detections, np.float32)
    out_classes = np.full(max_detections, -1, np.int32)
    out_boxes[: len(kept)] = boxes[rows][kept]
    out_scores[: len(kept)] = values[rows, classes][kept]
    out_classes[: len(kept)] = classes[kept]
    return np.int32(len(kept)), out_boxes, out_scores, out_classes


def check(device: str, boxes: Floats, scores: Floats, **options: Any) -> Result:
    """Compare both layouts of the scores with the definition, image by image."""
    most = options.pop("most", 30000)
    found = run(device, boxes, scores, **options)
    expected = [
        definition(*image, most=most, **options) for image in zip(boxes, scores, strict=True)
    ]
    for value, wanted in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(value, np.stack(wanted))
    return found


def crowd(batch: int, count: int, num_classes: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Boxes that overlap much, with scores that often tie."""
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, 100, (batch, count, 2))
    boxes = np.concatenate([top_left, top_left + rng.uniform(5, 60, (batch, count, 2))], axis=-1)
    scores = rng.uniform(0, 1, (batch, count, num_classes)).round(2)
    return boxes.astype(np.float32), scores.astype(np.float32)


VARIANTS: list[dict[str, Any]] = [
    {"class_agnostic": agnostic, "background_class": background}
    for agnostic in (False, True)
    for background in (-1, 1)
]


# Around the 64 candidates of a visit, the 32 rivals of a turn, and blocks of 32 classes.
@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[3]], ids=str)
@pytest.mark.parametrize(
    ("batch", "count", "num_classes"),
    [
        (1, 1, 2),
        (3, 31, 2),
        (2, 33, 3),
        (1, 64, 2),
        (1, 65, 2),
        (1, 130, 5),
        (1, 9, 33),
        (1, 3, 80),
    ],
)
def test_matches_the_definition(
    device: str, batch: int, count: int, num_classes: int, variant: dict[str, Any]
) -> None:
    check(device, *crowd(batch, count, num_classes), **variant)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.7, 1.0])
def test_matches_the_definition_when_all_are_wanted(device: str, iou_threshold: float) -> None:
    # More detections than visits, so that the boxes kept before are read back in several turns.
    boxes, scores = crowd(1, 150, 1, seed=3)
    check(
        device,
        boxes,
        scores,
        score_threshold=0.0,
        iou_threshold=iou_threshold,
        max_detections=149,
    )


def test_many_images(device: str) -> None:
    check(device, *crowd(9 if device == "cpu" else 64, 5, 2), max_detections=3)


@pytest.mark.parametrize("variant", VARIANTS[1:3], ids=str)
def test_half_floats_in_both_layouts(device: str, variant: dict[str, Any]) -> None:
    boxes, scores = crowd(2, 70, 3)
    halves = scores.astype(np.float16)
    found = check(device, boxes, halves, **variant)
    turned = np.ascontiguousarray(halves.swapaxes(1, 2))
    for value, wanted in zip(
        run(device, boxes, turned, layout="cn", **variant), found, strict=True
    ):
        np.testing.assert_array_equal(value, wanted)


# Small whole corners make every area exact; ties, NaN, infinities, inverted and empty boxes occur.
SCORES = [0.0, -0.0, 0.25, 0.5, 0.5, 1.0, np.nan, np.inf]
cases = st.tuples(st.integers(1, 10), st.integers(2, 3)).flatmap(
    lambda nc: st.tuples(
        arrays(np.float32, (1, nc[0], 4), elements=st.integers(0, 6).map(float)),
        arrays(np.float32, (1, *nc), elements=st.sampled_from(SCORES)),
    )
)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@settings(max_examples=8)
@given(
    case=cases,
    score_threshold=st.sampled_from([0.0, 0.25, 0.6]),
    iou_threshold=st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]),
    max_detections=st.integers(1, 12),
)
def test_matches_the_definition_on_ties_and_degenerate_boxes(
    device: str, variant: dict[str, Any], case: tuple[Floats, Floats], **options: Any
) -> None:
    check(device, *case, **variant, **options)


@pytest.mark.parametrize("are_valid", [True, False])
@settings(max_examples=8)
@given(
    corners=arrays(np.float32, (12, 2, 2), elements=st.floats(width=32)),
    iou_threshold=st.sampled_from([0.0, 1e-6, 0.3, 0.5, 1.0]),
)
def test_matches_the_definition_on_every_float(
    device: str, corners: Floats, iou_threshold: float, *, are_valid: bool
) -> None:
    boxes = (np.sort(corners, axis=1) if are_valid else corners).reshape(1, -1, 4)
    scores = np.linspace(1, 0.5, 12, dtype=np.float32).reshape(1, -1, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        check(device, boxes, scores, iou_threshold=iou_threshold)


@pytest.mark.parametrize("exponent", [-148, -51, 60, 100])
@pytest.mark.parametrize("iou_threshold", [2.0**-21, 2.0**-20, 0.5])
def test_matches_the_definition_at_every_scale(
    device: str, exponent: int, iou_threshold: float
) -> None:
    # Around the sides for which float32 may decide, and far beyond them.
    rng = np.random.default_rng(6)
    scales = np.ldexp(1.0, exponent + rng.integers(0, 3, (33, 2)))
    corners = rng.integers(0, 8, (33, 2)) * scales
    boxes = np.hstack([corners, corners + rng.integers(1, 8, (33, 2)) * scales])[None]
    scores = rng.uniform(0.5, 1, (1, 33, 1)).astype(np.float32)
    check(device, boxes.astype(np.float32), scores, iou_threshold=iou_threshold, max_detections=33)


def test_thresholds_at_the_ious_that_occur(device: str) -> None:
    # The strictest decisions there are: each threshold is the IoU of a pair, or its neighbour.
    boxes, scores = crowd(1, 20, 1, seed=7)
    ious = np.unique(reference.box_iou(boxes[0], boxes[0])).astype(np.float32)
    for iou in ious[1:-1:29]:
        for threshold in (np.nextafter(iou, np.float32(0)), iou, np.nextafter(iou, np.float32(1))):
            check(device, boxes, scores, iou_threshold=float(threshold), score_threshold=0.0)


@pytest.mark.parametrize(("inter", "union"), [(1, 2), (1, 4), (3, 4), (5, 8)])
def test_iou_equal_to_the_threshold_does_not_suppress(device: str, inter: int, union: int) -> None:
    # Ratios that are floats, on whole boxes and on boxes whose sides take all the digits.
    for unit in (1.0, 1.0 + 2.0**-20):
        boxes = np.array([[[0, 0, union * unit, unit], [0, 0, inter * unit, unit]]], np.float32)
        scores = np.array([[[0.9], [0.8]]], np.float32)
        at = inter / union
        assert run(device, boxes, scores, iou_threshold=at)[0].tolist() == [2]
        assert run(device, boxes, scores, iou_threshold=at - 1e-6)[0].tolist() == [1]


def test_thresholds_on_the_device_are_read_by_the_kernels(device: str) -> None:
    boxes, scores = crowd(2, 40, 2)
    limits = {
        "score_threshold": torch.tensor(0.25, device=device),
        "iou_threshold": torch.tensor([0.5], device=device),
    }
    for score, iou in ((0.25, 0.5), (0.9, 0.5), (0.9, 0.0), (0.0, 0.9)):
        limits["score_threshold"].fill_(score)
        limits["iou_threshold"].fill_(iou)
        found = run(device, boxes, scores, **limits)
        expected = run(device, boxes, scores, score_threshold=score, iou_threshold=iou)
        for value, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
    assert found[0].min() > 0


def test_thresholds_change_between_replays_of_a_graph(device: str) -> None:
    if device == "cpu":
        pytest.skip("a CUDA graph needs a GPU")
    boxes, scores = crowd(2, 300, 3)
    score_limit, iou_limit = torch.full((2, 1), 0.5, device=device)
    out = poisoned(2, K, device)
    arguments = torch.from_numpy(boxes).to(device), torch.from_numpy(scores).to(device)
    options = {"score_threshold": score_limit, "iou_threshold": iou_limit, "max_detections": K}
    edge_nms(*arguments, out=out, **options)  # compiles what cannot be compiled while capturing
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        edge_nms(*arguments, out=out, **options)
    for score, iou in ((0.25, 0.5), (0.75, 0.25), (0.0, 1.0)):
        score_limit.fill_(score)
        iou_limit.fill_(iou)
        graph.replay()
        limits = {"score_threshold": score, "iou_threshold": iou}
        expected = [definition(*image, **limits) for image in zip(boxes, scores, strict=True)]
        for value, wanted in zip(out, zip(*expected, strict=True), strict=True):
            np.testing.assert_array_equal(value.cpu().numpy(), np.stack(wanted))


def test_a_threshold_is_not_exceeded_by_its_equal(device: str) -> None:
    boxes, _ = crowd(1, 4, 1)
    scores = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25, 0.5], np.float32)
    found = run(device, boxes, scores.reshape(1, 4, 1), score_threshold=0.5)
    assert found[0].tolist() == [1]
    np.testing.assert_array_equal(found[1][0, 0], boxes[0, 1])


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("count", "num_classes"), [(100, 1), (101, 1), (40, 5), (300, 2)])
def test_only_the_best_candidates_take_part(
    device: str, monkeypatch: pytest.MonkeyPatch, count: int, num_classes: int, *, agnostic: bool
) -> None:
    # Scores tie in hundredths: where the last one with room is, they are told apart by their pair.
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 100)
    boxes, scores = crowd(2, count, num_classes)
    boxes[..., 2:] = boxes[..., :2]  # nothing overlaps: all that take part are kept
    options = {"score_threshold": 0.0, "max_detections": 110, "class_agnostic": agnostic}
    found = check(device, boxes, scores, most=100, **options)
    positive = (scores.max(axis=2) if agnostic else scores.reshape(2, -1)) > 0
    assert found[0].tolist() == [min(100, row.sum()) for row in positive]


@pytest.mark.parametrize("scores_of", [np.ones, lambda shape: np.full(shape, 1e-30)])
def test_so_many_equal_scores(
    device: str, monkeypatch: pytest.MonkeyPatch, scores_of: Callable[..., Floats]
) -> None:
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 37)
    boxes, _ = crowd(1, 500, 1)
    scores = scores_of((1, 500, 4)).astype(np.float32)
    check(device, boxes, scores, most=37, score_threshold=0.0, max_detections=40)


def test_nothing_found_is_all_padding(device: str) -> None:
    boxes, scores = crowd(2, 70, 3)
    count, rows, values, classes = run(device, boxes, np.full_like(scores, np.nan))
    assert count.tolist() == [0, 0]
    assert not rows.any()
    assert not values.any()
    assert (classes == -1).all()


def test_no_images(device: str) -> None:
    found = run(device, np.zeros((0, 5, 4), np.float32), np.zeros((0, 5, 2), np.float32))
    assert [value.shape for value in found] == [(0,), (0, K, 4), (0, K), (0, K)]


def test_a_chain_of_suppressions_is_followed_to_its_end(device: str) -> None:
    # Each box overlaps its neighbours only: every other one is kept, through 63 links.
    left = np.arange(64, dtype=np.float32)[:, None] * 4
    boxes = np.hstack([left, left * 0, left + 10, left * 0 + 10]).astype(np.float32)[None]
    scores = np.linspace(1, 0.5, 64, dtype=np.float32).reshape(1, 64, 1)
    found = check(device, boxes, scores, iou_threshold=0.4, max_detections=64)
    assert found[0].tolist() == [32]


def test_large_coordinates_and_many_classes_keep_their_precision(device: str) -> None:
    # Shifting boxes by class * max(coordinates), as others do, rounds these to one pixel or more.
    small = np.array([[0, 0, 1, 1], [0.25, 0, 1.25, 1]], np.float32) + 2.0**20  # IoU 0.6
    scores = np.zeros((1, 2, 500), np.float32)
    scores[0, :, 499] = 0.9, 0.8
    boxes = small[None].astype(np.float32)
    assert run(device, boxes, scores, iou_threshold=0.55)[0].tolist() == [1]
    assert run(device, boxes, scores, iou_threshold=0.65)[3][0, :2].tolist() == [499, 499]


def test_reads_views_and_allocates_its_outputs(device: str) -> None:
    boxes, scores = crowd(4, 30, 6)
    limits = {"score_threshold": 0.25, "iou_threshold": 0.5, "max_detections": K}
    views = torch.from_numpy(boxes).to(device)[::2, ::2], torch.from_numpy(scores).to(device)
    found = edge_nms(views[0], views[1][::2, ::2, 1:5:2], **limits)
    expected = run(device, boxes[::2, ::2].copy(), scores[::2, ::2, 1:5:2].copy())
    for value, wanted in zip(found, expected, strict=True):
        assert value.is_contiguous()
        np.testing.assert_array_equal(value.cpu().numpy(), wanted)


def good(device: str) -> dict[str, Any]:
    return {
        "boxes_xyxy": torch.zeros(2, 3, 4, device=device),
        "scores": torch.zeros(2, 3, 5, device=device),
        "score_threshold": 0.5,
        "iou_threshold": 0.5,
        "max_detections": 4,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": (2, 3, 5)}, r"`boxes_xyxy` must have shape \(B, N, 4\), got \(2, 3, 5\)"),
        ({"scores": (2, 4, 5)}, r"`scores` must have shape \(2, 3, C\), got \(2, 4, 5\)"),
        ({"layout": "cn"}, r"`scores` must have shape \(2, C, 3\), got \(2, 3, 5\)"),
        ({"scores": (2, 3, 0)}, r"`scores` must hold 1 to 2\*\*31 - 1 scores an image"),
        ({"layout": "hw"}, "`layout` must be one of nc, cn, got 'hw'"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
        ({"background_class": -2}, "`background_class` must be at least -1, got -2"),
        ({"score_threshold": 1.5}, r"`score_threshold` must be in \[0, 1\], got 1.5"),
        ({"iou_threshold": float("nan")}, r"`iou_threshold` must be in \[0, 1\], got nan"),
        ({"iou_threshold": (2,)}, r"`iou_threshold` must have shape \(1,\), got \(2,\)"),
    ],
)
def test_refuses_values(device: str, options: dict[str, Any], message: str) -> None:
    made = {
        name: torch.zeros(value, device=device) if isinstance(value, tuple) else value
        for name, value in options.items()
    }
    with pytest.raises(ValueError, match=f"^edge_nms: {message}"):
        edge_nms(**good(device) | made)


def test_refuses_types(device: str) -> None:
    for name in ("boxes_xyxy", "scores"):
        message = f"^edge_nms: `{name}` must be float32.*, got float64. Convert it with `{name}.to"
        with pytest.raises(TypeError, match=message):
            edge_nms(**good(device) | {name: good(device)[name].double()})
    with pytest.raises(TypeError, match="`scores` must be a torch tensor, got ndarray"):
        edge_nms(**good(device) | {"scores": np.zeros((2, 3, 5), np.float32)})
    out = poisoned(2, 4, device)
    with pytest.raises(TypeError, match=r"`out\.class_ids` must be int32, got int64"):
        edge_nms(**good(device), out=out._replace(class_ids=out.class_ids.long()))
    with pytest.raises(ValueError, match=r"`out\.boxes` must have shape \(2, 4, 4\)"):
        edge_nms(**good(device), out=out._replace(boxes=out.boxes[:, 1:]))


def test_refuses_a_tensor_that_is_not_on_the_device(device: str) -> None:
    boxes, scores = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5, device="meta")
    with pytest.raises(ValueError, match="`scores` must be on a CUDA device, got meta"):
        edge_nms(**good(device) | {"scores": scores})
    if device == "cuda":
        with pytest.raises(ValueError, match=r"must be on a CUDA device, got cpu\. Move it with"):
            edge_nms(**good(device) | {"boxes_xyxy": boxes})
