"""TCA, CORAL map, subspace alignment and the Deep CORAL loss, beside other libraries.

    OMP_NUM_THREADS=1 python benchmarks/alignment.py
    OMP_NUM_THREADS=1 python benchmarks/alignment.py --repeats 15

Prints CPU seconds (medians of interleaved runs), each as a multiple of ours, and how far each is
from ours: for TCA the trace criterion tr((Wᵀ(KLK + μI)W)⁻¹ WᵀKHKW), which is maximised, as a share
of ours; for the maps the largest difference of the mapped rows, in their largest value. The peers
are extras: pip install skada adapt. One that isn't installed is left out.
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

from mapping_lib import features
from mapping_lib.distances import coral
from mapping_lib.kernels import gaussian_kernel
from mapping_lib.mappings import linear

os.environ["POT_BACKEND_DISABLE_TENSORFLOW"] = "1"  # POT, which skada needs
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

HAS = {name: importlib.util.find_spec(name) is not None for name in ("skada", "adapt")}
Calls = dict[str, Callable[[], Any]]


def domains(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Draw two sets that differ in mean and covariance."""
    torch.manual_seed(0)
    mix = torch.eye(d).double() + 0.3 * torch.randn(d, d).double() / d**0.5
    return torch.randn(n, d).double(), torch.randn(n, d).double() @ mix + 0.3


def stacked(source: Tensor, target: Tensor) -> tuple[Any, Any]:
    """Rows of both domains and their signs, as skada takes them."""
    sign = np.r_[np.ones(len(source), int), -2 * np.ones(len(target), int)]
    return np.r_[source.numpy(), target.numpy()], sign


def skada_adapter(name: str, source: Tensor, target: Tensor, **settings: Any) -> Callable[[], Any]:
    """Fit and transform by one of skada's adapters."""
    import skada

    rows, sign = stacked(source, target)
    labels = np.zeros(len(rows))

    def call() -> Any:
        adapter = getattr(skada, name)(**settings)
        adapter.fit(rows, labels, sample_domain=sign)
        return torch.as_tensor(adapter.transform(rows, sample_domain=sign, allow_source=True))

    return call


def adapt_feature_based(name: str, source: Tensor, target: Tensor, **settings: Any) -> Calls:
    """Fit and transform by one of adapt's classes; none if it can't be imported."""
    try:
        import adapt.feature_based
    except ImportError as error:
        print(f"adapt.{name} left out: {error}")
        return {}
    x, y = source.numpy(), target.numpy()

    def call() -> Any:
        model = getattr(adapt.feature_based, name)(Xt=y, verbose=0, random_state=0, **settings)
        mapped = model.fit_transform(x, y)
        others = model.transform(y, domain="tgt")
        return torch.cat([torch.as_tensor(mapped), torch.as_tensor(others)])

    return {f"adapt {name}": call}


def criterion(K: Tensor, n: int, Z: Tensor, penalty: float) -> float:
    """The trace that TCA maximises, for components Z = K W of any scale."""
    W = torch.linalg.lstsq(K, Z).solution
    e = torch.cat([torch.full((n,), 1 / n), torch.full((len(K) - n,), -1 / (len(K) - n))]).to(K)
    g = (K @ e)[:, None]
    lower = W.T @ g @ (W.T @ g).T + penalty * W.T @ W
    upper = W.T @ K @ (K - K.mean(0)) @ W
    return torch.trace(torch.linalg.solve(lower, upper)).item()


def report(title: str, calls: Calls, repeats: int, judge: Callable[[Any], str]) -> None:
    """Time the calls in turn and print one table."""
    values = {name: call() for name, call in calls.items()}
    taken = measuring.seconds(calls, repeats)
    ours = next(iter(taken.values()))
    print(f"\n{title}")
    for name, seconds in taken.items():
        ratio = f"{seconds / ours:6.2f} × ours"
        print(f"  {name:34}{1000 * seconds:9.1f} ms {ratio}   {judge(values[name])}")


def tca(n: int, d: int, repeats: int) -> None:
    """TCA with a Gaussian kernel, ten components."""
    source, target = domains(n // 2, d)
    gamma, penalty = 1 / d, 1.0
    kernel = partial(gaussian_kernel, bandwidth=(1 / (2 * gamma)) ** 0.5)
    both = torch.cat([source, target])
    K = kernel(both, both)
    solve = partial(features.tca, source, target, width=10, penalty=penalty, kernel=kernel)
    calls: Calls = {"ours": lambda: torch.cat(solve())}
    if HAS["skada"]:
        settings = {"kernel": "rbf", "n_components": 10, "mu": penalty}  # its gamma is 1 / d, too
        adapter = "TransferComponentAnalysisAdapter"
        calls["skada"] = skada_adapter(adapter, source, target, **settings)
    if HAS["adapt"]:
        settings = {"kernel": "rbf", "gamma": gamma, "n_components": 10, "mu": penalty}
        calls |= adapt_feature_based("TCA", source, target, **settings)
    best = criterion(K, len(source), calls["ours"](), penalty)

    def judge(Z: Tensor) -> str:
        return f"criterion {criterion(K, len(source), Z.double(), penalty) / best:.6f} of ours"

    report(f"TCA, {n} rows, {d} features, 10 components", calls, repeats, judge)


def maps(n: int, d: int, repeats: int) -> None:
    """CORAL map and subspace alignment."""
    source, target = domains(n, d)

    def ours_coral() -> Tensor:
        return linear(source, *features.coral_map(source, target))

    def plain_coral() -> Tensor:
        def root(C: Any, power: float) -> Any:
            values, vectors = np.linalg.eigh(C)
            return (vectors * values**power) @ vectors.T

        x, y = source.numpy(), target.numpy()
        A = root(np.cov(x.T), -0.5) @ root(np.cov(y.T), 0.5)
        return torch.as_tensor((x - x.mean(0)) @ A + y.mean(0))

    calls: Calls = {"ours": ours_coral, "plain NumPy": plain_coral}
    if HAS["skada"]:
        for reg, words in ((0.0, "no shrinkage"), ("auto", "its default shrinkage")):
            calls[f"skada, {words}"] = skada_adapter("CORALAdapter", source, target, reg=reg)
    if HAS["adapt"]:
        calls |= adapt_feature_based("CORAL", source, target, lambda_=0.0)
    expected = ours_coral()

    def judge(mapped: Tensor) -> str:
        moved = mapped[:n] - mapped[:n].mean(0) + expected.mean(0)  # some leave the mean alone
        return f"differs by {(moved - expected).abs().max() / expected.abs().max():.0e}"

    report(f"CORAL map, {n} + {n} rows, {d} features", calls, repeats, judge)

    def ours_subspace() -> Tensor:
        layers = features.subspace_alignment(source, target, width=20)
        return torch.cat([linear(source, *layers.source), linear(target, *layers.target)])

    calls = {"ours": ours_subspace}
    if HAS["skada"]:
        adapter = "SubspaceAlignmentAdapter"
        calls["skada"] = skada_adapter(adapter, source, target, n_components=20)
    if HAS["adapt"]:
        calls |= adapt_feature_based("SA", source, target, n_components=20)
    aligned = ours_subspace()

    def judge_subspace(mapped: Tensor) -> str:
        # Signs of directions are free, and some don't centre. From 500 rows on scikit-learn's PCA,
        # which the peers call, is randomised, and its 20th direction is another.
        both = [
            torch.cat([m[:n] - m[:n].mean(0), m[n:] - m[n:].mean(0)]) for m in (mapped, aligned)
        ]
        both[0] = both[0] * (both[0][n:] * both[1][n:]).sum(0).sign()
        return f"differs by {(both[0] - both[1]).abs().max() / both[1].abs().max():.0e}"

    report(f"subspace alignment, {n} + {n} rows, {d} → 20", calls, repeats, judge_subspace)


def deep_coral(n: int, d: int, repeats: int) -> None:
    """The Deep CORAL loss with its gradient, in 32 bits."""
    source, target = (x.float().requires_grad_() for x in domains(n, d))

    def plain(s: Tensor, t: Tensor) -> Tensor:
        return (torch.cov(s.T) - torch.cov(t.T)).square().sum() / (4 * d * d)

    def skada_loss(s: Tensor, t: Tensor) -> Tensor:
        from skada.deep.losses import deepcoral_loss

        value: Tensor = deepcoral_loss(s, t)
        return value

    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ours": coral, "plain torch": plain}
    try:
        import skada.deep  # noqa: F401

        losses["skada"] = skada_loss
    except ImportError as error:
        print(f"skada's loss left out: {error}")

    def step(loss: Callable[[Tensor, Tensor], Tensor]) -> float:
        source.grad = target.grad = None
        value = loss(source, target)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    calls: Calls = {name: partial(step, loss) for name, loss in losses.items()}
    expected = step(coral)
    title = f"Deep CORAL loss, forward and backward, {n} + {n} rows, {d} features"
    report(title, calls, repeats, lambda value: f"{value / expected:.6f} of ours")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    for n in (200, 500, 1000):
        tca(n, 50, repeats)
    maps(1000, 100, repeats)
    maps(2000, 256, repeats)
    deep_coral(64, 256, repeats)
    deep_coral(128, 2048, repeats)


if __name__ == "__main__":
    main()
