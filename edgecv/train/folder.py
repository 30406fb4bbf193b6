"""Where runs go."""

from pathlib import Path


def next_run_folder(name: str, *, root: Path = Path("runs")) -> Path:
    """Return the first of `root/name-1`, `root/name-2`, ... that does not exist."""
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"
