"""Time `import edgecv` against `import numpy`, each in fresh interpreters.

Usage: python -P benchmarks/import_time.py [--repeat 20]

The two and an empty interpreter take turns, so that a busy machine slows all three alike. The
figure of a module is its median less that of the empty interpreter.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

STATEMENTS = {"(nothing)": "pass", "numpy": "import numpy", "edgecv": "import edgecv"}


def seconds(statement: str, folder: str) -> float:
    """Return how long a new interpreter takes for `statement`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=folder)  # noqa: S603
    return time.perf_counter() - start


def main() -> None:
    """Print the median of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20, help="fresh interpreters for each")
    repeat = parser.parse_args().repeat

    samples: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    with tempfile.TemporaryDirectory() as folder:  # not the checkout: import what is installed
        for turn in range(repeat + 1):
            for name, statement in STATEMENTS.items():
                taken = seconds(statement, folder)
                if turn > 0:  # the first turn fills the disk cache
                    samples[name].append(taken)
    empty = statistics.median(samples["(nothing)"])
    print(f"{'import':>10} {'median ms':>10} {'less empty':>11}")
    for name, taken in samples.items():
        median = statistics.median(taken)
        print(f"{name:>10} {median * 1e3:10.1f} {(median - empty) * 1e3:11.1f}")


if __name__ == "__main__":
    main()
