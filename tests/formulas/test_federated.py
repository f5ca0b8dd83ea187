"""Federated learning: closed forms on quadratics, plain loops, sums under masks, what leaks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss
from torch.testing import assert_close

from mapping_lib.federated import (
    broadcast,
    client_loss,
    client_update,
    client_updates,
    control_variates,
    dirichlet_split,
    fedavg,
    gradient_mismatch,
    label_from_gradient,
    local_entries,
    masked_message,
    masked_sum,
    pair_seeds,
    proximal_term,
    server_variate,
    to_fixed_point,
)

BOTH = pytest.mark.parametrize("vectorised", [True, False])


def normal(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def perceptron(*, norm=False, seed=0):
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(5)] if norm else []
    return nn.Sequential(nn.Linear(3, 5), *middle, nn.Tanh(), nn.Linear(5, 4)).double()


def parameters_of(model):
    return {name: part.detach().clone() for name, part in model.named_parameters()}


def statistics_of(model):
    return {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}


def problem(clients=3, steps=4, rows=6, seed=0):
    """Batches (m, E, B, ...) with labels."""
    labels = torch.randint(4, (clients, steps, rows), generator=draw(seed))
    return normal(clients, steps, rows, 3, seed=seed + 1), labels


def by_torch(model, start, batches, rate, *, proximal=0.0, correction=None):
    """A client written with torch's own optimiser."""
    model.load_state_dict(start, strict=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(*batches, strict=True):
        optimiser.zero_grad()
        value = cross_entropy(model(x), y)
        for name, part in model.named_parameters():
            value = value + proximal / 2 * (part - start[name]).square().sum()
            if correction is not None:
                value = value + (correction[name] * part).sum()
        value.backward()
        optimiser.step()
    return parameters_of(model)


# The client.


def test_client_update_by_hand():
    found = client_update(
        lambda θ, b: 3 * (θ - b).square() / 2,
        torch.tensor(4.0),
        torch.tensor([1.0, 2.0]),
        rate=0.1,
        proximal=2.0,
        correction=torch.tensor(0.5),
    )
    # 4 − 0.1 (9 + 0 + 0.5) = 3.05, then − 0.1 (3 · 1.05 + 2 (−0.95) + 0.5)
    assert_close(found.parameters, torch.tensor(3.05 - 0.1 * (3.15 - 1.9 + 0.5)))
    assert_close(found.losses, torch.tensor([13.5, 1.5 * 1.05**2]))  # without the proximal term
    assert found.buffers is None


def test_what_a_client_is_given_can_be_named():
    batches, θ = torch.tensor([1.0]), torch.tensor(5.0)
    found = client_update(loss=lambda θ, b: (θ - b) ** 2, parameters=θ, batches=batches, rate=0.25)
    assert found.parameters == 3


@pytest.mark.parametrize("proximal", [0.0, 0.7])
@BOTH
def test_clients_are_those_of_a_plain_loop(vectorised, proximal):
    model, batches = perceptron(), problem()
    start, corrections = parameters_of(model), {}
    for j, (name, part) in enumerate(start.items()):
        corrections[name] = 0.1 * normal(3, *part.shape, seed=j)
    found = client_updates(
        client_loss(model, cross_entropy),
        broadcast(start, 3),
        batches,
        rate=0.3,
        proximal=proximal,
        corrections=corrections,
        vectorised=vectorised,
    )
    assert found.losses.shape == (3, 4)
    for k in range(3):
        due = by_torch(
            perceptron(),
            start,
            [part[k] for part in batches],
            0.3,
            proximal=proximal,
            correction={name: part[k] for name, part in corrections.items()},
        )
        for name in start:
            assert_close(found.parameters[name][k], due[name])


@pytest.mark.parametrize("rank", [2, 4])
def test_convolutions_are_looped_by_default(rank, monkeypatch):
    calls = []
    from mapping_lib import federated

    monkeypatch.setattr(
        federated, "vmap", lambda *a, **k: calls.append(1) or torch.func.vmap(*a, **k)
    )
    θ = normal(2, *[1] * rank)
    client_updates(lambda θ, b: (θ - b).square().sum(), θ, normal(2, 3), rate=0.1)
    assert bool(calls) == (rank == 2)


def test_vectorised_is_the_loop_in_single_precision():
    model = perceptron().float()
    x, y = problem(clients=20, steps=10)
    found = [
        client_updates(
            client_loss(model, cross_entropy),
            broadcast(parameters_of(model), 20),
            (x.float(), y),
            rate=0.1,
            vectorised=vectorised,
        ).parameters
        for vectorised in (True, False)
    ]
    for name in found[0]:
        assert (found[0][name] - found[1][name]).abs().max() < 1e-6


@BOTH
def test_running_statistics_are_each_clients_own(vectorised):
    model, batches = perceptron(norm=True), problem()
    before = {n: b.clone() for n, b in model.named_buffers()}
    start, statistics = parameters_of(model), statistics_of(model)
    found = client_updates(
        client_loss(model, cross_entropy),
        broadcast(start, 3),
        batches,
        rate=0.2,
        buffers=broadcast(statistics, 3),
        vectorised=vectorised,
    )
    for k in range(3):
        own = perceptron(norm=True)
        due = by_torch(own, start, [part[k] for part in batches], 0.2)
        for name in due:
            assert_close(found.parameters[name][k], due[name])
        for name, statistic in statistics_of(own).items():
            assert_close(found.buffers[name][k], statistic)
    for name, buffer in model.named_buffers():
        assert_close(buffer, before[name])  # the module itself is left alone
    assert found.buffers["1.running_mean"].std(0).min() > 0


def test_buffers_left_out_are_the_models():
    model = perceptron(norm=True).eval()
    model[1].running_mean += 1
    loss = client_loss(model, cross_entropy)
    x, y = (part[0, 0] for part in problem())
    assert_close(loss(parameters_of(model), (x, y)), cross_entropy(model(x), y))
    other = {"1.running_mean": torch.zeros(5).double()}
    value, after = loss(parameters_of(model), (x, y), other)
    assert after.keys() == other.keys()
    assert (value - cross_entropy(model(x), y)).abs() > 1e-3


# The server.


def test_one_full_batch_step_is_one_central_step():
    """Weights n_k / n make the mean of the clients' steps the step on all rows."""
    sizes, rate = (2, 5, 11), 0.4
    model = perceptron()
    start, loss = parameters_of(model), client_loss(model, cross_entropy)
    x, y = normal(18, 3, seed=5), torch.randint(4, (18,), generator=draw(5))
    ends = [
        client_update(loss, start, (a[None], b[None]), rate=rate).parameters
        for a, b in zip(x.split(sizes), y.split(sizes), strict=True)
    ]
    central = client_update(loss, start, (x[None], y[None]), rate=rate).parameters
    found, plain = fedavg(ends, sizes), fedavg(ends, [1, 1, 1])
    for name in start:
        assert_close(found[name], central[name])
    assert max(float((plain[name] - central[name]).abs().max()) for name in start) > 1e-3


def test_fedavg_by_hand():
    assert_close(fedavg([torch.tensor(1.0), torch.tensor(4.0)], [3, 1]), torch.tensor(1.75))
    assert_close(fedavg(torch.tensor([[1.0], [4.0]]), torch.tensor([0, 2])), torch.tensor([4.0]))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.floats(0.1, 10))
def test_fedavg_properties(weights, scale):
    θ = normal(len(weights), 3)
    found = fedavg(θ, weights)
    assert (found <= θ.max(0).values + 1e-9).all()
    assert (found >= θ.min(0).values - 1e-9).all()
    assert_close(fedavg(θ, [scale * w for w in weights]), found)
    assert_close(fedavg(θ.flip(0), weights[::-1]), found)
    assert_close(fedavg(θ[:1].expand_as(θ), weights), θ[0])


def test_fedavg_is_differentiable():
    assert gradcheck(lambda θ: fedavg(θ, [1, 3, 2]), normal(3, 2).requires_grad_())


def test_local_entries_are_what_batch_norm_owns():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False), nn.Sequential(nn.BatchNorm1d(2))
    )
    assert local_entries(model) == [
        "1.running_mean",
        "1.running_var",
        "2.0.weight",
        "2.0.bias",
        "2.0.running_mean",
        "2.0.running_var",
    ]
    assert local_entries(nn.BatchNorm1d(2))[0] == "weight"
    with pytest.raises(ValueError, match="no batch norm"):
        local_entries(
            nn.Sequential(
                nn.LayerNorm(3), nn.BatchNorm1d(2, affine=False, track_running_stats=False)
            )
        )


def test_broadcast_keeps_what_is_the_clients_own():
    shared = {"w": normal(2, 3), "b": normal(3)}
    own = {"b": normal(4, 3, seed=1)}
    sent = broadcast(shared, 4, own=own)
    assert sent["w"].shape == (4, 2, 3)
    assert_close(sent["w"][3], shared["w"])
    assert sent["b"] is own["b"]
    assert broadcast(torch.ones(2), 3).shape == (3, 2)


# FedProx.


def test_proximal_term_and_its_gradient():
    θ, θ_0 = normal(2, 3).requires_grad_(), normal(2, 3, seed=1)
    value = proximal_term({"a": θ, "b": θ[0]}, {"a": θ_0, "b": θ_0[0]}, strength=0.6)
    due = 0.3 * ((θ - θ_0).square().sum() + (θ[0] - θ_0[0]).square().sum())
    assert_close(value, due)
    (g,) = torch.autograd.grad(proximal_term(θ, θ_0, strength=0.6), θ)
    assert_close(g, 0.6 * (θ - θ_0).detach())
    assert gradcheck(lambda θ: proximal_term(θ, θ_0, strength=0.6), θ)
    assert proximal_term(θ, θ, strength=3.0) == 0


def test_fedprox_without_strength_is_fedavg_and_with_it_stays_near():
    model, batches = perceptron(), problem()
    loss, start = client_loss(model, cross_entropy), broadcast(parameters_of(model), 3)
    ends = [
        client_updates(loss, start, batches, rate=0.3, **extra).parameters["0.weight"]
        for extra in ({}, {"proximal": 0.0}, {"proximal": 1.0}, {"proximal": 3.0})
    ]
    assert torch.equal(ends[0], ends[1])
    ways = [float((end - start["0.weight"]).norm()) for end in ends[1:]]
    assert ways[0] > ways[1] > ways[2]


# Quadratics with different optima and curvatures: everything in closed form.

H = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
B = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
N = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
RATE, STEPS = 0.1, 10


def bowl(θ, batch):
    h, b = batch.unbind(-1)
    return h * (θ - b).square() / 2


def bowls():
    return torch.stack([H, B], -1)[:, None].expand(3, STEPS, 2)


def optimum():
    w = N / N.sum()
    return (w * H * B).sum() / (w * H).sum()


def test_fedavg_has_the_known_biased_fixed_point():
    """θ_k = b_k + (1 − η h_k)^E (θ − b_k), so the mean rests where Σ w_k a_k (θ − b_k) = 0."""
    θ, w = torch.tensor(7.0, dtype=torch.float64), N / N.sum()
    for _ in range(300):
        θ = fedavg(client_updates(bowl, broadcast(θ, 3), bowls(), rate=RATE).parameters, N)
    a = w * (1 - (1 - RATE * H) ** STEPS)
    assert_close(θ, (a * B).sum() / a.sum())
    assert abs(θ - optimum()) > 0.1


def test_scaffold_reaches_the_optimum_and_its_variates_sum_to_the_servers():
    θ, c = torch.tensor(7.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    variates, w = torch.zeros(3, dtype=torch.float64), N / N.sum()
    for _ in range(300):
        ends = client_updates(
            bowl, broadcast(θ, 3), bowls(), rate=RATE, corrections=c - variates
        ).parameters
        new = control_variates(variates, c, θ, ends, rate=RATE, steps=STEPS)
        c = server_variate(c, variates, new, shares=w)
        θ, variates = fedavg(ends, N), new
        assert_close(c, (w * variates).sum())
    assert_close(θ, optimum())
    assert_close(variates, H * (optimum() - B))  # each client's own gradient there
    assert_close(c, torch.tensor(0.0, dtype=torch.float64), atol=1e-8, rtol=0)


def test_variates_are_mean_gradients_of_the_way():
    variates, c = normal(3), normal(1)[0]
    start = torch.tensor(7.0, dtype=torch.float64)
    ends, gradients = [], []
    for k in range(3):
        θ, seen = start, []
        for _ in range(4):
            g = H[k] * (θ - B[k])
            seen.append(g)
            θ = θ - 0.1 * (g + c - variates[k])
        ends.append(θ)
        gradients.append(torch.stack(seen).mean())
    found = control_variates(variates, c, start, torch.stack(ends), rate=0.1, steps=4)
    assert_close(found, torch.stack(gradients))


def test_server_variate_of_some_clients():
    before, after = normal(5, 2), normal(5, 2, seed=1)
    w = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    c, took = (w[:, None] * before).sum(0), torch.tensor([1, 3])
    found = server_variate(c, before[took], after[took], shares=w[took])
    now = before.clone()
    now[took] = after[took]
    assert_close(found, (w[:, None] * now).sum(0))


# The split.


def shares_of(parts, labels, classes=10):
    counts = torch.stack([torch.bincount(labels[part], minlength=classes) for part in parts])
    return counts / counts.sum(1, keepdim=True)


def test_split_is_disjoint_of_the_sizes_asked_for_and_repeats():
    labels = torch.arange(300) % 10
    sizes = [5, 50, 100, 1]
    parts = dirichlet_split(labels, concentration=0.3, sizes=sizes, generator=draw())
    assert [len(part) for part in parts] == sizes
    assert len(torch.cat(parts).unique()) == 156
    again = dirichlet_split(labels, concentration=0.3, sizes=sizes, generator=draw())
    other = dirichlet_split(labels, concentration=0.3, sizes=sizes, generator=draw(1))
    assert torch.equal(torch.cat(parts), torch.cat(again))
    assert not torch.equal(torch.cat(parts), torch.cat(other))


def test_all_rows_can_be_dealt():
    labels = torch.tensor([3] * 10 + [0] * 20)  # classes 1 and 2 have no rows
    parts = dirichlet_split(labels, concentration=0.1, sizes=[15, 15], generator=draw())
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(30))


def test_shares_have_the_variance_of_the_dirichlet():
    """Var q = p (1 − p) / (Kα + 1), and the draw of rows from q adds its own."""
    labels = torch.arange(40_000) % 4
    for α in (0.2, 20.0):
        parts = dirichlet_split(labels, concentration=α, sizes=[20] * 400, generator=draw())
        q = shares_of(parts, labels, 4)
        of_q = 0.25 * 0.75 / (4 * α + 1)
        due = of_q + (0.25 * 0.75 - of_q) / 20
        assert abs(float(q.var(0).mean()) / due - 1) < 0.15
        assert (q.mean(0) - 0.25).abs().max() < 0.06


def test_uneven_classes_keep_their_shares_in_the_mean():
    labels = (torch.arange(40_000) % 10 > 7).long()  # a fifth are 1
    parts = dirichlet_split(labels, concentration=0.5, sizes=[10] * 400, generator=draw())
    assert abs(float(shares_of(parts, labels, 2)[:, 1].mean()) - 0.2) < 0.05


# Masks.


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(8, 62), st.integers(0, 1000))
def test_masks_cancel_exactly(clients, bits, seed):
    seeds = pair_seeds(clients, generator=draw(seed))
    most = (2 ** (bits - 1) - 1) // clients
    x = torch.randint(-most, most + 1, (clients, 3), generator=draw(seed + 1))
    z = torch.stack(
        [masked_message(x[u] % 2**bits, u, seeds[u], bits=bits) for u in range(clients)]
    )
    assert ((z >= 0) & (z < 2**bits)).all()
    assert torch.equal(masked_sum(z, bits=bits), x.sum(0))


def test_message_by_hand():
    seeds = torch.tensor([5, 0, 7])  # what client 1 shares with 0 and 2

    def mask(seed):
        return torch.randint(2**16, (4,), generator=torch.Generator().manual_seed(seed))

    x = torch.arange(4)
    due = (x + mask(7) - mask(5)) % 2**16
    assert torch.equal(masked_message(x, 1, seeds, bits=16), due)


def test_a_message_alone_is_uniform_whatever_it_hides():
    """Chi-squared over 16 bins, of a message of zeros and of one of large numbers."""
    seeds = pair_seeds(3, generator=draw())
    for value in (0, 12_345):
        z = masked_message(torch.full((16_000,), value), 1, seeds[1], bits=16)
        counts = torch.bincount(z // 2**12, minlength=16).double()
        assert ((counts - 1000).square() / 1000).sum() < 40  # 15 degrees of freedom
    one, other = (
        masked_message(x, 0, seeds[0]) for x in (torch.zeros(5000).long(), torch.arange(5000))
    )
    correlation = torch.corrcoef(torch.stack([other.double(), torch.arange(5000).double()]))
    assert abs(float(correlation[0, 1])) < 0.06
    assert not torch.equal(one, other)


def test_a_missing_message_leaves_noise():
    seeds = pair_seeds(3, generator=draw())
    z = torch.stack([masked_message(torch.ones(50).long(), u, seeds[u]) for u in range(3)])
    assert (masked_sum(z) == 3).all()
    assert (masked_sum(z[:2]) != 2).all()


def test_pair_seeds_are_symmetric_and_differ():
    seeds = pair_seeds(6, generator=draw())
    assert torch.equal(seeds, seeds.T)
    upper = seeds[torch.triu_indices(6, 6, 1).unbind()]
    assert len(upper.unique()) == 15
    assert upper.max() >= 2**61  # the whole range
    assert (upper > 0).all()
    assert not seeds.diagonal().any()


def test_fixed_point_rounds_to_half_a_step_and_back():
    x = normal(50)
    found = to_fixed_point(x, clients=10, bits=32, fraction=12)
    signed = masked_sum(torch.stack([found, torch.zeros_like(found)])) / 2**12
    assert (signed - x).abs().max() <= 2.0**-13
    assert (signed - x).abs().max() > 2.0**-16
    assert to_fixed_point(torch.tensor([15.75]), clients=2, bits=8, fraction=2) == 63
    with pytest.raises(ValueError, match="more than 8 bits"):
        to_fixed_point(torch.tensor([-16.0]), clients=2, bits=8, fraction=2)


# What gradients give away.


def test_mismatch_is_zero_at_the_truth_and_differentiable():
    model = perceptron()
    θ, loss = parameters_of(model), client_loss(model, cross_entropy)
    x, y = normal(2, 3), torch.tensor([1, 3])
    observed = torch.func.grad(loss)(θ, (x, y))
    assert gradient_mismatch(loss, θ, (x, y), observed) == 0
    other = normal(2, 3, seed=4)
    found = torch.func.grad(loss)(θ, (other, y))
    due = sum(((found[n] - observed[n]) ** 2).sum() for n in θ)
    assert_close(gradient_mismatch(loss, θ, (other, y), observed), due)
    assert gradcheck(lambda x: gradient_mismatch(loss, θ, (x, y), observed), other.requires_grad_())


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 100))
def test_the_label_is_read_off_the_last_layer(label, seed):
    model, x = perceptron(seed=seed), normal(1, 3, seed=seed)
    θ = parameters_of(model)
    g = torch.func.grad(
        lambda θ: cross_entropy(functional_call(model, θ, (x,)), torch.tensor([label]))
    )(θ)
    assert label_from_gradient(g["2.weight"]) == label


def test_a_batch_has_no_single_label():
    residuals = torch.full((4, 4), 0.25).double() - torch.eye(4).double()
    with pytest.raises(ValueError, match=r"[024] rows point away"):  # one of each class
        label_from_gradient(residuals.T @ normal(4, 6))
    with pytest.raises(ValueError, match="0 rows"):
        label_from_gradient(torch.zeros(3, 2))


# Bad input.

HALF = lambda θ, b: (θ - b).square().sum() / 2  # noqa: E731
ONE = torch.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fedavg([], []), ValueError, "clients is empty"),
        (lambda: fedavg([{"a": ONE}, {"b": ONE}], [1, 1]), ValueError, "must have the names"),
        (lambda: fedavg([ONE, torch.ones(3)], [1, 1]), ValueError, "shapes must be equal"),
        (lambda: fedavg([ONE, {"a": ONE}], [1, 1]), TypeError, "only tensors or only dict"),
        (lambda: fedavg(ONE, [0, 0]), ValueError, "weights are all zero"),
        (lambda: fedavg(ONE, [2, -1]), ValueError, "finite and not negative"),
        (lambda: fedavg(ONE, [2, math.nan]), ValueError, "finite and not negative"),
        (lambda: fedavg(ONE, [2, math.inf]), ValueError, "finite and not negative"),
        (lambda: fedavg(ONE, [1, 1, 1]), ValueError, "one number for each client"),
        (lambda: fedavg(torch.tensor(1.0), [1]), ValueError, "one number for each client"),
        (lambda: fedavg(ONE * math.nan, [1, 1]), ValueError, "NaN"),
        (lambda: fedavg(ONE.long(), [1, 1]), TypeError, "floating-point"),
        (lambda: client_loss(HALF, mse_loss), TypeError, "must be a torch.nn.Module"),
        (
            lambda: client_loss(nn.Linear(1, 1), mse_loss)({"w": ONE}, (ONE, ONE)),
            ValueError,
            "must have the names",
        ),
        (
            lambda: client_loss(nn.Linear(1, 1), mse_loss)(
                dict(nn.Linear(1, 1).named_parameters()), (ONE, ONE), {"other": ONE}
            ),
            ValueError,
            "must have the names",
        ),
        (lambda: proximal_term(ONE, ONE, strength=-0.1), ValueError, "strength must lie in"),
        (lambda: proximal_term(ONE, torch.ones(3), strength=1), ValueError, "shapes must be"),
        (lambda: client_update(HALF, ONE, ONE[:, None], rate=-1), ValueError, "rate must lie"),
        (lambda: client_update(HALF, ONE, ONE[:, None], rate=math.inf), ValueError, "rate must"),
        (
            lambda: client_update(HALF, ONE, ONE[:, None], rate=1, proximal=-1),
            ValueError,
            "proximal must lie",
        ),
        (
            lambda: client_update(HALF, ONE, torch.ones(3, 0, 2), rate=1),
            ValueError,
            "client without rows",
        ),
        (
            lambda: client_update(HALF, ONE, torch.ones(()), rate=1),
            ValueError,
            "steps on the first",
        ),
        (lambda: client_update(HALF, ONE, (), rate=1), ValueError, "steps on the first"),
        (
            lambda: client_update(HALF, ONE, (torch.ones(2), torch.ones(3)), rate=1),
            ValueError,
            "one number of steps",
        ),
        (lambda: client_update(HALF, ONE, ONE * math.nan, rate=1), ValueError, "NaN"),
        (
            lambda: client_update(HALF, ONE, ONE, rate=1, correction=torch.ones(3)),
            ValueError,
            "shapes must be equal",
        ),
        (
            lambda: client_update(HALF, ONE, 1e30 * torch.ones(9), rate=1e30),
            FloatingPointError,
            "diverge at rate 1e\\+30",
        ),
        (lambda: client_update(lambda θ, b: θ - b, ONE, ONE, rate=1), ValueError, "scalar"),
        (lambda: client_update(lambda θ, b: 1.0, ONE, ONE, rate=1), TypeError, "scalar tensor"),
        (
            lambda: client_updates(HALF, torch.ones(2, 3), torch.ones(4, 1, 3), rate=1),
            ValueError,
            "one number of clients",
        ),
        (lambda: client_updates(HALF, ONE, ONE, rate=1), ValueError, "steps on the second"),
        (
            lambda: client_updates(HALF, ONE, (torch.ones(2, 3), torch.ones(2, 4)), rate=1),
            ValueError,
            "clients and steps",
        ),
        (lambda: client_updates(HALF, ONE, torch.ones(2, 0), rate=1), ValueError, "without rows"),
        (lambda: broadcast(ONE, 0), ValueError, "at least 1"),
        (lambda: broadcast(ONE, 2.0), TypeError, "whole number"),
        (lambda: broadcast({"a": ONE}, 2, own={"b": ONE}), ValueError, "no such entry"),
        (lambda: broadcast({"a": ONE}, 2, own={"a": ONE}), ValueError, r"has \(2, 2\)"),
        (lambda: broadcast(ONE, 2, own={"a": ONE}), ValueError, "no such entry"),
        (lambda: local_entries([1]), TypeError, "must be a torch.nn.Module"),
        (
            lambda: control_variates(ONE, ONE[0], ONE[0], ONE, rate=0, steps=1),
            ValueError,
            "rate must be positive",
        ),
        (
            lambda: control_variates(ONE, ONE[0], ONE[0], ONE, rate=1, steps=0),
            ValueError,
            "steps must be at least 1",
        ),
        (
            lambda: control_variates(ONE, ONE, ONE, ONE, rate=1, steps=1),
            ValueError,
            "shapes must be equal",
        ),
        (
            lambda: control_variates(ONE[0], ONE[0], ONE[0], ONE[0], rate=1, steps=1),
            ValueError,
            "stacked on the first axis",
        ),
        (lambda: server_variate(ONE[0], ONE, ONE, shares=[0.7, 0.7]), ValueError, "at most 1"),
        (
            lambda: server_variate(ONE[0], ONE, ONE, shares=[0.7, -0.7]),
            ValueError,
            "shares must be",
        ),
        (lambda: server_variate(ONE, ONE, ONE, shares=[0.5, 0.5]), ValueError, "shapes must be"),
        (
            lambda: dirichlet_split(ONE.long(), concentration=0.0, sizes=[1], generator=draw()),
            ValueError,
            "positive, got 0",
        ),
        (
            lambda: dirichlet_split(ONE.long(), concentration=-1, sizes=[1], generator=draw()),
            ValueError,
            "concentration must lie",
        ),
        (
            lambda: dirichlet_split(ONE.long(), concentration=1, sizes=[1, 0], generator=draw()),
            ValueError,
            r"sizes\[1\] must be at least 1",
        ),
        (
            lambda: dirichlet_split(ONE.long(), concentration=1, sizes=[2, 1], generator=draw()),
            ValueError,
            "at most 2 rows",
        ),
        (
            lambda: dirichlet_split(ONE.long(), concentration=1, sizes=[], generator=draw()),
            ValueError,
            "at least one client",
        ),
        (
            lambda: dirichlet_split(ONE, concentration=1, sizes=[1], generator=draw()),
            TypeError,
            "must be integers",
        ),
        (lambda: pair_seeds(1, generator=draw()), ValueError, "clients must be at least 2"),
        (lambda: masked_message(ONE.long(), 0, torch.tensor([0])), ValueError, "m at least 2"),
        (lambda: masked_message(ONE.long(), 0, torch.tensor([0.0, 1.0])), ValueError, "int64"),
        (
            lambda: masked_message(ONE.long(), 2, torch.tensor([0, 1])),
            ValueError,
            "between 0 and 1",
        ),
        (lambda: masked_message(ONE, 0, torch.tensor([0, 1])), TypeError, "to_fixed_point"),
        (
            lambda: masked_message(-ONE.long(), 0, torch.tensor([0, 1])),
            ValueError,
            r"\[0, 2\*\*32\)",
        ),
        (
            lambda: masked_message(256 * ONE.long(), 0, torch.tensor([0, 1]), bits=8),
            ValueError,
            r"\[0, 2\*\*8\)",
        ),
        (lambda: masked_sum(torch.ones(1, 3).long()), ValueError, "at least two clients"),
        (lambda: masked_sum(ONE.long(), bits=63), ValueError, "bits must lie in"),
        (lambda: masked_sum(ONE.long(), bits=7), ValueError, "bits must be at least 8"),
        (lambda: to_fixed_point(ONE / 0, clients=2), ValueError, "must be finite"),
        (lambda: to_fixed_point(ONE * math.nan, clients=2), ValueError, "NaN"),
        (lambda: to_fixed_point(ONE, clients=0), ValueError, "clients must be at least 1"),
        (lambda: to_fixed_point(ONE, clients=1, fraction=-1), ValueError, "fraction must be"),
        (lambda: gradient_mismatch(HALF, ONE, ONE, torch.ones(3)), ValueError, "shapes must be"),
        (lambda: label_from_gradient(torch.ones(2, 4)), ValueError, "at least 3 rows"),
        (lambda: label_from_gradient(torch.ones(4)), ValueError, "matrix"),
        (lambda: label_from_gradient(math.nan * torch.ones(4, 2)), ValueError, "NaN"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_divergence_names_the_clients():
    with pytest.raises(FloatingPointError, match=r"at clients \[1\]"):
        client_updates(
            HALF, torch.ones(3), torch.tensor([0.0, math.inf, 0.0])[:, None].expand(3, 2), rate=0.1
        )
