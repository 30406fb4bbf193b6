"""Files of one name at different times: what segments and rotated files are called and kept."""

import re
from datetime import datetime, timezone
from pathlib import Path

from edgecv.errors import InputError, OutputError


def check_limits(function: str, **limits: float | None) -> None:
    """Refuse a limit that is not greater than 0.

    Raises:
        InputError: with its name and value.

    """
    for name, limit in limits.items():
        if limit is not None and limit <= 0:
            raise InputError(
                f"{function}: `{name}` must be greater than 0, got {limit}. "
                "Leave it out for no limit."
            )


def dated_path(path: Path) -> Path:
    """Return a name that no file has: `path` with the time in UTC and, if need be, a number.

    It is behind all earlier ones in order, also where some of the same second were deleted.
    """
    stem = f"{path.stem}_{datetime.now(timezone.utc).strftime('%Y%m%dT%H%M%SZ')}"
    pattern = re.compile(re.escape(stem) + r"(?:_(\d+))?" + re.escape(path.suffix))
    names = path.parent.iterdir() if path.parent.is_dir() else ()
    numbers = [int(found[1] or 1) for name in names if (found := pattern.fullmatch(name.name))]
    number = f"_{max(numbers) + 1:03}" if numbers else ""
    return path.with_name(f"{stem}{number}{path.suffix}")


def remove_all_but(path: Path, keep: int) -> None:
    """Delete the oldest files that `dated_path` named after `path`, so that `keep` remain.

    Raises:
        OutputError: if the folder does not allow that.

    """
    pattern = re.compile(re.escape(path.stem) + r"_\d{8}T\d{6}Z(_\d{3,})?" + re.escape(path.suffix))
    # By stem: "…Z" comes before "…Z_002", as it was written.
    dated = sorted(
        (entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)),
        key=lambda entry: entry.stem,
    )
    for entry in dated[: max(len(dated) - keep, 0)]:
        try:
            entry.unlink(missing_ok=True)
        except OSError as error:  # noqa: PERF203  # names the file
            raise OutputError(
                f"cannot delete `{entry}`: {error.strerror}. Allow writing in its folder."
            ) from error
