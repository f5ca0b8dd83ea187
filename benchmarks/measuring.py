"""What the benchmarks share: interleaved times, peak memory, the rate of matrix products."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median CPU seconds of each call: all in turn, so often, after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if repeat:
                taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def product_rate(n: int, d: int, dtype: torch.dtype = torch.float32) -> float:
    """Return the floating-point operations a CPU second of a product (n, d) with (d, n)."""
    a, b = torch.randn(n, d, dtype=dtype), torch.randn(d, n, dtype=dtype)
    return 2 * n * n * d / seconds({"": lambda: a @ b}, 15)[""]


def peak_mib(call: Callable[[], object]) -> float:
    """Return by how many MiB the process's memory grew at its highest while a call ran (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is the present one
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def in_a_process_of_its_own(*arguments: object) -> str:
    """Run the benchmark once more with these arguments and return what it prints."""
    command = [sys.executable, sys.argv[0], *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip() or f"failed: {(run.stderr.strip().splitlines() or ['killed'])[-1]}"


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
