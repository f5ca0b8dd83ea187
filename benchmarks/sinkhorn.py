"""Entropic transport between uniform sets, beside POT.

    OMP_NUM_THREADS=1 POT_BACKEND_DISABLE_TENSORFLOW=1 python benchmarks/sinkhorn.py
    python benchmarks/sinkhorn.py --rows 500 --repeats 15

Costs are squared distances in the plane, the largest of them 1, in double precision; both stop when
the norm of the error of the sums is below 1e-9. Prints CPU seconds (medians of interleaved runs),
the greatest difference of the plans, the greatest relative error of the sums of each, and which
part of our time the matrix-vector products of POT's iterations would take alone. At regularisation
1e-3 POT's ot.sinkhorn runs at the edge of what it can represent, beyond it gives up; its form in
logarithms doesn't end in reasonable time.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")  # whose import takes ten seconds

import numpy as np
import ot
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.transport import sinkhorn_plan

REGULARISATIONS = (1e-1, 1e-2, 1e-3, 1e-4)


def costs(n: int, m: int) -> Tensor:
    """Draw points and return their squared distances."""
    torch.manual_seed(0)
    source = torch.rand(n, 2, dtype=torch.float64)
    target = 0.3 + 0.8 * torch.rand(m, 2, dtype=torch.float64)
    cost = torch.cdist(source, target) ** 2
    return cost / cost.max()


def row(n: int, m: int, regularisation: float, repeats: int) -> str:
    """Measure one problem."""
    cost = costs(n, m)
    a, b, C = np.full(n, 1 / n), np.full(m, 1 / m), cost.numpy()

    def pot() -> tuple[np.ndarray, dict]:
        with warnings.catch_warnings(action="ignore"):
            return ot.sinkhorn(a, b, C, regularisation, numItermax=10_000, log=True)

    def ours() -> Tensor:
        return sinkhorn_plan(cost, regularisation=regularisation)

    u, v = torch.ones(n, dtype=torch.float64), torch.ones(m, dtype=torch.float64)
    calls: dict[str, Callable[[], object]] = {
        "ours": ours,
        "pot": pot,
        "products": lambda: [(cost @ v, cost.mT @ u) for _ in range(20)],
    }
    taken = measuring.seconds(calls, repeats)
    (theirs, log), plan = pot(), ours().numpy()
    errors = [max(abs(P.sum(1) * n - 1).max(), abs(P.sum(0) * m - 1).max()) for P in (plan, theirs)]
    cells = (
        f"{n} × {m}",
        f"{regularisation:g}",
        f"{1e3 * taken['ours']:.1f}",
        f"{1e3 * taken['pot']:.1f}",
        "POT gives up" if errors[1] > 0.01 else f"{taken['ours'] / taken['pot']:.2f}",
        f"{abs(plan - theirs).max():.0e}",
        *(f"{error:.0e}" for error in errors),
        f"{log['niter']}",
        f"{taken['products'] / 20 * log['niter'] / taken['ours']:.0%}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[500, 1000, 2000])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| size | ε | our ms | POT's ms | ours / POT | plans differ by | error of our sums |",
        end="",
    )
    print(" of POT's | POT's iterations | their products alone |")
    print("| --- |" + " ---: |" * 9)
    for n in arguments.rows:
        for regularisation in REGULARISATIONS:
            print(row(n, n, regularisation, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
