"""PCGrad and MGDA beside the textbook's loops and LibMTL: time from the losses to one gradient.

    OMP_NUM_THREADS=1 python benchmarks/multitask.py
    OMP_NUM_THREADS=1 python benchmarks/multitask.py --repeats 31 --tasks 2 8

Each call takes the losses of T tasks that share a network of some 50,000 or 800,000 numbers,
computes the T gradients, combines them and leaves the result in ``parameter.grad``. Prints CPU
seconds (medians of interleaved runs), each as a multiple of ours; `combination` is ours without
the gradients. For MGDA also how long the combined gradient is beside ours: the shortest is the
optimum. LibMTL is an extra (pip install --no-deps LibMTL); only its rules are imported, for the
rest of version 1.1.5 asks for modules that torchvision no longer has.
"""

import argparse
import importlib.util
import random
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.multitask import mgda_weights, pcgrad, task_gradients

Rule = Callable[[Tensor], Tensor]  # (T, P) gradients -> (P,)


def shared_network(width: int) -> nn.Sequential:
    """A network of two layers that all tasks share."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


def leave(gradient: Tensor, parameters: list[nn.Parameter]) -> None:
    """Write one flat gradient into the parameters' ``grad``."""
    sizes = [p.numel() for p in parameters]
    for parameter, part in zip(parameters, gradient.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)


def projected_in_loops(gradients: Tensor) -> Tensor:
    """PCGrad as the paper writes it: two loops over the tasks, on whole gradients."""
    projected = gradients.clone()
    for t in range(len(gradients)):
        others = [u for u in range(len(gradients)) if u != t]
        random.shuffle(others)
        for u in others:
            along = projected[t] @ gradients[u]
            if along < 0:
                projected[t] -= along / gradients[u].square().sum() * gradients[u]
    return projected.sum(0)


def frank_wolfe(gradients: Tensor) -> Tensor:
    """MGDA as Sener and Koltun solve it: steps of Frank and Wolfe, here at most 250."""
    products = gradients @ gradients.T
    w = torch.full((len(gradients),), 1 / len(gradients))
    for _ in range(250):
        t = int((products @ w).argmin())
        lengths = products[t, t], (products @ w)[t], w @ products @ w
        step = float((lengths[2] - lengths[1]) / (lengths[0] - 2 * lengths[1] + lengths[2]))
        step = min(max(step, 0.0), 1.0)
        w = (1 - step) * w
        w[t] += step
        if step < 1e-5:
            break
    return w @ gradients


def libmtl(method: str, network: nn.Module, tasks: int) -> Any:
    """One of LibMTL's rules, told of a network as its trainer would; None if it isn't installed."""
    if "LibMTL" not in sys.modules:
        found = importlib.util.find_spec("LibMTL")
        if found is None:
            return None
        # A package without its __init__, which fails with a recent torchvision.
        package = types.ModuleType("LibMTL")
        package.__path__ = list(found.submodule_search_locations or [])
        sys.modules["LibMTL"] = package
    rule = getattr(importlib.import_module(f"LibMTL.weighting.{method}"), method)()
    rule.task_num, rule.device, rule.rep_grad = tasks, torch.device("cpu"), False
    rule.get_share_params = network.parameters
    rule.zero_grad_share_params = partial(network.zero_grad, set_to_none=False)
    return rule


def compare(method: str, tasks: int, width: int, repeats: int) -> None:
    """Time one method on one problem and print a table."""
    ours, textbook = {
        "PCGrad": (lambda g: pcgrad(g).sum(0), projected_in_loops),
        "MGDA": (lambda g: mgda_weights(g) @ g, frank_wolfe),
    }[method]
    network = shared_network(width)
    parameters = list(network.parameters())
    heads = torch.randn(tasks, width) / width**0.5
    x, y = torch.randn(64, 256), torch.randn(tasks, 64)

    def losses() -> list[Tensor]:
        return [loss.mean() for loss in (network(x) @ heads.T - y.T).square().T]

    def step(rule: Rule) -> None:
        leave(rule(task_gradients(losses(), parameters)), parameters)

    gradients = task_gradients(losses(), parameters)
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: step(ours),
        "combination": lambda: ours(gradients),
        "textbook": lambda: step(textbook),
    }
    peer = libmtl(method, network, tasks)
    if peer is not None:

        def theirs() -> None:
            network.zero_grad()  # it adds to what is there
            peer.backward(losses(), mgda_gn="none")

        calls["LibMTL"] = theirs
    taken = measuring.seconds(calls, repeats)
    lengths = {}
    for name in calls.keys() - {"combination"}:
        calls[name]()
        lengths[name] = torch.cat([p.grad.flatten() for p in parameters]).norm()
    print(f"\n{method}, {tasks} tasks, {len(gradients[0]):,} shared numbers")
    for name, seconds in taken.items():
        line = f"  {name:12}{1000 * seconds:8.2f} ms {seconds / taken['ours']:6.2f} × ours"
        if method == "MGDA" and name in lengths:
            line += f"   length {lengths[name] / lengths['ours']:.5f} × ours"
        print(line)


def main() -> None:
    """Compare both methods at several numbers of tasks and two widths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 3, 8, 20])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for method in ("PCGrad", "MGDA"):
        for width in (128, 800):
            for tasks in arguments.tasks:
                compare(method, tasks, width, arguments.repeats)


if __name__ == "__main__":
    main()
