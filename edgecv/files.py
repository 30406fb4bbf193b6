"""Writing files so that a crash, a full disk or CTRL-C never leaves half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecv.errors import OutputError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it when the block ends without an error.

    The temporary name keeps the suffix, because encoders choose their format by it. Whatever
    stops the block, the temporary file is gone afterwards and an older `path` is untouched.

    Raises:
        OutputError: if the folder cannot be made or written, or the disk is full.

    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        yield partial
        partial.replace(path)
    except OSError as error:
        if isinstance(error, OutputError) or not _concerns(error, partial, path.parent):
            raise
        raise OutputError(unwritable(path, error)) from error
    finally:
        with suppress(OSError):  # where even its folder is none, there is nothing to remove
            partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all.

    Raises:
        OutputError: if the folder cannot be made or written, or the disk is full.

    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, where they are missing.

    Raises:
        OutputError: if that is impossible.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(unwritable(folder, error)) from error


def cache_folder() -> Path:
    """Return where downloads, engines and measurements are kept for later.

    That is $EDGECV_CACHE, else $XDG_CACHE_HOME/edgecv, else ~/.cache/edgecv.
    """
    named = os.environ.get("EDGECV_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgecv"


def unwritable(path: Path, error: OSError) -> str:
    """Return the one line that says why `path` could not be written and what to do."""
    reason = error.strerror or str(error)
    return (
        f"cannot write `{path}`: {reason}. "
        "Free some space or choose another place; nothing was left behind."
    )


def _concerns(error: OSError, partial: Path, folder: Path) -> bool:
    """Tell whether `error` is about the file being written, not about one that was being read."""
    if error.filename is None:  # a failed write or fsync names no file
        return True
    name = Path(os.fsdecode(error.filename))
    return name in (partial, folder) or name in folder.parents
