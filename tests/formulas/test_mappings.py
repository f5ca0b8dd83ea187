"""The mappings of section 4.1: closed forms, torch and NumPy as references, properties, errors."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, jacrev, vmap
from torch.testing import assert_close

from mapping_lib.mappings import (
    activation,
    activation_derivative,
    compose,
    condition_number,
    jacobian,
    linear,
    lipschitz_bound,
    multilayer,
    multilayer_jacobian,
    nonlinear,
    numerical_rank,
)

NAMES = ["sigmoid", "tanh", "relu"]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def network(widths=(3, 5, 4, 2), seed=1, dtype=torch.float64):
    pairs = pairwise(widths)
    return [
        (normal(o, i, seed=seed + 10 * k, dtype=dtype), normal(o, seed=seed + 99 * k, dtype=dtype))
        for k, (i, o) in enumerate(pairs, 1)
    ]


def as_torch_module(layers, name):
    modules = []
    for weight, bias in layers:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        layer.weight.data, layer.bias.data = weight, bias
        modules += [
            layer,
            {"sigmoid": torch.nn.Sigmoid(), "tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()}[name],
        ]
    return torch.nn.Sequential(*modules[:-1])


class TestLinear:
    def test_by_hand(self):
        x = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]])
        weight = torch.tensor([[1.0, 10.0], [2.0, 0.0], [0.0, -1.0], [5.0, 5.0]])
        bias = torch.tensor([100.0, 0.0, 0.0, -1.0])
        expected = [[121.0, 2.0, -2.0, 14.0], [90.0, 0.0, 1.0, -6.0], [103.0, 6.0, 0.0, 14.0]]
        assert_close(linear(x, weight, bias), torch.tensor(expected))
        assert_close(linear(x, weight), torch.tensor(expected) - bias)

    @pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 7, 3)])
    def test_agrees_with_torch(self, shape):
        x, weight, bias = normal(*shape), normal(5, 3, seed=1), normal(5, seed=2)
        assert_close(linear(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
        assert_close(linear(x, weight), torch.nn.functional.linear(x, weight))

    @given(SEEDS, st.floats(-5, 5), st.floats(-5, 5))
    def test_is_linear_without_bias(self, seed, a, b):
        x, y, weight = normal(4, 3, seed=seed), normal(4, 3, seed=seed + 1), normal(2, 3, seed=9)
        mapped = linear(a * x + b * y, weight)
        assert_close(mapped, a * linear(x, weight) + b * linear(y, weight))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        x, weight, bias = (normal(*s, dtype=dtype) for s in [(4, 3), (2, 3), (2,)])
        assert linear(x, weight, bias).dtype == dtype

    def test_gradients(self):
        arguments = [normal(*s).requires_grad_() for s in [(4, 3), (2, 3), (2,)]]
        assert torch.autograd.gradcheck(linear, arguments)
        assert torch.autograd.gradgradcheck(linear, arguments)

    def test_under_vmap(self):
        x, weights = normal(4, 3), normal(6, 2, 3, seed=1)
        assert_close(vmap(linear, (None, 0))(x, weights), x @ weights.mT)

    def test_compiles_without_a_graph_break(self):
        x, weight = normal(4, 3), normal(2, 3, seed=1)
        compiled = torch.compile(linear, backend="eager", fullgraph=True)
        assert_close(compiled(x, weight), x @ weight.mT)

    def test_infinity_passes(self):
        weight = torch.tensor([[1.0]])
        assert linear(torch.tensor([torch.inf]), weight).tolist() == [torch.inf]

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            (([1.0], torch.ones(1, 1)), TypeError, r"x must be a torch.Tensor, got list"),
            ((torch.ones(3).long(), torch.ones(1, 3)), TypeError, r"x.*int64.*x\.float\(\)"),
            ((torch.ones(3), torch.ones(1, 3).double()), TypeError, "one dtype.*float32.*float64"),
            (
                (torch.ones(3), torch.ones(1, 3), torch.ones(1).half()),
                TypeError,
                "one dtype.*bias torch.float16",
            ),
            ((torch.ones(0, 3), torch.ones(1, 3)), ValueError, r"x is empty.*\(0, 3\)"),
            ((torch.ones(3), torch.full((2, 3), torch.nan)), ValueError, "weight.*NaN in 6 of 6"),
            ((torch.ones(3), torch.ones(3)), ValueError, "weight must be a matrix.*got 1"),
            (
                (torch.ones(5, 4), torch.ones(2, 3)),
                ValueError,
                r"x \(5, 4\) doesn't fit weight \(2, 3\).*must be 3 wide.*mT",
            ),
            ((torch.tensor(1.0), torch.ones(2, 3)), ValueError, r"x \(\) doesn't fit"),
            (
                (torch.ones(3), torch.ones(2, 3), torch.ones(3)),
                ValueError,
                r"bias \(3,\) doesn't fit weight \(2, 3\).*\(2,\)",
            ),
            ((torch.ones(3), torch.ones(2, 3), torch.ones(1, 2)), ValueError, "bias"),
        ],
    )
    def test_bad_input(self, arguments, error, words):
        with pytest.raises(error, match=words):
            linear(*arguments)


class TestActivations:
    @pytest.mark.parametrize(
        ("name", "z", "value", "slope"),
        [
            ("sigmoid", math.log(3), 3 / 4, 3 / 16),
            ("sigmoid", -math.log(3), 1 / 4, 3 / 16),
            ("sigmoid", 0.0, 1 / 2, 1 / 4),
            ("tanh", math.log(2), 3 / 5, 16 / 25),
            ("tanh", -math.log(2), -3 / 5, 16 / 25),
            ("relu", 2.5, 2.5, 1.0),
            ("relu", 0.5, 0.5, 1.0),
            ("relu", -2.5, 0.0, 0.0),
            ("relu", 0.0, 0.0, 0.0),
        ],
    )
    def test_by_hand(self, name, z, value, slope):
        z = torch.tensor([z], dtype=torch.float64)
        assert_close(activation(name)(z), torch.tensor([value], dtype=torch.float64))
        assert_close(activation_derivative(name)(z), torch.tensor([slope], dtype=torch.float64))

    @pytest.mark.parametrize("name", NAMES)
    def test_derivative_agrees_with_autograd(self, name):
        z = torch.linspace(-6, 6, 25, dtype=torch.float64)
        by_autograd = vmap(grad(activation(name)))(z)
        assert_close(activation_derivative(name)(z), by_autograd)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_extreme_inputs_are_exact_and_keep_the_dtype(self, name, dtype):
        z = torch.tensor([-1e4, 1e4], dtype=dtype)
        value, slope = activation(name)(z), activation_derivative(name)(z)
        assert value.dtype == slope.dtype == dtype
        low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, 1e4)}[name]
        assert_close(value, torch.tensor([low, high], dtype=dtype), atol=0, rtol=0)
        high = 1 if name == "relu" else 0
        assert_close(slope, torch.tensor([0, high], dtype=dtype), atol=0, rtol=0)

    def test_far_slope_of_the_sigmoid_does_not_round_to_zero(self):
        # 1 - sigmoid(40) is 0 in float64; the form with sigmoid(-z) keeps e^-40
        slope = activation_derivative("sigmoid")(torch.tensor(40.0, dtype=torch.float64))
        assert_close(slope, torch.tensor(math.exp(-40), dtype=torch.float64), atol=0, rtol=1e-9)

    @pytest.mark.parametrize("function", [activation, activation_derivative])
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("rleu", "unknown activation 'rleu'; did you mean 'relu'?"),
            ("Sigmoid", "unknown activation 'Sigmoid'; did you mean 'sigmoid'?"),
            ("xyz", "unknown activation 'xyz'; known names: 'relu', 'sigmoid', 'tanh'"),
        ],
    )
    def test_unknown_name(self, function, name, words):
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            function(name)

    @pytest.mark.parametrize("name", NAMES)
    def test_nonlinear_agrees_with_torch(self, name):
        x, [(weight, bias), *_] = normal(6, 3), network()
        expected = getattr(torch, name)(torch.nn.functional.linear(x, weight, bias))
        assert_close(nonlinear(x, weight, bias, activation=name), expected)

    def test_nonlinear_is_relu_by_default(self):
        x, weight = normal(6, 3), normal(5, 3, seed=1)
        assert_close(nonlinear(x, weight), torch.relu(x @ weight.mT))

    def test_nonlinear_bad_input(self):
        with pytest.raises(ValueError, match="did you mean 'tanh'"):
            nonlinear(torch.ones(3), torch.ones(2, 3), activation="tan")
        with pytest.raises(ValueError, match="must be 3 wide"):
            nonlinear(torch.ones(4), torch.ones(2, 3))


class TestCompose:
    def test_first_function_first(self):
        x = torch.tensor([3.0])
        composed = compose(lambda x: x + 1, lambda x: x * 10, lambda x: x - 2)
        assert composed(x).tolist() == [38.0]
        assert compose(torch.sqrt)(torch.tensor([9.0])).tolist() == [3.0]

    def test_of_nothing_is_the_identity(self):
        x = torch.tensor([3.0])
        assert compose()(x) is x

    def test_of_linear_maps_is_linear_with_the_product(self):
        x, A, B = normal(4, 3), normal(5, 3, seed=1), normal(2, 5, seed=2)
        composed = compose(lambda x: linear(x, A), lambda x: linear(x, B))
        assert_close(composed(x), linear(x, B @ A))

    @given(SEEDS)
    def test_is_associative(self, seed):
        x = normal(3, seed=seed)
        f, g, h = torch.sin, torch.exp, torch.tanh
        assert_close(compose(compose(f, g), h)(x), compose(f, compose(g, h))(x), atol=0, rtol=0)

    def test_bad_input(self):
        with pytest.raises(TypeError, match="argument 2 of compose must be a function, got Tensor"):
            compose(torch.sin, torch.ones(1))
        with pytest.raises(TypeError, match="argument 1"):
            compose("relu")


class TestMultilayer:
    @pytest.mark.parametrize("name", NAMES)
    def test_agrees_with_torch(self, name):
        x, layers = normal(7, 3), network()
        expected = as_torch_module(layers, name)(x).detach()
        assert_close(multilayer(x, layers, activation=name), expected)

    def test_by_hand(self):
        layers = [
            (torch.tensor([[1.0], [-1.0]]), torch.tensor([-1.0, 0.0])),
            (torch.tensor([[2.0, 3.0]]), torch.tensor([-8.0])),
        ]
        x = torch.tensor([[4.0], [-2.0], [0.5]])
        assert multilayer(x, layers).tolist() == [[-2.0], [-2.0], [-8.0]]

    def test_one_layer_is_linear_and_biases_may_lack(self):
        x, (weight, bias) = normal(2, 4, 3), network()[0]
        assert_close(multilayer(x, [(weight, bias)]), linear(x, weight, bias))
        assert_close(multilayer(x, [(weight, None)]), linear(x, weight))
        assert_close(multilayer(x, ((weight, None),)), linear(x, weight))

    def test_wide_layers(self):
        layers = network((3, 400, 500, 2))
        expected = as_torch_module(layers, "relu")(x := normal(4, 3)).detach()
        assert_close(multilayer(x, layers), expected)

    @given(SEEDS, st.floats(0, 10))
    def test_relu_without_biases_is_positively_homogeneous(self, seed, scale):
        x, layers = normal(4, 3, seed=seed), [(weight, None) for weight, _ in network()]
        assert_close(multilayer(scale * x, layers), scale * multilayer(x, layers))

    @given(SEEDS)
    def test_permuting_hidden_units_changes_nothing(self, seed):
        x, ((W1, b1), (W2, b2), last) = normal(4, 3, seed=seed), network()
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        permuted = [(W1[order], b1[order]), (W2[:, order], b2), last]
        expected = multilayer(x, [(W1, b1), (W2, b2), last], activation="tanh")
        assert_close(multilayer(x, permuted, activation="tanh"), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        x, layers = normal(7, 3, dtype=dtype), network(dtype=dtype)
        assert multilayer(x, layers).dtype == dtype
        assert multilayer_jacobian(x, layers).dtype == dtype
        assert lipschitz_bound(layers).dtype == dtype

    @pytest.mark.parametrize("name", ["sigmoid", "tanh"])
    def test_gradients(self, name):
        def f(x, *tensors):
            return multilayer(
                x, list(zip(tensors[::2], tensors[1::2], strict=True)), activation=name
            )

        arguments = [normal(2, 3), *(t for layer in network((3, 2, 2)) for t in layer)]
        arguments = [argument.clone().requires_grad_() for argument in arguments]
        assert torch.autograd.gradcheck(f, arguments)
        assert torch.autograd.gradgradcheck(f, arguments)

    @pytest.mark.parametrize(
        ("layers", "error", "words"),
        [
            ([], ValueError, "layers is empty"),
            (
                [torch.ones(2, 3)],
                TypeError,
                r"layer 1 must be a pair.*got Tensor.*\(weight, None\)",
            ),
            (
                [(torch.ones(2, 3), None), (torch.ones(1, 2),)],
                TypeError,
                "layer 2 must be a pair.*got tuple",
            ),
            (
                [(torch.ones(4, 3), None), (torch.ones(5, 4), None), (torch.ones(2, 6), None)],
                ValueError,
                r"layer 2 with weight \(5, 4\) gives 5 features, but layer 3 with weight \(2, 6\) "
                "takes 6",
            ),
            ([(torch.ones(4), None), (torch.ones(5, 4), None)], ValueError, "weight.*matrix"),
            ([(torch.ones(5, 3), None), (torch.ones(5), None)], ValueError, "weight.*matrix"),
            ([(torch.ones(5, 2), None)], ValueError, "must be 2 wide"),
            ([(torch.ones(5, 3), torch.ones(4))], ValueError, "bias"),
            ([(torch.full((5, 3), torch.nan), None)], ValueError, "weight contains NaN"),
        ],
    )
    @pytest.mark.parametrize("function", [multilayer, multilayer_jacobian])
    def test_bad_layers(self, function, layers, error, words):
        with pytest.raises(error, match=words):
            function(torch.ones(6, 3), layers)

    @pytest.mark.parametrize("function", [multilayer, multilayer_jacobian])
    def test_unknown_activation(self, function):
        with pytest.raises(ValueError, match="unknown activation 'sigmoidal'; did you mean"):
            function(torch.ones(6, 3), network(dtype=torch.float32), activation="sigmoidal")


class TestJacobian:
    def test_by_hand(self):
        def f(x):  # (x, y, z) -> (x y, z²)
            return torch.stack([x[:, 0] * x[:, 1], x[:, 2] ** 2], dim=1)

        x = torch.tensor([[2.0, 3.0, 5.0], [7.0, 11.0, 13.0]])
        expected = [[[3.0, 2.0, 0.0], [0.0, 0.0, 10.0]], [[11.0, 7.0, 0.0], [0.0, 0.0, 26.0]]]
        assert_close(jacobian(f, x), torch.tensor(expected))

    def test_of_a_linear_map_is_its_weight(self):
        x, weight = normal(4, 3), normal(5, 3, seed=1)
        assert_close(jacobian(lambda x: linear(x, weight), x), weight.expand(4, 5, 3))

    def test_agrees_with_autograd(self):
        x, layers = normal(4, 3), network()
        f = as_torch_module(layers, "tanh")
        rows = [torch.autograd.functional.jacobian(f, row) for row in x]
        ours = jacobian(lambda x: multilayer(x, layers, activation="tanh"), x)
        assert_close(ours, torch.stack(rows))

    def test_chain_rule(self):
        x, f, g = normal(4, 3), torch.sin, lambda x: (x**2).cumsum(dim=1)
        product = jacobian(g, f(x)) @ jacobian(f, x)
        assert_close(jacobian(compose(f, g), x), product)

    def test_can_be_differentiated(self):
        x = normal(2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: jacobian(lambda x: x.sin().cumsum(1), x), x)

    @pytest.mark.parametrize(
        ("function", "x", "error", "words"),
        [
            (torch.sin, torch.ones(3), ValueError, "x must be a matrix"),
            (torch.sin, torch.ones(0, 3), ValueError, "x is empty"),
            (torch.sin, torch.full((2, 3), torch.nan), ValueError, "x contains NaN in 6 of 6"),
            (torch.sin, [[1.0]], TypeError, "x must be a torch.Tensor"),
            (torch.sum, torch.ones(4, 3), ValueError, r"it maps shape \(1, 3\) to \(\)"),
            (lambda x: x.sum(1), torch.ones(4, 3), ValueError, r"\(1, 3\) to \(1,\)"),
            (lambda x: x.mT, torch.ones(4, 3), ValueError, r"\(1, 3\) to \(3, 1\)"),
        ],
    )
    def test_bad_input(self, function, x, error, words):
        with pytest.raises(error, match=words):
            jacobian(function, x)


class TestMultilayerJacobian:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("widths", [(3, 2), (3, 5, 2), (3, 5, 4, 2)])
    def test_agrees_with_autograd(self, name, widths):
        x, layers = normal(6, 3), network(widths)
        f = as_torch_module(layers, name)
        rows = [torch.autograd.functional.jacobian(f, row) for row in x]
        assert_close(multilayer_jacobian(x, layers, activation=name), torch.stack(rows))

    def test_without_biases(self):
        layers = [(torch.tensor([[2.0]]), None), (torch.tensor([[5.0]]), None)]
        x = torch.tensor([[1.0], [-1.0], [3.0]])
        assert multilayer_jacobian(x, layers).flatten().tolist() == [10.0, 0.0, 10.0]

    def test_gradients(self):
        layers, x = network((3, 4, 2)), normal(2, 3).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x: multilayer_jacobian(x, layers, activation="tanh"), x
        )

    @pytest.mark.parametrize("x", [torch.ones(3), torch.ones(2, 4, 3)])
    def test_needs_rows(self, x):
        with pytest.raises(ValueError, match="x must be a matrix"):
            multilayer_jacobian(x, network(dtype=torch.float32))


class TestLipschitzBound:
    @pytest.mark.parametrize(
        ("name", "expected"), [("relu", 210.0), ("tanh", 210.0), ("sigmoid", 210 / 16)]
    )
    def test_by_hand(self, name, expected):
        layers = [
            (torch.tensor([[0.0, -5.0], [3.0, 0.0], [0.0, 0.0]]), torch.ones(3)),
            (torch.tensor([[6.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), None),
            (torch.tensor([[0.0, 7.0]]), None),
        ]
        assert_close(lipschitz_bound(layers, activation=name), torch.tensor(expected))

    def test_of_one_layer_is_the_spectral_norm(self):
        weight = normal(4, 3)
        expected = np.linalg.norm(weight.numpy(), 2)
        for name in NAMES:
            assert lipschitz_bound([(weight, None)], activation=name) == pytest.approx(expected)

    @given(SEEDS, st.sampled_from(NAMES))
    def test_holds(self, seed, name):
        layers = network(seed=seed)
        x, y = normal(20, 3, seed=seed), normal(20, 3, seed=seed + 1)
        mapped = multilayer(x, layers, activation=name) - multilayer(y, layers, activation=name)
        bound = lipschitz_bound(layers, activation=name) * (x - y).norm(dim=1)
        assert (mapped.norm(dim=1) <= bound * (1 + 1e-12)).all()

    @given(SEEDS)
    def test_of_linear_layers_in_line_is_reached(self, seed):
        # relu does nothing to positive rows: two diagonal layers stretch e_1 by exactly the bound
        first, second = (torch.tensor([s + 3.0, 1.0, 0.5]).diag() for s in (seed, 2.0))
        layers = [(first, None), (second, None)]
        stretched = multilayer(torch.tensor([[1.0, 0.0, 0.0]]), layers).norm()
        assert_close(stretched, lipschitz_bound(layers))

    def test_gradients(self):
        weights = [normal(4, 3).requires_grad_(), normal(2, 4, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(
            lambda a, b: lipschitz_bound([(a, None), (b, None)], activation="sigmoid"), weights
        )

    def test_bad_input(self):
        with pytest.raises(ValueError, match="layers is empty"):
            lipschitz_bound([])
        with pytest.raises(ValueError, match="did you mean 'relu'"):
            lipschitz_bound(network(), activation="reluu")
        with pytest.raises(ValueError, match=r"gives 2 features, but layer 2.*takes 3"):
            lipschitz_bound([(torch.ones(2, 3), None), (torch.ones(2, 3), None)])
        with pytest.raises(ValueError, match="weight must be a matrix"):
            lipschitz_bound([(torch.ones(3), None)])
        with pytest.raises(ValueError, match="NaN"):
            lipschitz_bound([(torch.full((2, 2), torch.nan), None)])


def with_singular_values(*values, rows=4, columns=3, dtype=torch.float64):
    left = torch.linalg.qr(normal(rows, rows)).Q[:, : len(values)]
    right = torch.linalg.qr(normal(columns, columns, seed=1)).Q[:, : len(values)]
    return (left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.mT).to(dtype)


class TestRank:
    @pytest.mark.parametrize(("rows", "columns"), [(5, 3), (3, 5), (4, 4)])
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_of_a_product_of_thin_matrices(self, rows, columns, rank):
        matrix = normal(rows, rank) @ normal(rank, columns, seed=1)
        assert numerical_rank(matrix) == rank == np.linalg.matrix_rank(matrix.numpy())

    @pytest.mark.parametrize(
        ("tolerance", "rank"), [(0, 3), (1e-3, 3), (0.015, 2), (0.4, 2), (0.6, 1), (0.99, 1)]
    )
    def test_counts_above_the_tolerance_relative_to_the_largest(self, tolerance, rank):
        assert numerical_rank(with_singular_values(20.0, 10.0, 0.2), tolerance=tolerance) == rank

    def test_equal_to_the_tolerance_does_not_count(self):
        assert numerical_rank(torch.diag(torch.tensor([4.0, 1.0])), tolerance=0.25) == 1

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(4, 3), (3, 7)])
    def test_default_tolerance_is_the_larger_side_times_epsilon(self, dtype, shape):
        eps = torch.finfo(dtype).eps
        for factor, rank in [(0.8, 1), (1.25, 2)]:
            matrix = torch.zeros(shape, dtype=dtype)
            matrix[0, 0], matrix[1, 1] = 2.0, 2.0 * factor * max(shape) * eps
            assert numerical_rank(matrix) == rank == torch.linalg.matrix_rank(matrix)

    def test_of_zero_is_zero(self):
        assert numerical_rank(torch.zeros(3, 2)) == 0

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_any_dtype(self, dtype):
        matrix = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], dtype=dtype)
        assert numerical_rank(matrix) == 1

    @given(SEEDS)
    def test_does_not_change_by_scale_or_transposition(self, seed):
        matrix = normal(5, 2, seed=seed) @ normal(2, 4, seed=seed + 1)
        assert numerical_rank(matrix) == numerical_rank(1e6 * matrix) == numerical_rank(matrix.mT)

    @pytest.mark.parametrize("tolerance", [-0.1, 1, 1.5, math.nan])
    def test_tolerance_out_of_range(self, tolerance):
        with pytest.raises(ValueError, match=r"tolerance must lie in \[0, 1\), got"):
            numerical_rank(torch.eye(2), tolerance=tolerance)

    def test_tolerance_is_a_number(self):
        with pytest.raises(TypeError, match=r"tolerance must be a number, got '0.1'"):
            numerical_rank(torch.eye(2), tolerance="0.1")


class TestConditionNumber:
    @pytest.mark.parametrize(("rows", "columns"), [(4, 3), (3, 6), (3, 3)])
    def test_by_construction(self, rows, columns):
        matrix = with_singular_values(20.0, 5.0, 0.25, rows=rows, columns=columns)
        assert condition_number(matrix) == pytest.approx(80.0)
        assert condition_number(matrix) == pytest.approx(np.linalg.cond(matrix.numpy()))

    def test_of_one_column_is_one(self):
        assert condition_number(torch.tensor([[3.0], [4.0]])) == 1

    def test_is_infinite_for_a_singular_matrix(self):
        assert condition_number(torch.diag(torch.tensor([2.0, 0.0]))) == torch.inf
        assert condition_number(torch.zeros(2, 3)) == torch.inf

    def test_of_small_singular_values_is_finite(self):
        assert condition_number(torch.diag(torch.tensor([1.0, 0.125]))) == 8.0
        assert condition_number(torch.diag(torch.tensor([3e-5, 1e-5]))) == pytest.approx(3.0)

    @given(SEEDS, st.floats(0.01, 100))
    def test_at_least_one_and_unchanged_by_scale_inverse_and_rotation(self, seed, scale):
        matrix = normal(3, 3, seed=seed)
        rotation = torch.linalg.qr(normal(3, 3, seed=seed + 1)).Q
        expected = condition_number(matrix)
        assert expected >= 1
        for same in (scale * matrix, matrix.mT, matrix.inverse(), rotation @ matrix):
            assert_close(condition_number(same), expected, rtol=1e-6, atol=0)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        number = condition_number(torch.tensor([[4.0, 0.0], [0.0, -2.0]], dtype=dtype))
        assert number.dtype == dtype
        assert number == 2

    def test_gradients(self):
        assert torch.autograd.gradcheck(condition_number, normal(4, 3).requires_grad_())


@pytest.mark.parametrize("function", [numerical_rank, condition_number])
@pytest.mark.parametrize(
    ("matrix", "error", "words"),
    [
        ([[1.0]], TypeError, "matrix must be a torch.Tensor, got list"),
        (torch.eye(2).long(), TypeError, "matrix must hold floating-point numbers"),
        (torch.ones(3), ValueError, r"matrix must be a matrix with 2 axes, got 1.*\(3,\)"),
        (torch.ones(2, 2, 2), ValueError, "2 axes, got 3"),
        (torch.ones(0, 3), ValueError, "matrix is empty"),
        (torch.tensor([[1.0, torch.nan]]), ValueError, "matrix contains NaN in 1 of 2 places"),
    ],
)
def test_bad_matrix(function, matrix, error, words):
    with pytest.raises(error, match=words):
        function(matrix)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: nonlinear(x, torch.eye(3), activation="tanh"),
        lambda x: multilayer(x, [(torch.eye(3), None), (torch.ones(2, 3), None)]),
        condition_number,
        lambda x: lipschitz_bound([(x, None)]),
        lambda x: jacobian(torch.sin, x),
        lambda x: multilayer_jacobian(x, [(torch.eye(3), None), (torch.ones(2, 3), None)]),
    ],
)
def test_works_under_vmap_and_jacrev(function):
    batch = normal(2, 4, 3, dtype=torch.float32)
    assert_close(vmap(function)(batch), torch.stack([function(x) for x in batch]))
    by_loop = [torch.autograd.functional.jacobian(function, x) for x in batch]
    assert_close(vmap(jacrev(function))(batch), torch.stack(by_loop), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nonlinear(x, x, None, "tanh"),
        lambda x: multilayer(x, [(x, None)], "tanh"),
        lambda x: multilayer_jacobian(x, [(x, None)], "tanh"),
        lambda x: lipschitz_bound([(x, None)], "tanh"),
        lambda x: numerical_rank(x, 0.1),
    ],
)
def test_hyper_parameters_have_to_be_named(call):
    with pytest.raises(TypeError, match=r"takes .* positional argument"):
        call(torch.eye(3))


def test_numerical_rank_under_vmap():
    batch = torch.stack([torch.eye(3), torch.ones(3, 3)])
    assert vmap(numerical_rank)(batch).tolist() == [3, 1]
