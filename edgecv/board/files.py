"""Reading the kernel's files, of which any may be missing, forbidden or broken."""

import re
from pathlib import Path


class SystemFiles:
    """The files of a system below one root.

    A sensor that is powered down answers with an error, a container hides half of `/sys`, and
    much is for root only. Who asks gets None then, and says that it is not known.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Read below `root`."""
        self.root = root

    def text(self, path: str | Path) -> str | None:
        """Return what a file holds, without the spaces, line ends and NULs around it.

        Args:
            path: relative to the root, such as `sys/class/hwmon/hwmon0/name`; or absolute, as
                `matching` gives it.

        """
        try:
            return (self.root / path).read_bytes().decode(errors="replace").strip("\0 \t\r\n")
        except OSError:
            return None

    def integer(self, path: str | Path) -> int | None:
        """Return the one decimal number that a file holds."""
        text = self.text(path)
        return int(text) if text is not None and re.fullmatch(r"-?[0-9]+", text) else None

    def matching(self, pattern: str, folder: str | Path = "") -> list[Path]:
        """Return the paths that match a glob in `folder`; numbers in them sort as numbers."""
        try:
            return sorted((self.root / folder).glob(pattern), key=_natural)
        except OSError:  # Python before 3.13 lets some of them through
            return []


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]
