"""A round of local steps of many small clients, all at once, beside a plain loop over them.

    OMP_NUM_THREADS=1 python benchmarks/federated.py
    OMP_NUM_THREADS=1 python benchmarks/federated.py --repeats 15

Prints CPU milliseconds of a round (medians of interleaved runs), each as a multiple of ours, and
the largest difference of the parameters from ours. The plain loop is what everybody writes first:
torch.optim.SGD on a copy of the network, client by client. "looped" is the library's own with
``vectorised=False``.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.federated import broadcast, client_loss, client_updates
from mapping_lib.lab.federation import network

RATE, STEPS, BATCH = 0.1, 20, 16


def ours(model: Any, batches: tuple[Tensor, Tensor], vectorised: bool) -> dict[str, Tensor]:
    """The library's."""
    start: Any = {name: part.detach() for name, part in model.named_parameters()}
    sent = broadcast(start, len(batches[0]))
    loss = client_loss(model, cross_entropy)
    found: Any = client_updates(loss, sent, batches, rate=RATE, vectorised=vectorised)
    return found.parameters  # type: ignore[no-any-return]


def plain(model: Any, batches: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Client by client, with torch's optimiser."""
    ends = []
    for inputs, labels in zip(*batches, strict=True):
        own = copy.deepcopy(model)
        optimiser = torch.optim.SGD(own.parameters(), lr=RATE)
        for x, y in zip(inputs, labels, strict=True):
            optimiser.zero_grad()
            cross_entropy(own(x), y).backward()
            optimiser.step()
        ends.append({name: part.detach() for name, part in own.named_parameters()})
    return {name: torch.stack([end[name] for end in ends]) for name in ends[0]}


def main() -> None:
    """Print a table for 5, 20 and 100 clients."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    model = network(seed=0)
    for clients in (5, 20, 100):
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(clients, STEPS, BATCH, 1, 8, 8, generator=generator)
        batches = inputs, torch.randint(10, (clients, STEPS, BATCH), generator=generator)
        calls: dict[str, Callable[[], Any]] = {
            "ours": partial(ours, model, batches, True),
            "looped": partial(ours, model, batches, False),
            "plain loop": partial(plain, model, batches),
        }
        times = measuring.seconds(calls, repeats)
        due = calls["ours"]()
        print(f"\n{clients} clients, {STEPS} steps of {BATCH} rows")
        for name, taken in times.items():
            found = calls[name]()
            apart = max(float((found[n] - due[n]).abs().max()) for n in due)
            print(f"{name:12} {1e3 * taken:8.1f} ms {taken / times['ours']:6.2f} ×  {apart:8.1e}")


if __name__ == "__main__":
    main()
