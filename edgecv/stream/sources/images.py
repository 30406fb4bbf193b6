"""Pictures in files: one, a folder of them, those that a pattern matches, or a list."""

import glob
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecv.closing import Closing
from edgecv.errors import InputError, SourceError
from edgecv.images import IMAGE_SUFFIXES, read_image
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Health, HealthRecord


class ImageSource(Closing):
    """Pictures, one after the other, upright and as `rgb24`, see `Source`."""

    is_live = False
    fps: float | None = None
    size_hw: tuple[int, int] | None = None

    def __init__(self, paths: Sequence[str | Path], *, name: str | None = None) -> None:
        """Take the image files `paths`, in this order; they are opened as they are reached.

        Args:
            paths: at least one image file.
            name: what messages call them; the one file, or how many there are.

        Raises:
            SourceError: if `paths` is empty.

        """
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise SourceError("the list of images is empty. Name at least one image.")
        only_one = str(self.paths[0]) if len(self.paths) == 1 else f"{len(self.paths)} images"
        self.name = name or only_one
        self.num_frames: int | None = len(self.paths)
        self._record = HealthRecord(self.name)

    @property
    def health(self) -> Health:
        """How many pictures were read; see `Health`."""
        return self._record.snapshot()

    def __iter__(self) -> Iterator[Frame]:
        """Yield one frame per file, see `Source`."""
        for index, path in enumerate(self.paths):
            begun_s = time.perf_counter()
            try:
                pixels = read_image(path)
            except InputError as error:
                raise SourceError(str(error).removeprefix("read_image: ")) from error
            self._record.frame()
            yield Frame(index, pixels, "rgb24", path=path, captured_s=begun_s)

    def close(self) -> None:
        """Do nothing: every file was closed when it had been read."""


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key by which `frame_2.png` comes before `frame_10.png`."""
    # re.split with a group alternates text and digits, so that like meets like.
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_of(folder: Path) -> list[Path]:
    """Return the images that lie directly in `folder`, in natural order."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SourceError(
            f"`{folder}`: the folder cannot be read: {error.strerror}. Check its permissions."
        ) from error
    images = sorted((path for path in entries if _is_image(path)), key=natural_key)
    if not images:
        raise SourceError(
            f"`{folder}`: a folder must hold images, found {_inventory(entries)}. "
            "Name another folder, a video file, or a pattern such as 'folder/**/*.jpg'."
        )
    return images


def images_matching(pattern: str) -> list[Path]:
    """Return the images that `pattern` matches, in natural order."""
    entries = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  # may be absolute
    images = sorted((path for path in entries if _is_image(path)), key=natural_key)
    if not images:
        found = f"only {_inventory(entries)}" if entries else "nothing"
        raise SourceError(
            f"`{pattern}`: the pattern must match images, it matches {found}. "
            "Check the folder and the suffix; upper and lower case differ."
        )
    return images


def _inventory(entries: Sequence[Path]) -> str:
    """Return what `entries` are, such as `3 .txt, 1 folder`."""
    kinds = Counter(
        "folder" if path.is_dir() else path.suffix.lower() or "without suffix" for path in entries
    )
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4)) or "it empty"
