"""Time every operator against its peers and its floor, in one run on one thread.

Usage: python benchmarks/kernels.py [--only nms,letterbox] [--budget 2] [--json FILE]

All contenders of a case take turns, so that a busy machine slows them alike, each with warm caches;
a ratio is the median over the turns of the peer's time over ours. Peers that are not installed are
left out.
"""

import argparse
import importlib
import json
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before any library reads it

from measure import Case, Measurement, measure

from edgecv.kernels import set_num_threads
from edgecv.provenance import cpu_name, versions_in_use

MODULES = ("fit", "decoding", "suppression", "overlap", "pooling", "masks", "drawing", "tracking")
PEERS = (
    "torch",
    "torchvision",
    "opencv-python-headless",
    "scipy",
    "trackers",
    "ultralytics",
    "numpy",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="operators, separated by commas")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for each case")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else None
    set_num_threads(1)

    machine = {"cpu": cpu_name(), "threads": 1, "versions": versions_in_use(*PEERS)}
    print(f"{machine['cpu']}, one thread; {machine['versions']}")
    print(
        f"{'operator':<17} {'size':<34} {'ours ms':>9}  {'peer':<28} {'ms':>9} {'ratio':>7} "
        f"{'floor ms':>9} {'share':>6}  floor"
    )
    rows = []
    for case in _cases(wanted):
        row = measure(case, budget_s=options.budget)
        rows.append(row.to_plain())
        _print(row)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def _cases(wanted: list[str] | None) -> list[Case]:
    found = []
    for name in MODULES:
        module = importlib.import_module(f"cases.{name}")
        if wanted is None or set(wanted) & set(module.OPERATORS):
            found += [c for c in module.cases() if wanted is None or c.operator in wanted]
    return found


def _print(row: Measurement) -> None:
    lead = f"{row.case.operator:<17} {row.case.size:<34} {row.ours_s * 1e3:9.3f}"
    tail = f"{row.floor_s * 1e3:9.3f} {row.share_of_floor:6.2f}  {row.case.floor_is}"
    for name, taken in row.peers_s.items() or [("(none)", float("nan"))]:
        ratio = row.ratios.get(name, float("nan"))
        print(f"{lead}  {name:<28} {taken * 1e3:9.3f} {ratio:6.1f}x {tail}", flush=True)
        lead, tail = " " * len(lead), ""


if __name__ == "__main__":
    main()
