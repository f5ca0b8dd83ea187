"""The optimisers of section 4.2.3: closed forms, torch.optim step by step, properties, errors."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, jacrev, vmap
from torch.testing import assert_close

from mapping_lib.optimisers import (
    AdamState,
    adam,
    constant,
    convergence_rate,
    cosine,
    descend,
    exponential_decay,
    gradient_descent,
    momentum,
    nesterov,
    stability_limit,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)
METHODS = [gradient_descent, momentum, nesterov, adam]

# Each of our methods with settings unlike the defaults, and the optimiser of torch that it follows.
TORCH = {
    "gradient_descent": (gradient_descent, {}, torch.optim.SGD, {}),
    "momentum": (momentum, {"momentum": 0.7}, torch.optim.SGD, {"momentum": 0.7}),
    "momentum, default": (momentum, {}, torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (
        nesterov,
        {"momentum": 0.7},
        torch.optim.SGD,
        {"momentum": 0.7, "nesterov": True},
    ),
    "nesterov, default": (nesterov, {}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (
        adam,
        {"beta1": 0.4, "beta2": 0.3, "epsilon": 0.01},
        torch.optim.Adam,
        {"betas": (0.4, 0.3), "eps": 0.01},
    ),
    "adam, default": (adam, {}, torch.optim.Adam, {}),
}
AGAINST_TORCH = pytest.mark.parametrize(
    ("method", "settings", "optimiser", "options"), TORCH.values(), ids=TORCH
)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def rosenbrock(θ):
    return (1 - θ[0]) ** 2 + 5 * (θ[1] - θ[0] ** 2) ** 2


def least_squares(seed=0, rows=7, columns=3):
    """Return a loss with its Hessian and its minimum."""
    X, y = normal(rows, columns, seed=seed), normal(rows, seed=seed + 1)
    hessian = X.mT @ X / rows
    return (
        lambda θ: ((X @ θ - y) ** 2).mean() / 2,
        hessian,
        torch.linalg.lstsq(X, y[:, None])[0][:, 0],
    )


def steps_of_torch(loss, start, optimiser, options, steps, rate, schedule=None):
    θ = start.clone().requires_grad_()
    stepper = optimiser([θ], lr=rate, **options)
    scheduler = schedule and schedule(stepper)
    points, losses = [], []
    for _ in range(steps + 1):
        stepper.zero_grad()
        value = loss(θ)
        points.append(θ.detach().clone())
        losses.append(value.detach())
        value.backward()
        stepper.step()
        if scheduler:
            scheduler.step()
    return torch.stack(points), torch.stack(losses)


class TestSteps:
    def test_gradient_descent_by_hand(self):
        θ, state = gradient_descent(torch.tensor([5.0, 1.0]), torch.tensor([2.0, -3.0]), rate=0.5)
        assert θ.tolist() == [4.0, 2.5]
        assert state is None

    def test_momentum_by_hand(self):
        θ, v = torch.tensor([10.0]), None
        for gradient, position, velocity in [(4.0, 8.0, 4.0), (2.0, 5.5, 5.0), (0.0, 3.625, 3.75)]:
            θ, v = momentum(θ, torch.tensor([gradient]), v, rate=0.5, momentum=0.75)
            assert (θ.item(), v.item()) == (position, velocity)

    def test_nesterov_by_hand(self):
        θ, v = torch.tensor([10.0]), None
        for gradient, position, velocity in [
            (4.0, 6.5, 4.0),
            (2.0, 3.625, 5.0),
            (0.0, 2.21875, 3.75),
        ]:
            θ, v = nesterov(θ, torch.tensor([gradient]), v, rate=0.5, momentum=0.75)
            assert (θ.item(), v.item()) == (position, velocity)

    def test_adam_by_hand(self):
        θ, state = torch.tensor([10.0]), None
        θ, state = adam(θ, torch.tensor([4.0]), state, rate=1, beta1=0.5, beta2=0.75, epsilon=0)
        assert (θ.item(), state.step, state.mean.item(), state.mean_square.item()) == (9, 1, 2, 4)
        θ, state = adam(θ, torch.tensor([-8.0]), state, rate=1, beta1=0.5, beta2=0.75, epsilon=3)
        assert (state.step, state.mean.item(), state.mean_square.item()) == (2, -3, 19)
        assert θ.item() == pytest.approx(9 + (3 / 0.75) / (math.sqrt(19 / 0.4375) + 3))

    @given(st.floats(0.01, 1e6), st.floats(0.001, 10))
    def test_adams_first_step_is_the_rate_whatever_the_gradient(self, size, rate):
        θ, _ = adam(torch.zeros(2), torch.tensor([size, -size]), rate=rate)
        assert θ.tolist() == pytest.approx([-rate, rate], rel=1e-5)

    @pytest.mark.parametrize("method", METHODS)
    def test_nothing_is_changed_in_place(self, method):
        θ, gradient = normal(3), normal(3, seed=1)
        copies = θ.clone(), gradient.clone()
        first, state = method(θ, gradient, rate=0.1)
        method(θ, gradient, state, rate=0.1)
        again, _ = method(θ, gradient, rate=0.1)
        assert_close((θ, gradient), copies, atol=0, rtol=0)
        assert_close(again, first, atol=0, rtol=0)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_dictionary_is_stepped_name_by_name(self, method):
        θ = {"weight": normal(3, 2), "bias": normal(3, seed=1)}
        gradients = {name: tensor.cos() for name, tensor in reversed(θ.items())}
        alone = {name: (θ[name], None) for name in θ}
        state = None
        for _ in range(3):
            θ, state = method(θ, gradients, state, rate=0.1)
            alone = {n: method(t, gradients[n], s, rate=0.1) for n, (t, s) in alone.items()}
        assert_close(θ, {name: tensor for name, (tensor, _) in alone.items()}, atol=0, rtol=0)
        assert list(θ) == ["weight", "bias"]  # in the order given

    @pytest.mark.parametrize("method", METHODS)
    def test_rate_zero_stays(self, method):
        θ = normal(3)
        assert_close(method(θ, normal(3, seed=1), rate=0)[0], θ, atol=0, rtol=0)

    @given(SEEDS, st.sampled_from([gradient_descent, momentum, nesterov]), st.floats(0.1, 10))
    def test_all_but_adam_scale_with_the_gradient(self, seed, method, scale):
        θ, gradient = torch.zeros(3, dtype=torch.float64), normal(3, seed=seed)
        once, _ = method(θ, gradient, rate=0.1)
        assert_close(method(θ, scale * gradient, rate=0.1)[0], scale * once)

    @given(SEEDS, st.sampled_from(METHODS))
    def test_permuting_coordinates_permutes_the_step(self, seed, method):
        θ, gradient = normal(5, seed=seed), normal(5, seed=seed + 1)
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        step, _ = method(θ, gradient, rate=0.1)
        assert_close(method(θ[order], gradient[order], rate=0.1)[0], step[order])

    def test_momentum_and_nesterov_zero_are_gradient_descent(self):
        θ, gradient = normal(3), normal(3, seed=1)
        expected, _ = gradient_descent(θ, gradient, rate=0.1)
        for method in (momentum, nesterov):
            first, state = method(θ, gradient, rate=0.1, momentum=0)
            second, _ = method(θ, gradient, state, rate=0.1, momentum=0)
            assert_close(first, expected)
            assert_close(second, expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("method", METHODS)
    def test_keep_the_dtype(self, method, dtype):
        θ, gradient = torch.ones(3, dtype=dtype), torch.full((3,), 0.5, dtype=dtype)
        state = None
        for _ in range(2):
            θ, state = method(θ, gradient, state, rate=0.1)
        assert θ.dtype == dtype
        assert θ.isfinite().all()
        remembered = (
            state[1:] if method is adam else [state] if method is not gradient_descent else []
        )
        assert all(tensor.dtype == dtype for tensor in remembered)

    @pytest.mark.parametrize("method", METHODS)
    def test_two_steps_can_be_differentiated_twice(self, method):
        def two_steps(θ, gradient):
            θ, state = method(θ, gradient, rate=0.1)
            return method(θ, θ * gradient, state, rate=0.1)[0]

        arguments = [normal(3).requires_grad_(), normal(3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(two_steps, arguments)
        assert torch.autograd.gradgradcheck(two_steps, arguments, atol=1e-4)

    @pytest.mark.parametrize("method", METHODS)
    def test_under_vmap_and_jacrev(self, method):
        def step(θ, gradient):
            return method(θ, gradient, rate=0.1)[0]

        batch = normal(4, 3), normal(4, 3, seed=1)
        one_by_one = [step(*pair) for pair in zip(*batch, strict=True)]
        assert_close(vmap(step)(*batch), torch.stack(one_by_one))
        jacobians = torch.stack([jacrev(step)(*pair) for pair in zip(*batch, strict=True)])
        assert_close(vmap(jacrev(step))(*batch), jacobians)

    @pytest.mark.parametrize("method", METHODS)
    def test_compiles_without_a_graph_break(self, method):
        def step(θ, gradient):
            return method(θ, gradient, rate=0.1)[0]

        torch.compiler.reset()
        compiled = torch.compile(step, backend="eager", fullgraph=True)
        assert_close(compiled(normal(3), normal(3, seed=1)), step(normal(3), normal(3, seed=1)))


@pytest.mark.parametrize("method", METHODS)
class TestBadSteps:
    @pytest.mark.parametrize(
        ("parameters", "gradients", "error", "words"),
        [
            ([1.0], torch.ones(1), TypeError, "parameters must be a torch.Tensor, got list"),
            (torch.ones(1), None, TypeError, "gradients must be a torch.Tensor, got NoneType"),
            (torch.ones(1).int(), torch.ones(1), TypeError, "parameters must hold floating"),
            (torch.ones(1), torch.ones(1).half(), TypeError, "one dtype.*gradients torch.float16"),
            (torch.ones(0), torch.ones(0), ValueError, "parameters is empty"),
            (torch.ones(2), torch.ones(3), ValueError, r"parameters \(2,\), gradients \(3,\)"),
            (torch.ones(1), torch.tensor([torch.nan]), ValueError, "gradients contains NaN"),
            (torch.tensor([torch.nan]), torch.ones(1), ValueError, "parameters contains NaN"),
            (
                {"a": torch.ones(1)},
                torch.ones(1),
                TypeError,
                "only dictionaries of tensors, got parameters dict, gradients Tensor",
            ),
            ({}, {}, ValueError, "parameters is empty; give at least one tensor"),
            (
                {"a": torch.ones(1), "b": torch.ones(1)},
                {"a": torch.ones(1)},
                ValueError,
                r"gradients must have the names \['a', 'b'\], got \['a'\]",
            ),
            ({"a": torch.ones(1)}, {}, ValueError, "gradients is empty"),
            (
                {"a": torch.ones(1), "b": torch.ones(2)},
                {"a": torch.ones(1), "b": torch.ones(3)},
                ValueError,
                r"parameters\['b'\] \(2,\), gradients\['b'\] \(3,\)",
            ),
            (
                {"a": torch.ones(1)},
                {"a": torch.tensor([torch.nan])},
                ValueError,
                r"gradients\['a'\] contains NaN",
            ),
        ],
    )
    def test_parameters_and_gradients(self, method, parameters, gradients, error, words):
        with pytest.raises(error, match=words):
            method(parameters, gradients, rate=0.1)

    @pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
    def test_rate_out_of_range(self, method, rate):
        with pytest.raises(ValueError, match=rf"rate must lie in \[0, inf\), got {rate}"):
            method(torch.ones(1), torch.ones(1), rate=rate)

    def test_rate_must_be_a_number(self, method):
        with pytest.raises(TypeError, match=r"rate must be a number, got '0.1'"):
            method(torch.ones(1), torch.ones(1), rate="0.1")


@pytest.mark.parametrize(
    ("method", "name"),
    [(momentum, "momentum"), (nesterov, "momentum"), (adam, "beta1"), (adam, "beta2")],
)
@pytest.mark.parametrize("value", [-0.1, 1, 1.5])
def test_decay_out_of_range(method, name, value):
    with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\), got {value}"):
        method(torch.ones(1), torch.ones(1), rate=0.1, **{name: value})


@pytest.mark.parametrize(
    "call",
    [
        *(lambda θ, method=method: method(θ, θ, None, 0.1) for method in METHODS),
        lambda θ: exponential_decay(0.1, 0.5),
        lambda θ: cosine(0.1, 5),
        lambda θ: descend(torch.sum, θ, 3, 0.1),
        lambda θ: convergence_rate(torch.eye(2), 0.1),
    ],
)
def test_hyper_parameters_have_to_be_named(call):
    with pytest.raises(TypeError, match=r"takes .* positional argument"):
        call(torch.ones(2))


def test_epsilon_out_of_range():
    with pytest.raises(ValueError, match=r"epsilon must lie in \[0, inf\)"):
        adam(torch.ones(1), torch.ones(1), rate=0.1, epsilon=-1e-8)


@pytest.mark.parametrize("θ", [torch.ones(1), {"a": torch.ones(1)}])
@pytest.mark.parametrize("method", [momentum, nesterov])
def test_velocity_of_adam(method, θ):
    with pytest.raises(TypeError, match=r"state.* AdamState"):
        method(θ, θ, AdamState(1, torch.ones(1), torch.ones(1)), rate=0.1)


@pytest.mark.parametrize("method", [momentum, nesterov])
def test_velocity_of_other_parameters(method):
    with pytest.raises(ValueError, match=r"gradients \(2,\), state \(3,\)"):
        method(torch.ones(2), torch.ones(2), torch.ones(3), rate=0.1)
    with pytest.raises(ValueError, match=r"state must have the names \['a'\], got \['b'\]"):
        method({"a": torch.ones(2)}, {"a": torch.ones(2)}, {"b": torch.ones(2)}, rate=0.1)


def test_adam_state_of_other_parameters():
    with pytest.raises(
        TypeError, match=r"must be the AdamState of the step before, got Tensor.*None"
    ):
        adam(torch.ones(2), torch.ones(2), torch.ones(2), rate=0.1)
    with pytest.raises(ValueError, match=r"mean \(3,\)"):
        adam(torch.ones(2), torch.ones(2), AdamState(1, torch.ones(3), torch.ones(2)), rate=0.1)
    with pytest.raises(ValueError, match=r"mean_square \(3,\)"):
        adam(torch.ones(2), torch.ones(2), AdamState(1, torch.ones(2), torch.ones(3)), rate=0.1)
    with pytest.raises(ValueError, match=r"gradients \(3,\)"):
        adam(torch.ones(2), torch.ones(3), AdamState(1, torch.ones(2), torch.ones(2)), rate=0.1)


class TestSchedules:
    def test_constant(self):
        assert [constant(0.3)(k) for k in (0, 1, 99)] == [0.3] * 3

    def test_exponential_decay_by_hand(self):
        schedule = exponential_decay(16.0, factor=0.25)
        assert [schedule(k) for k in range(4)] == [16, 4, 1, 0.25]
        assert exponential_decay(2.0, factor=1)(5) == 2

    def test_cosine_by_hand(self):
        schedule = cosine(8.0, steps=6)
        expected = [8, 4 + 2 * math.sqrt(3), 6, 4, 2, 4 - 2 * math.sqrt(3), 0, 0, 0]
        assert [schedule(k) for k in range(9)] == pytest.approx(expected, abs=1e-12)

    def test_cosine_with_warmup_by_hand(self):
        schedule = cosine(8.0, steps=7, warmup=3)
        expected = [2, 4, 6, 8, 4 + 2 * math.sqrt(2), 4, 4 - 2 * math.sqrt(2), 0, 0]
        assert [schedule(k) for k in range(9)] == pytest.approx(expected, abs=1e-12)

    def test_exponential_decay_agrees_with_torch(self):
        expected = self.rates_of_torch(
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.8), 0.3, 12
        )
        assert [exponential_decay(0.3, factor=0.8)(k) for k in range(12)] == pytest.approx(expected)

    @pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (10, 0), (10, 1), (10, 4), (5, 4)])
    def test_cosine_agrees_with_torch(self, steps, warmup):
        def scheduler(optimiser):
            annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps - warmup)
            if warmup == 0:
                return annealing
            warm = torch.optim.lr_scheduler.LinearLR(
                optimiser, start_factor=1 / (warmup + 1), total_iters=warmup
            )
            return torch.optim.lr_scheduler.SequentialLR(optimiser, [warm, annealing], [warmup])

        expected = self.rates_of_torch(scheduler, 0.3, steps)
        schedule = cosine(0.3, steps=steps, warmup=warmup)
        assert [schedule(k) for k in range(steps)] == pytest.approx(expected)

    @given(st.integers(1, 50), st.integers(0, 20), st.floats(0.001, 10))
    def test_cosine_rises_to_the_rate_in_step_warmup_then_falls_to_zero(self, extra, warmup, rate):
        steps = warmup + extra
        rates = [cosine(rate, steps=steps, warmup=warmup)(k) for k in range(steps + 3)]
        assert rates[warmup] == pytest.approx(rate)
        assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
        assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
        assert min(rates[:steps]) > 0
        assert rates[steps:] == [0, 0, 0]

    @staticmethod
    def rates_of_torch(schedule, rate, steps):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        scheduler = schedule(optimiser)
        rates = []
        for _ in range(steps):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        return rates

    @pytest.mark.parametrize(
        ("schedule", "settings"),
        [(constant, {}), (exponential_decay, {"factor": 0.5}), (cosine, {"steps": 5})],
    )
    def test_negative_rate(self, schedule, settings):
        with pytest.raises(ValueError, match=r"rate must lie in \[0, inf\), got -1"):
            schedule(-1, **settings)
        assert schedule(0, **settings)(0) == 0

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: exponential_decay(1, factor=-0.5), "factor must lie in [0, 1], got -0.5"),
            (lambda: exponential_decay(1, factor=1.01), "factor must lie in [0, 1], got 1.01"),
            (lambda: cosine(1, steps=0), "steps must lie in [1, inf), got 0"),
            (lambda: cosine(1, steps=3, warmup=3), "steps must lie in [4, inf), got 3"),
            (lambda: cosine(1, steps=3, warmup=-1), "warmup must lie in [0, inf), got -1"),
        ],
    )
    def test_out_of_range(self, call, words):
        with pytest.raises(ValueError, match=re.escape(words)):
            call()

    def test_numbers(self):
        with pytest.raises(TypeError, match="warmup must be a number, got 'a'"):
            cosine(1, steps=3, warmup="a")
        with pytest.raises(TypeError, match="factor must be a number, got None"):
            exponential_decay(1, factor=None)


class TestDescend:
    @pytest.mark.parametrize("rate", [0.1, 0.5, 1.2])
    def test_least_squares_has_a_closed_form(self, rate):
        loss, H, best = least_squares()
        start = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
        points, losses = descend(loss, start, steps=9, rate=rate)
        shrink = torch.eye(3, dtype=torch.float64) - rate * H
        for k in range(10):
            expected = best + torch.linalg.matrix_power(shrink, k) @ (start - best)
            assert_close(points[k], expected)
            assert_close(losses[k], loss(expected))

    @pytest.mark.parametrize("μ", [0.3, 0.9])
    def test_momentum_on_a_parabola_has_a_closed_form(self, μ):
        # (θ, v) is multiplied by one matrix in every step
        curvature, rate = 3.0, 0.2
        matrix = torch.tensor(
            [[1 - rate * curvature, -rate * μ], [curvature, μ]], dtype=torch.float64
        )
        points, _ = descend(
            lambda θ: curvature * θ**2 / 2,
            torch.tensor(5.0, dtype=torch.float64),
            steps=8,
            rate=rate,
            method=momentum,
            momentum=μ,
        )
        start = torch.tensor([5.0, 0.0], dtype=torch.float64)
        expected = [(torch.linalg.matrix_power(matrix, k) @ start)[0] for k in range(9)]
        assert_close(points, torch.stack(expected))

    @AGAINST_TORCH
    def test_agrees_with_torch_over_many_steps(self, method, settings, optimiser, options):
        start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        ours = descend(rosenbrock, start, steps=25, rate=0.01, method=method, **settings)
        theirs = steps_of_torch(rosenbrock, start, optimiser, options, 25, 0.01)
        assert_close(tuple(ours), theirs)

    @AGAINST_TORCH
    def test_agrees_with_torch_under_a_schedule(self, method, settings, optimiser, options):
        start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        schedule = exponential_decay(0.01, factor=0.9)
        ours = descend(rosenbrock, start, steps=25, rate=schedule, method=method, **settings)
        theirs = steps_of_torch(
            rosenbrock,
            start,
            optimiser,
            options,
            25,
            0.01,
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.9),
        )
        assert_close(tuple(ours), theirs)

    def test_a_schedule_is_asked_for_each_step_once(self):
        asked = []

        def schedule(k):
            asked.append(k)
            return 0.1

        descend(rosenbrock, torch.zeros(2), steps=4, rate=schedule)
        assert asked == [0, 1, 2, 3]

    def test_dictionaries(self):
        X, y = normal(8, 3), normal(8, seed=1)

        def loss(θ):
            return ((X @ θ["weight"] + θ["bias"] - y) ** 2).mean()

        start = {"weight": normal(3, seed=2), "bias": torch.zeros((), dtype=torch.float64)}
        points, losses = descend(loss, start, steps=5, rate=0.1, method=nesterov)
        assert {name: tuple(t.shape) for name, t in points.items()} == {
            "weight": (6, 3),
            "bias": (6,),
        }
        flat, flat_losses = descend(
            lambda θ: loss({"weight": θ[:3], "bias": θ[3]}),
            torch.cat([start["weight"], start["bias"][None]]),
            steps=5,
            rate=0.1,
            method=nesterov,
        )
        assert_close(torch.cat([points["weight"], points["bias"][:, None]], dim=1), flat)
        assert_close(losses, flat_losses)

    def test_without_steps_only_the_start(self):
        points, losses = descend(lambda θ: θ**2, torch.tensor(3.0), steps=0, rate=0.1)
        assert points.tolist() == [3]
        assert losses.tolist() == [9]

    def test_an_overflow_is_kept_and_ends_the_way(self):
        # float16: θ is multiplied by -4; 256² is the first square above 65504
        points, losses = descend(
            lambda θ: θ**2, torch.tensor(1.0, dtype=torch.float16), steps=6, rate=2.5
        )
        assert points.tolist() == [1, -4, 16, -64, 256, 256, 256]
        assert losses.tolist() == [1, 16, 256, 4096, math.inf, math.inf, math.inf]

    def test_a_loss_that_is_nan_ends_the_way(self):
        points, losses = descend(torch.sqrt, torch.tensor(1.0), steps=3, rate=4)
        assert points.tolist() == [1, -1, -1, -1]
        assert losses[0] == 1
        assert losses[1:].isnan().all()

    @given(SEEDS, st.floats(0.01, 0.99))
    def test_falls_below_the_stability_limit(self, seed, share):
        loss, H, _ = least_squares(seed)
        rate = share * stability_limit(H).item()
        losses = descend(loss, normal(3, seed=seed + 2), steps=10, rate=rate).losses
        assert (losses.diff() <= 1e-12).all()

    def test_can_be_differentiated_through(self):
        loss, H, _ = least_squares()
        start = normal(3, seed=5)
        last = jacrev(lambda θ: descend(loss, θ, steps=4, rate=0.3).parameters[-1])(start)
        shrink = torch.eye(3, dtype=torch.float64) - 0.3 * H
        assert_close(last, torch.linalg.matrix_power(shrink, 4))

    def test_under_vmap(self):
        loss, _, _ = least_squares()
        starts = normal(5, 3)
        together = vmap(lambda θ: descend(loss, θ, steps=4, rate=0.3, method=adam).parameters)(
            starts
        )
        alone = [descend(loss, θ, steps=4, rate=0.3, method=adam).parameters for θ in starts]
        assert_close(together, torch.stack(alone))

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"steps": -1}, ValueError, r"steps must lie in \[0, inf\), got -1"),
            ({"steps": "3"}, TypeError, "steps must be a number"),
            ({"rate": -0.1}, ValueError, r"rate must lie in \[0, inf\), got -0.1"),
            ({"rate": lambda k: -0.1}, ValueError, r"rate must lie in \[0, inf\)"),
            ({"start": [1.0]}, TypeError, "start must be a torch.Tensor, got list"),
            ({"start": {}}, ValueError, "start is empty"),
            ({"start": torch.tensor([torch.nan])}, ValueError, "start contains NaN"),
            (
                {"loss": lambda θ: θ**2},
                ValueError,
                r"loss must return a scalar tensor, got shape \(2,\); use .mean\(\)",
            ),
            ({"loss": lambda θ: 3.0}, ValueError, "scalar tensor, got float"),
            ({"momentum": 0.5}, TypeError, "unexpected keyword argument 'momentum'"),
            ({"method": momentum, "momentum": 2}, ValueError, "momentum must lie in"),
        ],
    )
    def test_bad_input(self, arguments, error, words):
        good = {"loss": lambda θ: (θ**2).sum(), "start": torch.ones(2), "steps": 3, "rate": 0.1}
        with pytest.raises(error, match=words):
            descend(**(good | arguments))


class TestStability:
    def test_by_hand(self):
        # eigenvalues 5 and -1; 8 and 2
        assert_close(stability_limit(torch.tensor([[2.0, 3.0], [3.0, 2.0]])), torch.tensor(0.4))
        H = torch.tensor([[5.0, 3.0], [3.0, 5.0]])
        assert_close(stability_limit(H), torch.tensor(0.25))
        for rate, factor in [(0, 1), (0.1, 0.8), (0.2, 0.6), (0.25, 1.0), (0.5, 3.0)]:
            assert_close(convergence_rate(H, rate=rate), torch.tensor(float(factor)))

    def test_of_many_parameters(self):
        H = torch.diag(torch.linspace(1, 8, 300))
        assert_close(stability_limit(H), torch.tensor(0.25))
        assert_close(convergence_rate(H, rate=0.125), torch.tensor(0.875))

    def test_of_a_flat_loss(self):
        assert stability_limit(torch.zeros(2, 2)) == torch.inf
        assert convergence_rate(torch.zeros(2, 2), rate=0.1) == 1

    @given(SEEDS, st.floats(0.01, 3))
    def test_scales_inversely_and_ignores_rotations(self, seed, scale):
        _, H, _ = least_squares(seed)
        Q = torch.linalg.qr(normal(3, 3, seed=seed)).Q
        assert_close(stability_limit(scale * Q @ H @ Q.mT), stability_limit(H) / scale)

    @given(SEEDS)
    def test_is_where_the_convergence_rate_is_one(self, seed):
        _, H, _ = least_squares(seed)
        limit = stability_limit(H).item()
        one = torch.ones((), dtype=torch.float64)
        assert_close(convergence_rate(H, rate=limit), one)
        assert convergence_rate(H, rate=0.99 * limit) < 1 < convergence_rate(H, rate=1.01 * limit)

    @given(SEEDS, st.floats(0.01, 1.5))
    def test_bounds_every_step_and_is_reached_by_the_slowest_error(self, seed, share):
        loss, H, best = least_squares(seed)
        rate = share * stability_limit(H).item()
        expected = convergence_rate(H, rate=rate)
        values, vectors = torch.linalg.eigh(H)
        slowest = vectors[:, (1 - rate * values).abs().argmax()]
        for error, exact in [(normal(3, seed=seed), False), (slowest, True)]:
            points, _ = descend(loss, best + error, steps=1, rate=rate)
            measured = (points[1] - best).norm() / (points[0] - best).norm()
            assert measured <= expected + 1e-9
            assert not exact or measured == pytest.approx(expected.item())

    def test_separates_convergence_from_divergence(self):
        loss, H, best = least_squares()
        limit = stability_limit(H).item()
        start = best + torch.linalg.eigh(H).eigenvectors[:, -1]  # the steepest direction
        falling = descend(loss, start, steps=20, rate=0.999 * limit).losses
        growing = descend(loss, start, steps=20, rate=1.001 * limit).losses
        assert falling[-1] < falling[0] < growing[-1]

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keep_the_dtype(self, dtype):
        H = torch.diag(torch.tensor([4.0, 1.0], dtype=dtype))
        for value, expected in [(stability_limit(H), 0.5), (convergence_rate(H, rate=0.25), 0.75)]:
            assert value.dtype == dtype
            assert value == expected

    def test_gradients(self):
        def symmetric(A):
            return A + A.mT + 4 * torch.eye(3, dtype=A.dtype)

        A = normal(3, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda A: stability_limit(symmetric(A)), A)
        assert torch.autograd.gradcheck(lambda A: convergence_rate(symmetric(A), rate=0.1), A)

    def test_under_vmap(self):
        batch = torch.stack(
            [torch.diag(torch.tensor([4.0, 1.0])), torch.diag(torch.tensor([1.0, 8.0]))]
        )
        assert vmap(stability_limit)(batch).tolist() == [0.5, 0.25]
        assert vmap(lambda H: convergence_rate(H, rate=0.25))(batch).tolist() == [0.75, 1]
        assert vmap(grad(stability_limit))(batch)[:, 0, 0].tolist() == [-0.125, 0]

    @pytest.mark.parametrize("function", [stability_limit, lambda H: convergence_rate(H, rate=0.1)])
    @pytest.mark.parametrize(
        ("hessian", "error", "words"),
        [
            ([[1.0]], TypeError, "hessian must be a torch.Tensor, got list"),
            (torch.eye(2).int(), TypeError, "hessian must hold floating"),
            (torch.ones(2), ValueError, "hessian must be a matrix"),
            (torch.ones(2, 3), ValueError, r"hessian must be square, got shape \(2, 3\)"),
            (torch.ones(3, 2), ValueError, r"hessian must be square, got shape \(3, 2\)"),
            (torch.full((2, 2), torch.nan), ValueError, "hessian contains NaN"),
            (torch.ones(0, 0), ValueError, "hessian is empty"),
            (
                torch.tensor([[1.0, 2.0], [2.5, 1.0]]),
                ValueError,
                r"hessian must be symmetric; use \(hessian \+ hessian.mT\) / 2",
            ),
        ],
    )
    def test_bad_hessian(self, function, hessian, error, words):
        with pytest.raises(error, match=words):
            function(hessian)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rounding_is_no_asymmetry(self, dtype):
        eps = torch.finfo(dtype).eps
        H = torch.tensor([[8.0, 1.0], [1.0, 8.0]], dtype=dtype)
        H[0, 1] += 8 * 90 * eps
        stability_limit(H)
        H[0, 1] += 8 * 20 * eps
        with pytest.raises(ValueError, match="symmetric"):
            stability_limit(H)

    def test_only_downwards(self):
        with pytest.raises(
            ValueError, match=r"largest eigenvalue of the Hessian is negative, -1: .*maximum"
        ):
            stability_limit(-torch.diag(torch.tensor([2.0, 1.0])))

    def test_bad_rate(self):
        with pytest.raises(ValueError, match=r"rate must lie in \[0, inf\), got -1"):
            convergence_rate(torch.eye(2), rate=-1)
