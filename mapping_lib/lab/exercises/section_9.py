"""Checks of the exercises of section 9, questions and answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.transferability import paired_interval


@exercise("9-a")
def two_starts(answer: Any) -> str | None:
    """Check where pretraining and MAML come to rest between two valleys."""
    return compare(
        answer,
        (3.0, 1.0),
        what="the pair of starts",
        hints={
            "the two are exchanged: pretraining first": (1.0, 3.0),
            "pretraining doesn't rest in the middle: each valley pulls with its curvature": (
                2.0,
                1.0,
            ),
            "the share that a step leaves counts twice: the loss after it is a square (once only "
            "is first-order MAML)": (3.0, 2.0),
            "MAML's valleys pull with their curvature, too, not with the share alone": (3.0, 0.4),
            "those are the valleys of the page: here (a, b) are (1, 0) and (3, 4)": (0.8, 0.2),
            "MAML isn't where pretraining is: what does a step leave of each distance?": (3.0, 3.0),
        },
    )


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-torch.cdist(x, y).square() / 2)


@exercise("9-b")
def unbiased_mmd(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check the unbiased estimate of the squared MMD, once above zero and once below."""
    apart = torch.randn(4, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64) + 1
    # every point stands in both samples, so that across lie likenesses of 1: the estimate is < 0
    grid = torch.arange(5, dtype=torch.float64)[:, None]
    for source, target in (apart, (grid[:4], grid)):
        said = _unbiased_of(answer, source, target)
        if said is not None:
            return said
    return None


def _unbiased_of(answer: Callable[..., Any], source: Tensor, target: Tensor) -> str | None:
    within_s, within_t, across = (
        _kernel(source, source),
        _kernel(target, target),
        _kernel(source, target),
    )
    n, m = across.shape
    off_s, off_t = within_s.sum() - n, within_t.sum() - m
    one, two = off_s / (n * (n - 1)), off_t / (m * (m - 1))
    right = one + two - 2 * across.mean()
    hints = {
        "that is the biased one: leave out each row's likeness with itself": within_s.mean()
        + within_t.mean()
        - 2 * across.mean(),
        "the diagonal is left out but still counted: divide by n (n - 1)": off_s / n**2
        + off_t / m**2
        - 2 * across.mean(),
        "the diagonal is still in the sums: only the divisors leave it out": within_s.sum()
        / (n * (n - 1))
        + within_t.sum() / (m * (m - 1))
        - 2 * across.mean(),
        "the pairs across count twice: the factor 2 is missing": one + two - across.mean(),
        "the divisors are exchanged: n rows are the source's, m the target's": off_s / (m * (m - 1))
        + off_t / (n * (n - 1))
        - 2 * across.mean(),
        "what lies across makes the estimate smaller: take it off": one + two + 2 * across.mean(),
        "each pair within a sample counts twice, as (i, j) and as (j, i)": (one + two) / 2
        - 2 * across.mean(),
        "no row meets itself across the domains: no diagonal is to be left out": one
        + two
        - 2 * (across.sum() - across.diagonal().sum()) / (n * m - n),
    }
    if right > 0:
        hints["the root is too much: the square is asked for, and it may be negative"] = (
            right.sqrt()
        )
    else:
        hints["don't cut it off at 0: an unbiased estimate has to fall below"] = right.clamp(min=0)
        hints["don't take its absolute value: an unbiased estimate may be negative"] = right.abs()
    found = answer(within_s, within_t, across)
    return compare(found, right.item(), what="the estimate", hints=hints)


_LABELS = (1, 2, 5, 10, 20)
_WIGGLE = (0.02, -0.01, 0.00, -0.03, 0.02)


def _curves(gains: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return curves of five seeds whose paired differences have these means."""
    wiggle = torch.tensor(_WIGGLE, dtype=torch.float64)
    seeds = torch.tensor([0.0, 0.10, -0.08, 0.05, -0.04], dtype=torch.float64)
    scratch = torch.tensor([0.4, 0.5, 0.6, 0.7, 0.8], dtype=torch.float64) + seeds[:, None]
    turned = torch.stack([wiggle.roll(k) for k in range(5)], 1)
    return scratch + torch.tensor(gains, dtype=torch.float64) + turned, scratch


def _first(ahead: Tensor) -> float:
    """Return the first number of labels after the last at which transfer is ahead."""
    last = int(ahead.nonzero().max()) if ahead.any() else -1
    return float(_LABELS[last + 1]) if last + 1 < len(_LABELS) else inf


@exercise("9-c")
def meeting(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check from which number of labels on transfer isn't shown to be ahead."""
    labels = torch.tensor(_LABELS)
    cases = {
        "ahead up to 2 labels": (0.20, 0.10, 0.01, 0.00, -0.01),
        "ahead everywhere": (0.20, 0.20, 0.20, 0.15, 0.10),
        "nowhere ahead": (-0.10, 0.00, 0.00, -0.05, -0.10),
        "level at 2 labels, ahead at 5 again": (0.20, 0.01, 0.10, 0.00, 0.00),
        "hardly ahead at 5 labels": (0.20, 0.10, 0.025, 0.00, 0.00),
        "a little ahead at 5 labels": (0.20, 0.10, 0.04, 0.00, 0.00),
    }
    right: list[float] = []
    got: list[Any] = []
    wrong: dict[str, list[float]] = {name: [] for name in _MISTAKES}
    for gains in cases.values():
        transfer, scratch = _curves(gains)
        low, high = paired_interval(transfer, scratch)
        right.append(_first(low > 0))
        for name, mistake in _MISTAKES.items():
            wrong[name].append(mistake(transfer, scratch, low, high))
        found = answer(labels, transfer, scratch)
        if isinstance(found, Tensor) and found.numel() != 1:
            return f"return one number of labels, not {found.numel()}"
        got.append(float(found) if isinstance(found, int | float | Tensor) else found)
    if isinstance(got[0], float) and len(set(map(str, got))) == 1:
        return "that is the same answer for all curves: look at the intervals"
    for name, mistaken in wrong.items():
        if got == mistaken:
            return name
    for case, value, due in zip(cases, got, right, strict=True):
        said = compare(value, due, what=f"where the curves meet ({case})")
        if said is not None:
            return said
    return None


def _first_of_all(low: Tensor) -> float:
    """Return the first number of labels at which the interval reaches 0."""
    level = (low <= 0).nonzero()
    return float(_LABELS[int(level.min())]) if len(level) else inf


def _index(low: Tensor) -> float:
    value = _first(low > 0)
    return float(_LABELS.index(int(value))) if value != inf else inf


def _normal(transfer: Tensor, scratch: Tensor) -> Tensor:
    gain = transfer - scratch
    return gain.mean(0) > 1.96 * gain.std(0) / 5**0.5


def _spread(transfer: Tensor, scratch: Tensor) -> Tensor:
    gain = transfer - scratch
    return gain.mean(0) > 2.776 * gain.std(0)


def _unpaired(transfer: Tensor, scratch: Tensor) -> Tensor:
    spread = ((transfer.var(0) + scratch.var(0)) / 5).sqrt()
    return transfer.mean(0) - scratch.mean(0) > 2.776 * spread


_MISTAKES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], float]] = {
    "that is the first number at which the interval reaches 0: transfer may be ahead again at a "
    "later one": lambda t, s, low, high: _first_of_all(low),
    "the mean says nothing about chance: ask whether the interval of the paired differences "
    "reaches 0": lambda t, s, low, high: _first(t.mean(0) > s.mean(0)),
    "the seeds were not paired: take the differences seed by seed first": (
        lambda t, s, low, high: _first(_unpaired(t, s))
    ),
    "the interval is too short for five seeds: Student's t takes 2.78 standard errors on either "
    "side, not 1.96, and the variance is divided by n - 1": (
        lambda t, s, low, high: _first(_normal(t, s))
    ),
    "that interval is of the seeds, not of their mean: divide the standard deviation by the root "
    "of their number": lambda t, s, low, high: _first(_spread(t, s)),
    "the differences are turned round: take transfer less scratch": (
        lambda t, s, low, high: _first(high < 0)
    ),
    "that is the place in the list: the number of labels is asked for": (
        lambda t, s, low, high: _index(low)
    ),
    "look at the lower end of the interval: where that is above 0, transfer is ahead": (
        lambda t, s, low, high: _first(high > 0)
    ),
    "that is the last number at which transfer is ahead: the next one is asked for": (
        lambda t, s, low, high: (
            float(_LABELS[int((low > 0).nonzero().max())]) if (low > 0).any() else inf
        )
    ),
}


def _frozen_networks() -> tuple[tuple[nn.Module, Tensor], ...]:
    """Return networks with and without batch norm, frozen, in mixed modes, each with a batch."""
    inner = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    one = nn.Sequential(inner, nn.LayerNorm(12), nn.Linear(12, 4), nn.BatchNorm1d(4))
    two = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.LayerNorm(4))
    one.register_buffer("mean", torch.zeros(2, 1, 1))  # a buffer that stays as it is
    one.requires_grad_(False).eval()
    two.requires_grad_(False).train()[0].eval()
    one[2].requires_grad_(True)
    return (one, torch.randn(6, 2, 4, 4)), (two, torch.randn(6, 5))


@exercise("9-d")
def what_moves(answer: Callable[[nn.Module, Tensor], Any]) -> str | None:
    """Check which entries of a frozen network's state a batch in train mode changes."""
    for network, batch in _frozen_networks():
        before = copy.deepcopy(network)
        used = copy.deepcopy(network).train()
        with torch.no_grad():
            used(batch)
        state = used.state_dict()
        right = [k for k, v in network.state_dict().items() if not torch.equal(v, state[k])]
        got = answer(network, batch)
        said = _left_as_found(before, network) or _same_names(got, right, list(state))
        if said is not None:
            return said
    return None


def _left_as_found(before: nn.Module, after: nn.Module) -> str | None:
    modes = [
        (a.training, b.training) for a, b in zip(before.modules(), after.modules(), strict=True)
    ]
    old, new = before.state_dict(), after.state_dict()
    if any(not torch.equal(old[name], new[name]) for name in old):
        return "the network's own numbers have changed: work on a copy of it"
    if any(a != b for a, b in modes):
        return "the network is left in another mode than it was found in"
    learning = zip(before.parameters(), after.parameters(), strict=True)
    if any(a.requires_grad != b.requires_grad for a, b in learning):
        return "other parameters are frozen now than before: leave requires_grad alone"
    return None


def _same_names(got: Any, right: list[str], every: list[str]) -> str | None:
    if isinstance(got, str) or not isinstance(got, list | tuple | set):
        return f"a list of names is due, not {type(got).__name__}"
    names = list(got)
    if not all(isinstance(name, str) for name in names):
        return "a list of names is due: the keys of the state_dict, not its tensors"
    if set(names) == set(right):
        return None if names == right or isinstance(got, set) else "the order is the state_dict's"
    if not names:
        return (
            "nothing has moved? state_dict() gives the tensors themselves: compare with a copy; "
            "and parameters don't move here, nor does anything in eval mode"
        )
    if right and set(names) == {name for name in right if "num_batches" not in name}:
        return "batch norm's counter of batches is in the state_dict, too, and it moves"
    if set(names) == set(every):
        return "not everything moves: only what batch norm remembers does"
    extra = [name for name in names if name not in right]
    missing = [name for name in right if name not in names]
    if extra:
        return f"{extra[0]!r} doesn't move" + (
            ": a buffer may stay as it is; compare before and after" if extra == ["mean"] else ""
        )
    return f"{missing[0]!r} moves, too"
