"""A few images of a data set as a data set of their own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data import open_dataset
from edgecv.data.coco import read_coco
from edgecv.data.samples import DetectionDataset
from edgecv.data.segments import segment_to_coco
from edgecv.data.subset import write_subset
from edgecv.errors import InputError

TRIANGLE = [[2.5, 3.0, 20.25, 4.0, 8.0, 30.0]]
CROWD = {"size": [40, 50], "counts": [100, 300, 1600]}


@pytest.fixture
def zoo(tmp_path: Path) -> DetectionDataset:
    """Four images, the last first: one without objects, one with a crowd alone, two with cats."""
    folder = tmp_path / "zoo"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in (9, 4, 3, 1):
        name = f"{image_id}.png"
        Image.new("RGB", (50, 40), (image_id, 0, 0)).save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "height": 40, "width": 50})
    for image_id, category, segmentation in (
        (9, 5, TRIANGLE),
        (4, 8, TRIANGLE),
        (4, 5, CROWD),
        (3, 5, CROWD),
    ):
        is_crowd = segmentation is CROWD
        entry = {"image_id": image_id, "category_id": category, "bbox": [2.5, 3, 17.75, 27.1]}
        entry |= {"id": len(annotations) + 1, "area": 230.25, "iscrowd": int(is_crowd)}
        annotations.append(entry | {"segmentation": segmentation})
    categories = [{"id": id_, "name": name} for id_, name in ((5, "cat"), (7, "dog"), (8, "owl"))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_train.json").write_text(json.dumps(content))
    return read_coco(folder, "train")


def test_the_first_images_with_objects_are_written_whole(
    zoo: DetectionDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "two"
    returned = write_subset(zoo, folder, count=2)
    for split in ("train", "val"):
        written = open_dataset(f"coco:{folder}", split)
        assert written.problems == ()
        assert (written.classes, written.category_ids) == (("cat", "dog", "owl"), (5, 7, 8))
        assert [sample.image_id for sample in written.samples] == [4, 9]
        for ours, mine, theirs in zip(
            written.samples, returned.samples, (zoo.samples[1], zoo.samples[0]), strict=True
        ):
            assert mine.image_path == theirs.image_path
            assert ours.image_path.read_bytes() == theirs.image_path.read_bytes()
            for name in ("boxes_xyxy", "class_ids", "areas", "is_crowd"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            outlines = [segment_to_coco(segment) for segment in ours.outlines if segment]
            assert outlines == [segment_to_coco(segment) for segment in theirs.outlines if segment]


def test_classes_that_no_image_shows_can_be_left_out(zoo: DetectionDataset, tmp_path: Path) -> None:
    returned = write_subset(zoo, tmp_path / "two", count=2, drop_unused=True)
    written = read_coco(tmp_path / "two", "val")
    for dataset in (returned, written):
        assert (dataset.classes, dataset.category_ids) == (("cat", "owl"), (5, 8))
        assert [sample.class_ids.tolist() for sample in dataset.samples] == [[1, 0], [0]]


def test_images_of_one_name_stay_apart(zoo: DetectionDataset, tmp_path: Path) -> None:
    other = tmp_path / "other" / "9.png"
    other.parent.mkdir()
    Image.new("RGB", (50, 40), (0, 99, 0)).save(other)
    twins = replace(zoo.samples[1], image_path=other), zoo.samples[0]
    write_subset(replace(zoo, samples=twins), tmp_path / "two", count=2)
    pixels = [
        Image.open(sample.image_path).getpixel((0, 0))
        for sample in read_coco(tmp_path / "two", "train").samples
    ]
    assert pixels == [(0, 99, 0), (9, 0, 0)]


def test_refuses_more_than_there_is_and_a_folder_in_use(
    zoo: DetectionDataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the split train has 2 images with objects, got a count"):
        write_subset(zoo, tmp_path / "three", count=3)
    assert not (tmp_path / "three").exists()
    with pytest.raises(InputError, match="already holds a data set"):
        write_subset(zoo, zoo.samples[0].image_path.parents[1], count=1)
