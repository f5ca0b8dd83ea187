"""Initialisation: against torch's own, closed forms, and what signals do in deep networks."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from mapping_lib.initialisation import copy_matching, he, lsuv, orthogonal, xavier

SHAPES = [(5, 3), (3, 5), (4, 4), (6, 2, 3), (4, 3, 2, 5), (2, 3, 1, 2, 2)]
DRAWS = [xavier, he, orthogonal]
SIZES = st.lists(st.integers(1, 6), min_size=2, max_size=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*size, seed=0, dtype=torch.float32):
    return torch.randn(*size, generator=seeded(seed), dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
class TestAgainstTorch:
    """The same numbers as torch.nn.init draws from the same generator."""

    def test_xavier(self, shape):
        expected = nn.init.xavier_uniform_(torch.empty(shape), gain=1.7, generator=seeded(3))
        assert_close(xavier(shape, gain=1.7, generator=seeded(3)), expected)
        expected = nn.init.xavier_uniform_(torch.empty(shape), generator=seeded(3))
        assert_close(xavier(shape, generator=seeded(3)), expected)

    def test_he(self, shape):
        torch_he = partial(nn.init.kaiming_normal_, generator=seeded(3), nonlinearity="relu")
        assert_close(he(shape, generator=seeded(3)), torch_he(torch.empty(shape)))

    def test_he_of_a_leaky_relu(self, shape):
        torch_he = partial(nn.init.kaiming_normal_, generator=seeded(3), nonlinearity="leaky_relu")
        assert_close(he(shape, slope=0.4, generator=seeded(3)), torch_he(torch.empty(shape), a=0.4))

    def test_orthogonal(self, shape):
        expected = nn.init.orthogonal_(torch.empty(shape), gain=0.3, generator=seeded(3))
        assert_close(orthogonal(shape, gain=0.3, generator=seeded(3)), expected)


class TestDraws:
    @pytest.mark.parametrize("draw", DRAWS)
    @given(size=SIZES)
    def test_shape(self, draw, size):
        assert draw(size).shape == torch.Size(size)

    @given(SIZES, st.integers(0, 1000))
    def test_orthogonal_rows_or_columns(self, size, seed):
        W = orthogonal(size, generator=seeded(seed), dtype=torch.float64).flatten(1)
        gram = W @ W.T if len(W) <= W.shape[1] else W.T @ W
        assert_close(gram, torch.eye(len(gram), dtype=torch.float64))

    def test_a_wide_orthogonal_weight_has_orthonormal_rows(self):
        W = orthogonal((2, 3, 2), gain=3.0, dtype=torch.float64).flatten(1)
        assert_close(W @ W.T, 9 * torch.eye(2, dtype=torch.float64))

    def test_orthogonal_directions_are_uniform(self):
        # Without the sign of R, the first entry of Q would always be negative.
        g = seeded()
        first = torch.stack([orthogonal((3, 3), generator=g)[0, 0] for _ in range(200)])
        assert 70 < int((first > 0).sum()) < 130
        assert abs(float(first.square().mean()) - 1 / 3) < 0.06

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("draw", DRAWS)
    def test_dtypes(self, draw, dtype):
        assert draw((4, 3), dtype=dtype).dtype == dtype
        assert draw((4, 3), dtype=dtype, device="meta").device.type == "meta"
        assert draw((4, 3), device="meta", generator=seeded()).device.type == "meta"

    def test_half_precision_is_orthogonal_as_far_as_it_goes(self):
        W = orthogonal((5, 3), dtype=torch.bfloat16).double()
        assert_close(W.T @ W, torch.eye(3, dtype=torch.float64), atol=0.02, rtol=0)

    @pytest.mark.parametrize("draw", DRAWS)
    def test_generator_decides(self, draw):
        assert_close(draw((4, 3), generator=seeded(1)), draw((4, 3), generator=seeded(1)))
        assert (draw((4, 3), generator=seeded(1)) != draw((4, 3), generator=seeded(2))).any()
        torch.manual_seed(5)
        first = draw((4, 3))
        torch.manual_seed(5)
        assert_close(draw((4, 3)), first)

    @pytest.mark.parametrize(
        ("draw", "settings", "error", "words"),
        [(draw, settings, error, words) for draw in DRAWS for settings, error, words in [
            ({"shape": (3,)}, ValueError, r"must be \(out, in\).*, got \(3,\); a bias"),
            ({"shape": (3, 0)}, ValueError, r"at least 1, got \(3, 0\)"),
            ({"shape": (3, 2.0)}, TypeError, r"whole numbers, got \(3, 2.0\)"),
            ({"shape": (3, 2), "dtype": torch.int64}, TypeError, "floating point, got torch.int64"),
        ]]
        + [(draw, {"shape": (3, 2), "gain": -1.0}, ValueError, "gain must lie in")
           for draw in (xavier, orthogonal)]
        + [(he, {"shape": (3, 2), "slope": -0.1}, ValueError, "slope must lie in")],
    )  # fmt: skip
    def test_bad_input(self, draw, settings, error, words):
        shape = settings.pop("shape")
        with pytest.raises(error, match=words):
            draw(shape, **settings)


class TestSignals:
    """What the formulas are for: twenty layers on, a signal is as large as it was."""

    def forward(self, draw, activation, depth=20, width=200):
        g, x = seeded(), normal(300, width, seed=1)
        for _ in range(depth):
            x = activation(x @ draw((width, width), generator=g).T)
        return float(x.square().mean())

    def test_he_keeps_the_mean_square_through_relu(self):
        # After ReLU half of the pre-activations' mean square is left, in every layer alike.
        assert 0.25 < self.forward(he, torch.relu) < 1

    def test_xavier_loses_half_in_each_relu_layer(self):
        assert self.forward(xavier, torch.relu) < 2**-18

    def test_orthogonal_keeps_lengths_exactly(self):
        g, x = seeded(), normal(7, 30, seed=1, dtype=torch.float64)
        y = x
        for _ in range(50):
            y = y @ orthogonal((30, 30), generator=g, dtype=torch.float64).T
        assert_close(y.norm(dim=1), x.norm(dim=1))


class Branches(nn.Module):
    """Runs its layers in another order than they are made in, one of them twice, one never."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 2)
        self.unused = nn.Linear(6, 2)
        self.first = nn.Conv1d(3, 6, 2)
        self.twice = nn.Linear(6, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        h = self.first(x).mean(2)
        return self.last(self.drop(self.twice(self.twice(h).relu())))


class TestLsuv:
    def deep(self, bias=True):
        layers = [nn.Conv2d(2, 5, 3, bias=bias), nn.ReLU(), nn.Conv2d(5, 4, 2), nn.Flatten(),
                  nn.Tanh(), nn.Linear(16, 3)]  # fmt: skip
        return nn.Sequential(*layers)

    def test_every_output_has_unit_variance(self):
        model, x = self.deep(), 5 * normal(40, 2, 5, 5) + 3
        scales = lsuv(model, x, tolerance=1e-3, generator=seeded())
        assert list(scales) == ["0", "2", "5"]
        h = x
        for name, module in model.named_children():
            h = module(h)
            if name in scales:
                assert_close(h.var(correction=0), torch.tensor(1.0), atol=1e-3, rtol=0)
                assert float(module.bias.detach().abs().max()) == 0

    def test_weights_are_scaled_orthogonal_ones(self):
        model = self.deep(bias=False)
        scales = lsuv(model, normal(40, 2, 5, 5), generator=seeded())
        for name, scale in scales.items():
            W = model.get_submodule(name).weight.detach().flatten(1)
            assert_close(torch.linalg.svdvals(W), torch.full((min(W.shape),), scale))

    def test_order_is_that_of_running(self):
        model = Branches()
        unused = model.unused.weight.clone()
        assert list(lsuv(model, normal(30, 3, 5))) == ["first", "twice", "last"]
        assert torch.equal(model.unused.weight, unused)

    def test_a_layer_used_twice_is_judged_by_its_first_output(self):
        model = Branches()
        x = normal(30, 3, 5)
        lsuv(model, x, tolerance=1e-4)
        h = model.twice(model.first(x).mean(2))
        assert_close(h.var(correction=0), torch.tensor(1.0), atol=1e-4, rtol=0)

    def test_closed_form(self):
        # Orthogonal from 1 to 1 is ±1: the factor is one over the standard deviation.
        model = nn.Linear(1, 1)
        assert lsuv(model, torch.tensor([[0.0], [3.0], [9.0]])) == {"": 1 / math.sqrt(14)}
        assert_close(model.weight.detach().abs(), torch.tensor([[1 / math.sqrt(14)]]))

    def test_within_the_tolerance_nothing_is_scaled(self):
        x = torch.tensor([[-1.04], [1.04]])  # variance 1.0816
        assert lsuv(nn.Linear(1, 1), x) == {"": 1.0}
        assert lsuv(nn.Linear(1, 1), x, tolerance=0.08) == {"": pytest.approx(1 / 1.04)}

    def test_the_tolerance_itself_is_not_enough(self):
        x = torch.tensor([[-1.5], [1.5]])  # variance 2.25
        assert lsuv(nn.Linear(1, 1), x, tolerance=1.25) == {"": pytest.approx(1 / 1.5)}

    def test_mode_gradients_and_statistics_are_left(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2))
        model.train()
        model[2].eval()
        lsuv(model, normal(20, 3))
        assert [m.training for m in model] == [True, True, False, True]
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert float(model[1].running_mean.abs().max()) == 0
        assert not any(m._forward_hooks for m in model.modules())

    def test_warns_where_one_step_is_not_enough(self):
        class Odd(nn.Linear):
            def forward(self, x):
                return super().forward(x) * self.weight.abs().max()

        with pytest.warns(UserWarning, match="after 1 steps .* layer '0'.*0.0625") as caught:
            scales = lsuv(nn.Sequential(Odd(1, 1)), torch.tensor([[-4.0], [4.0]]), steps=1)
        assert scales == {"0": 0.25}
        assert caught[0].filename == __file__  # the caller's line is shown

    def test_ten_steps_by_default(self):
        class Random(nn.Linear):
            runs = 0

            def forward(self, x):
                self.runs += 1
                return (1 + self.runs) * 0 * super().forward(x) + torch.tensor([[-3.0], [3.0]])

        model = nn.Sequential(Random(1, 1))
        with pytest.warns(UserWarning, match="after 10 steps"):
            lsuv(model, torch.ones(2, 1))
        assert model[0].runs == 1 + 11
        with pytest.warns(UserWarning, match="after 300 steps"):
            lsuv(model, torch.ones(2, 1), steps=300)

    def test_in_64_bits(self):
        model = nn.Linear(3, 2).double()
        lsuv(model, normal(9, 3, dtype=torch.float64))
        assert model.weight.dtype == torch.float64

    @pytest.mark.parametrize(
        ("model", "inputs", "settings", "error", "words"),
        [
            (nn.ReLU(), torch.ones(2, 2), {}, ValueError, "runs no linear or convolutional layer"),
            (nn.Linear(2, 1), torch.ones(5, 2), {}, ValueError, "has the variance 0 and can't"),
            (nn.Linear(2, 2), torch.ones(0, 2), {}, ValueError, "is empty"),
            (nn.Linear(2, 2), torch.ones(2, 2).long(), {}, TypeError, "floating-point"),
            (nn.Linear(1, 1), torch.tensor([[math.nan]]), {}, ValueError, "NaN"),
            (nn.Linear(1, 1), torch.tensor([[math.inf], [1]]), {}, ValueError, "variance nan"),
            (nn.Linear(1, 1), torch.tensor([[1e30], [-1e30]]), {}, ValueError, "variance inf"),
            (nn.Linear(2, 2), torch.ones(2, 2), {"steps": 0}, ValueError, "steps must lie in"),
            (nn.Linear(2, 2), torch.ones(2, 2), {"tolerance": -1}, ValueError, "tolerance must"),
        ],
    )
    def test_bad_input(self, model, inputs, settings, error, words):
        with pytest.raises(error, match=words):
            lsuv(model, inputs, **settings)


class TestCopyMatching:
    def source(self):
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 7))

    def target(self):
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4), nn.Linear(4, 4))

    def test_report(self):
        source, model = self.source(), self.target()
        source[1].running_mean.fill_(5.0)
        head = {k: v.clone() for k, v in model.state_dict().items() if k[0] in "23"}
        state = source.state_dict() | {"extra": torch.ones(1)}
        report = copy_matching(state, model)
        assert report.copied == [
            "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
            "1.num_batches_tracked",
        ]  # fmt: skip
        assert report.missing == ["3.weight", "3.bias"]
        assert report.other_shape == {"2.weight": ((7, 3), (4, 3)), "2.bias": ((7,), (4,))}
        assert report.unexpected == ["extra"]
        assert all(torch.equal(model.state_dict()[k], state[k]) for k in report.copied)
        assert all(torch.equal(model.state_dict()[k], v) for k, v in head.items())

    def test_copies_do_not_share_memory(self):
        source, model = nn.Linear(2, 2), nn.Linear(2, 2)
        copy_matching(source.state_dict(), model)
        with torch.no_grad():
            source.weight.zero_()
        assert float(model.weight.detach().abs().max()) > 0
        assert model.weight.requires_grad

    def test_dtype_stays_the_models(self):
        model = nn.Linear(2, 2).double()
        copy_matching(nn.Linear(2, 2).state_dict(), model)
        assert model.weight.dtype == torch.float64

    def test_rename(self):
        source = {f"module.{k}": v for k, v in nn.Linear(2, 2).state_dict().items()}
        model = nn.Linear(2, 2)
        report = copy_matching(source, model, rename=lambda name: name.removeprefix("module."))
        assert report == (["weight", "bias"], [], {}, [])
        assert torch.equal(model.bias, source["module.bias"])

    def test_names_that_match_nothing(self):
        source = {f"module.{k}": v for k, v in nn.Linear(2, 2).state_dict().items()}
        with pytest.raises(ValueError, match=r"none of the source's 2 names.*'module.weight'; did"):
            copy_matching(source, nn.Linear(2, 2))
        with pytest.raises(ValueError, match="none of the source's 0 names"):
            copy_matching({}, nn.Linear(2, 2))

    def test_of_a_wrong_shape_is_no_match(self):
        with pytest.raises(ValueError, match="none of the source's 1 names"):
            copy_matching({"weight": torch.ones(2, 3)}, nn.Linear(2, 2))

    def test_nothing_is_copied_if_anything_is_wrong(self):
        model = nn.Linear(2, 2)
        before = model.weight.clone()
        with pytest.raises(ValueError, match="'bias' contains NaN"):
            copy_matching({"weight": torch.ones(2, 2), "bias": torch.tensor([0, math.nan])}, model)
        assert torch.equal(model.weight, before)

    def test_two_names_become_one(self):
        state = {"a": torch.ones(1), "b": torch.ones(1)}
        with pytest.raises(ValueError, match="turns two names into 'c', the second is 'b'"):
            copy_matching(state, nn.Linear(1, 1), rename=lambda name: "c")

    def test_no_state(self):
        with pytest.raises(TypeError, match=r"got Linear; use source.state_dict\(\)"):
            copy_matching(nn.Linear(1, 1), nn.Linear(1, 1))
        with pytest.raises(TypeError, match=r"source_state\['weight'\] must be a torch.Tensor"):
            copy_matching({"weight": [1.0]}, nn.Linear(1, 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    assert orthogonal((3, 2), generator=torch.Generator("cuda")).is_cuda
    model = nn.Linear(3, 2).cuda()
    lsuv(model, normal(9, 3).cuda(), generator=seeded())
    copy_matching(nn.Linear(3, 2).state_dict(), model)
    assert model.weight.is_cuda
