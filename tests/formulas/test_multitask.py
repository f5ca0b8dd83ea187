"""Multi-task learning (section 4.3.2): closed forms, references, properties, known mistakes."""

import itertools
import math

import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from mapping_lib.multitask import (
    chebyshev_loss,
    gradient_cosine,
    gradnorm_loss,
    mgda_weights,
    multitask_loss,
    pareto_front,
    pcgrad,
    task_gradients,
    uncertainty_loss,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)
TASKS = st.integers(1, 6)


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def numbers(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


# The sum


def test_sum_with_and_without_weights():
    losses = numbers(1.0, 2.0, 5.0)
    assert_close(multitask_loss(losses), numbers(8.0).sum())
    assert_close(multitask_loss(losses, weights=[3, 0, 0.5]), numbers(5.5).sum())
    assert_close(multitask_loss(list(losses), weights=numbers(3, 0, 0.5)), numbers(5.5).sum())


@pytest.mark.parametrize("dtype", FLOATS)
def test_sum_keeps_dtype_and_passes_the_gradient_on(dtype):
    losses = [torch.tensor(2.0, dtype=dtype, requires_grad=True) for _ in range(2)]
    value = multitask_loss(losses, weights=[0.25, 2])
    assert value.dtype == dtype
    assert value == 4.5
    value.backward()
    assert [float(loss.grad) for loss in losses] == [0.25, 2]


def test_weights_can_be_learned():
    assert gradcheck(
        lambda losses, w: multitask_loss(losses, weights=w),
        (numbers(1, 2, 5).requires_grad_(), numbers(0.5, 1, 2).requires_grad_()),
    )


# The gradients of the tasks


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double()
        self.heads = nn.ModuleList(nn.Linear(4, k).double() for k in (1, 2, 5))

    def forward(self, x):
        return torch.stack([head(self.trunk(x)).square().mean() for head in self.heads])


def test_gradients_are_the_jacobian_of_the_losses():
    x = normal(7, 3)
    shared = [normal(4, 3, seed=1).requires_grad_(), normal(4, seed=2).requires_grad_()]
    heads = [normal(4, seed=k) for k in (3, 4, 5)]

    def losses(weight, bias):
        features = torch.tanh(x @ weight.T + bias)
        return torch.stack([(features @ head).square().mean() for head in heads])

    found = task_gradients(losses(*shared), shared)
    jacobian = torch.autograd.functional.jacobian(losses, tuple(shared))
    assert_close(found, torch.cat([part.flatten(1) for part in jacobian], dim=1))
    assert not found.requires_grad


def test_sum_of_gradients_is_gradient_of_sum_and_heads_get_theirs_from_one_forward_pass():
    torch.manual_seed(0)
    model = Shared()
    losses = model(normal(7, 3))
    found = task_gradients(losses, model.trunk.parameters())
    multitask_loss(losses).backward()
    assert_close(found.sum(0), torch.cat([p.grad.flatten() for p in model.trunk.parameters()]))
    assert all(p.grad.abs().sum() > 0 for p in model.heads.parameters())


def test_unused_parameters_have_the_gradient_zero():
    a, b = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    found = task_gradients([a.sum(), (a * b).sum()], [a, b])
    assert_close(found, torch.tensor([[1.0, 1, 0, 0], [1, 2, 1, 2]]))


def test_a_single_tensor_of_parameters_is_one():
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    assert_close(task_gradients((a**2).sum().unsqueeze(0), a), torch.tensor([[2.0, 4.0]]))


def test_gradients_can_be_differentiated_where_asked_for():
    a = numbers(1, 2).requires_grad_()
    assert not task_gradients([(a**3).sum()], [a]).requires_grad
    found = task_gradients([(a**3).sum(), a.prod()], [a], create_graph=True)
    (second,) = torch.autograd.grad(found[0].sum(), a, retain_graph=True)
    assert_close(second, 6 * a.detach())
    (second,) = torch.autograd.grad(found[1, 0], a)
    assert_close(second, numbers(0, 1))


# Conflict


def test_cosines_by_hand():
    found = gradient_cosine(numbers([1, 0], [0, 2], [-3, -3]))
    r = math.sqrt(0.5)
    assert_close(found, numbers([1, 0, -r], [0, 1, -r], [-r, -r, 1]))


@given(SEEDS, TASKS)
def test_cosines_are_those_of_torch(seed, tasks):
    g = normal(tasks, 5, seed=seed)
    pairs = torch.nn.functional.cosine_similarity(g.unsqueeze(1), g.unsqueeze(0), dim=2)
    found = gradient_cosine(g)
    assert_close(found, pairs)
    assert_close(found, found.T)
    assert found.abs().max() <= 1
    scales = torch.rand(tasks, 1, dtype=torch.float64) * 1e6 + 1e-6
    assert_close(gradient_cosine(scales * g), found)


def test_cosine_beside_a_zero_gradient_is_zero():
    assert_close(gradient_cosine(numbers([0, 0], [3, 4])), numbers([0, 0], [0, 1]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_cosines_of_long_gradients_do_not_overflow(dtype):
    found = gradient_cosine(torch.full((2, 4), 1e4, dtype=dtype))
    assert found.dtype == dtype
    assert_close(found.double(), torch.ones(2, 2, dtype=torch.float64), atol=1e-2, rtol=0)
    assert found.max() <= 1


def test_negative_cosine_means_that_a_step_for_one_raises_the_other():
    model = Shared()
    x = normal(7, 3)
    before = model(x)
    parameters = list(model.trunk.parameters())
    g = task_gradients(before, parameters)
    with torch.no_grad():
        for u in range(3):
            place = 0
            for p in parameters:
                p -= 1e-4 * g[u, place : place + p.numel()].view_as(p)
                place += p.numel()
            rose = model(x) > before
            assert_close(rose, gradient_cosine(g)[:, u] < 0)
            place = 0
            for p in parameters:
                p += 1e-4 * g[u, place : place + p.numel()].view_as(p)
                place += p.numel()


# Uncertainty


def test_uncertainty_by_hand():
    losses, s = numbers(3, 8), numbers(math.log(2), math.log(4))
    due = 3 / 2 + math.log(2) / 2 + 8 / 4 / 2 + math.log(4) / 2
    assert_close(uncertainty_loss(losses, s, squared=[False, True]), numbers(due).sum())
    due += 1  # the second is then a cross-entropy: 8/4
    assert_close(uncertainty_loss(losses, s), numbers(due).sum())
    assert_close(uncertainty_loss(list(losses), s, squared=(False, False)), numbers(due).sum())


def test_squared_error_over_its_variance_is_the_gaussian_likelihood():
    y, mean, s = normal(50, seed=1), normal(50, seed=2), numbers(0.7)
    gaussian = torch.distributions.Normal(mean, (s / 2).exp()).log_prob(y)
    found = uncertainty_loss([((y - mean) ** 2).mean()], s, squared=[True])
    assert_close(found, -gaussian.mean() - math.log(2 * math.pi) / 2)


@given(SEEDS)
def test_best_variances_make_units_irrelevant(seed):
    losses = normal(3, seed=seed).exp()
    squared = [True, False, True]
    c = numbers(0.5, 1, 0.5)
    s = (2 * c * losses).log().requires_grad_()
    (slope,) = torch.autograd.grad(uncertainty_loss(losses, s, squared=squared), s)
    assert_close(slope, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    best = uncertainty_loss(losses, s, squared=squared)
    constant = sum(0.5 + 0.5 * math.log(2 * each) for each in c.tolist())
    assert_close(best, losses.log().sum() / 2 + constant)
    worse = uncertainty_loss(losses, s + 0.3, squared=squared)
    assert worse > best


def test_uncertainty_passes_gradcheck_twice():
    inputs = (numbers(1, 2, 5).requires_grad_(), numbers(0.5, -1, 2).requires_grad_())

    def function(losses, s):
        return uncertainty_loss(losses, s, squared=[True, False, False])

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", FLOATS)
def test_uncertainty_keeps_the_dtype(dtype):
    found = uncertainty_loss(
        numbers(1, 2, dtype=dtype), numbers(0, 0, dtype=dtype), squared=[True, False]
    )
    assert found.dtype == dtype
    assert found == 2.5


# GradNorm


def test_gradnorm_by_hand():
    w, g = numbers(1, 3), numbers([3, 4], [0, 1])  # lengths 5 and 3, mean 4
    losses, first = numbers(1, 6), numbers(4, 8)  # progress 1/4 and 3/4, lag 1/2 and 3/2
    due = abs(5 - 4 * 0.5**1.5) + abs(3 - 4 * 1.5**1.5)
    assert_close(gradnorm_loss(w, g, losses, first), numbers(due).sum())
    due = abs(5 - 2) + abs(3 - 6)
    assert_close(gradnorm_loss(w, g, losses, first, asymmetry=1), numbers(due).sum())
    assert_close(gradnorm_loss(w, g, losses, first, asymmetry=0), numbers(2.0).sum())


def test_wanted_length_is_a_constant():
    """The mistake of several implementations: gradients through the mean length as well."""
    w = numbers(1, 3, 2).requires_grad_()
    g, losses = numbers([3, 4], [0, 1], [0, 9]), numbers(1, 1, 1)
    gradnorm_loss(w, g, losses, losses).backward()
    mean = (5 + 3 + 18) / 3
    signs = torch.sign(numbers(5 - mean, 3 - mean, 18 - mean))
    assert_close(w.grad, signs * numbers(5, 1, 9))


def test_gradnorm_has_no_gradient_in_the_network():
    w = numbers(1, 1).requires_grad_()
    losses = numbers(1, 2).requires_grad_()
    g = numbers([3, 4], [0, 1]).requires_grad_()
    gradnorm_loss(w, g, losses, losses * 2).backward()
    assert losses.grad is None
    assert g.grad is None


def test_gradnorm_leads_to_equal_lengths():
    g, losses = numbers([1, 0], [0, 2], [3, 0]), numbers(1, 1, 1)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        gradnorm_loss(w, g, losses, losses).backward()
        optimiser.step()
        with torch.no_grad():
            w.clamp_(min=0).div_(w.mean())
    lengths = w.detach() * g.norm(dim=1)
    assert_close(lengths / lengths.mean(), torch.ones(3).double(), atol=0.05, rtol=0)


# PCGrad


def surgery(g, orders):
    """Algorithm 1 of Yu et al. (2020), written as it stands there."""
    projected = []
    for i, order in enumerate(orders):
        mine = g[i].clone()
        for j in order:
            inner = mine @ g[j]
            if inner < 0:
                mine = mine - inner / (g[j] @ g[j]) * g[j]
        projected.append(mine)
    return torch.stack(projected)


@given(SEEDS)
def test_projected_gradient_is_orthogonal_to_the_other_original(seed):
    g = normal(2, 5, seed=seed)
    found = pcgrad(g)
    assert_close(found, surgery(g, [[1], [0]]))
    if g[0] @ g[1] < 0:
        inner = (found * g.flip(0)).sum(1)
        assert_close(inner, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    else:
        assert_close(found, g)


def test_projections_are_onto_the_originals():
    """The mistake of several implementations: onto gradients that were projected already."""
    g = numbers([1, 0], [-1, 1])
    assert_close(pcgrad(g), numbers([0.5, 0.5], [0, 1]))
    assert (pcgrad(g)[0] @ pcgrad(g)[1]).abs() > 0.1  # the projected two needn't be orthogonal


@pytest.mark.parametrize("seed", range(5))
def test_three_tasks_are_projected_in_some_order_and_all_orders_occur(seed):
    g = normal(3, 4, seed=seed)
    g = g - 1.2 * g.mean(0)  # so that they conflict
    assert (gradient_cosine(g) < 0).any()
    others = [list(itertools.permutations([j for j in range(3) if j != i])) for i in range(3)]
    possible = [[surgery(g, [order] * 3)[i] for order in others[i]] for i in range(3)]
    generator = torch.Generator().manual_seed(seed)
    hits = torch.zeros(3, 2)
    for _ in range(40):
        found = pcgrad(g, generator=generator)
        for i in range(3):
            near = [torch.allclose(found[i], each) for each in possible[i]]
            assert any(near)
            hits[i, near.index(True)] += 1
    for i in range(3):
        if not torch.allclose(possible[i][0], possible[i][1]):
            assert hits[i].min() >= 8


def test_same_generator_same_projection():
    g = normal(5, 4, seed=3)
    first, second = (pcgrad(g, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    pcgrad(g, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), before)


@given(SEEDS, TASKS)
def test_gradients_without_conflict_come_back(seed, tasks):
    g = normal(tasks, 4, seed=seed).abs()
    assert_close(pcgrad(g), g)


@given(SEEDS, st.floats(1e-3, 1e3))
def test_step_along_the_sum_lowers_the_sum_and_scales(seed, scale):
    g = normal(3, 4, seed=seed)
    generators = (torch.Generator().manual_seed(seed) for _ in range(2))
    found = pcgrad(g, generator=next(generators))
    assert_close(pcgrad(scale * g, generator=next(generators)), scale * found)
    two = g[:2]
    assert pcgrad(two).sum(0) @ two.sum(0) >= -1e-12


def test_zero_gradient_is_no_conflict():
    g = numbers([0, 0], [3, 4], [-3, -4])
    assert_close(pcgrad(g), numbers([0, 0], [0, 0], [0, 0]))
    assert_close(pcgrad(g[:2]), g[:2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_pcgrad_of_long_gradients_does_not_overflow(dtype):
    g = torch.tensor([[1e4, 0], [-1e4, 1e4]], dtype=dtype)
    found = pcgrad(g)
    assert found.dtype == dtype
    due = numbers([5000, 5000], [0, 1e4])
    assert_close(found.double(), due, atol=1e2, rtol=0)


def test_pcgrad_passes_gradcheck():
    g = normal(3, 4, seed=1)
    g = (g - 1.2 * g.mean(0)).requires_grad_()
    assert gradcheck(lambda g: pcgrad(g, generator=torch.Generator().manual_seed(0)), (g,))


# MGDA


@given(SEEDS)
def test_two_tasks_have_a_closed_form(seed):
    g = normal(2, 3, seed=seed) * numbers(1, 5).unsqueeze(1)
    a, b = g
    share = ((b - a) @ b / (a - b).square().sum()).clamp(0, 1)
    assert_close(mgda_weights(g), torch.stack([share, 1 - share]), atol=1e-7, rtol=0)


@given(SEEDS, st.integers(1, 7))
def test_shortest_combination_meets_the_optimality_conditions(seed, tasks):
    g = normal(tasks, 5, seed=seed)
    w = mgda_weights(g)
    assert (w >= 0).all()
    assert_close(w.sum(), numbers(1.0).sum())
    d = w @ g
    inner = g @ d
    assert (inner >= d @ d - 1e-9).all()  # a step against d lowers every loss
    assert_close(inner[w > 1e-6], (d @ d).expand(int((w > 1e-6).sum())), atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_shortest_combination_is_that_of_a_general_solver(seed):
    g = normal(4, 6, seed=seed) + 0.5
    solved = scipy.optimize.minimize(
        lambda w: float(((torch.as_tensor(w) @ g) ** 2).sum()),
        [0.25] * 4,
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    w = mgda_weights(g)
    assert_close(w, torch.as_tensor(solved.x), atol=1e-4, rtol=0)
    assert (w @ g).square().sum() <= solved.fun + 1e-12


def test_conflict_without_way_out_is_a_combination_of_length_zero():
    w = mgda_weights(numbers([1, 0], [-3, 0]))
    assert_close(w, numbers(0.75, 0.25))
    triangle = numbers([1, 0], [-1, 1], [0, -1])
    assert_close(mgda_weights(triangle), numbers(1, 1, 1) / 3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_weights_do_not_depend_on_a_common_scale(dtype, scale):
    w = mgda_weights(scale * torch.tensor([[1.0, 0], [0, 2]], dtype=dtype))
    assert w.dtype == dtype
    assert_close(w.double(), numbers(0.8, 0.2), atol=5e-3, rtol=0)


def test_weights_of_many_parameters_are_exact():
    g = normal(3, 50_000, seed=1, dtype=torch.float32) + 1
    w, d = mgda_weights(g).double(), mgda_weights(g).double() @ g.double()
    assert_close(g.double() @ d, (d @ d).expand(3), atol=0, rtol=1e-5)
    assert_close(w.sum(), numbers(1.0).sum(), atol=1e-6, rtol=0)


def test_zero_gradients_do_no_harm():
    w = mgda_weights(torch.zeros(3, 2))
    assert_close(w.sum(), torch.tensor(1.0))
    assert_close(mgda_weights(numbers([0, 0], [1, 0])), numbers(1, 0))
    assert_close(mgda_weights(numbers([1, 2])), numbers(1.0))


def test_weights_have_no_gradient():
    assert not mgda_weights(normal(2, 3).requires_grad_()).requires_grad


def test_permuted_tasks_have_permuted_weights():
    g = normal(4, 6, seed=3) + 0.5
    order = torch.tensor([2, 0, 3, 1])
    assert_close(mgda_weights(g[order]), mgda_weights(g)[order])


# The largest loss, and the front


def test_chebyshev_by_hand():
    losses = numbers(1, 4, 2)
    assert_close(chebyshev_loss(losses, weights=[3, 0.5, 1]), numbers(3.0).sum())
    assert_close(
        chebyshev_loss(list(losses), weights=numbers(3, 0.5, 1), ideal=[0.5, 1, 0]),
        numbers(2.0).sum(),
    )
    assert gradcheck(
        lambda losses: chebyshev_loss(losses, weights=[3, 0.5, 1]), losses.requires_grad_()
    )


def test_chebyshev_shares_the_gradient_among_equals():
    losses = numbers(2, 2, 1).requires_grad_()
    chebyshev_loss(losses, weights=[1, 1, 1]).backward()
    assert_close(losses.grad, numbers(0.5, 0.5, 0))


def test_chebyshev_finds_what_the_sum_cannot():
    """On a front that bends inwards, L1 = 1 - exp(-(t-1)²), L2 = 1 - exp(-(t+1)²)."""
    t = torch.linspace(-1, 1, 201, dtype=torch.float64)
    losses = torch.stack([1 - torch.exp(-((t - 1) ** 2)), 1 - torch.exp(-((t + 1) ** 2))], 1)
    assert pareto_front(losses[::10]).all()
    shares = torch.linspace(0.02, 0.98, 15).tolist()

    def least(function):
        values = [torch.stack([function(row, (w, 1 - w)) for row in losses[::2]]) for w in shares]
        return t[::2][torch.stack([value.argmin() for value in values])]

    by_sum = least(lambda row, w: multitask_loss(row, weights=w))
    assert (by_sum.abs() > 0.9).all()
    by_largest = least(lambda row, w: chebyshev_loss(row, weights=w))
    assert len(by_largest.unique()) > 10
    assert (by_largest.abs() < 0.5).sum() > 3


def front_by_loops(points):
    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    rows = points.tolist()
    return torch.tensor([not any(beats(other, row) for other in rows) for row in rows])


@given(SEEDS, st.integers(1, 12), st.integers(1, 3))
def test_front_is_that_of_the_definition(seed, n, tasks):
    points = torch.randint(4, (n, tasks), generator=torch.Generator().manual_seed(seed)).double()
    found = pareto_front(points)
    assert torch.equal(found, front_by_loops(points))
    assert found.any()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(pareto_front(points[order]), found[order])
    assert torch.equal(pareto_front(points.exp()), found)


def test_front_of_two_quadratics_is_the_segment_between_their_minima():
    a, b = numbers(0, 0), numbers(2, 0)
    grid = torch.cartesian_prod(*(torch.linspace(-1, 3, 41, dtype=torch.float64),) * 2)
    losses = torch.stack([(grid - a).square().sum(1), (grid - b).square().sum(1)], dim=1)
    on_segment = (grid[:, 1].abs() < 1e-9) & (grid[:, 0] >= -1e-9) & (grid[:, 0] <= 2 + 1e-9)
    assert torch.equal(pareto_front(losses.round(decimals=9)), on_segment)


# Bad input

ON_LOSSES = [
    multitask_loss,
    lambda losses: uncertainty_loss(losses, torch.zeros(2)),
    lambda losses: chebyshev_loss(losses, weights=[1, 1]),
    lambda losses: task_gradients(losses, [torch.ones(2, requires_grad=True)]),
    lambda losses: gradnorm_loss(torch.ones(2), torch.ones(2, 3), losses, torch.ones(2)),
]
BAD_LOSSES = [
    (1.0, TypeError, "losses must be a tensor .* or a sequence of scalar tensors, got float"),
    ({"a": torch.tensor(1.0)}, TypeError, r"got dict; for a dictionary take list\(losses.values"),
    ([1.0, 2.0], TypeError, r"losses\[0\] must be a torch.Tensor, got float"),
    ([torch.ones(3), torch.tensor(1.0)], ValueError, r"losses\[0\] must be a scalar.*mean\(\)"),
    ([torch.tensor(1.0), torch.ones(1)], ValueError, r"losses\[1\] must be a scalar"),
    (torch.ones(2, 2), ValueError, r"must have one axis, a loss a task, got the shape \(2, 2\)"),
    (torch.tensor(1.0), ValueError, r"must have one axis.*got the shape \(\)"),
    ([], ValueError, "losses is empty; give the loss of at least one task"),
    (torch.ones(0), ValueError, "losses is empty"),
    (torch.tensor([1, 2]), TypeError, "losses must hold floating-point"),
    ([torch.tensor(1), torch.tensor(2)], TypeError, r"losses\[0\] must hold floating-point"),
    (torch.tensor([1, torch.nan]), ValueError, "losses contains NaN in 1 of 2"),
    ([torch.tensor(1.0), torch.tensor(1.0).double()], TypeError, "must have one dtype"),
]


@pytest.mark.parametrize("function", ON_LOSSES)
@pytest.mark.parametrize(("losses", "error", "words"), BAD_LOSSES)
def test_bad_losses_are_refused(function, losses, error, words):
    with pytest.raises(error, match=words):
        function(losses)


BAD_WEIGHTS = [
    ([1.0], ValueError, r"one entry for each of the 2 tasks, got the shape \(1,\)"),
    ([1.0, 1.0, 1.0], ValueError, r"got the shape \(3,\)"),
    (torch.ones(1, 2), ValueError, r"got the shape \(1, 2\)"),
    ([1.0, -0.5], ValueError, "weights must not be negative, got -0.5"),
    ([0.0, 0.0], ValueError, "weights must not all be 0"),
    ([1.0, math.nan], ValueError, "weights contains NaN"),
    ([1.0, math.inf], ValueError, "weights must be finite"),
]


@pytest.mark.parametrize("function", [multitask_loss, chebyshev_loss])
@pytest.mark.parametrize(("weights", "error", "words"), BAD_WEIGHTS)
def test_bad_weights_are_refused(function, weights, error, words):
    with pytest.raises(error, match=words):
        function(torch.ones(2), weights=weights)


BAD_GRADIENTS = [
    ([[1.0]], TypeError, "gradients must be a torch.Tensor, got list"),
    (torch.ones(2, 3).long(), TypeError, "must hold floating-point"),
    (torch.ones(3), ValueError, "must be a matrix with 2 axes"),
    (torch.ones(0, 3), ValueError, "is empty"),
    (torch.full((2, 3), torch.nan), ValueError, "contains NaN in 6 of 6"),
    (torch.full((2, 3), torch.inf), ValueError, "must be finite, got 6 infinite"),
]


@pytest.mark.parametrize(
    "function",
    [
        gradient_cosine,
        pcgrad,
        mgda_weights,
        lambda gradients: gradnorm_loss(torch.ones(2), gradients, torch.ones(2), torch.ones(2)),
    ],
)
@pytest.mark.parametrize(("gradients", "error", "words"), BAD_GRADIENTS)
def test_bad_gradients_are_refused(function, gradients, error, words):
    with pytest.raises(error, match=words):
        function(gradients)


def test_front_refuses_what_is_no_table():
    with pytest.raises(ValueError, match="losses must be a matrix"):
        pareto_front(torch.ones(3))
    with pytest.raises(ValueError, match="losses contains NaN"):
        pareto_front(torch.full((2, 2), torch.nan))


def test_parameters_without_gradient_are_refused():
    a, frozen = torch.ones(2, requires_grad=True), torch.ones(3)
    with pytest.raises(ValueError, match=r"parameters\[1\] \(3,\) doesn't require gradients"):
        task_gradients([a.sum()], [a, frozen])
    with pytest.raises(ValueError, match="there are no shared parameters"):
        task_gradients([a.sum()], [])
    with pytest.raises(TypeError, match=r"parameters\[0\] must be a torch.Tensor, got str"):
        task_gradients([a.sum()], ["weight"])


def test_losses_without_gradient_are_refused():
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    with pytest.raises(ValueError, match=r"the loss of task 1 has no gradient.*detach"):
        task_gradients([a.sum(), a.sum().detach()], [a])
    with pytest.raises(ValueError, match="the loss of task 1 doesn't depend on the shared"):
        task_gradients([a.sum(), b.sum()], [a])


def test_uncertainty_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="the shapes must be equal"):
        uncertainty_loss(torch.ones(2), torch.zeros(3))
    with pytest.raises(ValueError, match="log_variances must be finite"):
        uncertainty_loss(torch.ones(2), torch.tensor([0, -torch.inf]))
    with pytest.raises(ValueError, match="one entry for each of the 2 tasks, got 3"):
        uncertainty_loss(torch.ones(2), torch.zeros(2), squared=[True, False, True])
    with pytest.raises(TypeError, match="must have one dtype"):
        uncertainty_loss(torch.ones(2), torch.zeros(2).double())


def test_gradnorm_refuses_what_does_not_fit():
    g, ones = torch.ones(2, 3), torch.ones(2)
    with pytest.raises(ValueError, match=r"one row for each of the 3 tasks.*task_gradients"):
        gradnorm_loss(torch.ones(3), g, torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match="the shapes must be equal"):
        gradnorm_loss(torch.ones(3), g, ones, ones)
    with pytest.raises(ValueError, match="first_losses must be positive, got 0"):
        gradnorm_loss(ones, g, ones, torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="weights must not be negative, got -1"):
        gradnorm_loss(-ones, g, ones, ones)
    with pytest.raises(ValueError, match="losses must not be negative, got -1"):
        gradnorm_loss(ones, g, -ones, ones)
    with pytest.raises(ValueError, match="asymmetry must lie in"):
        gradnorm_loss(ones, g, ones, ones, asymmetry=-1)
    with pytest.raises(ValueError, match="asymmetry must lie in"):
        gradnorm_loss(ones, g, ones, ones, asymmetry=math.inf)
    assert gradnorm_loss(torch.tensor([0.0, 1.0]), g, torch.tensor([0.0, 1.0]), ones).isfinite()


def test_chebyshev_refuses_an_ideal_that_does_not_fit():
    with pytest.raises(ValueError, match="the shapes must be equal"):
        chebyshev_loss(torch.ones(2), weights=[1, 1], ideal=[0.0])
    with pytest.raises(ValueError, match="ideal contains NaN"):
        chebyshev_loss(torch.ones(2), weights=[1, 1], ideal=[0.0, math.nan])
