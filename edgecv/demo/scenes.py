"""Rendered scenes, for a machine that has no data set and cannot fetch one.

Shapes of three kinds on a mottled ground: easy, but a real detection problem with real boxes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("disc", "square", "triangle")
SPLITS = {"train": 120, "val": 30, "test": 30}

_SIZE_HW = (240, 320)
_MAX_OVERLAP = 0.2  # of the smaller box, so that no object hides another


def render_scenes(folder: Path, num_images: Mapping[str, int] = SPLITS, *, seed: int = 0) -> None:
    """Write scenes as COCO: `folder/SPLIT/*.png` and `folder/instances_SPLIT.json`.

    Args:
        folder: where to; made if it is missing.
        num_images: how many for each split.
        seed: the same scenes for the same seed.

    """
    rng = np.random.default_rng(seed)
    for split, count in num_images.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(1, count + 1):
            image, objects = _scene(rng)
            name = f"{number:04}.png"
            image.save(folder / split / name)
            height, width = _SIZE_HW
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for class_id, (x1, y1, x2, y2) in objects:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": class_id + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": index + 1, "name": name} for index, name in enumerate(CLASSES)]
        text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
        (folder / f"instances_{split}.json").write_text(text, encoding="utf-8")


Box = tuple[int, int, int, int]


def _scene(rng: np.random.Generator) -> tuple[Image.Image, list[tuple[int, Box]]]:
    height, width = _SIZE_HW
    grey = rng.integers(70, 140, (height // 16, width // 16, 1))
    tint = rng.integers(0, 24, (height // 16, width // 16, 3))
    image = Image.fromarray((grey + tint).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(image)
    objects: list[tuple[int, Box]] = []
    for _ in range(int(rng.integers(3, 9))):
        side = int(rng.integers(20, 80))
        x1, y1 = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        box = (x1, y1, x1 + side, y1 + side)
        if any(_overlap(box, other) > _MAX_OVERLAP for _, other in objects):
            continue
        class_id = int(rng.integers(len(CLASSES)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        _draw_shape(draw, CLASSES[class_id], box, colour)
        objects.append((class_id, box))
    image = image.filter(ImageFilter.GaussianBlur(0.7))
    noisy = np.asarray(image, np.int16) + rng.normal(0, 6, (height, width, 3)).astype(np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), objects


def _draw_shape(draw: ImageDraw.ImageDraw, name: str, box: Box, colour: tuple[int, ...]) -> None:
    x1, y1, x2, y2 = box
    corner = (x1, y1, x2 - 1, y2 - 1)  # Pillow draws the last pixel too
    if name == "disc":
        draw.ellipse(corner, fill=colour)
    elif name == "square":
        draw.rectangle(corner, fill=colour)
    else:
        draw.polygon([(x1, y2 - 1), (x2 - 1, y2 - 1), ((x1 + x2) // 2, y1)], fill=colour)


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / smaller
