"""Meta-learning: closed forms, plain loops, finite differences, scikit-learn, known mistakes."""

import warnings

import pytest
import sklearn.linear_model
import sklearn.neighbors
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss
from torch.testing import assert_close

from mapping_lib.meta import (
    OuterGradient,
    episode,
    inner_loop,
    maml_gradient,
    maml_loss,
    prototype_logits,
    prototypes,
    reptile_step,
    ridge_logits,
    task_loss,
)

BOTH = pytest.mark.parametrize("vectorised", [True, False])


def normal(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def half_square(θ, b):
    return (θ - b).square().sum() / 2


def quadratic(H):
    """½ (θ − b)ᵀ H (θ − b)."""
    return lambda θ, b: (θ - b) @ H @ (θ - b) / 2


def perceptron(*, norm=False, seed=0):
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(4)] if norm else []
    return nn.Sequential(nn.Linear(2, 4), *middle, nn.Tanh(), nn.Linear(4, 3)).double()


class Convolution(nn.Module):
    """With one channel in, batch norm in the middle, and a view that needs no layout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Softplus())
        self.head = nn.Linear(12, 3)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))


def of(model):
    return dict(model.named_parameters())


def regression(tasks=3, support=5, query=7, outputs=3):
    return (
        (normal(tasks, support, 2, seed=1), normal(tasks, support, outputs, seed=2)),
        (normal(tasks, query, 2, seed=3), normal(tasks, query, outputs, seed=4)),
    )


def plain_loop(model, criterion, support, query, *, rate, steps, first_order=False, moving=None):
    """The loop that everybody writes first, in plain torch."""
    total = 0
    for t in range(len(query[0])):
        θ = of(model)
        for _ in range(steps):
            names = [n for n in θ if moving is None or n in moving]
            value = criterion(functional_call(model, θ, (support[0][t],)), support[1][t])
            found = torch.autograd.grad(value, [θ[n] for n in names], create_graph=not first_order)
            θ = θ | {n: θ[n] - rate * g for n, g in zip(names, found, strict=True)}
        total = total + criterion(functional_call(model, θ, (query[0][t],)), query[1][t])
    value = total / len(query[0])
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return value.detach(), dict(zip(of(model), found, strict=True))


class TestInnerLoop:
    @given(st.integers(0, 6), st.floats(0, 0.5))
    def test_quadratic_shrinks_by_powers(self, steps, rate):
        H, θ, b = torch.diag(torch.tensor([0.5, 2.0, 1.0]).double()), normal(3), normal(3, seed=1)
        found = inner_loop(quadratic(H), θ, b, inner_rate=rate, steps=steps)
        power = torch.linalg.matrix_power(torch.eye(3) - rate * H, steps)
        assert_close(found, b + power @ (θ - b))

    def test_default_is_one_step_of_everything(self):
        θ = {"a": torch.tensor([3.0]), "b": torch.tensor([5.0])}
        loss = lambda θ, _: half_square(θ["a"], 1) + half_square(θ["b"], 1)  # noqa: E731
        found = inner_loop(loss, θ, None, inner_rate=0.5)
        assert {n: v.item() for n, v in found.items()} == {"a": 2.0, "b": 3.0}
        assert θ["a"].item() == 3.0

    def test_only_what_is_chosen_moves(self):
        model, (support, _) = perceptron(), regression(1)
        batch = support[0][0], support[1][0]
        found = inner_loop(
            task_loss(model, mse_loss), of(model), batch, inner_rate=0.1, only=["2.*"]
        )
        moved = {name for name, part in of(model).items() if not torch.equal(part, found[name])}
        assert moved == {"2.weight", "2.bias"}
        assert list(found) == list(of(model))

    @pytest.mark.parametrize("only", ["2", ["2"], ["2.w*", "2.bias"]])
    def test_a_name_stands_for_what_is_inside(self, only):
        model, (support, _) = perceptron(), regression(1)
        batch = support[0][0], support[1][0]
        loss = task_loss(model, mse_loss)
        found = inner_loop(loss, of(model), batch, inner_rate=0.1, only=only)
        due = inner_loop(loss, of(model), batch, inner_rate=0.1, only=["2.weight", "2.bias"])
        assert_close(found, due)

    def test_frozen_parameters_adapt_all_the_same(self):
        model, (support, _) = perceptron(), regression(1)
        batch = support[0][0], support[1][0]
        due = inner_loop(task_loss(model, mse_loss), of(model), batch, inner_rate=0.1)
        model.requires_grad_(False)
        found = inner_loop(task_loss(model, mse_loss), of(model), batch, inner_rate=0.1)
        assert_close(found, due)

    def test_is_sgd_of_torch(self):
        model, (support, _) = perceptron(), regression(1)
        batch = support[0][0], support[1][0]
        loss = task_loss(model, mse_loss)
        found = inner_loop(loss, of(model), batch, inner_rate=0.1, steps=4)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimiser.zero_grad()
            mse_loss(model(batch[0]), batch[1]).backward()
            optimiser.step()
        assert_close(found, {n: p.detach() for n, p in of(model).items()}, check_stride=False)

    def test_without_graph_under_no_grad(self):
        θ = torch.tensor(5.0, requires_grad=True)
        with torch.no_grad():
            found = inner_loop(half_square, θ, torch.tensor(1.0), inner_rate=0.5, steps=2)
        assert found.item() == 2.0
        assert not found.requires_grad

    def test_vectorises(self):
        θ, b = torch.tensor(5.0), torch.tensor([1.0, 3.0])
        step = torch.func.vmap(lambda b: inner_loop(half_square, θ, b, inner_rate=0.5))
        assert step(b).tolist() == [3.0, 4.0]

    def test_divergence_is_said(self):
        θ, b = torch.tensor(1e3), torch.tensor(0.0)
        with pytest.raises(FloatingPointError, match=r"diverges at inner_rate 1e\+20.* smaller"):
            inner_loop(half_square, θ, b, inner_rate=1e20, steps=5)
        with pytest.warns(UserWarning, match="diverges at inner_rate 3: its losses are 5e.05, 2e"):
            inner_loop(half_square, θ, b, inner_rate=3, steps=3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Losses 2, 18: nine times, no more. One step has nothing to compare.
            inner_loop(half_square, torch.tensor(2.0), b, inner_rate=4, steps=2)
            inner_loop(half_square, θ, b, inner_rate=30)
            inner_loop(half_square, θ, b, inner_rate=0, steps=3)
            inner_loop(half_square, θ, b, inner_rate=1, steps=0)

    @pytest.mark.parametrize("function", [inner_loop, maml_gradient])
    def test_warning_points_at_the_caller(self, function):
        b = torch.zeros(1)
        batches = (b[0],) if function is inner_loop else (b, b)
        with pytest.warns(UserWarning, match="diverges") as caught:
            function(half_square, torch.tensor(2.0), *batches, inner_rate=9, steps=3)
        assert caught[0].filename == __file__

    def test_parameters_that_overflow_in_the_last_step_are_said(self):
        with pytest.raises(
            FloatingPointError, match=r"its losses are 5e\+05; take a smaller rate or"
        ):
            inner_loop(half_square, torch.tensor(1e3), torch.tensor(0.0), inner_rate=1e36)

    def test_a_loss_of_other_parameters_is_refused(self):
        model, (support, _) = perceptron(), regression(1)
        wrong = lambda θ, b: mse_loss(model(b[0]), b[1])  # noqa: E731
        batch = support[0][0], support[1][0]
        with pytest.raises(ValueError, match="from the parameters that it is given"):
            inner_loop(wrong, of(model), batch, inner_rate=0.1)

    def test_float32_stays(self):
        found = inner_loop(half_square, torch.ones(2), torch.zeros(2), inner_rate=0.1)
        assert found.dtype == torch.float32


class TestMamlLoss:
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_quadratic_in_closed_form(self, steps):
        rate, H = 0.1, torch.diag(torch.tensor([1.0, 3.0]).double())
        θ, b, c = normal(2).requires_grad_(), normal(2, seed=1), normal(2, seed=2)
        loss = quadratic(H)
        shrink = torch.linalg.matrix_power(torch.eye(2) - rate * H, steps)
        end = (b + shrink @ (θ - b)).detach()
        for first_order, factor in ((False, shrink), (True, torch.eye(2).double())):
            value = maml_loss(loss, θ, b, c, inner_rate=rate, steps=steps, first_order=first_order)
            assert_close(value.detach(), loss(end, c))
            assert_close(torch.autograd.grad(value, θ)[0], factor @ H @ (end - c))

    def test_known_mistake_silently_first_order(self):
        """Repositories without create_graph: the factor 1 − α is lost, and nothing says so."""
        θ, b = torch.tensor(5.0, requires_grad=True), torch.tensor(1.0)
        value = maml_loss(half_square, θ, b, b, inner_rate=0.5)
        (right,) = torch.autograd.grad(value, θ)
        assert right.item() == (3 - 1) * (1 - 0.5)
        assert right.item() != 3 - 1

    @pytest.mark.parametrize("steps", [1, 3])
    def test_gradcheck(self, steps):
        model, ((x, y), (u, v)) = perceptron(), regression(1)
        loss, names = task_loss(model, mse_loss), list(of(model))

        def value(*parts):
            θ = dict(zip(names, parts, strict=True))
            return maml_loss(loss, θ, (x[0], y[0]), (u[0], v[0]), inner_rate=0.3, steps=steps)

        assert gradcheck(value, tuple(model.parameters()))

    def test_gradgradcheck(self):
        θ, H = normal(2).requires_grad_(), torch.eye(2).double()
        loss = lambda θ, b: quadratic(H)(θ.sin(), b)  # noqa: E731
        b = normal(2, seed=1)
        assert gradgradcheck(lambda θ: maml_loss(loss, θ, b, b, inner_rate=0.3, steps=2), (θ,))

    def test_no_steps_is_the_query_loss(self):
        θ, b = torch.tensor(5.0), torch.tensor(1.0)
        assert maml_loss(half_square, θ, b, torch.tensor(3.0), inner_rate=1, steps=0).item() == 2.0


class TestMamlGradient:
    @BOTH
    @pytest.mark.parametrize("first_order", [True, False])
    @pytest.mark.parametrize("steps", [1, 3])
    @pytest.mark.parametrize("moving", [None, ["2.weight", "2.bias"]])
    def test_is_that_of_the_plain_loop(self, vectorised, first_order, steps, moving):
        model, tasks = perceptron(norm=moving is None), regression()
        if moving:
            tasks = regression(4)
        settings = {"steps": steps, "first_order": first_order}
        value, due = plain_loop(model, mse_loss, *tasks, rate=0.2, moving=moving, **settings)
        found = maml_gradient(
            task_loss(model, mse_loss),
            of(model),
            *tasks,
            inner_rate=0.2,
            only=moving,
            vectorised=vectorised,
            **settings,
        )
        assert isinstance(found, OuterGradient)
        assert_close(found.loss, value)
        assert_close(found.gradient, due)
        assert not any(part.requires_grad for part in (found.loss, *found.gradient.values()))
        assert all(part.grad is None for part in model.parameters())

    @pytest.mark.parametrize("steps", [0, 1, 2])
    def test_convolutions_both_ways(self, steps):
        model = Convolution().double()
        support = normal(2, 3, 1, 4, 4), torch.arange(3).expand(2, 3)
        query = normal(2, 6, 1, 4, 4, seed=1), torch.arange(3).repeat(2).expand(2, 6)
        value, due = plain_loop(model, cross_entropy, support, query, rate=0.5, steps=steps)
        for vectorised in (None, True):
            found = maml_gradient(
                task_loss(model, cross_entropy),
                of(model),
                support,
                query,
                inner_rate=0.5,
                steps=steps,
                vectorised=vectorised,
            )
            assert_close(found.loss, value)
            assert_close(found.gradient, due, check_stride=False)

    @pytest.mark.parametrize(("shape", "calls"), [((2, 2), 2), ((2, 2, 1), 6)])
    def test_loops_where_there_are_convolutions(self, shape, calls):
        """Vectorised, the loss is called once a step for all three tasks."""
        made = []

        def loss(θ, b):
            made.append(1)
            return half_square(θ, b)

        b = normal(3, *shape)
        maml_gradient(loss, normal(*shape), b, b, inner_rate=0.1)
        assert len(made) == calls

    def test_query_sees_images_in_channels_last(self):
        layouts = []

        def loss(θ, x):
            layouts.append((x.stride(), θ.stride()))
            return half_square(θ, x)

        x = normal(1, 2, 1, 4, 4)
        maml_gradient(loss, normal(2, 1, 4, 4), x, x, inner_rate=0.1)
        assert layouts == [((16, 16, 4, 1),) * 2, ((16, 1, 4, 1),) * 2]

    @BOTH
    def test_finite_differences(self, vectorised):
        """The gradient is that of the mean loss after adaptation, second order included."""
        model, tasks = perceptron(), regression()
        loss, θ, h = task_loss(model, mse_loss), {n: p.detach() for n, p in of(model).items()}, 1e-5
        settings = {"inner_rate": 0.3, "steps": 2, "vectorised": vectorised}
        exact = maml_gradient(loss, θ, *tasks, **settings).gradient
        direction = {name: normal(*part.shape, seed=9) for name, part in θ.items()}
        ends = [
            maml_gradient(
                loss, {n: p + s * h * direction[n] for n, p in θ.items()}, *tasks, **settings
            ).loss
            for s in (1, -1)
        ]
        slope = sum((exact[n] * direction[n]).sum() for n in θ)
        assert_close((ends[0] - ends[1]) / (2 * h), slope, rtol=1e-6, atol=1e-8)

    @BOTH
    def test_works_under_no_grad_and_on_modules_with_grad(self, vectorised):
        b = torch.tensor([1.0, 3.0])
        θ = nn.Parameter(torch.tensor(5.0))
        with torch.no_grad():
            found = maml_gradient(half_square, θ, b, b, inner_rate=0.5, vectorised=vectorised)
        assert (found.loss.item(), found.gradient.item()) == (1.25, 0.75)

    def test_a_linear_loss_has_no_second_order(self):
        b = torch.tensor([[1.0, 2.0]])
        for vectorised in (True, False):
            found = maml_gradient(
                lambda θ, b: θ @ b, torch.ones(2), b, b, inner_rate=0.5, vectorised=vectorised
            )
            assert found.gradient.tolist() == [1.0, 2.0]

    @BOTH
    @pytest.mark.parametrize("only", [None, ["w", "b"]])
    def test_parameters_with_a_constant_gradient_or_none(self, vectorised, only):
        """Their second derivatives are zero, beside others that are not."""
        θ = {"w": torch.tensor(2.0), "b": torch.tensor(3.0), "unused": torch.tensor(1.0)}
        loss = lambda θ, x: θ["w"] ** 2 * x / 2 + θ["b"]  # noqa: E731
        x = torch.tensor([1.0, 2.0])
        settings = {"inner_rate": 0.25, "only": only, "vectorised": vectorised}
        found = maml_gradient(loss, θ, x, x, **settings).gradient
        # (1 − αx) x θ' with θ' = (1 − αx) θ: 9/8 and 1.
        assert {n: g.item() for n, g in found.items()} == {"w": 17 / 16, "b": 1, "unused": 0}

    @pytest.mark.parametrize("steps", [1, 2, 4])
    @BOTH
    def test_known_mistake_silently_first_order(self, vectorised, steps):
        """A factor 1 − α for each step, which repositories without create_graph lose."""
        θ, b, c = torch.tensor(5.0), torch.tensor([1.0]), torch.tensor([3.0])
        settings = {"inner_rate": 0.5, "steps": steps, "vectorised": vectorised}
        end = 1 + 0.5**steps * (5 - 1)
        found = maml_gradient(half_square, θ, b, c, **settings).gradient
        assert found.item() == 0.5**steps * (end - 3)
        short = maml_gradient(half_square, θ, b, c, **settings, first_order=True).gradient
        assert short.item() == end - 3

    @BOTH
    def test_batches_may_be_dictionaries(self, vectorised):
        batch = {"x": torch.tensor([1.0, 3.0]), "unused": torch.zeros(2, 5)}
        loss = lambda θ, batch: half_square(θ, batch["x"])  # noqa: E731
        settings = {"inner_rate": 0.5, "vectorised": vectorised}
        found = maml_gradient(loss, torch.tensor(5.0), batch, batch, **settings)
        assert (found.loss.item(), found.gradient.item()) == (1.25, 0.75)

    @BOTH
    def test_divergence_is_said(self, vectorised):
        b, settings = torch.zeros(2), {"vectorised": vectorised}
        with pytest.raises(FloatingPointError, match=r"diverges at inner_rate 1e\+20"):
            maml_gradient(half_square, torch.tensor(1e3), b, b, inner_rate=1e20, **settings)
        with pytest.warns(UserWarning, match="diverges at inner_rate 5: its losses are 2, 32;"):
            maml_gradient(half_square, torch.tensor(2.0), b, b, inner_rate=5, **settings)

    @BOTH
    def test_a_loss_of_other_parameters_is_refused(self, vectorised):
        other = torch.tensor(2.0, requires_grad=True)
        b, settings = torch.zeros(2), {"inner_rate": 0.1, "vectorised": vectorised}
        with pytest.raises(ValueError, match="from the parameters that it is given"):
            maml_gradient(lambda θ, b: (other - b) ** 2, torch.tensor(1.0), b, b, **settings)

    @BOTH
    def test_dropout_draws_anew_for_each_task(self, vectorised):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(50, 1))
        loss = task_loss(model, lambda z, y: z.sum())
        x = torch.ones(2, 1, 50)
        found = maml_gradient(loss, of(model), (x, x), (x, x), inner_rate=0, vectorised=vectorised)
        # Kept in one task and dropped in the other: the mean of 2 and 0.
        assert (found.gradient["1.weight"] == 1).any()

    def test_compiles(self):
        """The compiled form of the docstring, without the C++ compiler: graphs alone."""
        model, tasks = perceptron(), regression()
        loss = task_loss(model, mse_loss)
        θ = {name: part.detach() for name, part in of(model).items()}
        compiled = torch.compile(maml_gradient, backend="eager", fullgraph=True)
        for settings in ({}, {"steps": 2, "only": "2", "first_order": True}):
            found = compiled(loss, θ, *tasks, inner_rate=0.1, **settings)
            due = maml_gradient(loss, θ, *tasks, inner_rate=0.1, **settings)
            assert_close(found.gradient, due.gradient)
            assert_close(found.loss, due.loss)


class TestReptile:
    @given(st.floats(0, 1))
    def test_closed_form(self, rate):
        θ = {"a": normal(2), "b": normal(3, 1)}
        φ = [{"a": normal(2, seed=s), "b": normal(3, 1, seed=s)} for s in (1, 2, 3)]
        found = reptile_step(θ, φ, rate=rate)
        for name in θ:
            mean = sum(each[name] for each in φ) / 3
            assert_close(found[name], (1 - rate) * θ[name] + rate * mean)

    def test_one_task_and_one_step_is_gradient_descent(self):
        θ, b = torch.tensor(5.0, requires_grad=True), torch.tensor(1.0)
        φ = inner_loop(half_square, θ, b, inner_rate=0.5)
        found = reptile_step(θ, [φ], rate=0.1)
        assert_close(found, torch.tensor(5 - 0.1 * 0.5 * 4))
        assert not found.requires_grad

    @pytest.mark.parametrize(
        ("adapted", "rate", "error", "words"),
        [
            ([], 0.1, ValueError, "at least one task"),
            (torch.ones(2, 1), 0.1, ValueError, "must be a sequence"),
            ([torch.ones(1)], 1.5, ValueError, r"rate must lie in \[0, 1\]"),
            ([torch.ones(2)], 0.1, ValueError, "shapes must be equal"),
            ([{"a": torch.ones(1)}], 0.1, TypeError, "only tensors or only dictionaries"),
            ([torch.tensor([float("nan")])], 0.1, ValueError, "NaN"),
        ],
    )
    def test_bad_input(self, adapted, rate, error, words):
        with pytest.raises(error, match=words):
            reptile_step(torch.ones(1), adapted, rate=rate)

    def test_other_names(self):
        with pytest.raises(ValueError, match=r"must have the names \['a'\], got \['b'\]"):
            reptile_step({"a": torch.ones(1)}, [{"b": torch.ones(1)}], rate=0.1)
        with pytest.raises(ValueError, match=r"adapted\['a'\] \(2,\)"):
            reptile_step({"a": torch.ones(1)}, [{"a": torch.ones(2)}], rate=0.1)


class TestTaskLoss:
    def test_known_mistake_buffers_written_through(self):
        """learn2learn's clone lets batch norm write running statistics into the base model."""
        model = perceptron(norm=True)
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        maml_gradient(task_loss(model, mse_loss), of(model), *regression(), inner_rate=0.1)
        assert before.keys() == dict(model.named_buffers()).keys()
        assert all(torch.equal(before[n], b) for n, b in model.named_buffers())
        assert model[1].track_running_stats
        model(normal(5, 2))  # but in ordinary training it still does
        assert not torch.equal(before["1.running_mean"], model[1].running_mean)

    @pytest.mark.parametrize("training", [True, False])
    def test_batch_norm_is_that_of_the_mode(self, training):
        model, x = perceptron(norm=True), normal(6, 2)
        model(3 * normal(6, 2, seed=1) + 1)
        model.train(training)
        loss = task_loss(model, mse_loss)
        expected = mse_loss(model(x), normal(6, 3))
        assert_close(loss(of(model), (x, normal(6, 3))), expected)
        model.train(not training)  # decided when it was made
        assert_close(loss(of(model), (x, normal(6, 3))), expected)

    def test_other_buffers_stay_between_tasks(self):
        class Counter(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1))
                self.register_buffer("calls", torch.zeros(1))

            def forward(self, x):
                self.calls += 1
                return x * self.weight * self.calls

        model = Counter()
        loss = task_loss(model, lambda z, _: z.sum())
        assert [loss(of(model), (torch.ones(1), None)).item() for _ in range(3)] == [1.0] * 3
        assert model.calls.item() == 0

    def test_statistics_over_one_example(self):
        model = perceptron(norm=True)
        batch = normal(1, 2), normal(1, 3)
        with pytest.raises(ValueError, match=r"statistics from one example; .* model.eval\(\)"):
            task_loss(model, mse_loss)(of(model), batch)
        task_loss(model.eval(), mse_loss)(of(model), batch)
        task_loss(perceptron(), mse_loss)(of(perceptron()), batch)
        pair = normal(2, 2), normal(2, 3)
        task_loss(model.train(), mse_loss)(of(model), pair)

    def test_statistics_over_one_example_without_running_ones(self):
        """Batch norm that keeps no running statistics takes the batch's in eval mode too."""
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
        loss = task_loss(model.eval(), mse_loss)
        with pytest.raises(ValueError, match="statistics from one example"):
            loss(of(model), (torch.ones(1, 2), torch.ones(1, 2)))

    def test_bad_input(self):
        loss = task_loss(perceptron(), mse_loss)
        with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got function"):
            task_loss(half_square, mse_loss)
        with pytest.raises(ValueError, match=r"take dict\(model.named_parameters\(\)\)"):
            loss({"0.weight": normal(4, 2)}, (normal(2, 2), normal(2, 3)))
        with pytest.raises(ValueError, match=r"got <class 'torch\.Tensor'>"):
            loss(normal(4), (normal(2, 2), normal(2, 3)))


BAD_INNER = [
    ({"parameters": [torch.ones(1)]}, TypeError, "parameters must be a torch.Tensor, got list"),
    ({"parameters": torch.ones(1).long()}, TypeError, "floating-point numbers, got torch.int64"),
    ({"parameters": {}}, ValueError, "parameters is empty; give at least one tensor"),
    ({"parameters": {"w": torch.tensor([torch.nan])}}, ValueError, r"parameters\['w'\] contains N"),
    ({"inner_rate": -0.1}, ValueError, "inner_rate must lie in"),
    ({"inner_rate": float("inf")}, ValueError, "inner_rate must lie in"),
    ({"inner_rate": "fast"}, TypeError, "inner_rate must be a number"),
    ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
    ({"steps": 1.0}, TypeError, "steps must be a whole number, got 1.0"),
    ({"steps": True}, TypeError, "steps must be a whole number"),
    ({"loss": lambda θ, b: θ - b}, ValueError, r"must be a scalar, got the shape \(1,\).*mean"),
    ({"loss": lambda θ, b: 0.5}, TypeError, "scalar tensor, got float; leave out item"),
    ({"loss": lambda θ, b: θ.detach().sum()}, ValueError, "no gradient in the parameters"),
    ({"loss": lambda θ, b: θ.sum() > 0}, ValueError, "no gradient in the parameters"),
    ({"only": ["head"]}, TypeError, "named parameters: give a dictionary"),
]


class TestBadInput:
    @pytest.mark.parametrize(("changed", "error", "words"), BAD_INNER)
    @pytest.mark.parametrize("function", [inner_loop, maml_loss, maml_gradient])
    def test_inner(self, function, changed, error, words):
        settings = {"loss": half_square, "parameters": torch.ones(1), "inner_rate": 0.1} | changed
        loss, parameters = settings.pop("loss"), settings.pop("parameters")
        b = torch.zeros(2, 1)
        batches = {inner_loop: (b[0],), maml_loss: (b[0], b[0]), maml_gradient: (b, b)}[function]
        with pytest.raises(error, match=words):
            function(loss, parameters, *batches, **settings)

    @pytest.mark.parametrize(
        ("only", "error", "words"),
        [
            (["v"], ValueError, "no parameter matches 'v'; known names: 'u', 'w'"),
            ([], ValueError, "names is empty; give at least one"),
        ],
    )
    @BOTH
    def test_only(self, only, error, words, vectorised):
        θ, b = {"w": torch.ones(1), "u": torch.ones(1)}, torch.zeros(2, 1)
        loss = lambda θ, b: half_square(θ["w"], b)  # noqa: E731
        with pytest.raises(error, match=words):
            maml_gradient(loss, θ, b, b, inner_rate=0.1, only=only, vectorised=vectorised)

    @pytest.mark.parametrize(
        ("support", "query", "words"),
        [
            (torch.ones(2, 1), torch.ones(3, 1), r"same number of tasks .* got \[2, 3\]"),
            (torch.ones(0, 1), torch.ones(0, 1), r"at least 1, got \[0\]"),
            (torch.tensor(1.0), torch.ones(1, 1), "tasks on the first axis"),
            (None, None, "must hold tensors"),
        ],
    )
    def test_tasks(self, support, query, words):
        with pytest.raises(ValueError, match=words):
            maml_gradient(half_square, torch.ones(1), support, query, inner_rate=0.1)


class TestEpisode:
    @given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
    def test_properties(self, seed, ways, shots, queries):
        labels = torch.arange(30, 36).repeat(7)[torch.randperm(42)]
        drawn = episode(
            labels,
            ways=ways,
            shots=shots,
            queries=queries,
            generator=torch.Generator().manual_seed(seed),
        )
        rows = torch.cat([drawn.support, drawn.query])
        assert len(rows.unique()) == len(rows) == ways * (shots + queries)
        assert torch.equal(drawn.classes[drawn.support_labels], labels[drawn.support])
        assert torch.equal(drawn.classes[drawn.query_labels], labels[drawn.query])
        assert drawn.support_labels.tolist() == [w for w in range(ways) for _ in range(shots)]
        assert drawn.query_labels.tolist() == [w for w in range(ways) for _ in range(queries)]
        assert len(drawn.classes.unique()) == ways

    def test_every_class_and_example_gets_its_turn(self):
        labels, generator = torch.arange(4).repeat(3), torch.Generator().manual_seed(0)
        classes, support, query = set(), set(), set()
        for _ in range(60):
            drawn = episode(labels, ways=2, shots=1, queries=1, generator=generator)
            classes |= set(drawn.classes.tolist())
            support |= set(drawn.support.tolist())
            query |= set(drawn.query.tolist())
        assert (len(classes), len(support), len(query)) == (4, 12, 12)

    def test_seed_decides(self):
        labels = torch.arange(9).repeat(5)
        a, b, c = (
            episode(
                labels,
                ways=3,
                shots=2,
                queries=2,
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in (1, 1, 2)
        )
        assert torch.equal(a.support, b.support)
        assert not torch.equal(a.support, c.support)

    def test_small_classes_are_left_out(self):
        labels = torch.tensor([0, 0, 1, 1, 1, 2])
        for seed in range(5):
            drawn = episode(
                labels,
                ways=1,
                shots=1,
                queries=2,
                generator=torch.Generator().manual_seed(seed),
            )
            assert drawn.classes.tolist() == [1]

    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            ({"ways": 4}, ValueError, "need 4 classes with at least 2 examples each, but 3 of the"),
            ({"shots": 3}, ValueError, "at least 4 examples each, but 0 of the 3 classes"),
            ({"queries": 0}, ValueError, "queries must be at least 1, got 0"),
            ({"shots": 1.0}, TypeError, "shots must be a whole number"),
            (
                {"labels": torch.ones(4)},
                TypeError,
                "labels must be integers, got torch.float32; use labels.long",
            ),
            ({"labels": torch.ones(4) > 0}, TypeError, "integers, got torch.bool"),
            ({"labels": torch.tensor([0, -1])}, ValueError, "got -1 to 0; count classes from 0"),
            ({"labels": [0, 1]}, TypeError, "must be a torch.Tensor, got list"),
            ({"labels": torch.ones(2, 2).long()}, ValueError, r"one label a row, got \(2, 2\)"),
        ],
    )
    def test_bad_input(self, changed, error, words):
        settings = {"labels": torch.arange(3).repeat(3), "ways": 2, "shots": 1, "queries": 1}
        settings |= changed
        with pytest.raises(error, match=words):
            episode(settings.pop("labels"), **settings)


def support_set(n=7, d=3, classes=3, seed=0):
    return normal(n, d, seed=seed), torch.arange(n) % classes


class TestPrototypes:
    def test_means_are_those_of_scikit_learn(self):
        x, y = support_set()
        centroid = sklearn.neighbors.NearestCentroid().fit(x, y)
        assert_close(prototypes(x, y), torch.as_tensor(centroid.centroids_))
        u = normal(11, 3, seed=1)
        found = prototype_logits(x, y, u)
        assert found.shape == (11, 3)
        assert found.argmax(1).tolist() == centroid.predict(u).tolist()
        assert_close(found, -(torch.cdist(u, prototypes(x, y)) ** 2))

    @given(st.integers(0, 1000))
    def test_order_and_shift_change_nothing(self, seed):
        x, y = support_set(seed=seed)
        u, order = normal(4, 3, seed=1), torch.randperm(7)
        assert_close(prototype_logits(x[order], y[order], u), prototype_logits(x, y, u))
        assert_close(prototype_logits(x + 2, y, u + 2), prototype_logits(x, y, u))

    def test_far_from_the_origin(self):
        """|x|² − 2 x·c + |c|² would cancel: all of float32's digits are gone at 1e4."""
        x = torch.tensor([[1e4], [1e4 + 1]])
        found = prototype_logits(x, torch.tensor([0, 1]), torch.tensor([[1e4 + 0.25]]))
        assert_close(found, torch.tensor([[-0.0625, -0.5625]]), rtol=1e-2, atol=0)

    def test_gradients(self):
        x, y = support_set()
        x, u = x.requires_grad_(), normal(2, 3, seed=1).requires_grad_()
        assert gradcheck(lambda x, u: prototype_logits(x, y, u), (x, u))
        assert gradgradcheck(lambda x, u: prototype_logits(x, y, u), (x, u))

    def test_labels_of_any_integer_type(self):
        x, y = support_set()
        assert_close(prototypes(x, y.to(torch.uint8)), prototypes(x, y))


class TestRidge:
    @pytest.mark.parametrize("d", [3, 7, 12])
    @pytest.mark.parametrize("strength", [0.1, 5.0])
    def test_is_that_of_scikit_learn(self, d, strength):
        x, y = support_set(d=d)
        model = sklearn.linear_model.Ridge(alpha=strength, fit_intercept=False)
        model.fit(x, torch.eye(3)[y])
        u = normal(5, d, seed=1)
        found = ridge_logits(x, y, u, regularisation=strength)
        assert_close(found, torch.as_tensor(model.predict(u)))

    @pytest.mark.parametrize("d", [2, 9])
    def test_gradients(self, d):
        x, y = support_set(d=d)
        x, u = x.requires_grad_(), normal(2, d, seed=1).requires_grad_()
        strength = torch.tensor(0.5).double().requires_grad_()
        function = lambda x, u, λ: ridge_logits(x, y, u, regularisation=λ)  # noqa: E731
        assert gradcheck(function, (x, u, strength))
        assert gradgradcheck(function, (x, u, strength))

    @pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), torch.ones(2)])
    def test_bad_regularisation(self, bad):
        x, y = support_set()
        with pytest.raises(ValueError, match="regularisation must be a positive number"):
            ridge_logits(x, y, x, regularisation=bad)


@pytest.mark.parametrize(
    "head", [prototype_logits, lambda x, y, u: ridge_logits(x, y, u, regularisation=1)]
)
@pytest.mark.parametrize(
    ("labels", "width", "error", "words"),
    [
        (torch.tensor([0, 1]), 3, ValueError, r"shape \(3,\), one label a row, got \(2,\)"),
        (torch.tensor([0, 2, 0]), 3, ValueError, r"0 to 2 must have at least one row, but \[1\]"),
        (torch.tensor([0, -1, 1]), 3, ValueError, "got -1 to 1; count classes from 0"),
        (torch.tensor([0.0, 1.0, 1.0]), 3, TypeError, "labels must be integers, got torch.float32"),
        (torch.tensor([0, 1, 1]), 2, ValueError, "widths must be equal"),
    ],
)
def test_heads_refuse_bad_input(head, labels, width, error, words):
    with pytest.raises(error, match=words):
        head(normal(3, 3), labels, normal(2, width))
