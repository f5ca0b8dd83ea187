"""Lifelong transfer (section 8.1.3): closed forms, references, properties, known mistakes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close

from mapping_lib.continual import (
    Anchor,
    agem_projection,
    average_accuracy,
    backward_transfer,
    diagonal_fisher,
    ewc_penalty,
    forgetting,
    forward_transfer,
    lwf_loss,
    reservoir_slots,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def numbers(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def classifier(seed=0, classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, classes)).double()


def squared_scores(model, inputs, targets):
    """Square each row's own gradient, one backward pass a row."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for x, y in zip(inputs, targets, strict=True):
        loss = nn.functional.cross_entropy(model(x.unsqueeze(0)), y.unsqueeze(0))
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for name, gradient in zip(total, gradients, strict=True):
            total[name] += gradient.square()
    return total


# The Fisher matrix


def test_empirical_fisher_is_the_mean_of_each_rows_squared_gradient():
    model, x, y = classifier(), normal(7, 4), torch.tensor([0, 2, 1, 1, 0, 2, 2])
    total = squared_scores(model, x, y)
    found = diagonal_fisher(model, x, y)
    assert_close(found, {name: t / 7 for name, t in total.items()})
    assert_close(diagonal_fisher(model, x, y, reduction="sum"), total)
    assert not any(f.requires_grad for f in found.values())


def test_exact_fisher_weighs_each_class_by_its_probability():
    model, x = classifier(), normal(6, 4)
    p = model(x).softmax(dim=1)
    wanted = {name: torch.zeros_like(q) for name, q in model.named_parameters()}
    for row, weights in zip(x, p.detach(), strict=True):
        for k, weight in enumerate(weights):
            part = squared_scores(model, row.unsqueeze(0), torch.tensor([k]))
            for name in wanted:
                wanted[name] += weight * part[name] / 6
    assert_close(diagonal_fisher(model, x, labels="exact"), wanted)


def test_exact_fisher_of_the_logits_is_p_times_one_minus_p():
    model = nn.Linear(1, 3).double()
    nn.init.zeros_(model.weight)
    model.bias.data = numbers(0.5, -1.0, 2.0)
    p = model.bias.detach().softmax(dim=0)
    found = diagonal_fisher(model, numbers([2.0], [4.0]), labels="exact")
    assert_close(found["bias"], p * (1 - p))
    assert_close(found["weight"], (10 * p * (1 - p)).unsqueeze(1))  # mean of 4 and 16


def test_answers_are_drawn_from_each_rows_own_softmax():
    line = nn.Linear(1, 2, bias=False).double()
    nn.init.constant_(line.weight, 0)
    line.weight.data[0] = 40  # sure of class 0 in every row, so that nothing else is drawn
    rows = torch.ones(20, 1, dtype=torch.float64)
    found = diagonal_fisher(line, rows, labels="sampled", generator=generator())["weight"]
    assert found.max() < 1e-20


def test_sampled_fisher_has_the_exact_one_as_its_mean():
    model, x = classifier(), normal(5, 4)
    exact = diagonal_fisher(model, x, labels="exact")
    many = diagonal_fisher(model, x.repeat(4000, 1), labels="sampled", generator=generator())
    for name in exact:
        assert_close(many[name], exact[name], rtol=0.1, atol=0.05 * float(exact[name].max()))
    once, again, other = (
        diagonal_fisher(model, x, labels="sampled", generator=generator(seed))["2.bias"]
        for seed in (1, 1, 3)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_gaussian_fisher():
    line, x = nn.Linear(2, 2, bias=False).double(), numbers([1.0, 2.0], [3.0, -1.0], [0.0, 5.0])
    exact = diagonal_fisher(line, x, labels="exact", likelihood="gaussian", reduction="sum")
    assert_close(exact["weight"], numbers([10, 30], [10, 30]))  # sums of squares of each column
    y = line(x).detach() + numbers([2.0, 0.0], [1.0, 1.0], [0.0, -3.0])
    true = diagonal_fisher(line, x, y, likelihood="gaussian", reduction="sum")
    assert_close(true["weight"], numbers([4 + 9, 16 + 1], [9, 1 + 225]))
    many = x.repeat(3000, 1)
    sampled = diagonal_fisher(
        line, many, labels="sampled", likelihood="gaussian", generator=generator()
    )
    assert_close(sampled["weight"], exact["weight"] / 3, rtol=0.1, atol=0)


def test_known_mistake_of_avalanche_the_squared_mean_gradient():
    """Squaring the gradient of a batch makes importance shrink as the batch grows."""
    model, x = classifier(), normal(64, 4)
    y = model(x).argmax(dim=1)
    name = "2.bias"
    found = [diagonal_fisher(model, x, y, batch_size=size)[name] for size in (1, 3, 64, 1000)]
    for other in found[1:]:
        assert_close(other, found[0])
    y = torch.multinomial(model(x).softmax(dim=1), 1, generator=generator()).squeeze(1)
    loss = nn.functional.cross_entropy(model(x), y)
    (mistaken,) = torch.autograd.grad(loss, [model.get_parameter(name)])
    assert (mistaken.square() < diagonal_fisher(model, x, y)[name] / 4).all()


@given(SEEDS, st.integers(1, 9), st.integers(1, 12))
def test_fisher_of_rows_taken_twice_or_in_parts(seed, n, size):
    model, x = classifier(seed), normal(n, 4, seed=seed)
    whole = diagonal_fisher(model, x, labels="exact", batch_size=size)
    assert all((f >= 0).all() for f in whole.values())
    assert_close(diagonal_fisher(model, torch.cat([x, x]), labels="exact"), whole)
    rows = [diagonal_fisher(model, row.unsqueeze(0), labels="exact") for row in x]
    assert_close(whole, {name: sum(r[name] for r in rows) / n for name in whole})


def test_only_what_learns_has_a_fisher_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    model.train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = diagonal_fisher(model, normal(5, 3, dtype=torch.float32), labels="exact")
    assert list(found) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert (model.training, model[2].training, model[1].training) == (True, False, True)
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_fisher_vanishes_where_the_rows_are_fitted_only_if_it_is_empirical():
    model = nn.Linear(1, 2).double()
    model.weight.data, model.bias.data = numbers([3.0], [-3.0]), numbers(0.0, 0.0)
    x, y = numbers([1.0], [-1.0]), torch.tensor([0, 1])
    true, exact = (
        diagonal_fisher(model, x, *given, labels=labels)["weight"].sum().item()
        for given, labels in (((y,), "true"), ((), "exact"))
    )
    q = 1 / (1 + math.exp(6))
    assert true == pytest.approx(2 * q**2)
    assert exact == pytest.approx(2 * q * (1 - q))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labels": "hard"}, ValueError, "labels must be one of 'true', 'exact', 'sampled', got"),
        ({"likelihood": "poisson"}, ValueError, "likelihood must be one of 'categorical'"),
        ({"reduction": "none"}, ValueError, "reduction must be one of 'mean', 'sum'"),
        ({"inputs": torch.zeros(0, 4).double()}, ValueError, "the task has no inputs"),
        ({"inputs": torch.tensor(1.0)}, ValueError, "the task has no inputs"),
        ({"inputs": [[1.0]]}, TypeError, "inputs must be a torch.Tensor, got list"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"targets": None}, ValueError, "labels='true' needs targets"),
        ({"labels": "exact"}, ValueError, "labels='exact' takes the model's own answers"),
        ({"targets": torch.tensor([0, 3])}, ValueError, "targets must lie between 0 and 2"),
        ({"targets": torch.tensor([0])}, ValueError, r"targets must have the shape \(2,\)"),
        ({"inputs": torch.full((2, 4), math.nan).double()}, ValueError, "outputs contains NaN"),
        (
            {"likelihood": "gaussian", "targets": torch.zeros(2, 2).double()},
            ValueError,
            "the widths must be equal",
        ),
        (
            {"likelihood": "gaussian", "targets": torch.zeros(1, 3).double()},
            ValueError,
            "the shapes must be equal",
        ),
    ],
)
def test_bad_input_of_the_fisher(change, error, words):
    given = {"inputs": normal(2, 4), "targets": torch.tensor([0, 2])} | change
    with pytest.raises(error, match=words):
        diagonal_fisher(classifier(), **given)


def test_a_fisher_needs_something_that_learns_and_two_classes():
    with pytest.raises(ValueError, match="no parameter of the model learns"):
        diagonal_fisher(classifier().requires_grad_(False), normal(2, 4), labels="exact")
    with pytest.raises(ValueError, match="has one class only"):
        diagonal_fisher(classifier(classes=1), normal(2, 4), labels="exact")


# EWC


def anchor(task="A", *, at=(1.0, 1.0), fisher=(4.0, 0.5)):
    return Anchor(task, {"w": numbers(*at)}, {"w": numbers(*fisher)})


def test_penalty_by_hand():
    now = {"w": numbers(3.0, -3.0), "head": numbers(7.0)}
    assert_close(ewc_penalty(now, [anchor()], strength=0.5), numbers(6.0).sum())  # ¼(16 + 8)
    both = [anchor(), anchor("B", at=(2.0, -3.0), fisher=(8.0, 1.0))]
    assert_close(ewc_penalty(now, both, strength=0.5), numbers(8.0).sum())
    assert ewc_penalty(now, both, strength=0) == 0


def test_penalty_of_a_model_and_its_gradient():
    model, x = classifier(), normal(6, 4)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    fisher = diagonal_fisher(model, x, labels="exact")
    with torch.no_grad():
        for p in model.parameters():
            p += 0.5
    ewc_penalty(model, [Anchor("A", start, fisher)], strength=3).backward()
    for name, p in model.named_parameters():
        assert_close(p.grad, 3 * fisher[name] * 0.5)


def test_no_gradient_reaches_anchors_and_the_penalty_is_smooth():
    old, weight = numbers(1.0, 2.0).requires_grad_(), numbers(3.0, 4.0).requires_grad_()
    now = numbers(0.5, 5.0).requires_grad_()
    ewc_penalty({"w": now}, [Anchor("A", {"w": old}, {"w": weight})], strength=2).backward()
    assert old.grad is None
    assert weight.grad is None
    assert gradcheck(lambda w: ewc_penalty({"w": w}, [anchor()], strength=0.7), (now,))


def least_squares(x, y):
    return torch.linalg.lstsq(x, y.unsqueeze(1)).solution.squeeze(1)


def after_ewc(features, *, labels="exact"):
    """Learn A by least squares, then B with EWC's penalty; return it, and both together."""
    y, x_b, y_b = normal(len(features), seed=1), normal(9, 3, seed=2), normal(9, seed=3)
    θ = least_squares(features, y)
    line = nn.Linear(3, 1, bias=False).double()
    line.weight.data = θ.unsqueeze(0).clone()
    fisher = diagonal_fisher(line, features, labels=labels, likelihood="gaussian", reduction="sum")
    old = Anchor("A", {"weight": θ.unsqueeze(0)}, fisher)

    def total(weight):
        error = (y_b - x_b @ weight.squeeze(0)).square().sum() / 2
        return error + ewc_penalty({"weight": weight}, [old], strength=1)

    zero = torch.zeros(1, 3, dtype=torch.float64)
    H = torch.autograd.functional.hessian(total, zero).reshape(3, 3)
    gradient = torch.autograd.functional.jacobian(total, zero).reshape(3)
    found = -torch.linalg.solve(H, gradient)
    return found, least_squares(torch.cat([features, x_b]), torch.cat([y, y_b]))


def test_ewc_is_joint_least_squares_where_the_old_features_are_orthogonal():
    q, _ = torch.linalg.qr(normal(12, 3))
    found, joint = after_ewc(q * numbers(0.5, 2.0, 3.0))
    assert_close(found, joint)
    found, joint = after_ewc(normal(12, 3) + 1)  # correlated: the diagonal isn't enough
    assert (found - joint).norm() > 0.02 * joint.norm()


@pytest.mark.parametrize(
    ("now", "anchors", "words"),
    [
        ({"w": (1, 2)}, [], "there are no anchors"),
        ({"w": (1, 2)}, [anchor(), anchor("B"), anchor()], "task 'A' is anchored twice"),
        ({"v": (1, 2)}, [anchor()], "has 'w', which the model lacks"),
        ({"w": (1, 2)}, [anchor()._replace(parameters={"v": numbers(1)})], "anchor's parameters"),
        ({"w": (1, 2)}, [anchor(fisher=(1, -2))], "negative in 'w', got -2"),
        ({"w": (1, 2)}, [anchor(fisher=(1, math.nan))], "contains NaN"),
        ({"w": (1, 2)}, [anchor()._replace(fisher={})], "'A' is empty"),
        ({"w": (1, 2, 3)}, [anchor()], r"'w' has the shapes \(3,\) and \(2,\)"),
        ({"w": (1, 2)}, [anchor(at=(1,))], r"'w' has the shapes \(2,\) and \(1,\)"),
    ],
)
def test_bad_input_of_the_penalty(now, anchors, words):
    with pytest.raises(ValueError, match=words):
        ewc_penalty({k: numbers(*map(float, v)) for k, v in now.items()}, anchors, strength=1)


def test_strength_and_memory_of_the_penalty():
    now = {"w": numbers(1.0, 2.0)}
    for strength in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="strength must lie in"):
            ewc_penalty(now, [anchor()], strength=strength)
    with pytest.raises(ValueError, match="moves along with it"):
        ewc_penalty(now, [Anchor("A", now, {"w": numbers(1.0, 1.0)})], strength=1)
    with pytest.raises(TypeError, match=r"anchor.fisher must be a model or a mapping"):
        ewc_penalty(now, [anchor()._replace(fisher=numbers(1.0))], strength=1)


def test_a_misspelt_name_is_recognised():
    with pytest.raises(ValueError, match=r"did you mean 'body\.weight'"):
        ewc_penalty(
            {"body.weight": numbers(1.0)},
            [Anchor("A", {}, {"body.weigth": numbers(1.0)})],
            strength=1,
        )


# LwF


def test_lwf_is_cross_entropy_and_a_divergence():
    new, labels = normal(5, 3), torch.tensor([0, 2, 1, 1, 0])
    now, before = normal(5, 4, seed=1), normal(5, 4, seed=2)
    p, q = (before / 3).softmax(1), (now / 3).softmax(1)
    kept = 9 * (p * (p / q).log()).sum(1).mean()
    wanted = -new.log_softmax(1)[torch.arange(5), labels].mean()
    assert_close(lwf_loss(new, labels, now, before, strength=0.5, temperature=3), wanted + kept / 2)
    p, q = (before / 2).softmax(1), (now / 2).softmax(1)
    assert_close(lwf_loss(new, labels, now, before), wanted + 4 * (p * (p / q).log()).sum(1).mean())


def test_several_heads_have_a_softmax_each():
    new, labels = normal(5, 3), torch.tensor([0, 2, 1, 1, 0])
    heads = [(normal(5, k, seed=k), normal(5, k, seed=9 + k)) for k in (2, 4)]
    now, before = zip(*heads, strict=True)
    alone = [lwf_loss(new, labels, u, v) for u, v in heads]
    plain = nn.functional.cross_entropy(new, labels)
    assert_close(lwf_loss(new, labels, now, before), sum(alone) - plain)


def test_lwf_is_plain_where_nothing_changed_and_no_gradient_reaches_the_old_answers():
    new, labels, u = normal(5, 3), torch.tensor([0, 2, 1, 1, 0]), normal(5, 4)
    plain = nn.functional.cross_entropy(new, labels)
    assert_close(lwf_loss(new, labels, u + 3, u), plain)  # a softmax doesn't see constants
    assert_close(lwf_loss(new, labels, 2 * u, u, strength=0), plain)
    now, before = u.clone().requires_grad_(), (2 * u).requires_grad_()
    lwf_loss(new, labels, now, before).backward()
    assert before.grad is None
    T = 2
    assert_close(now.grad, T * ((u / T).softmax(1) - (2 * u / T).softmax(1)) / 5)
    assert gradcheck(lambda z, u: lwf_loss(z, labels, u, before), (new.requires_grad_(), now))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"strength": -1}, ValueError, "strength must lie in"),
        ({"strength": math.inf}, ValueError, "strength must lie in"),
        ({"temperature": 0}, ValueError, "temperature must be positive and finite, got 0"),
        ({"temperature": -1}, ValueError, "temperature must be positive and finite"),
        ({"temperature": math.inf}, ValueError, "temperature must be positive and finite"),
        ({"labels": torch.tensor([0, 3])}, ValueError, "labels must lie between 0 and 2"),
        ({"labels": torch.tensor([0.0, 1.0])}, TypeError, "labels must be integers"),
        ({"kept_logits": normal(2, 5)}, ValueError, "the shapes must be equal"),
        ({"kept_logits": normal(3, 4), "old_logits": normal(3, 4)}, ValueError, "the same rows"),
        ({"kept_logits": [], "old_logits": []}, ValueError, "there are 0 heads now and 0 before"),
        ({"kept_logits": [normal(2, 4)] * 2}, ValueError, "there are 2 heads now and 1 before"),
        ({"logits": normal(2, 1)}, ValueError, "has one class only"),
        ({"old_logits": torch.full((2, 4), math.inf).double()}, ValueError, "must be finite"),
    ],
)
def test_bad_input_of_lwf(change, error, words):
    given = {
        "logits": normal(2, 3),
        "labels": torch.tensor([0, 2]),
        "kept_logits": normal(2, 4),
        "old_logits": normal(2, 4),
    } | change
    with pytest.raises(error, match=words):
        lwf_loss(**given)


def test_lwf_warns_of_probabilities():
    new, old = normal(2, 3).softmax(1), normal(2, 4)
    with pytest.warns(UserWarning, match="logits: every row is a probability distribution"):
        lwf_loss(new, torch.tensor([0, 2]), old, old)


# A-GEM


def test_projection_by_hand():
    assert_close(agem_projection(numbers(-2, 1, 3), numbers(3, 0, 1)), numbers(-1.1, 1, 3.3))
    unchanged = numbers(2.0, 1, 3)
    assert_close(agem_projection(unchanged, numbers(3.0, 0, 1)), unchanged)
    assert_close(agem_projection(numbers(-2.0, 1), numbers(0.0, 0)), numbers(-2.0, 1))


@given(SEEDS)
def test_projection_is_the_nearest_that_does_not_conflict(seed):
    g, r = normal(6, seed=seed), normal(6, seed=seed + 1)
    found = agem_projection(g, r)
    assert found @ r >= -1e-12
    assert_close(agem_projection(found, r), found)
    assert_close(agem_projection(2 * g, 5 * r), 2 * found)
    for k in range(5):
        other = normal(6, seed=seed + 2 + k)
        other = other if other @ r >= 0 else -other
        assert (found - g).norm() <= (other - g).norm() + 1e-12


@pytest.mark.parametrize("dtype", FLOATS)
def test_projection_keeps_dtype(dtype):
    found = agem_projection(numbers(-200, 1, dtype=dtype), numbers(300, 0, dtype=dtype))
    assert found.dtype == dtype
    assert_close(found, numbers(0, 1, dtype=dtype))


@pytest.mark.parametrize(
    ("g", "r", "error", "words"),
    [
        (numbers(1.0), numbers(1.0, 2), ValueError, "the shapes must be equal"),
        (normal(2, 2), normal(2, 2), ValueError, "gradient must be a vector"),
        (numbers(1.0), numbers(math.inf), ValueError, "reference must be finite"),
        (numbers(math.nan), numbers(1.0), ValueError, "gradient contains NaN"),
        (torch.tensor([1]), torch.tensor([1]), TypeError, "must hold floating-point numbers"),
        (numbers(1.0), numbers(1.0).float(), TypeError, "must have one dtype"),
    ],
)
def test_bad_input_of_the_projection(g, r, error, words):
    with pytest.raises(error, match=words):
        agem_projection(g, r)


# The memory


def kept(slots, size):
    """Play a stream of the numbers 0, 1, … into a memory."""
    memory = [-1] * size
    for item, slot in enumerate(slots.tolist()):
        if slot >= 0:
            memory[slot] = item
    return memory


def test_each_item_is_kept_with_probability_k_over_n():
    size, n, runs = 5, 20, 4000
    draw = generator()
    counts = torch.zeros(n)
    slots = torch.zeros(n, size)
    for _ in range(runs):
        memory = kept(reservoir_slots(n, size=size, generator=draw), size)
        assert len(set(memory)) == size
        counts[memory] += 1
        slots[memory, range(size)] += 1
    deviation = math.sqrt(runs * 0.25 * 0.75)
    assert (counts - runs * size / n).abs().max() < 4.5 * deviation  # 1 in 10,000 for 20 items
    later = slots[size:] - runs / n  # where an item lies is uniform once it had to be drawn
    assert later.abs().max() < 4.5 * math.sqrt(runs / n)


@given(SEEDS, st.integers(1, 6), st.integers(1, 15))
def test_the_memory_fills_first_and_slots_are_its_own(seed, size, n):
    found = reservoir_slots(n, size=size, generator=generator(seed))
    assert found.dtype == torch.int64
    assert found[:size].tolist() == list(range(min(n, size)))
    assert ((found >= -1) & (found < size)).all()
    assert -1 not in kept(found, size)[: min(n, size)]


def test_a_stream_in_parts_is_the_stream():
    draw = generator()
    parts = [
        reservoir_slots(n, size=3, generator=draw, passed=passed)
        for n, passed in ((2, 0), (4, 2), (5, 6))
    ]
    assert_close(torch.cat(parts), reservoir_slots(11, size=3, generator=generator()))
    assert reservoir_slots(2, size=3, generator=draw, passed=1).tolist() == [1, 2]
    torch.manual_seed(0)
    assert_close(reservoir_slots(9, size=2, generator=None)[2:] >= -1, torch.ones(7).bool())


def test_the_item_after_a_full_memory_is_kept_with_probability_k_over_k_plus_one():
    draw = generator()
    found = torch.cat([reservoir_slots(1, size=2, generator=draw, passed=2) for _ in range(3000)])
    shares = torch.stack([(found == slot).double().mean() for slot in (-1, 0, 1)])
    assert (shares - 1 / 3).abs().max() < 4 * math.sqrt(2 / 9 / 3000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 0}, "n must be at least 1, got 0: a task without items"),
        ({"size": 0}, "size must be at least 1, got 0: a memory without slots"),
        ({"passed": -1}, "passed must be at least 0, got -1"),
    ],
)
def test_bad_input_of_the_memory(change, words):
    with pytest.raises(ValueError, match=words):
        reservoir_slots(**({"n": 3, "size": 2, "generator": generator()} | change))


# The matrix

R = numbers([0.90, 0.20, 0.10], [0.95, 0.80, 0.30], [0.50, 0.70, 0.60])


def test_numbers_of_a_matrix_by_hand():
    assert_close(average_accuracy(R), numbers(0.6).sum())
    assert_close(forgetting(R), numbers((0.45 + 0.1) / 2).sum())
    assert_close(backward_transfer(R), numbers((-0.4 - 0.1) / 2).sum())
    baseline = numbers(0.5, 0.05, 0.2)
    assert_close(forward_transfer(R, baseline), numbers((0.15 + 0.1) / 2).sum())


@given(SEEDS, st.integers(2, 6))
def test_relations_between_the_numbers(seed, tasks):
    a = torch.rand(tasks, tasks, generator=generator(seed), dtype=torch.float64)
    assert forgetting(a) >= -backward_transfer(a) - 1e-12
    assert_close(forgetting(a + 0.5), forgetting(a))
    assert_close(average_accuracy(a + 0.5), average_accuracy(a) + 0.5)
    assert_close(forward_transfer(a, a[0] * 0), a.diagonal(1).mean())
    steady = a[:1].expand(tasks, tasks)
    assert forgetting(steady) == backward_transfer(steady) == 0
    assert_close(forward_transfer(steady, a[0]), numbers(0).sum())


@pytest.mark.parametrize("function", [average_accuracy, forgetting, backward_transfer])
@pytest.mark.parametrize(
    ("matrix", "error", "words"),
    [
        (R[:2], ValueError, r"accuracies must be square, .* got \(2, 3\)"),
        (R[0], ValueError, "must be a matrix"),
        (R[:1, :1], ValueError, "one task alone"),
        (R / 0, ValueError, "must be finite"),
        (R * math.nan, ValueError, "contains NaN in 9 of 9"),
        (R.long(), TypeError, "floating-point"),
    ],
)
def test_bad_matrices(function, matrix, error, words):
    with pytest.raises(error, match=words):
        function(matrix)


def test_bad_input_of_forward_transfer():
    with pytest.raises(ValueError, match="must be square"):
        forward_transfer(R[:2], numbers(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"each of the 3 tasks, got the shape \(2,\)"):
        forward_transfer(R, numbers(0.1, 0.2))
    with pytest.raises(ValueError, match="baseline must be finite"):
        forward_transfer(R, numbers(0.1, 0.2, math.inf))
    with pytest.raises(TypeError, match="one dtype"):
        forward_transfer(R, numbers(0.1, 0.2, 0.3).float())
