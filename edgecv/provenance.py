"""Which versions and which revision made something, and on what processor."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def versions_in_use(*packages: str) -> dict[str, str]:
    """Return the versions of Python, edgecv and the installed ones of `packages`."""
    versions = {"python": platform.python_version()}
    for package in ("edgecv", *packages):
        if (version := installed_version(package)) is not None:
            versions[package] = version
    return versions


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_revision(folder: Path) -> str:
    """Return the commit that is checked out in `folder`, empty where there is none.

    A `+` at the end says that the working tree differed from it.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run(  # noqa: S603  # fixed words and a folder, no shell
            command, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_name() -> str:
    """Return the processor's name as the system gives it; on Arm boards that of the board."""
    info, board = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if board.is_file():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return platform.processor() or platform.machine()


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
