"""Figures of `edgecv eval` and `edgecv bench`, as a bundle keeps them."""

import json
from pathlib import Path
from typing import Any

from edgecv.bundle.manifest import Latency, Measured
from edgecv.errors import InputError
from edgecv.metrics.accuracy import Accuracy
from edgecv.records import plain_value

# The figure that counts, of the first of these tasks that a file has figures of: an instance or a
# keypoint model has boxes too.
_METRICS = ("mask_AP", "keypoint_AP", "AP", "mIoU", "top1")


def read_measurements(path: Path) -> Measured:
    """Return what a file of `edgecv eval --json` or `edgecv bench --json` says.

    Raises:
        InputError: if it is neither, or was measured on a GPU, whose name it does not say.
        SpecError: if a figure of it is of the wrong type.

    """
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"`{path}` cannot be read: {reason}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is not JSON: {error}. Write it again.") from error
    if isinstance(plain, dict) and {"data", "split"} <= plain.keys():
        return Measured(accuracy=_accuracy(path, plain))
    if isinstance(plain, dict) and {"machine", "inference"} <= plain.keys():
        return Measured(latencies=(_latency(path, plain),))
    raise InputError(
        f"`{path}` holds no measurements. Give what `edgecv eval MODEL --json FILE` or "
        "`edgecv bench MODEL --json FILE` wrote."
    )


def _accuracy(path: Path, plain: dict[str, Any]) -> Accuracy:
    figures = {
        key: float(value)
        for key, value in sorted(plain.items())
        if isinstance(value, float) and not key.endswith("_threshold")
    }
    metric = next((name for name in _METRICS if name in figures), None)
    if metric is None:
        raise InputError(f"`{path}` has no figure of {', '.join(_METRICS)}. Measure it again.")
    data, split = (_text(path, plain[key], key) for key in ("data", "split"))
    return Accuracy(metric, figures, data, split)


def _latency(path: Path, plain: dict[str, Any]) -> Latency:
    machine, inference = plain["machine"], plain["inference"]
    if not isinstance(machine, dict) or not isinstance(inference, dict):
        raise InputError(f"`{path}`: `machine` and `inference` must be objects. Measure it again.")
    # The backend of a bundle's entry is followed by its name.
    backend = _text(path, machine.get("backend"), "machine.backend").partition(",")[0]
    if not backend.endswith(" cpu"):
        raise InputError(
            f"`{path}` was measured with {backend}, and does not say on which GPU. Give a "
            "measurement on the CPU (`edgecv bench --device cpu`)."
        )
    threads = machine.get("threads")
    median_ms: float = plain_value(float, inference.get("median_ms"), where="inference.median_ms")
    return Latency(
        processor=_text(path, machine.get("cpu"), "machine.cpu"),
        backend=backend,
        threads=threads if isinstance(threads, int) else 0,  # "one per core"
        median_ms=median_ms,
    )


def _text(path: Path, value: object, key: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"`{path}`: `{key}` must be text, got {value!r}. Measure it again.")
    return value
