"""The checks of the exercises of section 8.3.3, Federated transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.3.3-a")
def a_round_on_paper(answer: Any) -> str | None:
    """Check both ends, their mean, the fixed point of long local training, and the optimum."""
    if not isinstance(answer, list | tuple | Tensor | np.ndarray) or len(answer) != 5:
        return "give a list of five numbers: [θ_1, θ_2, mean, fixed point, optimum]"
    first, second, mean, fixed, best = answer
    uphill = "the step goes against the gradient, downhill"
    return (
        compare(first, 4.0, what="θ_1", hints={uphill: 0.0, "η is ½, not 1": 6.0})
        or compare(second, 0.0, what="θ_2", hints={uphill: 4.0, "η is ½, not 1": -2.0})
        or compare(
            mean,
            1.0,
            what="the server's mean",
            hints={
                "both clients count the same here; weight them by their rows, 1 and 3": 2.0,
                "this gives each client the other's weight": 3.0,
                "this is a sum: divide by the number of all rows": 4.0,
            },
        )
        or compare(
            fixed,
            0.0,
            what="the fixed point",
            hints={
                "this is the optimum, or a mean that counts the clients alike; after long "
                "training a client's curvature has no say, its rows have": 2.0,
                "this sums the clients' optima with their rows' weights swapped": 4.0,
            },
        )
        or compare(
            best,
            2.0,
            what="the optimum",
            hints={
                "this is the mean of the clients' optima; their curvatures count as well": 0.0,
                "this counts the curvatures and not the rows": 4.0,
            },
        )
    )


@exercise("8.3.3-b")
def mean_by_rows(answer: Callable[..., Any]) -> str | None:
    """Check the weighted mean of dictionaries of parameters, for unequal clients."""
    sizes = [1, 4, 7]
    clients = [
        {"weight": torch.randn(2, 3, dtype=torch.float64), "bias": torch.randn(2).double()}
        for _ in sizes
    ]
    before = [{name: part.clone() for name, part in each.items()} for each in clients]
    found = answer(clients, sizes)
    if not isinstance(found, dict) or found.keys() != clients[0].keys():
        return "return a dictionary with the names of the clients' parameters"
    pairs = zip(clients, before, strict=True)
    if any(not torch.equal(each[n], old[n]) for each, old in pairs for n in old):
        return "the clients' own parameters were changed; add into new tensors"
    for name in found:
        stacked = torch.stack([each[name] for each in clients])
        w = torch.tensor(sizes).double().view(-1, *[1] * (stacked.ndim - 1))
        wrong = compare(
            found[name],
            (w * stacked).sum(0) / 12,
            what=f"the mean of {name!r}",
            hints={
                "all clients count the same here; weight them by their rows": stacked.mean(0),
                "these are sums; divide by the number of all rows": (w * stacked).sum(0),
                "divided by the number of clients; divide by the number of rows": (
                    (w * stacked).sum(0) / 3
                ),
            },
        )
        if wrong:
            return wrong
    return None


@exercise("8.3.3-c")
def deal_by_shares(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check that each class's rows are dealt by the clients' shares of it, each row once."""
    labels = torch.randint(3, (200,))
    shares = torch.rand(4, 3).double() + 0.05
    shares = shares / shares.sum(0)  # columns sum to one
    parts = answer(labels, shares)
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        return "return a list with the rows of each of the 4 clients"
    rows = torch.cat([torch.as_tensor(part).flatten().long() for part in parts])
    outside = ((rows < 0) | (rows >= 200)).any()
    counts = torch.bincount(rows.clamp(0, 199), minlength=200)
    if outside:
        return "some rows don't exist: give places in `labels`, from 0"
    if (counts > 1).any():
        return f"{int((counts > 1).sum())} rows are with more than one client; deal each row once"
    if (counts == 0).any():
        missing = int((counts == 0).sum())
        return f"{missing} rows are with nobody: cut at rounded cumulated shares, not at sizes"
    for k, part in enumerate(parts):
        found = torch.bincount(labels[torch.as_tensor(part).long()], minlength=3)
        due = shares[k] * torch.bincount(labels, minlength=3)
        if (found - due).abs().max() > 1.01:
            return (
                f"client {k} has {found.tolist()} rows of the classes where "
                f"{[round(float(n), 1) for n in due]} are due: shares[k, c] is client k's part of "
                "the rows of class c"
            )
    return None


@exercise("8.3.3-d")
def read_the_label(answer: Callable[[Tensor], Any]) -> str | None:
    """Check the label read off gradients of single examples, with features of both signs."""
    for trial in range(30):
        h, p = torch.randn(8).double(), torch.randn(6).double().softmax(0)
        if trial == 0:
            h = -h.abs()
        label = trial % 6
        residual = p - torch.nn.functional.one_hot(torch.tensor(label), 6)
        gradient = torch.outer(residual, h)
        try:
            found = int(answer(gradient))
        except (TypeError, ValueError, RuntimeError) as error:
            return f"return the label as one whole number ({error})"
        if found != label:
            if found == int(gradient.sum(1).argmin()):
                return (
                    "the row with the smallest sum is the label's only if the features are "
                    "positive; here they have both signs: compare directions of rows"
                )
            if found == int(gradient.norm(dim=1).argmin()):
                return "this is the shortest row; the label's is the longest, since 1 − p_y = Σ p_i"
            return f"this says {found}, the label is {label}, whose row points away from all others"
    return None


@exercise("8.3.3-e")
def masks_that_cancel(answer: Callable[[Tensor, Tensor, int], Any]) -> str | None:
    """Check messages of all clients: exact sum, residues, and nothing to be read off one."""
    m, bits = 4, 16
    values = torch.randint(0, 50, (m, 300))
    masks = torch.randint(2**bits, (m, m, 300))
    for u in range(m):
        for v in range(u):
            masks[u, v] = masks[v, u]
    found = answer(values, masks, bits)
    if isinstance(found, list | tuple) and all(isinstance(each, Tensor) for each in found):
        found = torch.stack(list(found)) if len({each.shape for each in found}) == 1 else found[0]
    found = torch.as_tensor(found)
    if found.shape != values.shape or found.is_floating_point():
        return f"return whole numbers of the shape of the values, {tuple(values.shape)}"
    if torch.equal(found, values):
        return "these are the values themselves: nothing is masked"
    total = (found.sum(0) - values.sum(0)) % 2**bits
    if total.any():
        both = sum(masks[u, v] for u in range(m) for v in range(m) if u != v)
        if torch.equal(total, torch.as_tensor(both) % 2**bits):
            return "both clients of a pair add their mask, so it counts twice; one must subtract it"
        return "the masks don't cancel in the sum: each pair adds one mask at one end only"
    if ((found < 0) | (found >= 2**bits)).any():
        return "messages must lie in [0, 2**bits): take them modulo 2**bits"
    for u in range(m):
        if float(found[u].double().std()) < 0.2 * 2**bits:
            return f"the message of client {u} isn't spread over the range: use all its masks"
    one = (values[0] + sum(masks[0, v] for v in range(1, m))) % 2**bits
    other = (values[0] - sum(masks[0, v] for v in range(1, m))) % 2**bits
    if not (torch.equal(found[0], one) or torch.equal(found[0], other)):
        return "client 0 must use a mask for each other client, or fewer conspirators suffice"
    return None
