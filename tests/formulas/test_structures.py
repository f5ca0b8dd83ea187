"""The structures of section 2.1: by hand, torch as reference, gradients, properties, errors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import conv2d, pad
from torch.testing import assert_close

from mapping_lib.structures import (
    convolution_matrix,
    equivariance_error,
    gru_step,
    lstm_step,
    recurrent_step,
    state_jacobians,
)

SEEDS = st.integers(0, 10_000)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class TestConvolutionMatrix:
    def test_by_hand_with_zeros_around(self):
        kernel = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
        middle_row = pad(kernel, (0, 0, 1, 1))  # padding adds rows, too
        got = convolution_matrix(middle_row, size=(1, 4), padding=1)
        assert got.tolist() == [
            [2.0, 3.0, 0.0, 0.0],
            [1.0, 2.0, 3.0, 0.0],
            [0.0, 1.0, 2.0, 3.0],
            [0.0, 0.0, 1.0, 2.0],
        ]
        around = convolution_matrix(middle_row, size=(3, 4), padding=1, circular=True)
        assert around[0].view(3, 4)[0].tolist() == [2.0, 3.0, 0.0, 1.0]
        assert around[3].view(3, 4)[0].tolist() == [3.0, 0.0, 1.0, 2.0]

    def test_rows_and_columns_are_told_apart(self):
        kernel = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
        got = convolution_matrix(kernel, size=(2, 3))
        assert got.tolist() == [[1, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]]

    @pytest.mark.parametrize("stride", [1, 2, 3])
    @pytest.mark.parametrize("padding", [0, 1, 2])
    @pytest.mark.parametrize("circular", [False, True])
    def test_is_conv2d(self, stride, padding, circular):
        kernel, image = normal(3, 2, 3, 2), normal(4, 2, 6, 5, seed=1)
        matrix = convolution_matrix(
            kernel, size=(6, 5), stride=stride, padding=padding, circular=circular
        )
        mode = "circular" if circular else "constant"
        expected = conv2d(pad(image, (padding,) * 4, mode=mode), kernel, stride=stride)
        assert_close(image.flatten(1) @ matrix.mT, expected.flatten(1))

    def test_kernel_larger_than_the_circle_adds_up(self):
        kernel = torch.tensor([1.0, 10.0, 100.0]).view(1, 1, 1, 3)
        got = convolution_matrix(kernel, size=(3, 2), padding=1, circular=True)
        assert got[0].view(3, 2).sum().item() == 111

    def test_gradient(self):
        kernel = normal(2, 1, 2, 2).requires_grad_()
        assert gradcheck(lambda k: convolution_matrix(k, size=(3, 4), padding=1), kernel)

    @given(SEEDS)
    def test_is_linear_in_the_kernel(self, seed):
        a, b = normal(2, 2, 2, 2, seed=seed), normal(2, 2, 2, 2, seed=seed + 1)
        both = convolution_matrix(a - 2 * b, size=(3, 3))
        apart = convolution_matrix(a, size=(3, 3)) - 2 * convolution_matrix(b, size=(3, 3))
        assert_close(both, apart)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_keeps_the_dtype(self, dtype):
        assert convolution_matrix(torch.ones(1, 1, 2, 2, dtype=dtype), size=(3, 3)).dtype == dtype

    @pytest.mark.parametrize(
        ("kernel", "settings", "error", "words"),
        [
            (torch.ones(2, 2), {}, ValueError, r"4 axes .* got \(2, 2\)"),
            (torch.ones(1, 1, 2, 2).long(), {}, TypeError, "floating-point"),
            (torch.full((1, 1, 2, 2), torch.nan), {}, ValueError, "kernel contains NaN"),
            (torch.ones(1, 1, 5, 2), {}, ValueError, "5 long and the padded image 3: it fits now"),
            (
                torch.ones(1, 1, 9, 2),
                {"padding": 2},
                ValueError,
                "9 long and the padded image 7: it",
            ),
            (torch.ones(1, 1, 2, 2), {"stride": 0}, ValueError, r"stride must lie in \[1, inf"),
            (torch.ones(1, 1, 2, 2), {"stride": 1.5}, ValueError, "stride must be whole, got 1.5"),
            (torch.ones(1, 1, 2, 2), {"padding": -1}, ValueError, r"padding must lie in \[0"),
            (torch.ones(1, 1, 2, 2), {"size": (3,)}, ValueError, "height and width"),
            (torch.ones(1, 1, 2, 2), {"size": (3, 0)}, ValueError, r"width must lie in \[1"),
            (torch.ones(1, 1, 2, 2), {"size": ("a", 3)}, TypeError, "height must be a number"),
        ],
    )
    def test_bad_input(self, kernel, settings, error, words):
        with pytest.raises(error, match=words):
            convolution_matrix(kernel, **{"size": (3, 4)} | settings)

    def test_kernel_as_large_as_the_image_fits_once(self):
        assert convolution_matrix(torch.ones(1, 1, 3, 4), size=(3, 4)).shape == (1, 12)


class TestEquivarianceError:
    def test_by_hand(self):
        x = torch.tensor([3.0, 4.0])
        # f(Tx) = (4, 6), T f(x) = (8, 3): the difference (-4, 3) over |f(x)| = |(3, 8)|
        got = equivariance_error(
            lambda x: x * torch.tensor([1.0, 2.0]), x, before=lambda x: x.flip(0)
        )
        assert_close(got, torch.tensor(5 / 73**0.5))

    def test_another_transformation_after(self):
        x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        halves = {
            "before": lambda x: x.roll(2, 1),
            "after": lambda y: y.roll(1, 1),
        }
        assert equivariance_error(lambda x: x.view(-1, 2, 2).amax(2), x, **halves) == 0

    @given(SEEDS, st.integers(-5, 5))
    @settings(max_examples=20)
    def test_circular_convolution_commutes_with_shifts(self, seed, shift):
        matrix = convolution_matrix(
            normal(1, 1, 3, 3, seed=seed), size=(4, 5), padding=1, circular=True
        )
        error = equivariance_error(
            lambda x: (x.flatten(1) @ matrix.mT).view(x.shape),
            normal(3, 4, 5, seed=seed + 1),
            before=lambda x: x.roll((shift, 2 * shift), (1, 2)),
        )
        assert error < 1e-12

    @given(SEEDS, st.floats(0.1, 10))
    def test_does_not_depend_on_the_scale_of_the_output(self, seed, scale):
        weight, x = normal(4, 4, seed=seed), normal(2, 4, seed=seed + 1)
        errors = [
            equivariance_error(lambda x, c=c: c * x @ weight, x, before=lambda x: x.roll(1, 1))
            for c in (1, scale)
        ]
        assert_close(*errors)
        assert errors[0] > 0

    def test_gradient(self):
        x = normal(2, 3).requires_grad_()
        assert gradcheck(lambda x: equivariance_error(lambda x: x**3, x, before=lambda x: 2 * x), x)

    def test_bad_input(self):
        x = torch.ones(2, 4)
        with pytest.raises(TypeError, match=r"x must be a torch\.Tensor"):
            equivariance_error(torch.relu, [1.0], before=torch.neg)
        with pytest.raises(TypeError, match=r"f\(x\) must hold floating-point numbers"):
            equivariance_error(torch.argmax, x, before=torch.neg)
        with pytest.raises(ValueError, match="zero everywhere"):
            equivariance_error(torch.zeros_like, x, before=torch.neg)
        with pytest.raises(ValueError, match=r"T' f\(x\) \(2, 8\): give `after`"):
            equivariance_error(lambda x: x[:, :4], x, before=lambda x: x.repeat(1, 2))
        with pytest.raises(TypeError, match="positional"):
            equivariance_error(torch.relu, x, torch.neg)


def cell_and_arguments(kind, seed=0, d=3, h=5):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        cell = kind(d, h, dtype=torch.float64)
    w, u, b, c = (p.detach().clone() for p in cell.parameters())
    return cell, w, u, b, c


class TestRecurrentStep:
    def test_by_hand(self):
        weight, recurrent = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 3.0]] * 2)
        got = recurrent_step(
            torch.tensor([0.5, 0.25]), torch.tensor([9.0, -0.5]), weight, recurrent,
            torch.tensor([1.0, 4.0]),
        )  # fmt: skip
        assert_close(got, torch.tensor([0.0, 3.0]).tanh())  # 0.5 - 1.5 + 1; 0.5 - 1.5 + 4

    def test_is_torchs_cell_with_its_gradient(self):
        cell, w, u, b, c = cell_and_arguments(torch.nn.RNNCell)
        x, h = normal(4, 3, seed=1), normal(4, 5, seed=2)
        assert_close(recurrent_step(x, h, w, u, b + c), cell(x, h))
        assert_close(recurrent_step(x[0], h[0], w, u, b + c), cell(x, h)[0])
        assert_close(recurrent_step(x, h, w, u), torch.tanh(x @ w.T + h @ u.T))
        assert gradcheck(recurrent_step, [t.requires_grad_() for t in (x, h, w, u, b)])


class TestGruStep:
    def test_is_torchs_cell_with_its_gradient(self):
        cell, *weights = cell_and_arguments(torch.nn.GRUCell)
        x, h = normal(4, 3, seed=1), normal(4, 5, seed=2)
        assert_close(gru_step(x, h, *weights), cell(x, h))
        mine = [t.requires_grad_() for t in (x, h, *weights)]
        gru_step(*mine).square().sum().backward()
        got = [t.grad.clone() for t in mine]
        for t in (x, h):
            t.grad = None
        cell(x, h).square().sum().backward()
        theirs_all = [x.grad, h.grad, *(p.grad for p in cell.parameters())]
        for ours, theirs in zip(got, theirs_all, strict=True):
            assert_close(ours, theirs)
        assert gradcheck(gru_step, mine)

    def test_gates(self):
        _, w, u, b, c = cell_and_arguments(torch.nn.GRUCell)
        x, h = normal(4, 3, seed=1), normal(4, 5, seed=2)
        keep, forget = b.clone(), b.clone()
        keep[5:10], forget[5:10] = 50, -50
        assert_close(gru_step(x, h, w, u, keep, c), h)
        assert gru_step(x, h, w, u, forget, c).abs().max() <= 1
        closed = forget.clone()
        closed[:5] = -50  # the state isn't read
        assert_close(gru_step(x, h, w, u, closed, c), torch.tanh(x @ w[10:].T + b[10:]))

    @given(SEEDS)
    def test_lies_between_the_old_state_and_one(self, seed):
        _, *weights = cell_and_arguments(torch.nn.GRUCell, seed=seed)
        h = normal(4, 5, seed=seed)
        assert (gru_step(normal(4, 3, seed=seed + 1), h, *weights).abs() <= h.abs().clamp(1)).all()


class TestLstmStep:
    def test_is_torchs_cell_with_its_gradient(self):
        cell, w, u, b, c = cell_and_arguments(torch.nn.LSTMCell)
        x, h, memory = normal(4, 3, seed=1), normal(4, 5, seed=2), normal(4, 5, seed=3)
        pairs = zip(lstm_step(x, (h, memory), w, u, b + c), cell(x, (h, memory)), strict=True)
        for ours, theirs in pairs:
            assert_close(ours, theirs)
        assert gradcheck(
            lambda x, h, m, w, u, b: lstm_step(x, (h, m), w, u, b),
            [t.requires_grad_() for t in (x, h, memory, w, u, b)],
        )

    def test_open_forget_gate_keeps_the_cell(self):
        _, w, u, b, _ = cell_and_arguments(torch.nn.LSTMCell)
        bias = b.clone()
        bias[:5], bias[5:10] = -50, 50
        memory = normal(4, 5, seed=3)
        h, kept = lstm_step(normal(4, 3), (normal(4, 5), memory), w, u, bias)
        assert_close(kept, memory)
        assert (h.abs() < memory.tanh().abs()).all()

    def test_cell_as_wide_as_the_state(self):
        _, w, u, _, _ = cell_and_arguments(torch.nn.LSTMCell)
        with pytest.raises(ValueError, match=r"cell \(4, 1\) and state \(4, 5\)"):
            lstm_step(normal(4, 3), (normal(4, 5), normal(4, 1)), w, u)


@pytest.mark.parametrize(
    ("step", "blocks"),
    [
        (recurrent_step, 1),
        (gru_step, 3),
        (lambda x, h, *weights: lstm_step(x, (h, h), *weights), 4),
    ],
)
class TestEveryStep:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({0: [1.0]}, TypeError, "x must be a torch.Tensor"),
            ({0: normal(4, 3).float()}, TypeError, "one dtype"),
            ({1: normal(4, 5) * torch.nan}, ValueError, "state contains NaN"),
            ({0: normal(4, 2)}, ValueError, r"weight \(\d+, 3\) must be \(\d+, 2\)"),
            ({3: normal(5, 7)}, ValueError, r"recurrent_weight \(5, 7\) must be \(\d+, 5\)"),
            ({4: normal(7)}, ValueError, r"bias \(7,\) must be \(\d+,\) for inputs 3 and states 5"),
        ],
    )
    def test_bad_input(self, step, blocks, change, error, words):
        rows = 5 * blocks
        arguments = [normal(4, 3), normal(4, 5), normal(rows, 3), normal(rows, 5), normal(rows)]
        for place, value in change.items():
            arguments[place] = value
        with pytest.raises(error, match=words):
            step(*arguments)


class TestStateJacobians:
    def states(self, seed=0, steps=6, h=4, d=2):
        w, u, b = normal(h, d, seed=seed), normal(h, h, seed=seed + 1), normal(h, seed=seed + 2)
        inputs, state, found = normal(steps, d, seed=seed + 3), normal(h, seed=seed + 4), []
        for x in inputs:
            state = recurrent_step(x, state, w, u, b)
            found.append(state)
        return torch.stack(found), w, u, b, inputs

    def test_is_what_autograd_finds(self):
        states, w, u, b, inputs = self.states()

        def run_from(t):
            def last(state):
                for x in inputs[t + 1 :]:
                    state = recurrent_step(x, state, w, u, b)
                return state

            return last

        got = state_jacobians(states, u)
        assert got.shape == (6, 4, 4)
        for t in range(6):
            expected = torch.autograd.functional.jacobian(run_from(t), states[t])
            assert_close(got[t], expected)

    def test_without_activity_is_a_power(self):
        u = normal(3, 3)
        got = state_jacobians(torch.zeros(4, 3, dtype=torch.float64), u)
        for steps, jacobian in enumerate(got.flip(0)):
            assert_close(jacobian, torch.linalg.matrix_power(u, steps))

    @given(SEEDS)
    def test_is_bounded_by_the_spectral_norm(self, seed):
        states, _, u, _, _ = self.states(seed)
        norms = torch.linalg.matrix_norm(state_jacobians(states, u), 2)
        bound = torch.linalg.matrix_norm(u, 2) ** torch.arange(5, -1, -1)
        assert (norms <= bound * (1 + 1e-12)).all()

    def test_gradient(self):
        states = normal(3, 2).tanh().requires_grad_()
        assert gradcheck(state_jacobians, (states, normal(2, 2).requires_grad_()))

    @pytest.mark.parametrize(
        ("states", "weight", "words"),
        [
            (torch.zeros(3), torch.eye(3), "states must be a matrix"),
            (torch.zeros(4, 3), torch.eye(2), r"recurrent_weight \(2, 2\) must be \(3, 3\)"),
            (torch.full((4, 3), 1.5), torch.eye(3), "between -1 and 1, as tanh leaves them"),
        ],
    )
    def test_bad_input(self, states, weight, words):
        with pytest.raises(ValueError, match=words):
            state_jacobians(states, weight)
