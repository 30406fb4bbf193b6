"""Time every GPU kernel against its peers and a device copy, in one run on one GPU.

Usage: python benchmarks/gpu.py [--only nms,letterbox] [--turns 100] [--json FILE]

It needs an NVIDIA GPU, PyTorch and torchvision, and edgecv built with its CUDA kernels; nothing is
fetched. Each case first checks that all contenders compute the same. What is timed, and how, is
said in gpu_measure.py. A missed target of a case, set for an H100, is printed below its row.
Without `--json` the figures go to benchmarks/results/gpu-<device>.json.
"""

import argparse
import json
import re
import sys
from importlib import import_module
from pathlib import Path

from edgecv.kernels.cuda.native import why_not
from edgecv.provenance import versions_in_use

MODULES = ("fit", "suppression", "pooling", "segmentation", "overlap")
PACKAGES = ("edgecv", "torch", "torchvision", "triton")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="operators, separated by commas")
    parser.add_argument("--turns", type=int, default=100, help="measurements of each call")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"benchmarks/gpu.py: nothing is measured: {reason}")
        return 2
    import torch  # noqa: PLC0415  # after what says that it would be in vain
    from gpu_measure import Measurement, Stopwatch  # noqa: PLC0415

    wanted = options.only.split(",") if options.only else None
    name = torch.cuda.get_device_name()
    machine = {"gpu": name, "cuda": torch.version.cuda, "versions": versions_in_use(*PACKAGES)}
    print(f"{name}, CUDA {machine['cuda']}; {machine['versions']}; µs, cache flushed")
    print(
        f"{'operator':<15} {'size':<38} {'by':<26} {'eager':>8} {'graph':>8} {'warm':>8} "
        f"{'x ours':>7} {'GB/s':>6} {'copy':>7}"
    )

    def show(row: Measurement) -> None:
        lead = f"{row.case.operator:<15} {row.case.size:<38}"
        tail = f"{row.gigabytes_per_s():6.0f} {row.copy_us:7.1f}"
        for contender, times in row.times.items():
            graph, warm = (
                "      --" if value is None else f"{value:8.1f}"
                for value in (times.graph, times.graph_warm)
            )
            print(
                f"{lead} {contender:<26} {times.eager:8.1f} {graph} {warm} "
                f"{row.ratio(contender):7.2f} {tail}",
                flush=True,
            )
            lead, tail = " " * len(lead), ""
        for miss in row.misses():
            print(f"{lead} missed: {miss}")

    stopwatch, rows = Stopwatch(), []
    for module in map(import_module, (f"gpu_cases.{name}" for name in MODULES)):
        if wanted is not None and not set(wanted) & set(module.OPERATORS):
            continue
        for case in module.cases("cuda"):
            if wanted is None or case.operator in wanted:
                row = stopwatch.measure(case, turns=options.turns)
                rows.append(row)
                show(row)
    path = options.json or RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {"machine": machine, "turns": options.turns, "rows": [row.to_plain() for row in rows]}
    path.write_text(json.dumps(plain, indent=1) + "\n")
    missed = sum(len(row.misses()) for row in rows)
    print(f"{len(rows)} cases, {missed} targets missed; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
