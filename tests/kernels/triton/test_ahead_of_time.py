"""Every Triton kernel compiled for Orin and Hopper, with what its machine code needs bounded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

ARCHITECTURES = (87, 90)
MAX_SHARED_BYTES = 48 * 1024  # of a block, on every architecture
SPILLED_BYTES = 16  # of a thread: a word or two, where that lets more warps in
REGISTERS = 65536  # of a multiprocessor


def test_every_kernel_compiles_and_stays_in_its_registers(tmp_path: Path) -> None:
    environment = {key: os.environ[key] for key in os.environ if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)  # or a kernel of another day would be looked at
    script = Path(__file__).with_name("compile_ahead.py")
    done = subprocess.run(
        [sys.executable, "-P", script, *map(str, ARCHITECTURES)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    for architecture in ARCHITECTURES:
        assert sum(kernel["target"].rstrip("a") == f"sm_{architecture}" for kernel in kernels) > 20
    for kernel in kernels:
        assert kernel["cubin"] > 0, kernel
        assert kernel["local_bytes"] <= SPILLED_BYTES, kernel
        assert kernel["shared_bytes"] <= MAX_SHARED_BYTES, kernel
        assert kernel["registers"] * 32 * kernel["warps"] <= REGISTERS, kernel
