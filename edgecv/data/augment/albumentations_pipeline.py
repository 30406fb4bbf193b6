"""Running a pipeline of the library albumentations on a scene, repeatably."""

import json
from dataclasses import replace

import numpy as np
import torch
from torchvision import tv_tensors

from edgecv.data.augment.albumentations_files import require_albumentations
from edgecv.data.augment.scene import BitmapAt, PolygonsAt, Scene, annotated
from edgecv.data.masks import draw_polygons

_SEEDS = 1 << 31


class AlbumentationsPipeline:
    """A pipeline whose randomness comes from torch's generator, as that of all transforms."""

    def __init__(self, definition: str) -> None:
        """Build the pipeline.

        Args:
            definition: JSON, see `edgecv.data.augment.recipe.Albumentations`.

        Raises:
            MissingDependencyError: if albumentations is not installed.

        """
        library = require_albumentations()
        pipeline = library.from_dict(json.loads(definition))
        # What follows the pixels is ours to say, whatever the pipeline was composed for.
        self._pipeline = library.Compose(
            pipeline.transforms,
            p=pipeline.p,
            bbox_params=library.BboxParams("pascal_voc", label_fields=["rows"], clip=True),
            keypoint_params=library.KeypointParams("xy", remove_invisible=False),
        )

    def __call__(self, scene: Scene) -> Scene:
        """Return the scene after the pipeline; its outlines have become bitmaps."""
        self._pipeline.set_random_seed(int(torch.randint(_SEEDS, ())))
        scene = _with_bitmaps(scene)
        item = scene.item
        height, width = scene.size_hw
        # Three corners in front: they tell afterwards whether the frame was mirrored.
        points = np.array([[0, 0], [width, 0], [0, height]], np.float64)
        if "points" in item:
            points = np.concatenate([points, item["points"].numpy()])
        given = {
            "image": np.ascontiguousarray(scene.pixels()),
            "bboxes": item["boxes"].numpy().astype(np.float64),
            "rows": np.arange(len(item["labels"])),
            "keypoints": points - 0.5,  # the library counts from the centre of the first pixel
        }
        if "bitmaps" in item and len(item["bitmaps"]):
            given["masks"] = item["bitmaps"].numpy()
        made = self._pipeline(**given)
        kept = torch.as_tensor(np.asarray(made["rows"], np.int64).reshape(-1))
        boxes = np.asarray(made["bboxes"], np.float32).reshape(-1, 4)
        image = torch.from_numpy(np.ascontiguousarray(made["image"])).permute(2, 0, 1)
        result = annotated(image, torch.from_numpy(boxes), item["labels"][kept])
        if scene.shapes is not None:
            moved = np.asarray(made["keypoints"], np.float64)[:, :2] + 0.5
            (origin, right, down), moved = moved[:3], moved[3:]
            (a, b), (c, d) = right - origin, down - origin
            height, width = image.shape[-2:]
            edges = [width, 0] if a * d - b * c < 0 else [0, width]
            moved[:2, 0], moved[:2, 1] = edges, [0, height]
            result |= {"rows": item["rows"][kept], "points": torch.from_numpy(moved)}
            if "masks" in made:
                bitmaps = np.ascontiguousarray(np.stack(list(made["masks"])))
                result["bitmaps"] = tv_tensors.Mask(torch.from_numpy(bitmaps))
        return scene.with_item(result)


def _with_bitmaps(scene: Scene) -> Scene:
    """Return the scene with a bitmap for every object: polygons cannot follow every bend."""
    shapes, item = scene.shapes, scene.item
    if shapes is None or shapes.outlines is None:
        return scene
    points_xy = item["points"].numpy()
    drawn = draw_polygons(
        [at.of(points_xy) for at in shapes.outlines if isinstance(at, PolygonsAt)], scene.size_hw
    )
    bitmaps = torch.from_numpy(drawn.view(np.uint8))
    fresh = iter(range(len(bitmaps)))  # in front of those that were there before
    outlines = tuple(
        BitmapAt(next(fresh) if isinstance(at, PolygonsAt) else at.row + len(bitmaps))
        for at in shapes.outlines
    )
    if "bitmaps" in item:
        bitmaps = torch.cat([bitmaps, item["bitmaps"].as_subclass(torch.Tensor)])
    mask = tv_tensors.Mask(bitmaps)
    return Scene({**item, "bitmaps": mask}, replace(shapes, outlines=outlines))
