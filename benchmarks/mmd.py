"""MMD² with five Gaussian kernels on 256 features, forward and backward, beside other libraries.

    OMP_NUM_THREADS=1 python benchmarks/mmd.py
    OMP_NUM_THREADS=1 python benchmarks/mmd.py --rows 256 --repeats 15

Prints two tables: CPU seconds (medians of interleaved runs), each as a multiple of ours, with the
part of ours that the matrix products alone would take; and the peak memory of one call, each in a
process of its own (the largest takes minutes). The peers are extras, used where they are installed:
pip install pytorch-adapt geomloss.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.distances import mmd

FEATURES = 256
BANDWIDTHS = [8.0, 8 * 2**0.5, 16.0, 16 * 2**0.5, 32.0]  # doubling variances, as is usual
MEMORY_ROWS = (256, 1024, 4096, 16_384, 30_000)
TOO_LARGE = 4096  # beyond it the peers, whose memory grows with n², aren't run


def domains(rows: int) -> tuple[Tensor, Tensor]:
    """Draw both sets, with gradients."""
    torch.manual_seed(0)
    source, target = torch.randn(rows, FEATURES), 0.1 + torch.randn(rows, FEATURES)
    return source.requires_grad_(), target.requires_grad_()


def ours(source: Tensor, target: Tensor) -> Tensor:
    """This library's."""
    return mmd(source, target, bandwidth=BANDWIDTHS, biased=False)


def plain(source: Tensor, target: Tensor) -> Tensor:
    """All pairs at once, distances from products."""
    z, n = torch.cat([source, target]), len(source)
    squared = (z * z).sum(1)
    D = squared[:, None] + squared - 2 * z @ z.mT
    K = sum((torch.exp(-D / (2 * σ**2)) for σ in BANDWIDTHS), torch.zeros(()))
    within = K[:n, :n].mean() + K[n:, n:].mean() - 2 * len(BANDWIDTHS) / n
    return within * n / (n - 1) - 2 * K[:n, n:].mean()


def pytorch_adapt(source: Tensor, target: Tensor) -> Tensor:
    """pytorch-adapt's, with the same kernels."""
    from pytorch_adapt.layers import MMDLoss

    scales = torch.tensor([1 / (2 * σ**2) for σ in BANDWIDTHS])
    loss = MMDLoss(kernel_scales=scales, mmd_type="quadratic", bandwidth=1.0)
    return len(BANDWIDTHS) * loss(source, target)


def pytorch_adapt_batched(source: Tensor, target: Tensor) -> Tensor:
    """pytorch-adapt's in batches of 1,024 rows."""
    from pytorch_adapt.layers.mmd_loss import MMDBatchedLoss

    scales = torch.tensor([1 / (2 * σ**2) for σ in BANDWIDTHS])
    loss = MMDBatchedLoss(kernel_scales=scales, mmd_type="quadratic", bandwidth=1.0)
    return len(BANDWIDTHS) * loss(source, target)


def geomloss(source: Tensor, target: Tensor) -> Tensor:
    """geomloss's, once for each kernel: half the biased value."""
    from geomloss import SamplesLoss

    losses = [SamplesLoss("gaussian", blur=σ, backend="tensorized") for σ in BANDWIDTHS]
    return 2 * sum((loss(source, target) for loss in losses), torch.zeros(()))


PEERS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "ours": (ours, "torch"),
    "plain torch": (plain, "torch"),
    "pytorch-adapt": (pytorch_adapt, "pytorch_adapt"),
    "pytorch-adapt, batched": (pytorch_adapt_batched, "pytorch_adapt"),
    "geomloss (biased)": (geomloss, "geomloss"),
}


def present(module: str) -> bool:
    """Whether a library is installed."""
    return importlib.util.find_spec(module) is not None


def with_gradient(function: Callable[[Tensor, Tensor], Tensor], rows: int) -> Callable[[], Tensor]:
    """Return a call that computes the value and both gradients."""
    source, target = domains(rows)

    def call() -> Tensor:
        value = function(source, target)
        torch.autograd.grad(value, (source, target))
        return value

    return call


def products_alone(rows: int) -> float:
    """Return the seconds of our products: half of all distances, and the gradient of all pairs."""
    pairs = (2 * rows) ** 2
    return 2 * FEATURES * (pairs / 2 + pairs) / measuring.product_rate(1024, FEATURES)


def times(rows: int, repeats: int) -> None:
    """Print the rows of the first table for one size."""
    names = [name for name, (_, module) in PEERS.items() if present(module)]
    calls = {name: with_gradient(PEERS[name][0], rows) for name in names}
    exact = ours(*(x.detach().double() for x in domains(rows))).item()
    values = {name: call().item() for name, call in calls.items()}
    taken = measuring.seconds(calls, repeats)
    limit = products_alone(rows)
    for name in names:
        error = abs(values[name] - exact) / abs(exact)
        part = f"{limit / taken[name]:.0%}" if name == "ours" else ""
        ratio = taken[name] / taken["ours"]
        row = (rows, name, f"{1e3 * taken[name]:.1f}", f"{ratio:.2f}", f"{error:.0e}", part)
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[256, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", nargs=2, metavar=("NAME", "ROWS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        name, rows = arguments.memory_of
        with_gradient(PEERS[name][0], 64)()
        print(f"{measuring.peak_mib(with_gradient(PEERS[name][0], int(rows))):.0f}")
        return
    print("| rows of each set | function | CPU ms | times ours | error of the value | limit |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for rows in arguments.rows:
        times(rows, 3 * arguments.repeats if rows < 1000 else arguments.repeats)
    print("\n| peak MiB | " + " | ".join(map(str, MEMORY_ROWS)) + " |")
    print("| --- |" + " ---: |" * len(MEMORY_ROWS))
    for name, (_, module) in PEERS.items():
        if not present(module):
            print(f"| {name} | not installed |")
            continue
        found = [
            measuring.in_a_process_of_its_own("--memory-of", name, rows)
            if name == "ours" or rows <= TOO_LARGE
            else ""
            for rows in MEMORY_ROWS
        ]
        print(f"| {name} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
