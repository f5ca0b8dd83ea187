"""Kernel mean matching and KLIEP beside other libraries: time, objective, likelihood.

    OMP_NUM_THREADS=1 python benchmarks/weighting.py
    OMP_NUM_THREADS=1 python benchmarks/weighting.py --repeats 9 --rows 200 1000

Prints CPU seconds (medians of interleaved runs), each as a multiple of ours, on the same rows with
the same kernel. For kernel mean matching also how far the objective ½ βᵀKβ - κᵀβ lies above ours,
in its size, and what the weights are worth; `ours` has no ridge, as the peers have none, and `ours,
ridge 1` is the library's default, another objective. For KLIEP the mean log-likelihood of the
target, with all of its rows as centres in all libraries. The peers are extras: pip install adapt
skada. One that isn't installed is left out.
"""

import argparse
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.instances import effective_sample_size, kernel_mean_matching, kliep
from mapping_lib.kernels import gaussian_kernel, median_heuristic

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["POT_BACKEND_DISABLE_TENSORFLOW"] = "1"  # POT, which skada needs
warnings.simplefilter("ignore")

HAS = {name: importlib.util.find_spec(name) is not None for name in ("adapt", "skada")}
Calls = dict[str, Callable[[], Any]]


def domains(n: int, m: int, d: int) -> tuple[Tensor, Tensor, float]:
    """Draw a source, a narrower target beside it, and the median distance of their rows."""
    torch.manual_seed(0)
    source, target = torch.randn(n, d).double(), 0.8 * torch.randn(m, d).double() + d**-0.5
    return source, target, float(median_heuristic(source, target))


def stacked(source: Tensor, target: Tensor) -> tuple[Any, Any]:
    """Rows of both domains and their signs, as skada takes them."""
    sign = np.r_[np.ones(len(source), int), -2 * np.ones(len(target), int)]
    return np.r_[source.numpy(), target.numpy()], sign


def report(title: str, calls: Calls, repeats: int, judge: Callable[[Any], str]) -> None:
    """Time the calls in turn and print one table."""
    values = {name: call() for name, call in calls.items()}
    taken = measuring.seconds(calls, repeats)
    ours = next(iter(taken.values()))
    print(f"\n{title}")
    for name, seconds in taken.items():
        ratio = f"{seconds / ours:6.2f} × ours"
        print(f"  {name:26}{1000 * seconds:9.1f} ms {ratio}   {judge(values[name])}")


def matching(n: int, d: int, repeats: int) -> None:
    """Kernel mean matching of n source rows to as many target rows."""
    source, target, sigma = domains(n, n, d)
    gamma = 1 / (2 * sigma**2)
    solve = partial(kernel_mean_matching, source, target, bandwidth=sigma)
    calls: Calls = {"ours": lambda: solve(ridge=0), "ours, ridge 1": solve}
    if HAS["adapt"]:
        from adapt.instance_based import KMM

        def adapt() -> Tensor:
            model = KMM(Xt=target.numpy(), gamma=gamma, max_size=n, verbose=0, random_state=0)
            return torch.as_tensor(model.fit_weights(source.numpy(), target.numpy()))

        calls["adapt"] = adapt
    if HAS["skada"]:
        from skada import KMMReweightAdapter

        rows, sign = stacked(source, target)

        def skada() -> Tensor:
            adapter = KMMReweightAdapter(gamma=gamma, smooth_weights=False)
            adapter.fit(rows, sample_domain=sign)
            return torch.as_tensor(adapter.compute_weights(rows, sample_domain=sign)[:n])

        calls["skada"] = skada

    K = gaussian_kernel(source, source, bandwidth=sigma)
    kappa = n * gaussian_kernel(source, target, bandwidth=sigma).mean(1)

    def objective(beta: Tensor) -> float:
        return float(beta @ K @ beta / 2 - kappa @ beta)

    best = objective(calls["ours"]())

    def judge(beta: Tensor) -> str:
        above = (objective(beta) - best) / abs(best)
        worth = effective_sample_size(beta.clamp(min=0))  # a peer's may be a hair below 0
        return f"objective {above:+.1e} of ours, worth {worth:.0f} rows"

    report(f"kernel mean matching, {n} + {n} rows, {d} features", calls, repeats, judge)


def ratios(n: int, m: int, d: int, repeats: int) -> None:
    """KLIEP of n source and m target rows, all of which are centres."""
    source, target, sigma = domains(n, m, d)
    gamma = 1 / (2 * sigma**2)
    fit = partial(kliep, source, target, bandwidth=sigma, centres=m)

    def ours() -> Tensor:
        return fit(generator=torch.Generator().manual_seed(0), at=target)

    calls: Calls = {"ours": ours}
    if HAS["adapt"]:
        from adapt.instance_based import KLIEP

        def adapt(algorithm: str) -> Tensor:
            model = KLIEP(
                Xt=target.numpy(),
                gamma=gamma,
                algo=algorithm,
                max_centers=m,
                verbose=0,
                random_state=0,
            )
            model.fit_weights(source.numpy(), target.numpy())
            return torch.as_tensor(model.predict_weights(target.numpy()))

        for algorithm in ("FW", "PG", "original"):
            calls[f"adapt, {algorithm}"] = partial(adapt, algorithm)

    def judge(w: Tensor) -> str:
        return f"log-likelihood {w.log().mean():.7f}"

    report(f"KLIEP, {n} + {m} rows, {d} features, {m} centres", calls, repeats, judge)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 2000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for n in arguments.rows:
        for d in (2, 10, 50):
            matching(n, d, arguments.repeats)
    for n, m, d in ((200, 100, 2), (1000, 100, 2), (1000, 100, 10), (2000, 400, 10)):
        ratios(n, m, d, arguments.repeats)


if __name__ == "__main__":
    main()
