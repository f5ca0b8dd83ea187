"""The outer step of MAML, on a sinusoid perceptron and on conv-4, beside other forms.

    OMP_NUM_THREADS=1 python benchmarks/meta.py
    OMP_NUM_THREADS=1 python benchmarks/meta.py --repeats 15 --compile

Prints CPU milliseconds (medians of interleaved runs), each as a multiple of ours, the largest
difference of the outer gradient from ours in its largest entry, and for conv-4 the memory of a
process of its own. The plain loop is the one that everybody writes first: autograd with
create_graph, one backward pass through the loss of each task. The peers are extras:
pip install higher torchopt learn2learn. One that isn't installed is left out.
"""

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.lab.few_shot import Convolutions, regressor, sinusoids
from mapping_lib.meta import maml_gradient, task_loss

warnings.simplefilter("ignore")
Gradient = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]


class Work:
    """A network, its loss, and tasks."""

    def __init__(
        self, network: nn.Module, criterion: Any, support: Batch, query: Batch, rate: float
    ) -> None:
        self.network, self.criterion, self.rate = network.train(), criterion, rate
        self.support, self.query, self.tasks = support, query, len(support[0])
        self.loss = task_loss(network, criterion)
        self.parameters: dict[str, Tensor] = dict(network.named_parameters())

    def task(self, t: int) -> tuple[Batch, Batch]:
        """Support and query of one task."""
        (x, y), (u, v) = self.support, self.query
        return (x[t], y[t]), (u[t], v[t])

    def collected(self) -> Gradient:
        """Take the gradients that backward passes left in the network."""
        found = {name: part.grad for name, part in self.network.named_parameters()}
        self.network.zero_grad(set_to_none=True)
        return {name: part for name, part in found.items() if part is not None}


def ours(work: Work, steps: int) -> Gradient:
    """The library's, vectorised for the perceptron and looped for the convolutions."""
    found = maml_gradient(
        work.loss, work.parameters, work.support, work.query, inner_rate=work.rate, steps=steps
    ).gradient
    assert isinstance(found, dict)
    return found


def compiled(work: Work, steps: int) -> Callable[[], Gradient]:
    """The library's inside torch.compile."""
    function: Any = torch.compile(
        partial(maml_gradient, work.loss, inner_rate=work.rate, steps=steps)
    )
    start = {name: part.detach() for name, part in work.parameters.items()}
    return lambda: function(start, work.support, work.query).gradient


def plain(work: Work, steps: int) -> Gradient:
    """Autograd with create_graph, task by task."""
    for t in range(work.tasks):
        support, query = work.task(t)
        θ: dict[str, Tensor] = dict(work.parameters)
        for _ in range(steps):
            value = work.criterion(functional_call(work.network, θ, support[0]), support[1])
            found = torch.autograd.grad(value, list(θ.values()), create_graph=True)
            θ = {
                name: part - work.rate * g for (name, part), g in zip(θ.items(), found, strict=True)
            }
        outer = work.criterion(functional_call(work.network, θ, query[0]), query[1])
        (outer / work.tasks).backward()
    return work.collected()


def with_higher(work: Work, steps: int) -> Gradient:
    """Facebook's higher."""
    import higher  # type: ignore[import-not-found]

    optimiser = torch.optim.SGD(work.network.parameters(), lr=work.rate)
    for t in range(work.tasks):
        support, query = work.task(t)
        with higher.innerloop_ctx(work.network, optimiser, copy_initial_weights=False) as (
            network,
            inner,
        ):
            for _ in range(steps):
                inner.step(work.criterion(network(support[0]), support[1]))
            (work.criterion(network(query[0]), query[1]) / work.tasks).backward()
    return work.collected()


def with_torchopt(work: Work, steps: int) -> Gradient:
    """TorchOpt's differentiable optimiser."""
    import torchopt  # type: ignore[import-not-found]

    inner = torchopt.MetaSGD(work.network, lr=work.rate)
    first = torchopt.extract_state_dict(work.network, by="reference")
    state = torchopt.extract_state_dict(inner)
    for t in range(work.tasks):
        support, query = work.task(t)
        for _ in range(steps):
            inner.step(work.criterion(work.network(support[0]), support[1]))
        (work.criterion(work.network(query[0]), query[1]) / work.tasks).backward()
        torchopt.recover_state_dict(work.network, first)
        torchopt.recover_state_dict(inner, state)
    return work.collected()


def with_learn2learn(work: Work, steps: int) -> Gradient:
    """learn2learn's MAML."""
    import learn2learn  # type: ignore[import-not-found]

    learner = learn2learn.algorithms.MAML(work.network, lr=work.rate)
    for t in range(work.tasks):
        support, query = work.task(t)
        clone = learner.clone()
        for _ in range(steps):
            clone.adapt(work.criterion(clone(support[0]), support[1]))
        (work.criterion(clone(query[0]), query[1]) / work.tasks).backward()
    return work.collected()


FORMS: dict[str, Callable[[Work, int], Gradient]] = {"ours": ours, "plain loop": plain}
PEERS = {"higher": with_higher, "torchopt": with_torchopt, "learn2learn": with_learn2learn}
FORMS |= {name: form for name, form in PEERS.items() if importlib.util.find_spec(name)}


def perceptron(tasks: int) -> Work:
    """Sinusoids from ten points, as in section 4.3.3."""
    generator = torch.Generator().manual_seed(0)
    support, query = sinusoids(tasks, shots=10, queries=10, generator=generator)
    return Work(regressor(seed=0), mse_loss, support, query, 0.01)


def conv4(tasks: int) -> Work:
    """5-way 1-shot with 15 queries a class, images of 28 pixels, 32 channels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5)
    support = torch.rand(tasks, 5, 1, 28, 28, generator=generator), labels.expand(tasks, 5)
    query = (
        torch.rand(tasks, 75, 1, 28, 28, generator=generator),
        labels.repeat_interleave(15).expand(tasks, 75),
    )
    return Work(Convolutions(5, seed=0), cross_entropy, support, query, 0.4)


WORK = {"perceptron": perceptron, "conv-4": conv4}


def compare(kind: str, tasks: int, steps: int, repeats: int, compile: bool) -> None:
    """Print a line for each form."""
    work = WORK[kind](tasks)
    calls: dict[str, Callable[[], Any]] = {}
    for name, form in FORMS.items():
        try:
            call = partial(form, work, steps)
            call()
            calls[name] = call
        except Exception as error:  # a peer that this torch is too new for
            print(f"{name} left out: {type(error).__name__}: {str(error)[:80]}")
            work.network.zero_grad()
    if compile and kind == "perceptron":
        calls["ours, compiled"] = compiled(work, steps)
    times = measuring.seconds(calls, repeats)
    due = calls["ours"]()
    largest = max(float(part.abs().max()) for part in due.values())
    print(f"\n{kind}, {tasks} tasks, {steps} inner steps")
    for name, taken in times.items():
        found = calls[name]()
        apart = max(float((found[n] - due[n]).abs().max()) for n in due) / largest
        line = f"{name:15} {1e3 * taken:8.1f} ms {taken / times['ours']:6.2f} ×  {apart:8.1e}"
        if kind == "conv-4":
            line += "  " + measuring.in_a_process_of_its_own("--memory", name, tasks, steps)
        print(line, flush=True)


def main() -> None:
    """Compare all forms, or measure the memory of one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", nargs=3, metavar=("FORM", "TASKS", "STEPS"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory:
        name, tasks, steps = chosen.memory
        work = conv4(int(tasks))
        FORMS[name](conv4(1), 1)  # what is allocated once
        print(f"{measuring.peak_mib(lambda: FORMS[name](work, int(steps))):.0f} MiB")
        return
    for steps in (1, 5):
        compare("perceptron", 25, steps, 3 * chosen.repeats, chosen.compile)
    for tasks in (4, 32):
        for steps in (1, 5):
            compare("conv-4", tasks, steps, chosen.repeats, False)


if __name__ == "__main__":
    main()
