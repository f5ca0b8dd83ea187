"""The exercises of section 8.3.3: their solutions and plausible wrong answers."""

import numpy as np
import torch

from mapping_lib.lab.exercises import Case, check


def mean(clients, sizes, *, divisor=None, equal=False):
    weights = [1] * len(sizes) if equal else sizes
    total = divisor or sum(weights)
    return {
        name: sum(n * each[name] for n, each in zip(weights, clients, strict=True)) / total
        for name in clients[0]
    }


def in_place(clients, sizes):
    for name in clients[0]:
        for each, n in zip(clients, sizes, strict=True):
            each[name] *= n / sum(sizes)
    return {name: sum(each[name] for each in clients) for name in clients[0]}


def deal(labels, shares, *, floored=False):
    parts = [[] for _ in shares]
    for c in range(shares.shape[1]):
        rows = (labels == c).nonzero().flatten()
        if floored:
            ends = (shares[:, c] * len(rows)).long().cumsum(0)
        else:
            ends = (shares[:, c].cumsum(0) * len(rows)).round().long()
        start = 0
        for part, end in zip(parts, ends.tolist(), strict=True):
            part.append(rows[start:end])
            start = end
    return [torch.cat(part) for part in parts]


def by_chance(labels, shares):
    q = shares / shares.sum(1, keepdim=True)
    return [torch.multinomial(one[labels], 50) for one in q]


def messages(values, masks, bits, *, both=False, modulo=True, only=None):
    out = []
    for u in range(len(values)):
        z = values[u]
        for v in range(len(values)):
            if u != v and (only is None or {u, v} == only):
                z = z + masks[u, v] if both or v > u else z - masks[u, v]
        out.append(z % 2**bits if modulo else z)
    return torch.stack(out)


def a_ring(values, masks, bits):
    m = len(values)
    ring = [masks[u, (u + 1) % m] for u in range(m)]
    return torch.stack([values[u] + ring[u] - ring[u - 1] for u in range(m)]) % 2**bits


def test_answers_in_another_style_are_right():
    assert check("8.3.3-a", np.array([4, 0, 1, 0, 2]))
    assert check("8.3.3-c", lambda y, q: [part.tolist() for part in deal(y, q)])
    assert check("8.3.3-d", lambda g: g.norm(dim=1).argmax())
    assert check("8.3.3-e", lambda x, s, b: list(messages(x, s, b)))
    assert check("8.3.3-e", lambda x, s, b: messages(x, -s, b))  # the larger number adds


CASES = {
    "8.3.3-a": Case(
        solution=[4, 0, 1, 0, 2],
        wrong={
            "downhill": [0, 0, 1, 0, 2],
            "not 1": [4, -2, 1, 0, 2],
            "count the same": [4, 0, 2, 0, 2],
            "other's weight": [4, 0, 3, 0, 2],
            "curvature has no say": [4, 0, 1, 2, 2],
            "curvatures count as well": [4, 0, 1, 0, 0],
            "not the rows": [4, 0, 1, 0, 4],
            "five numbers": [4, 0, 1],
        },
    ),
    "8.3.3-b": Case(
        solution=mean,
        wrong={
            "count the same": lambda c, n: mean(c, n, equal=True),
            "these are sums": lambda c, n: mean(c, n, divisor=1),
            "number of clients": lambda c, n: mean(c, n, divisor=3),
            "were changed": in_place,
            "return a dictionary": lambda c, n: list(mean(c, n).values()),
        },
    ),
    "8.3.3-c": Case(
        solution=deal,
        wrong={
            "with nobody": lambda y, q: deal(y, q, floored=True),
            "more than one client": by_chance,
            "client k's part": lambda y, q: list(torch.randperm(200).chunk(4)),
            "don't exist": lambda y, q: [part - 1 for part in deal(y, q)],
            "each of the 4": lambda y, q: deal(y, q.T),
        },
    ),
    "8.3.3-d": Case(
        solution=lambda g: int(((g @ g.T <= 0).sum(1)).argmax()),
        wrong={
            "compare directions": lambda g: int(g.sum(1).argmin()),
            "shortest row": lambda g: int(g.norm(dim=1).argmin()),
            "one whole number": lambda g: g.sum(1),
            "points away": lambda g: 0,
        },
    ),
    "8.3.3-e": Case(
        solution=messages,
        wrong={
            "counts twice": lambda x, s, b: messages(x, s, b, both=True),
            "nothing is masked": lambda x, s, b: x,
            "modulo": lambda x, s, b: messages(x, s, b, modulo=False),
            "isn't spread": lambda x, s, b: messages(x, s, b, only={0, 1}),
            "conspirators": a_ring,
            "don't cancel": lambda x, s, b: (x + s.sum(0)) % 2**b,
        },
    ),
}
