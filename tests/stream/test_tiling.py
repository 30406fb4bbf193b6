"""Tiles: they cover the frame, and what is in them comes out once, where it is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.output_spec import YoloOutput
from edgecv.placement import Placement
from edgecv.results import Detections
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.sources import Frame
from edgecv.stream.tiling import Tiled, merged_rows, tiles_of


class Painted:
    """Finds rectangles, each painted in a grey of its own, in what it is shown of them.

    The score of a piece comes from its grey and from how much of it is seen, so that pieces may
    score higher than the whole.
    """

    spec = ModelSpec("detect", ("box",), InputSpec("images", (64, 64)), YoloOutput())
    answers_later, num_requests, prefers_batches = False, 1, True

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch
        self.sizes: list[int] = []
        self.views: list[NDArray[np.uint8]] = []

    def stages(self, _format: str) -> bool:
        return False

    def fit(
        self, pixels: NDArray[np.uint8], *, out: NDArray[np.float32], **_: Any
    ) -> tuple[Any, Placement]:
        """Write which of the views it is."""
        out[:] = len(self.views)
        self.views.append(pixels)
        return out[None], Placement.of(pixels.shape, (64, 64), "letterbox")

    def infer(self, batch: NDArray[np.float32]) -> dict[str, Any]:
        self.sizes.append(len(batch))
        return {"views": batch[:, 0, 0, 0].astype(int)}

    def backend_of(self, _outputs: dict[str, Any]) -> str:
        return "fake"

    def finish(self, outputs: dict[str, Any], _: Placement) -> Detections:
        (view,) = outputs["views"]
        pixels = self.views[view]
        boxes, scores = [], []
        for grey in np.unique(pixels[pixels > 0]):
            rows, columns = np.nonzero(pixels == grey)
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            scores.append(0.3 + (int(grey) * 37 + len(rows) * 11) % 60 / 100)
        order = np.argsort(-np.array(scores), kind="stable")
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.zeros(len(boxes), np.int32),
        )


def painted(boxes: list[tuple[int, int, int, int]], size_hw: tuple[int, int]) -> Frame:
    pixels = np.zeros(size_hw, np.uint8)
    for grey, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        pixels[y1:y2, x1:x2] = grey
    return Frame(0, pixels, "gray8")


# One rectangle in each of some cells of 40 pixels, so that they are apart; at most 24 pixels large,
# less than tiles of 64 have in common with an overlap of 0.5.
cells = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 3), st.integers(0, 12), st.integers(0, 12),
        st.integers(4, 24), st.integers(4, 24),
    ),
    max_size=8,
    unique_by=lambda cell: cell[:2],
)  # fmt: skip


@given(cells=cells, with_whole=st.booleans(), width=st.integers(200, 230))
def test_each_object_comes_out_once_where_it_is(
    cells: list[tuple[int, ...]], width: int, *, with_whole: bool
) -> None:
    boxes = [(40 * i + x, 40 * j + y, 40 * i + x + w, 40 * j + y + h) for i, j, x, y, w, h in cells]
    model: Any = Painted()
    found = Tiled(model, overlap=0.5, with_whole=with_whole)(painted(boxes, (170, width)))
    assert sorted(map(tuple, found.boxes_xyxy.tolist())) == sorted(boxes)
    assert (np.diff(found.scores) <= 0).all()


def test_what_is_larger_than_a_tile_is_found_in_the_whole() -> None:
    large = [(20, 30, 180, 150)]
    model: Any = Painted()
    found = Tiled(model, overlap=0.25)(painted(large, (200, 220)))
    assert found.boxes_xyxy.tolist() == [[20, 30, 180, 150]]
    assert len(Tiled(model, overlap=0.25, with_whole=False)(painted(large, (200, 220)))) > 1


def test_plain_suppression_leaves_pieces() -> None:
    box = [(56, 20, 80, 40)]  # the first tile ends at 64, the second begins at 48
    model: Any = Painted()
    for merge, count in (("iou", 2), ("seams", 1)):
        options: Any = {"merge": merge, "with_whole": False, "overlap": 0.25}
        assert len(Tiled(model, **options)(painted(box, (64, 112)))) == count


@example(size_hw=(1, 31), tile_hw=(30, 30), overlap=0.0, format_="nv12")
@given(
    size_hw=st.tuples(st.integers(1, 300), st.integers(2, 300)),
    tile_hw=st.tuples(st.integers(30, 120), st.integers(30, 120)),
    overlap=st.floats(0, 0.6),
    format_=st.sampled_from(["gray8", "nv12"]),
)
def test_tiles_cover_the_frame_and_overlap(
    size_hw: tuple[int, int], tile_hw: tuple[int, int], overlap: float, format_: Any
) -> None:
    luma = np.zeros(size_hw, np.uint8)
    chroma = np.zeros(((size_hw[0] + 1) // 2, (size_hw[1] + 1) // 2, 2), np.uint8)
    frame = Frame(0, luma if format_ == "gray8" else (luma, chroma), format_)
    tiles = tiles_of(frame, tile_hw, overlap)
    for side, lows, highs in (
        (0, {t.y1 for t in tiles}, {t.y2 for t in tiles}),
        (1, {t.x1 for t in tiles}, {t.x2 for t in tiles}),
    ):
        begins, ends = sorted(lows), sorted(highs)
        assert (begins[0], ends[-1]) == (0, size_hw[side])
        assert len(tiles) == len(lows) * len(
            {t.x1 for t in tiles} if side == 0 else {t.y1 for t in tiles}
        )
        for end, begin in zip(ends, begins[1:], strict=False):
            assert end - begin >= int(overlap * tile_hw[side]) - 1  # a pixel of rounding
        for tile in tiles:
            assert tile.size_hw[side] <= tile_hw[side] + 1


def test_a_frame_smaller_than_a_tile_is_one() -> None:
    model: Any = Painted()
    found = Tiled(model)(painted([(3, 4, 20, 30)], (40, 50)))
    assert (found.boxes_xyxy.tolist(), model.sizes) == ([[3, 4, 20, 30]], [1])


def test_tiles_go_through_in_batches() -> None:
    boxes = [(5, 5, 20, 25), (70, 8, 90, 30), (130, 40, 150, 60)]
    one, several = Painted(), Painted(max_batch=4)
    models: list[Any] = [one, several]
    frame = painted(boxes, (64, 160))
    alone, together = (Tiled(m, overlap=0.5, with_whole=False)(frame) for m in models)
    assert (one.sizes, several.sizes) == ([1, 1, 1, 1], [4])
    np.testing.assert_array_equal(alone.boxes_xyxy, together.boxes_xyxy)


def test_classes_are_merged_apart_unless_the_model_is_agnostic() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 6]], np.float32)
    scores = np.array([0.9, 0.8, 0.95], np.float32)
    found = Detections(boxes, scores, np.array([0, 1, 1], np.int32))
    is_cut = np.array([False, False, True])
    options: Any = {"iou_threshold": 0.5, "seam_overlap": 0.6}
    assert merged_rows(found, is_cut, **options).tolist() == [0, 1]
    assert merged_rows(found, is_cut, **options, class_agnostic=True).tolist() == [0]


def test_a_piece_stays_where_too_little_of_it_is_known() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32))
    is_cut = np.array([False, True])
    for seam_overlap, rows in ((0.59, [0]), (0.6, [0, 1])):  # 60 of 100 pixels
        kept = merged_rows(found, is_cut, iou_threshold=0.9, seam_overlap=seam_overlap)
        assert kept.tolist() == rows


@pytest.mark.parametrize("seed", range(4))
def test_pieces_go_as_they_would_one_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = 160
    corners = rng.integers(0, 60, (num, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 30, (num, 2))]).astype(np.float32)
    scores = np.sort(rng.uniform(0, 1, num).astype(np.float32))[::-1]
    kinds, is_cut = rng.integers(0, 2, num), rng.uniform(size=num) < 0.8

    def shared(a: NDArray[Any], b: NDArray[Any]) -> float:
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        return float(np.maximum(sides, 0).prod())

    stays: list[int] = []
    for row in [*np.flatnonzero(~is_cut), *np.flatnonzero(is_cut)]:  # of each, best score first
        mine = [boxes[other] for other in stays if kinds[other] == kinds[row]]
        area = shared(boxes[row], boxes[row])
        if is_cut[row]:
            takes = [shared(b, boxes[row]) > 0.6 * min(shared(b, b), area) for b in mine]
        else:
            overlaps = [shared(b, boxes[row]) for b in mine]
            takes = [
                s > 0.5 * (shared(b, b) + area - s) for b, s in zip(mine, overlaps, strict=True)
            ]
        if not any(takes):
            stays.append(int(row))

    found = Detections(boxes, scores, kinds.astype(np.int32))
    kept = merged_rows(found, is_cut, iou_threshold=0.5, seam_overlap=0.6)
    assert kept.tolist() == sorted(stays)
    assert 20 < len(stays) < num - 20


def test_no_more_than_the_model_may_find() -> None:
    boxes = [(5, 5, 20, 25), (70, 8, 90, 30), (130, 40, 150, 60)]
    model: Any = Painted()
    model.spec = model.spec.with_postprocess(max_detections=2)
    assert len(Tiled(model, overlap=0.5)(painted(boxes, (64, 160)))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_hw": (1, 64)}, r"`tile_hw` must be at least 2 x 2, got \(1, 64\)"),
        ({"overlap": 1.0}, r"`overlap` must be in \[0, 1\), got 1.0"),
        ({"merge": "union"}, "`merge` must be one of seams, iou, got 'union'"),
        ({"seam_overlap": 0.0}, r"`seam_overlap` must be in \(0, 1\], got 0.0"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    model: Any = Painted()
    with pytest.raises(InputError, match=f"^tiling: {message}"):
        Tiled(model, **options)


def test_refuses_a_model_that_finds_no_objects() -> None:
    model: Any = SimpleNamespace(spec=SimpleNamespace(task="classify"))
    with pytest.raises(InputError, match="must find objects, got one of task classify"):
        Tiled(model)


def test_tiles_find_more_of_what_is_small(shared_data: Path, tmp_path: Path) -> None:
    """On 6 photographs with many small objects, of which YOLOX-nano misses most in the whole."""
    pytest.importorskip("onnx")
    import edgecv
    from edgecv.classes import parse_classes
    from edgecv.data import open_dataset
    from edgecv.export.adoption.adopt import Preprocessing, adopt
    from edgecv.images import read_image
    from edgecv.kernels import box_iou

    dataset = open_dataset(f"coco:{shared_data / 'coco'}", "val")
    path = tmp_path / "yolox.onnx"
    weights = shared_data / "weights" / "yolox_nano_416.onnx"
    adopt(weights, path, "yolox", parse_classes("coco"), preprocessing=Preprocessing())

    def small_boxes(sample: Any) -> NDArray[np.float32]:
        sides = sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]
        return np.asarray(sample.boxes_xyxy[sides.prod(axis=1) < 32**2], np.float32)

    samples = sorted(dataset.samples, key=lambda sample: -len(small_boxes(sample)))[:6]
    num_found = {"whole": 0, "tiled": 0}
    with edgecv.load(path, "cpu", threads=1) as model:
        tiled = Tiled(model)
        for sample in samples:
            pixels = read_image(sample.image_path)
            whole = model(pixels, format="rgb24")
            assert isinstance(whole, Detections)
            results = {"whole": whole, "tiled": tiled(Frame(0, pixels, "rgb24"))}
            for name, found in results.items():
                overlaps = box_iou(small_boxes(sample), found.boxes_xyxy)
                num_found[name] += int((overlaps.max(axis=1, initial=0) >= 0.5).sum())
    assert num_found["tiled"] >= 1.5 * num_found["whole"] > 0
