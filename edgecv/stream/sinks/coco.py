"""COCO JSON: images, annotations and categories, as pycocotools reads them."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from edgecv.errors import InputError, OutputError
from edgecv.files import make_folder, replacing, unwritable
from edgecv.results import Classification, ModelResults, Poses, Segmentation
from edgecv.results.run_lengths import num_covered
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.partial_file import close_quietly
from edgecv.stream.sinks.sink import Sink

COCO_SUFFIX = ".coco.json"


class CocoSink(Sink):
    """A data set in COCO's format: what was found, as annotations with a `score`.

    `pycocotools.coco.COCO` and labelling tools open it. Memory stays flat: images and annotations
    go to two files without a name and are put together at the end; a crash leaves nothing.

    Args:
        path: the file, replaced when the sink is closed.
        classes: the model's class names; their categories are numbered from 1.

    """

    def __init__(self, path: Path | str, classes: Sequence[str]) -> None:
        """Name the file; the two parts are opened with the first result."""
        self._path, self._classes = Path(path), tuple(classes)
        self._parts: tuple[IO[bytes], IO[bytes]] | None = None
        self._num_images = self._num_annotations = 0
        self._of_poses: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    def write(self, result: StreamResult) -> None:
        """Note one frame and what was found in it, see `Sink`.

        Raises:
            InputError: if the model is a classifier, or there are several.
            OutputError: if the disk is full.

        """
        if isinstance(result.result, Classification | ModelResults):
            is_one = isinstance(result.result, Classification)
            what = "a classification" if is_one else "the results of several models"
            raise InputError(
                f"`{self._path}`: COCO JSON holds objects and masks, got {what}. "
                f"Write {'.jsonl or .csv' if is_one else '.jsonl'}."
            )
        annotations = self._annotations(result)
        image = self._image(result)
        try:
            if self._parts is None:
                self._parts = self._open()
            images_file, annotations_file = self._parts
            self._num_images += 1
            _append(images_file, image, is_first=self._num_images == 1)
            for annotation in annotations:
                self._num_annotations += 1
                annotation["id"] = self._num_annotations  # pycocotools takes 0 for "no match"
                _append(annotations_file, annotation, is_first=self._num_annotations == 1)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Put the file together and in its place, see `Sink`."""
        if self._parts is None:
            return
        parts, self._parts = self._parts, None
        images_file, annotations_file = parts
        try:
            with replacing(self._path) as partial, partial.open("wb") as file:
                head = {"info": {"description": "Found by edgecv"}, "licenses": []}
                categories = [
                    {"id": index, "name": name, "supercategory": ""} | self._of_poses
                    for index, name in enumerate(self._classes, 1)
                ]
                file.write(_json(head)[:-1] + b',"categories":' + _json(categories))
                for key, part in ((b"images", images_file), (b"annotations", annotations_file)):
                    part.seek(0)
                    file.write(b',"' + key + b'":[')
                    shutil.copyfileobj(part, file)
                    file.write(b"\n]")
                file.write(b"}\n")
        finally:
            for part in parts:
                close_quietly(part)

    def discard(self) -> None:
        """Forget the parts, see `Sink`."""
        if self._parts is not None:
            parts, self._parts = self._parts, None
            for part in parts:
                close_quietly(part)

    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        make_folder(self._path.parent)
        images_file = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115  # kept open
        try:
            return images_file, tempfile.TemporaryFile(dir=self._path.parent)
        except OSError:
            images_file.close()
            raise

    def _fail(self, error: OSError) -> None:
        self.discard()
        if isinstance(error, OutputError):
            raise error
        raise OutputError(unwritable(self._path, error)) from error

    def _image(self, result: StreamResult) -> dict[str, Any]:
        frame = result.frame
        height, width = frame.size_hw
        prefix = f"{result.source}/" if result.source else ""
        image: dict[str, Any] = {
            "id": self._num_images + 1,
            "file_name": str(frame.path) if frame.path else f"{prefix}frame_{frame.index:06}.jpg",
            "width": width,
            "height": height,
        }
        if frame.pts_s is not None:
            image["pts_s"] = round(frame.pts_s, 6)
        return image

    def _annotations(self, result: StreamResult) -> list[dict[str, Any]]:
        found: Any = result.result
        ids = range(1, len(self._classes) + 1)
        records: list[dict[str, Any]] = found.to_coco(self._num_images + 1, ids)
        for record in records:
            record["iscrowd"] = int(isinstance(found, Segmentation))
            runs = record.get("segmentation")
            if runs is not None:
                record["area"], box = num_covered(runs["counts"]), record.get("bbox")
                if box is None:  # of a whole class, wherever it is in the frame
                    height, width = runs["size"]
                    record["bbox"] = [0.0, 0.0, float(width), float(height)]
            else:
                record["area"] = record["bbox"][2] * record["bbox"][3]
        if isinstance(found, Poses):
            self._of_poses = {
                "keypoints": list(found.names),
                "skeleton": [[first + 1, second + 1] for first, second in found.skeleton],
            }
            for record, points in zip(records, found.keypoints.tolist(), strict=True):
                record["keypoints"] = [value for x, y, _ in points for value in (x, y, 2)]
                record["keypoint_scores"] = [score for _, _, score in points]
                record["num_keypoints"] = len(points)
        return records


def _append(file: IO[bytes], record: dict[str, Any], *, is_first: bool) -> None:
    file.write((b"\n" if is_first else b",\n") + _json(record))


def _json(plain: Any) -> bytes:  # noqa: ANN401  # plain data
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
