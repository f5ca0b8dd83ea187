import copy
from math import inf

import pytest
import torch

from mapping_lib.lab.exercises import Case, check
from mapping_lib.transferability import paired_interval


def unbiased(s, t, st):
    n, m = st.shape
    one = (s.sum() - s.trace()) / (n * (n - 1))
    two = (t.sum() - t.trace()) / (m * (m - 1))
    return one + two - 2 * st.mean()


def off(k, divisor):
    return (k.sum() - k.trace()) / divisor


def after(ahead, labels):
    last = int(ahead.nonzero().max()) if ahead.any() else -1
    return float(labels[last + 1]) if last + 1 < len(labels) else inf


def meeting(labels, transfer, scratch):
    return after(paired_interval(transfer, scratch)[0] > 0, labels)


def earliest(labels, transfer, scratch):
    level = (paired_interval(transfer, scratch)[0] <= 0).nonzero().flatten()
    return float(labels[level[0]]) if len(level) else inf


def unpaired(labels, transfer, scratch):
    error = ((transfer.var(0) + scratch.var(0)) / 5).sqrt()
    return after(transfer.mean(0) - scratch.mean(0) > 2.776 * error, labels)


def normal(labels, transfer, scratch):
    gain = transfer - scratch
    return after(gain.mean(0) > 1.96 * gain.std(0) / len(gain) ** 0.5, labels)


def of_the_seeds(labels, transfer, scratch):
    gain = transfer - scratch
    return after(gain.mean(0) > 2.776 * gain.std(0), labels)


def place(labels, transfer, scratch):
    found = meeting(labels, transfer, scratch)
    return labels.tolist().index(found) if found != inf else inf


def last_ahead(labels, transfer, scratch):
    ahead = (paired_interval(transfer, scratch)[0] > 0).nonzero()
    return labels[int(ahead.max())].item() if len(ahead) else inf


def moves(network, batch):
    used = copy.deepcopy(network).train()
    with torch.no_grad():
        used(batch)
    before, later = network.state_dict(), used.state_dict()
    return [name for name in before if not torch.equal(before[name], later[name])]


def on_the_network_itself(network, batch):
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        network.train()(batch)
    return [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]


def forgets_the_mode(network, batch):
    names = moves(network, batch)
    network.train()
    return names


def thaws(network, batch):
    names = moves(network, batch)
    network.requires_grad_(True)
    return names


def in_eval_mode(network, batch):
    used = copy.deepcopy(network).eval()
    used(batch)
    before, later = network.state_dict(), used.state_dict()
    return [name for name in before if not torch.equal(before[name], later[name])]


CASES = {
    "9-a": Case(
        solution=(3, 1),
        wrong={
            "are exchanged": (1, 3),
            "doesn't rest in the middle": (2, 1),
            "counts twice": (3, 2),
            "not with the share alone": (3, 4 * (1 / 16) / (9 / 16 + 1 / 16)),
            "isn't where pretraining is": (3, 3),
            "the valleys of the page": (0.8, 0.2),
        },
    ),
    "9-b": Case(
        solution=unbiased,
        wrong={
            "that is the biased one": lambda s, t, st: s.mean() + t.mean() - 2 * st.mean(),
            "left out but still counted": lambda s, t, st: off(s, 16) + off(t, 49) - 2 * st.mean(),
            "still in the sums": lambda s, t, st: s.sum() / 12 + t.sum() / 42 - 2 * st.mean(),
            "the factor 2 is missing": lambda s, t, st: unbiased(s, t, st) + st.mean(),
            "divisors are exchanged": lambda s, t, st: off(s, 42) + off(t, 12) - 2 * st.mean(),
            "no diagonal is to be left out": lambda s, t, st: (
                off(s, 12) + off(t, 42) - 2 * (st.sum() - st.diagonal().sum()) / 24
            ),
            "the root is too much": lambda s, t, st: unbiased(s, t, st).sqrt(),
            "wrong sign": lambda s, t, st: -unbiased(s, t, st),
            "take it off": lambda s, t, st: unbiased(s, t, st) + 4 * st.mean(),
            "as (i, j) and as (j, i)": lambda s, t, st: unbiased(s.triu(), t.triu(), st),
            "don't cut it off at 0": lambda s, t, st: unbiased(s, t, st).clamp(min=0),
            "absolute value": lambda s, t, st: unbiased(s, t, st).abs(),
        },
    ),
    "9-c": Case(
        solution=meeting,
        wrong={
            "may be ahead again": earliest,
            "says nothing about chance": lambda n, t, s: after(t.mean(0) > s.mean(0), n),
            "were not paired": unpaired,
            "too short for five seeds": normal,
            "of the seeds, not of their mean": of_the_seeds,
            "the place in the list": place,
            "look at the lower end": lambda n, t, s: after(paired_interval(t, s)[1] > 0, n),
            "the next one is asked for": last_ahead,
            "turned round": lambda n, t, s: meeting(n, s, t),
            "is too small": lambda n, t, s: meeting(n, t, s) - 1,
            "the same answer for all curves": lambda n, t, s: inf,
            "one number of labels, not 2": lambda n, t, s: n[:2],
        },
    ),
    "9-d": Case(
        solution=moves,
        wrong={
            "own numbers have changed": on_the_network_itself,
            "in another mode": forgets_the_mode,
            "leave requires_grad alone": thaws,
            "nothing has moved?": in_eval_mode,
            "counter of batches": lambda net, x: [k for k in moves(net, x) if "num_" not in k],
            "not everything moves": lambda net, x: list(net.state_dict()),
            "moves, too": lambda net, x: moves(net, x)[:-1],
            "doesn't move": lambda net, x: [*moves(net, x), "2.weight"],
            "a buffer may stay as it is": lambda net, x: [name for name, _ in net.named_buffers()],
            "not its tensors": lambda net, x: [net.state_dict()[k] for k in moves(net, x)],
            "a list of names is due, not int": lambda net, x: len(moves(net, x)),
            "the order is": lambda net, x: moves(net, x)[::-1],
        },
    ),
}


def test_estimate_may_be_a_number():
    assert check("9-b", lambda s, t, st: unbiased(s, t, st).item())


@pytest.mark.parametrize("kind", [set, tuple])
def test_names_may_come_as_a_set_or_a_tuple(kind):
    assert check("9-d", lambda net, x: kind(moves(net, x)))


def test_place_may_be_a_tensor():
    assert check("9-c", lambda *given: torch.tensor(meeting(*given)))
