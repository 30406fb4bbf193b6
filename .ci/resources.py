"""What the CUDA kernels take of a GPU, as ptxas reports it, against kernels/resources.toml.

`.ci/resources.py <bounds> <log>`: the log is of `nvcc -Xptxas -v`. Prints a line a kernel with the
most that any of its instances takes on any architecture, and fails if a bound is broken, or if an
exception to the bounds is not needed any more.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field, fields
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LINE = re.compile(
    r"Compiling entry function '(?P<entry>\S+)' for 'sm_(?P<architecture>\w+)'"
    r"|Function properties for (?P<function>\S+)"
    r"|(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads"
    r"|Used (?P<registers>\d+) registers(?:.*?, (?P<shared>\d+) bytes smem)?"
)


@dataclass
class Usage:
    """What a thread of a kernel takes, and a block of shared memory that the kernel declares."""

    registers: int = 0
    spill_bytes: int = 0
    stack_bytes: int = 0
    shared_bytes: int = 0

    def most(self, other: "Usage") -> "Usage":
        """Return the larger number of each."""
        return Usage(*(max(pair) for pair in zip(astuple(self), astuple(other), strict=True)))


RESOURCES = [one.name for one in fields(Usage)]


@dataclass
class Bounds:
    """The most that a kernel may take, and the exceptions by a pattern of its name."""

    default: Usage
    exceptions: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def from_toml(cls, text: str) -> "Bounds":
        """Parse kernels/resources.toml.

        Raises:
            ValueError: if a key is unknown or missing, or an exception has no reason.

        """
        document = tomllib.loads(text)
        _refuse_unknown("resources.toml", document, ["default", "exception"])
        default = document.get("default", {})
        _refuse_unknown("resources.toml: [default]", default, RESOURCES)
        if missing := [name for name in RESOURCES if name not in default]:
            raise ValueError(f"resources.toml: [default] must have {', '.join(missing)}.")
        exceptions = {}
        for pattern, table in document.get("exception", {}).items():
            where = f'resources.toml: [exception."{pattern}"]'
            _refuse_unknown(where, table, [*RESOURCES, "reason"])
            if not table.get("reason"):
                raise ValueError(f"{where} must have a reason.")
            exceptions[pattern] = {name: table[name] for name in RESOURCES if name in table}
        return cls(Usage(**default), exceptions)

    def broken(self, kernels: Mapping[tuple[str, str], Usage]) -> Iterator[str]:
        """Yield a line for each bound that a kernel breaks, and each exception without need."""
        needed = set()
        for (name, architecture), usage in kernels.items():
            for resource in RESOURCES:
                used, most = getattr(usage, resource), getattr(self.default, resource)
                for pattern, allowed in self.exceptions.items():
                    if resource in allowed and fnmatchcase(name, pattern):
                        if used > most:
                            needed.add((pattern, resource))
                        most = allowed[resource]
                if used > most:
                    what = resource.replace("_", " ")
                    yield f"{name} on sm_{architecture}: {used} {what}, at most {most} allowed"
        for pattern, allowed in self.exceptions.items():
            for resource in allowed:
                if (pattern, resource) not in needed:
                    yield f"resources.toml: no kernel needs {resource} of the exception {pattern!r}"


def parse(log: str) -> dict[tuple[str, str], Usage]:
    """Return what each function takes, by mangled name and architecture.

    A function that a kernel calls rather than contains has a stack and spills of its own.
    """
    found: dict[tuple[str, str], Usage] = {}
    entry = function = architecture = ""
    for match in _LINE.finditer(log):
        if match["entry"]:
            entry = function = match["entry"]
            architecture = match["architecture"]
        elif match["function"]:
            function = match["function"]
        elif match["stack"]:
            usage = found.setdefault((function, architecture), Usage())
            usage.stack_bytes = int(match["stack"])
            usage.spill_bytes = int(match["stores"]) + int(match["loads"])
        else:
            usage = found.setdefault((entry, architecture), Usage())
            usage.registers = int(match["registers"])
            usage.shared_bytes = int(match["shared"] or 0)
    return found


def readable(names: list[str]) -> list[str]:
    """Return the names demangled, without parameters and our own namespaces."""
    done = subprocess.run(
        ["c++filt", "-p"],  # noqa: S607  # of whatever binutils are installed
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=True,
    )
    clutter = re.compile(r"_INTERNAL_\w+::|\(anonymous namespace\)::|edgecv::")
    return [clutter.sub("", line) for line in done.stdout.splitlines()]


def report(kernels: Mapping[tuple[str, str], Usage]) -> Iterator[str]:
    """Yield a table: the most that any instance of a kernel takes, and on which architecture."""
    rows = [("kernel", "instances", "registers", "spills B", "stack B", "shared B", "worst on")]
    by_kernel = sorted(kernels.items(), key=lambda item: item[0][0].partition("<")[0])
    for kernel, group in groupby(by_kernel, key=lambda item: item[0][0].partition("<")[0]):
        instances = list(group)
        most = [max(getattr(usage, name) for _, usage in instances) for name in RESOURCES]
        (_, worst), _ = max(
            instances,
            key=lambda item: (item[1].spill_bytes, item[1].stack_bytes, item[1].registers),
        )
        num_instances = len({name for (name, _), _ in instances})
        rows.append((kernel, str(num_instances), *map(str, most), f"sm_{worst}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *cells])


def main(bounds_path: str, log_path: str) -> int:
    """Print the table and what is wrong; return the exit status."""
    bounds = Bounds.from_toml(Path(bounds_path).read_text(encoding="utf-8"))
    found = parse(Path(log_path).read_text(encoding="utf-8"))
    if not found:
        print(f"resources: no kernel in {log_path}. Compile with `-Xptxas -v`.")
        return 1
    names = readable([name for name, _ in found])
    kernels: dict[tuple[str, str], Usage] = {}
    for name, ((_, architecture), usage) in zip(names, found.items(), strict=True):
        same = kernels.get((name, architecture), usage)  # of another file's unnamed namespace
        kernels[name, architecture] = same.most(usage)
    print(*report(kernels), sep="\n")
    broken = list(bounds.broken(kernels))
    for line in broken:
        print(f"resources: {line}")
    return 1 if broken else 0


def _refuse_unknown(where: str, table: Mapping[str, Any], known: list[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where} must have no key but {', '.join(known)}, got {key!r}.")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
