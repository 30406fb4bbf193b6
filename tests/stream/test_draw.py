"""Boxes, masks and labels: where they are, in which colours, and never outside the frame."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.colour import (
    PALETTE_RGB,
    CanvasFormat,
    colours_in,
    text_colours,
)
from edgecv.frame_formats import planes_of
from edgecv.results import Attributes, Classification, Detections, Instances
from edgecv.stream.draw import draw_detections

NAMES = ("cat", "a long name of a class")


def detections(*boxes_xyxy: tuple[float, float, float, float], class_id: int = 0) -> Detections:
    count = len(boxes_xyxy)
    return Detections(
        np.array(boxes_xyxy, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.full(count, class_id, np.int32),
    )


def blank(height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def test_an_outline_lies_inside_its_box() -> None:
    pixels = blank()
    draw_detections(pixels, detections((50, 60, 150, 160)), NAMES, format="rgb24")
    colour = PALETTE_RGB[0].tolist()
    for y, x in ((159, 100), (110, 50), (110, 149), (60, 148)):
        assert pixels[y, x].tolist() == colour
    assert not pixels[160:].any()
    assert not pixels[:, 150:].any()
    assert not pixels[:, :50].any()
    assert not pixels[80:150, 60:140].any()  # not filled


def test_the_format_decides_the_order_of_the_channels() -> None:
    rgb, bgr = blank(), blank()
    found = detections((50, 60, 150, 160))
    draw_detections(rgb, found, NAMES, format="rgb24")
    draw_detections(bgr, found, NAMES, format="bgr24")
    np.testing.assert_array_equal(rgb, bgr[:, :, ::-1])


def test_a_label_is_a_plate_with_a_text_on_it() -> None:
    pixels = blank()
    draw_detections(pixels, detections((50, 60, 150, 160)), NAMES, format="rgb24")
    plate = pixels[48:59, 50:80]
    background, text = PALETTE_RGB[0], text_colours(PALETTE_RGB[:1])[0]
    assert (plate == background).all(axis=2).any()
    # Strokes are thin: the darkest or brightest pixel of a glyph need not be fully covered.
    assert np.abs(plate.astype(int) - text.astype(int)).sum(axis=2).min() < 60


def test_the_best_score_is_on_top() -> None:
    pixels = blank()
    both = Detections(
        np.array([[50, 60, 150, 160]] * 2, np.float32),
        np.array([0.9, 0.5], np.float32),
        np.array([1, 0], np.int32),
    )
    draw_detections(pixels, both, NAMES, format="rgb24")
    assert pixels[159, 100].tolist() == PALETTE_RGB[1].tolist()


@pytest.mark.parametrize("format_", ["bgr24", "rgb24", "gray8", "yuv420p", "nv12"])
def test_a_mask_shines_through_under_its_box(format_: CanvasFormat) -> None:
    found = detections((50, 60, 150, 160))
    masks = np.ones((1, 8, 8), np.float32)
    masks[:, :, 4:] = 0  # the left half is of the object
    with_mask = Instances(found.boxes_xyxy, found.scores, found.class_ids, masks, (200, 300))
    planes, plain = (
        planes_of("test", np.full(shape_of(format_), 90, np.uint8), format_) for _ in range(2)
    )
    draw_detections(planes, with_mask, NAMES, format=format_)
    draw_detections(plain, found, NAMES, format=format_)
    (ours, boxes) = (planes[0].reshape(200, 300, -1), plain[0].reshape(200, 300, -1))
    colour = colours_in(PALETTE_RGB[:1], format_, "bt601", "limited")[0, : ours.shape[2]]
    blended = (90 * (256 - 115) + colour.astype(int) * 115 + 128) // 256
    assert ours[110, 80].tolist() == blended.tolist()
    np.testing.assert_array_equal(ours[110, 120:], boxes[110, 120:])  # not of the object
    np.testing.assert_array_equal(ours[159], boxes[159])  # the outline is on top
    for plane, untouched in zip(planes[1:], plain[1:], strict=True):
        assert (plane != untouched).any()


def shape_of(format_: CanvasFormat) -> tuple[int, ...]:
    packed = {"bgr24": (200, 300, 3), "rgb24": (200, 300, 3), "gray8": (200, 300)}
    return packed.get(format_, (300, 300))


def test_nothing_found_changes_nothing() -> None:
    pixels = blank()
    draw_detections(pixels, Detections.empty(), NAMES)
    assert not pixels.any()


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    box=st.tuples(*[st.floats(-200, 200, width=32)] * 4),
    class_id=st.integers(0, 1),
)
def test_any_box_in_any_frame(
    size: tuple[int, int], box: tuple[float, float, float, float], class_id: int
) -> None:
    # The frame is a window of a larger array: whatever is drawn outside would show.
    canvas = blank(110, 110)
    height, width = size
    draw_detections(canvas[10 : 10 + height, 10 : 10 + width], detections(box), NAMES)
    canvas[10 : 10 + height, 10 : 10 + width] = 0
    assert not canvas.any()
    assert class_id in {0, 1}


def test_a_label_at_the_upper_right_corner_stays_inside() -> None:
    pixels = blank()
    draw_detections(pixels, detections((280, 0, 300, 30), class_id=1), NAMES, format="rgb24")
    plate = (pixels == PALETTE_RGB[1]).all(axis=2)
    assert plate[:20, 150:280].any()  # wider than the box, it reaches to its left
    assert plate[1, 298]


def test_text_is_readable_on_every_colour() -> None:
    for background, text in zip(
        PALETTE_RGB.tolist(), text_colours(PALETTE_RGB).tolist(), strict=True
    ):
        assert contrast(background, text) >= 4.5  # WCAG's level AA


def contrast(a: list[int], b: list[int]) -> float:
    """WCAG 2.1, contrast ratio of two sRGB colours."""

    def luminance(colour: list[int]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("size_hw", [(100, 160), (720, 1280), (2160, 3840)])
def test_lines_grow_with_the_frame(size_hw: tuple[int, int]) -> None:
    pixels = blank(*size_hw)
    height, width = size_hw
    box = (width * 0.25, height * 0.5, width * 0.75, height * 0.9)
    draw_detections(pixels, detections(box), NAMES)
    column = pixels[round(height * 0.7), :, :].any(axis=1)
    assert column.sum() // 2 == max(1, round((height * width) ** 0.5 / 420))


def test_what_a_second_model_tells_is_in_the_label_or_drawn() -> None:
    plain, worded, nested = blank(), blank(), blank()
    found = detections((50, 60, 150, 160))
    breed = Classification(np.array([0.25, 0.75], np.float32))
    told = Attributes((breed,), ("poodle", "beagle"))
    inside = Attributes((detections((80, 90, 110, 120), class_id=1),), NAMES)
    draw_detections(plain, found, NAMES, format="rgb24")
    for pixels, attributes in ((worded, told), (nested, inside)):
        known = replace(found, attributes={"more": attributes})
        draw_detections(pixels, known, NAMES, format="rgb24")
    plate = plain[48:60].any(axis=(0, 2)).sum()
    assert worded[48:60].any(axis=(0, 2)).sum() > 1.5 * plate
    np.testing.assert_array_equal(worded[62:], plain[62:])
    np.testing.assert_array_equal(nested[:60], plain[:60])
    assert nested[119, 95].tolist() == PALETTE_RGB[1].tolist()
