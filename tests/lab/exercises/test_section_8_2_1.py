from math import log

import torch

from mapping_lib.lab.exercises import Case
from mapping_lib.source_scores import nce

ENTROPY = -(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2))
LEVELS = torch.tensor([0.025, 0.975])


def bootstrap(transfer, scratch, apart=False, levels=LEVELS):
    g = torch.Generator().manual_seed(7)
    k = len(transfer)
    rows = torch.randint(k, (10_000, k), generator=g)
    other = torch.randint(k, (10_000, k), generator=g) if apart else rows
    means = transfer[rows].mean(1) - scratch[other].mean(1)
    low, high = means.quantile(levels)
    return (transfer - scratch).mean(), low, high


def symmetric(transfer, scratch, width):
    difference = transfer - scratch
    half = width * difference.std() / len(difference) ** 0.5
    return [difference.mean(), difference.mean() - half, difference.mean() + half]


def entropy(z, y, unused=False):
    total = 0.0
    for k in range(int(z.max()) + 1):
        own = y[z == k]
        if len(own) == 0 and not unused:
            continue
        shares = own.bincount() / len(own)
        shares = shares if unused else shares[shares > 0]
        total += len(own) / len(y) * (shares * shares.log()).sum().item()
    return total if not unused else float("nan")


def certain(gaps):
    return [name for name, (_, low, _) in gaps.items() if low > 0]


CASES = {
    "8.2.1-a": Case(
        solution=(0, -1.0297),
        wrong={
            "swapped": (-ENTROPY, 0),
            "wrong sign": (0, ENTROPY),
            "equal size": (0, -log(3)),
            "in bits": (0, -1.4855),
            "not 1": (1, -ENTROPY),
            "not on the source's 4 classes": (0, -log(4)),
        },
    ),
    "8.2.1-b": Case(
        solution=bootstrap,
        wrong={
            "the sign": lambda t, s: bootstrap(s, t),
            "same seeds for both": lambda t, s: bootstrap(t, s, apart=True),
            "quantiles of the differences": lambda t, s: (
                (t - s).mean(),
                *(t - s).quantile(LEVELS),
            ),
            "hold 90 %": lambda t, s: bootstrap(t, s, levels=torch.tensor([0.05, 0.95])),
            "hold 99 %": lambda t, s: bootstrap(t, s, levels=torch.tensor([0.005, 0.995])),
            "Student's t": lambda t, s: symmetric(t, s, 2.201),
            "the normal interval": lambda t, s: symmetric(t, s, 1.96),
            "shape () where (3,)": lambda t, s: (t - s).mean(),
            "ends are swapped": lambda t, s: [bootstrap(t, s)[i] for i in (0, 2, 1)],
            "order": lambda t, s: [bootstrap(t, s)[i] for i in (1, 0, 2)],
        },
    ),
    "8.2.1-c": Case(
        solution=entropy,
        wrong={
            "the sign": lambda z, y: -entropy(z, y),
            "condition on the source's": lambda z, y: entropy(y, z),
            "NaN": lambda z, y: entropy(z, y, unused=True),
            "in bits": lambda z, y: entropy(z, y) / log(2),
            "a sum over the examples": lambda z, y: 30 * nce(z, y),
            "−H(Y)": lambda z, y: entropy(torch.zeros_like(z), y),
            "weigh each source class": lambda z, y: sum(
                entropy(torch.zeros_like(y[z == k]), y[z == k]) for k in z.unique()
            ),
        },
    ),
    "8.2.1-d": Case(
        solution=certain,
        wrong={
            "isn't certain": lambda g: [n for n, (gap, *_) in g.items() if gap > 0],
            "they help": lambda g: [n for n, (gap, *_) in g.items() if gap < 0],
            "c clearly helps": lambda g: [n for n, (*_, high) in g.items() if high < 0],
            "the lower end must be above 0": lambda g: [
                n for n, (*_, high) in g.items() if high > 0
            ],
            "a list of names": lambda g: 2,
            "it clearly helps": lambda g: [n for n, (_, low, high) in g.items() if low * high > 0],
            "hurts little": lambda g: ["a"],
            "clearly hurt, got nothing": lambda g: [],
        },
    ),
}
