"""Transfer by parameters: what learns, how far it moves, what is shared, what follows the data."""

import copy
import math

import pytest
import torch
import torch._dynamo  # the first optimiser would import it: once for all mutants, not in each
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from mapping_lib.losses import cross_entropy, entropy
from mapping_lib.parameters import (
    BottleneckAdapter,
    adabn,
    add_adapters,
    add_lora,
    bitfit,
    freeze,
    gradual_unfreezing,
    hard_sharing,
    l2_sp,
    layerwise_rates,
    merge_lora,
    soft_sharing,
    tent,
    tent_step,
    trainable,
    unfreeze,
    unmerge_lora,
)

SEEDS = st.integers(0, 1000)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _the_same_networks_in_every_run():
    torch.manual_seed(0)


def normal(*size, seed=0, dtype=torch.float32):
    return torch.randn(*size, generator=seeded(seed), dtype=dtype)


def learning(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


class Network(nn.Module):
    """Convolutions, one of them in groups, batch norm and a head."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
            nn.BatchNorm2d(4),
        )
        self.body2 = nn.Linear(4, 4)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.body2(self.body(x).mean((2, 3))).relu())


IMAGES = normal(6, 2, 8, 8, seed=9)


def train(model, parameters, steps=3, rate=0.1, images=IMAGES):
    optimiser = torch.optim.SGD(parameters, lr=rate)
    labels = torch.arange(len(images)) % 3
    for _ in range(steps):
        optimiser.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimiser.step()


class TestFreezing:
    def test_names_submodules_and_patterns(self):
        model = Network()
        assert freeze(model, "body") == [
            "body.0.weight", "body.1.weight", "body.1.bias", "body.3.weight", "body.3.bias",
            "body.4.weight", "body.4.bias",
        ]  # fmt: skip
        assert learning(model) == ["body2.weight", "body2.bias", "head.weight", "head.bias"]
        assert unfreeze(model, "*.1.*", "body.3.bias") == [
            "body.1.weight", "body.1.bias", "body.3.bias",
        ]  # fmt: skip
        assert freeze(model, "head.weight") == ["head.weight"]
        assert learning(model) == [
            "body.1.weight", "body.1.bias", "body.3.bias", "body2.weight", "body2.bias",
            "head.bias",
        ]  # fmt: skip

    def test_no_pattern_means_everything(self):
        model = Network()
        assert len(freeze(model)) == 11
        assert learning(model) == []
        assert len(unfreeze(model)) == 11
        assert len(learning(model)) == 11

    def test_frozen_parameters_do_not_move(self):
        model = Network()
        before = {k: v.clone() for k, v in model.named_parameters()}
        freeze(model, "body")
        train(model, trainable(model))
        moved = [k for k, v in model.named_parameters() if not torch.equal(v, before[k])]
        assert moved == ["body2.weight", "body2.bias", "head.weight", "head.bias"]

    def test_running_statistics_move_all_the_same(self):
        """The mistake that section 5.2 measures: freezing parameters doesn't freeze batch norm."""
        model = Network()
        freeze(model)
        before = model.body[1].running_mean.clone()
        model(IMAGES)
        assert not torch.equal(model.body[1].running_mean, before)

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [
            ("haed", "no parameter matches 'haed'; did you mean 'head'"),
            ("head.wieght", "did you mean 'head.weight'"),
            ("xyz", "no parameter matches 'xyz'; known names: 'body', 'body2', 'head'$"),
            ("", "no parameter matches ''"),
        ],
    )
    @pytest.mark.parametrize("function", [freeze, unfreeze, bitfit])
    def test_names_that_match_nothing(self, function, pattern, words):
        model = Network()
        model.head.bias.requires_grad_(False)
        before = learning(model)
        with pytest.raises(ValueError, match=words):
            function(model, "body", pattern)
        assert learning(model) == before

    def test_small_models_are_listed_whole(self):
        with pytest.raises(ValueError, match="known names: 'bias', 'weight'"):
            freeze(nn.Linear(1, 1), "zzz")


class TestTrainable:
    def test_each_once_in_order(self):
        model = Network()
        model.again = model.head
        freeze(model, "body", "head.weight")
        assert trainable(model) == [model.body2.weight, model.body2.bias, model.head.bias]

    def test_a_frozen_model_given_to_an_optimiser(self):
        """An optimiser of torch takes frozen parameters without a word, and nothing is trained."""
        model = nn.Linear(2, 2)
        freeze(model)
        torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match="all 2 parameters of the model are frozen: an optim"):
            torch.optim.SGD(trainable(model), lr=0.1)

    def test_no_parameters(self):
        with pytest.raises(ValueError, match="the model has no parameters to train"):
            trainable(nn.ReLU())


class TestGradualUnfreezing:
    def blocks(self):
        return [nn.Linear(1, 1) for _ in range(4)]

    @pytest.mark.parametrize(
        ("epoch", "every", "count"),
        [(0, 1, 1), (1, 1, 2), (3, 1, 4), (9, 1, 4), (1, 2, 1), (2, 2, 2), (5, 2, 3), (5, 3, 2)],
    )
    def test_from_the_head_downwards(self, epoch, every, count):
        blocks = self.blocks()
        found = gradual_unfreezing(blocks, epoch=epoch, every=every)
        expected = [False] * (4 - count) + [True] * count
        assert [block.bias.requires_grad for block in blocks] == expected
        assert [block.weight.requires_grad for block in blocks] == expected
        assert found == [p for block in blocks[4 - count :] for p in block.parameters()]

    def test_one_block_an_epoch_by_default(self):
        assert len(gradual_unfreezing(self.blocks(), epoch=1)) == 4

    def test_an_optimiser_with_all_blocks_passes_over_the_frozen_ones(self):
        blocks = self.blocks()
        optimiser = torch.optim.Adam([p for b in blocks for p in b.parameters()], lr=0.1)
        start = [b.weight.clone() for b in blocks]
        moved = []
        for epoch in range(3):
            gradual_unfreezing(blocks, epoch=epoch)
            optimiser.zero_grad()
            nn.Sequential(*blocks)(torch.ones(2, 1)).square().sum().backward()
            optimiser.step()
            moved.append([not torch.equal(b.weight, s) for b, s in zip(blocks, start, strict=True)])
        assert moved == [[False] * 3 + [True], [False] * 2 + [True] * 2, [False] + [True] * 3]

    @pytest.mark.parametrize("settings", [{"epoch": -1}, {"epoch": 0, "every": 0}])
    def test_bad_numbers(self, settings):
        with pytest.raises(ValueError, match=r"(epoch|every) must lie in"):
            gradual_unfreezing(self.blocks(), **settings)


class TestLayerwiseRates:
    def test_geometric_towards_the_input(self):
        blocks = [nn.Linear(1, 1), nn.Linear(2, 2), nn.Linear(3, 3)]
        groups = layerwise_rates(blocks, rate=0.9, decay=1 / 3)
        assert [g["lr"] for g in groups] == pytest.approx([0.1, 0.3, 0.9])
        assert [g["params"] for g in groups] == [list(b.parameters()) for b in blocks]

    def test_in_an_optimiser(self):
        blocks = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        optimiser = torch.optim.SGD(layerwise_rates(list(blocks), rate=1.0, decay=0.5))
        before = [b.bias.clone() for b in blocks]
        for block in blocks:
            block.bias.grad = torch.ones(1)
        optimiser.step()
        moved = [float((a - b.bias).detach()) for a, b in zip(before, blocks, strict=True)]
        assert moved == pytest.approx([0.5, 1.0])

    @pytest.mark.parametrize("decay", [0, 1])
    def test_limits(self, decay):
        groups = layerwise_rates([nn.Linear(1, 1), nn.Linear(1, 1)], rate=2, decay=decay)
        assert [g["lr"] for g in groups] == [2 * decay, 2]

    @pytest.mark.parametrize("settings", [{"rate": -1, "decay": 1}, {"rate": 1, "decay": 1.1}])
    def test_bad_numbers(self, settings):
        with pytest.raises(ValueError, match=r"(rate|decay) must lie in"):
            layerwise_rates([nn.Linear(1, 1)], **settings)

    def test_frozen_blocks(self):
        block = nn.Linear(1, 1).requires_grad_(False)
        assert len(layerwise_rates([block, nn.Linear(1, 1)], rate=1, decay=1)) == 2
        with pytest.raises(ValueError, match="all 2 parameters of the model are frozen"):
            layerwise_rates([block], rate=1, decay=1)


SHARED = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([], "blocks is empty"),
        ([nn.Linear(1, 1), nn.ReLU()], r"blocks\[1\] has no parameters; leave it out"),
        ([SHARED, nn.Sequential(nn.ReLU(), SHARED)], r"blocks\[1\] shares parameters"),
    ],
)
def test_bad_blocks(blocks, words):
    with pytest.raises(ValueError, match=words):
        layerwise_rates(blocks, rate=1, decay=1)
    with pytest.raises(ValueError, match=words):
        gradual_unfreezing(blocks, epoch=0)


class TestL2SP:
    def now(self):
        return {"a": normal(2, 3, dtype=torch.float64), "b": normal(4, seed=1, dtype=torch.float64),
                "head": normal(5, seed=2, dtype=torch.float64)}  # fmt: skip

    def start(self):
        return {"a": normal(2, 3, seed=3, dtype=torch.float64), "b": torch.ones(4).double()}

    def test_closed_form(self):
        now, start = self.now(), self.start()
        moved = (now["a"] - start["a"]).norm() ** 2 + (now["b"] - 1).norm() ** 2
        expected = 0.35 * moved + 0.15 * now["head"].norm() ** 2
        assert_close(l2_sp(now, start, weight=0.7, head_weight=0.3), expected)
        assert_close(l2_sp(now, start, weight=0.7), 0.35 * moved)

    def test_is_weight_decay_at_a_start_of_zero(self):
        """The gradient is the one that torch's SGD adds for weight_decay."""
        model, decayed = nn.Linear(2, 2), nn.Linear(2, 2)
        decayed.load_state_dict(model.state_dict())
        zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        l2_sp(model, zeros, weight=0.4).backward()
        torch.optim.SGD(model.parameters(), lr=0.5).step()
        for p in decayed.parameters():
            p.grad = torch.zeros_like(p)
        torch.optim.SGD(decayed.parameters(), lr=0.5, weight_decay=0.4).step()
        assert_close(model.weight, decayed.weight)

    def test_zero_at_the_start_and_gradient_towards_it(self):
        model = Network()
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        assert float(l2_sp(model, start, weight=3.0, head_weight=3.0).detach()) == 0
        with torch.no_grad():
            model.head.bias += 2
        l2_sp(model, start, weight=3.0).backward()
        assert_close(model.head.bias.grad, torch.full((3,), 6.0))
        assert float(model.body2.weight.grad.abs().max()) == 0

    def test_gradients(self):
        start = self.start()
        names, values = zip(*self.now().items(), strict=True)
        inputs = tuple(v.requires_grad_() for v in values)

        def penalty(*tensors):
            now = dict(zip(names, tensors, strict=True))
            return l2_sp(now, start, weight=0.7, head_weight=0.3)

        assert torch.autograd.gradcheck(penalty, inputs)
        assert torch.autograd.gradgradcheck(penalty, inputs)

    def test_no_gradient_into_the_start(self):
        start = {"a": torch.ones(2, requires_grad=True)}
        now = {"a": torch.zeros(2, requires_grad=True)}
        l2_sp(now, start, weight=1.0).backward()
        assert start["a"].grad is None

    def test_inside_torch_func(self):
        start = {"a": torch.tensor([1.0])}
        gradient = torch.func.grad(lambda p: l2_sp(p, start, weight=2.0))(
            {"a": torch.tensor([4.0])}
        )
        assert_close(gradient["a"], torch.tensor([6.0]))

    def test_a_start_that_moves_along(self):
        """state_dict() gives the model's own memory: the penalty would be 0 for ever."""
        model = nn.Linear(2, 2)
        with pytest.raises(ValueError, match=r"start\['weight'\] is the parameter itself"):
            l2_sp(model, model.state_dict(), weight=1.0)
        with pytest.raises(ValueError, match="copy it with"):
            l2_sp(model, dict(model.named_parameters()), weight=1.0)

    def test_a_single_number_and_none_at_all(self):
        one = {"a": torch.ones(1)}
        with pytest.raises(ValueError, match="is the parameter itself"):
            l2_sp(one, one, weight=1.0)
        none = {"a": torch.ones(0)}
        assert float(l2_sp(none, {"a": torch.ones(0)}, weight=1.0)) == 0

    @pytest.mark.parametrize(
        ("start", "settings", "error", "words"),
        [
            ({"c": torch.ones(1)}, {}, ValueError, "none of the parameters has a starting point"),
            ({"hed": torch.ones(1)}, {}, ValueError, "starting point; did you mean 'head'"),
            ({}, {}, ValueError, "none of the parameters"),
            ({"b": torch.ones(3)}, {}, ValueError, r"'b' has the shapes \(4,\) and \(3,\); leave"),
            ({"b": torch.ones(4)}, {"weight": -1.0}, ValueError, "weight must lie in"),
            ({"b": torch.ones(4)}, {"head_weight": -1.0}, ValueError, "head_weight must lie in"),
            (torch.ones(4), {}, TypeError, "start must be a model or a mapping"),
        ],
    )
    def test_bad_input(self, start, settings, error, words):
        with pytest.raises(error, match=words):
            l2_sp(self.now(), start, **{"weight": 1.0} | settings)

    def test_bad_parameters(self):
        with pytest.raises(TypeError, match=r"parameters must be a model or a mapping.*got list"):
            l2_sp([torch.ones(1)], {"a": torch.ones(1)}, weight=1.0)


class TestBitfit:
    def test_biases_and_more(self):
        model = Network()
        freeze(model, "body2")
        assert bitfit(model) == ["body.1.bias", "body.3.bias", "body.4.bias", "body2.bias",
                                 "head.bias"]  # fmt: skip
        assert learning(model) == bitfit(model)
        assert bitfit(model, "head") == ["body.1.bias", "body.3.bias", "body.4.bias", "body2.bias",
                                         "head.weight", "head.bias"]  # fmt: skip
        assert len(learning(model)) == 6

    def test_a_name_that_merely_ends_alike(self):
        model = nn.Module()
        model.unbias = nn.Parameter(torch.ones(1))
        model.bias = nn.Parameter(torch.ones(1))
        assert bitfit(model) == ["bias"]

    def test_no_bias(self):
        with pytest.raises(ValueError, match="the model has no bias to learn"):
            bitfit(nn.Linear(1, 1, bias=False))


EVERYWHERE = ["body", "body2", "head"]


def with_lora(rank=2, seed=0, scale=0.7):
    """A network whose low-rank changes are no longer 0."""
    model = Network()
    changes = add_lora(model, EVERYWHERE, rank=rank, scale=scale, generator=seeded(seed))
    for position, change in enumerate(changes):
        nn.init.normal_(change.up, generator=seeded(position))
    return model.eval(), changes


class TestLora:
    def test_nothing_changes_at_the_start(self):
        model = Network().eval()
        before = model(IMAGES)
        add_lora(model, EVERYWHERE, rank=2)
        assert torch.equal(model(IMAGES), before)

    def test_weight_of_a_linear_layer(self):
        model = nn.Linear(5, 3, dtype=torch.float64)
        W = model.weight.detach().clone()
        wrapped = nn.Sequential(model)
        [change] = add_lora(wrapped, "0", rank=2, scale=0.3)
        nn.init.normal_(change.up)
        A, B = change.down.detach(), change.up.detach()
        x = normal(7, 5, dtype=torch.float64)
        assert_close(wrapped(x), x @ W.T + 0.3 * (x @ A.T) @ B.T + model.bias)

    @pytest.mark.parametrize("bias", [False, True])
    def test_a_convolution_is_two_convolutions(self, bias):
        """The reference: r channels by the kernel A, mixed by B, added to the old output."""
        conv = nn.Conv2d(3, 4, (2, 3), stride=2, padding=1, bias=bias).double()
        old = copy.deepcopy(conv)
        wrapped = nn.Sequential(conv)
        [change] = add_lora(wrapped, ["0"], rank=2, scale=1.5)
        nn.init.normal_(change.up)
        x = normal(2, 3, 7, 8, dtype=torch.float64)
        narrow = nn.functional.conv2d(x, change.down.view(2, 3, 2, 3), stride=2, padding=1)
        added = nn.functional.conv2d(narrow, change.up.view(4, 2, 1, 1))
        assert_close(wrapped(x), old(x) + 1.5 * added)

    def test_ranks_of_the_change(self):
        _, changes = with_lora(rank=1)
        for change in changes:
            zero = torch.zeros(len(change.up), change.down.shape[1])
            assert torch.linalg.matrix_rank(change(zero)) == 1

    def test_what_learns(self):
        model = Network()
        freeze(model)
        changes = add_lora(model, "body2", rank=3)
        assert trainable(model) == [changes[0].down, changes[0].up]
        assert sum(p.numel() for p in trainable(model)) == 3 * (4 + 4)
        unfreeze(model, "head")
        before = model.body2.parametrizations.weight.original.clone()
        train(model, trainable(model))
        assert torch.equal(model.body2.parametrizations.weight.original, before)
        assert float(changes[0].up.detach().abs().max()) > 0

    def test_other_parameters_are_left_as_they_are(self):
        model = Network()
        add_lora(model, "head", rank=1)
        assert "head.bias" in learning(model)
        assert "head.parametrizations.weight.original" not in learning(model)

    def test_draws(self):
        model = nn.Sequential(nn.Conv2d(8, 50, 5))
        [change] = add_lora(model, "0", rank=40, generator=seeded())
        assert change.down.shape == (40, 200)
        assert_close(change.down.std().detach(), torch.tensor(200**-0.5), rtol=0.05, atol=0)
        again = nn.Sequential(nn.Conv2d(8, 50, 5))
        [same] = add_lora(again, "0", rank=40, generator=seeded())
        assert torch.equal(change.down, same.down)
        assert float(change.up.detach().abs().max()) == 0
        assert change.scale == 1

    def test_layers_by_pattern_in_the_models_order(self):
        model = Network()
        changes = add_lora(model, ["head", "body.*"], rank=1)
        assert [c.up.shape[0] for c in changes] == [4, 4, 3]
        assert not hasattr(model.body2, "parametrizations")

    def test_attention_computes_with_the_change(self):
        """Attention reads the weight of its output layer without calling the layer."""
        layer = nn.MultiheadAttention(4, 2, batch_first=True)
        x = normal(2, 3, 4)
        before = layer(x, x, x)[0]
        [change] = add_lora(layer, "out_proj", rank=1)
        nn.init.ones_(change.up)
        assert not torch.allclose(layer(x, x, x)[0], before, atol=1e-3)

    @given(SEEDS)
    def test_merged_and_unmerged_exactly(self, seed):
        model, _ = with_lora(seed=seed)
        original = {k: v.clone() for k, v in model.state_dict().items()}
        before = model(IMAGES)
        names = ["body.0", "body.3", "body2", "head"]
        assert merge_lora(model) == names
        assert torch.equal(model(IMAGES), before)
        assert not torch.equal(model.head.parametrizations.weight.original,
                               original["head.parametrizations.weight.original"])  # fmt: skip
        assert unmerge_lora(model) == names
        assert torch.equal(model(IMAGES), before)
        state = model.state_dict()
        assert list(state) == list(original)
        assert all(torch.equal(state[k], original[k]) for k in original)

    def test_merging_twice_merges_once(self):
        model, _ = with_lora()
        before = model(IMAGES)
        merge_lora(model)
        merge_lora(model)
        assert torch.equal(model(IMAGES), before)
        unmerge_lora(model)
        unmerge_lora(model)
        assert torch.equal(model(IMAGES), before)

    def test_a_merged_change_does_not_learn(self):
        model, _ = with_lora()
        freeze(model)
        unfreeze(model, "*.up", "*.down")
        merge_lora(model)
        with pytest.raises(ValueError, match="all 19 parameters of the model are frozen"):
            trainable(model)
        unmerge_lora(model)
        assert len(trainable(model)) == 8

    def test_plain_layers_are_left(self):
        model, _ = with_lora()
        before = model(IMAGES)
        assert merge_lora(model, keep=False) == ["body.0", "body.3", "body2", "head"]
        assert torch.equal(model(IMAGES), before)
        assert sorted(model.state_dict()) == sorted(Network().state_dict())
        assert type(model.head) is nn.Linear
        fresh = Network().eval()
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(fresh(IMAGES), before)

    def test_plain_layers_of_a_merged_model(self):
        model, _ = with_lora()
        before = model(IMAGES)
        merge_lora(model)
        merge_lora(model, keep=False)
        assert torch.equal(model(IMAGES), before)

    def test_a_merged_state_does_not_pass_for_an_unmerged_one(self):
        model, _ = with_lora()
        other, _ = with_lora()
        merge_lora(model)
        with pytest.raises(RuntimeError, match="kept"):
            other.load_state_dict(model.state_dict())

    def test_copies_and_64_bits(self):
        model, _ = with_lora()
        twin = copy.deepcopy(model).double()
        assert_close(twin(IMAGES.double()), model(IMAGES).double(), atol=1e-4, rtol=1e-4)
        merge_lora(twin)
        assert model.head.parametrizations.weight[0].kept is None

    def test_gradients(self):
        model = nn.Sequential(nn.Conv1d(2, 3, 2, dtype=torch.float64))
        [change] = add_lora(model, "0", rank=2, scale=0.5)
        nn.init.normal_(change.up, generator=seeded())
        W = normal(3, 2, 2, dtype=torch.float64)
        down, up = change.down.detach().requires_grad_(), change.up.detach().requires_grad_()

        def output(down, up):
            return torch.func.functional_call(change, {"down": down, "up": up}, (W,)).square()

        assert torch.autograd.gradcheck(output, (down, up))

    @pytest.mark.parametrize(
        ("names", "settings", "words"),
        [
            (
                "head",
                {"rank": 4},
                "whole number from 1 to 3, the smaller side of 'head' with 3 × 4",
            ),
            ("body.0", {"rank": 5}, r"from 1 to 4, the smaller side of 'body.0' with 4 × 18"),
            ("head", {"rank": 0}, "got 0"),
            ("head", {"rank": 1.0}, "got 1.0"),
            ("haed", {"rank": 1}, "no linear or convolutional layer matches 'haed'; did you mean"),
            ("body.1", {"rank": 1}, "no linear or convolutional layer matches 'body.1'"),
            ([], {"rank": 1}, "names is empty"),
            ("head", {"rank": 1, "scale": -1}, "scale must lie in"),
        ],
    )
    def test_bad_input(self, names, settings, words):
        model = Network()
        with pytest.raises(ValueError, match=words):
            add_lora(model, names, **settings)
        assert len(learning(model)) == 11

    def test_full_rank_and_a_single_output(self):
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        assert [c.up.shape for c in add_lora(model, "0", rank=2)] == [(2, 2)]
        assert [c.up.shape for c in add_lora(model, "1", rank=1)] == [(1, 1)]

    def test_twice(self):
        model = Network()
        add_lora(model, "head", rank=1)
        with pytest.raises(ValueError, match="'head' has a low-rank change already"):
            add_lora(model, EVERYWHERE, rank=1)
        assert not hasattr(model.body2, "parametrizations")

    @pytest.mark.parametrize("function", [merge_lora, unmerge_lora])
    def test_without_a_change(self, function):
        with pytest.raises(ValueError, match="no low-rank change; call add_lora first"):
            function(Network())

    def test_other_parametrisations_are_left(self):
        model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
        with pytest.raises(ValueError, match="no low-rank change"):
            merge_lora(model)


class TestAdapters:
    def test_nothing_changes_at_the_start(self):
        model = Network().eval()
        before = model(IMAGES)
        add_adapters(model, ["body.0", "body", "body2"], inputs=IMAGES, bottleneck=2)
        assert torch.equal(model(IMAGES), before)

    def test_closed_form(self):
        adapter = BottleneckAdapter(3, bottleneck=2).double()
        for p in adapter.parameters():
            nn.init.normal_(p, generator=seeded())
        h = normal(5, 4, 3, dtype=torch.float64)
        narrow = (h @ adapter.down.T + adapter.down_bias).clamp(min=0)
        assert_close(adapter(h), h + narrow @ adapter.up.T + adapter.up_bias)
        assert (narrow == 0).any()

    def test_feature_maps_are_mapped_place_by_place(self):
        adapter = BottleneckAdapter(3, bottleneck=2, axis=1)
        nn.init.normal_(adapter.up)
        maps = normal(2, 3, 4, 5)
        found = adapter(maps)
        assert_close(found[:, :, 2, 3], BottleneckAdapterLike(adapter)(maps[:, :, 2, 3]))

    def test_follows_its_layer(self):
        model = Network().eval()
        adapters = add_adapters(model, ["head", "body.3"], inputs=IMAGES, bottleneck=3)
        assert [a.up.shape[0] for a in adapters] == [4, 3]
        assert model.body[3].adapter is adapters[0]
        for adapter in adapters:
            nn.init.normal_(adapter.up)
        plain = Network().eval()
        plain.load_state_dict(model.state_dict(), strict=False)
        h = plain.body[:3](IMAGES)
        h = plain.body[4](adapters[0](plain.body[3](h)))
        expected = adapters[1](plain.head(plain.body2(h.mean((2, 3))).relu()))
        assert_close(model(IMAGES), expected)

    def test_a_sequence_of_layers_runs_it_once(self):
        """Sequential runs its submodules itself: a hook beside that would adapt twice."""
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
        x = normal(4, 2)
        [adapter] = add_adapters(model, "0", inputs=x, bottleneck=1)
        nn.init.constant_(adapter.up_bias, 10.0)
        h = model[0][1](model[0][0](x)) + 10
        assert_close(model(x), model[1](h))

    def test_a_submodule_with_its_own_forward(self):
        model = nn.Sequential(Network())
        [adapter] = add_adapters(model, "0", inputs=IMAGES, bottleneck=1)
        model.eval()
        before = model(IMAGES)
        nn.init.constant_(adapter.up_bias, 10.0)
        assert_close(model(IMAGES), before + 10)

    @pytest.mark.parametrize(
        ("layer", "inputs", "axis"),
        [
            (nn.Linear(3, 5), (2, 3), -1),
            (nn.Linear(3, 5), (2, 7, 3), -1),
            (nn.Conv1d(3, 5, 1), (2, 3, 7), 1),
            (nn.Conv2d(3, 5, 1), (2, 3, 7, 6), 1),
            (nn.Conv3d(3, 5, 1), (2, 3, 7, 6, 4), 1),
        ],
    )
    def test_where_the_features_are(self, layer, inputs, axis):
        model = nn.Sequential(layer)
        [adapter] = add_adapters(model, "0", inputs=normal(*inputs), bottleneck=1)
        assert adapter.axis == axis
        assert adapter.up.shape == (5, 1)
        assert model(normal(*inputs)).shape == layer(normal(*inputs)).shape

    def test_what_learns(self):
        model = Network()
        freeze(model)
        [adapter] = add_adapters(model, "body2", inputs=IMAGES, bottleneck=3)
        assert trainable(model) == list(adapter.parameters())
        before = {k: v.clone() for k, v in model.named_parameters() if "adapter" not in k}
        train(model, trainable(model))
        assert all(torch.equal(v, model.get_parameter(k)) for k, v in before.items())
        assert float(adapter.up.detach().abs().max()) > 0

    def test_draws(self):
        [first, other] = [
            add_adapters(m, "0", inputs=torch.ones(1, 2), bottleneck=50, generator=seeded())[0]
            for m in (nn.Sequential(nn.Linear(2, 100)), nn.Sequential(nn.Linear(2, 100)))
        ]
        assert torch.equal(first.down, other.down)
        assert_close(first.down.std().detach(), torch.tensor(0.02**0.5), rtol=0.05, atol=0)

    def test_copies_have_their_own(self):
        model = Network()
        add_adapters(model, "head", inputs=IMAGES, bottleneck=1)
        twin = copy.deepcopy(model)
        nn.init.constant_(twin.head.adapter.up_bias, 10.0)
        assert_close(twin.eval()(IMAGES), model.eval()(IMAGES) + 10)

    def test_leaves_the_model_as_it_was(self):
        model = Network().double()
        model.body.eval()
        [adapter] = add_adapters(model, "body.0", inputs=IMAGES.double(), bottleneck=1)
        assert adapter.up.dtype == torch.float64
        assert [model.training, model.body.training, model.body[1].training] == [True, False, False]
        assert float(model.body[4].running_mean.abs().max()) == 0

    @pytest.mark.parametrize(
        ("names", "bottleneck", "error", "words"),
        [
            ("body.9", 1, ValueError, "no layer matches 'body.9'"),
            ("heed", 1, ValueError, "did you mean 'head'"),
            ("head", 4, ValueError, r"bottleneck must lie in \[1, 3\], got 4"),
            ("head", 0, ValueError, r"bottleneck must lie in \[1, 3\], got 0"),
            ("unused", 1, ValueError, "doesn't run its layer 'unused'"),
            ([], 1, ValueError, "names is empty"),
        ],
    )
    def test_bad_input(self, names, bottleneck, error, words):
        model = Network()
        model.unused = nn.Linear(1, 1)
        with pytest.raises(error, match=words):
            add_adapters(model, names, inputs=IMAGES, bottleneck=bottleneck)
        assert not any("adapter" in name for name, _ in model.named_modules())
        assert not any(module._forward_hooks for module in model.modules())

    def test_twice_and_other_outputs(self):
        model = Network()
        add_adapters(model, "head", inputs=IMAGES, bottleneck=1)
        with pytest.raises(ValueError, match="'head' has an adapter already"):
            add_adapters(model, ["head", "body2"], inputs=IMAGES, bottleneck=1)
        with pytest.raises(TypeError, match="layer '0' returns tuple, not a tensor"):
            add_adapters(nn.Sequential(nn.LSTM(2, 3)), "0", inputs=torch.ones(4, 2), bottleneck=1)
        with pytest.raises(TypeError, match="inputs must hold floating-point numbers"):
            add_adapters(model, "body2", inputs=IMAGES.long(), bottleneck=1)


def BottleneckAdapterLike(adapter):  # noqa: N802
    """The same adapter on the last axis."""
    twin = copy.deepcopy(adapter)
    twin.axis = -1
    return twin


class TestHardSharing:
    def test_one_step_moves_both(self):
        first, second = Network(3), Network(5)
        shared = hard_sharing(first, second, "body", "body2")
        assert len(shared) == 9
        assert all(first.get_parameter(n) is second.get_parameter(n) for n in shared)
        before = second.body2.weight.clone()
        train(first, first.parameters())
        assert not torch.equal(second.body2.weight, before)
        assert torch.equal(second.body2.weight, first.body2.weight)
        both = list(nn.ModuleList([first, second]).parameters())
        assert len(both) == 11 + 2  # an optimiser of both has the shared ones once

    def test_statistics_stay_apart(self):
        first, second = Network(), Network()
        assert len(hard_sharing(first, second)) == 11
        first(IMAGES)
        assert float(second.body[1].running_mean.abs().max()) == 0

    def test_tied_parameters_stay_tied(self):
        first, second = (
            nn.ModuleDict({"a": m, "b": m}) for m in (nn.Linear(1, 1), nn.Linear(1, 1))
        )
        assert hard_sharing(first, second, "*.weight") == ["a.weight", "b.weight"]
        assert second["b"].weight is first["a"].weight

    @pytest.mark.parametrize(
        ("patterns", "words"),
        [
            ((), r"'head.weight' has the shapes \(3, 4\) and \(5, 4\)"),
            (("haed",), "no parameter matches 'haed'; did you mean 'head'"),
        ],
    )
    def test_bad_names(self, patterns, words):
        first, second = Network(3), Network(5)
        before = list(second.parameters())
        with pytest.raises(ValueError, match=words):
            hard_sharing(first, second, *patterns)
        with pytest.raises(ValueError, match=words):
            soft_sharing(first, second, *patterns)
        assert all(a is b for a, b in zip(before, second.parameters(), strict=True))

    def test_names_that_the_target_lacks(self):
        source = nn.ModuleDict({"body": nn.Linear(1, 1), "extra": nn.Linear(1, 1)})
        target = nn.ModuleDict({"body": nn.Linear(1, 1)})
        for sharing in (hard_sharing, soft_sharing):
            with pytest.raises(
                ValueError, match=r"target has no parameter 'extra.weight'.*name what"
            ):
                sharing(source, target)
            sharing(source, target, "body")


class TestSoftSharing:
    def parts(self):
        first = {
            "a": normal(2, 3, dtype=torch.float64),
            "b": normal(4, seed=1, dtype=torch.float64),
        }
        other = {"b": normal(4, seed=2, dtype=torch.float64), "a": torch.ones(2, 3).double()}
        return first, other

    def test_closed_form(self):
        first, other = self.parts()
        a, b = (first["a"] - 1).norm() ** 2, (first["b"] - other["b"]).norm() ** 2
        assert_close(soft_sharing(first, other), a + b)
        assert_close(soft_sharing(first, other, "b"), b)
        assert_close(soft_sharing(other, first), a + b)
        assert float(soft_sharing(first, first)) == 0

    def test_both_are_drawn_together(self):
        first, second = Network(3), Network(5)
        soft_sharing(first, second, "body2.bias").backward()
        apart = (first.body2.bias - second.body2.bias).detach()
        assert_close(first.body2.bias.grad, 2 * apart)
        assert_close(second.body2.bias.grad, -2 * apart)
        assert first.head.bias.grad is None

    def test_gradients(self):
        first, other = self.parts()
        inputs = (first["a"].requires_grad_(), other["a"].requires_grad_())

        def penalty(a, b):
            return soft_sharing({"w": a}, {"w": b})

        assert torch.autograd.gradcheck(penalty, inputs)
        assert torch.autograd.gradgradcheck(penalty, inputs)

    def test_neither_model_nor_mapping(self):
        with pytest.raises(TypeError, match="source must be a model or a mapping"):
            soft_sharing([1], {})
        with pytest.raises(TypeError, match="target must be a model or a mapping"):
            soft_sharing({"a": torch.ones(1)}, 3)


def source_statistics(model):
    """Running statistics as a source would have left them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.normal_(generator=seeded(1))
            module.running_var.uniform_(0.5, 2, generator=seeded(2))
            module.num_batches_tracked.fill_(7)
    return model


class TestAdabn:
    def test_one_batch_is_what_train_mode_normalises_by(self):
        model = source_statistics(Network())
        assert adabn(model, IMAGES) == ["body.1", "body.4"]
        assert_close(model.eval()(IMAGES), copy.deepcopy(model).train()(IMAGES))

    def test_the_prior_is_named(self):
        with pytest.raises(TypeError, match="positional"):
            adabn(Network(), IMAGES, 0.5)

    def test_moments_of_the_first_layer(self):
        model = source_statistics(Network())
        adabn(model, IMAGES)
        h = model.body[0](IMAGES).detach().transpose(0, 1).flatten(1)
        assert_close(model.body[1].running_mean, h.mean(1))
        assert_close(model.body[1].running_var, h.var(1, correction=0))

    @given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def test_batches_of_any_sizes_pool_to_all_inputs(self, sizes):
        """Averaging the batches' variances, as torch's momentum=None does, forgets what lies
        between their means, and counts a short last batch as much as a long one."""
        x = 3 * normal(sum(sizes), 2, 3, 3, seed=5) + torch.arange(sum(sizes)).view(-1, 1, 1, 1)
        model = nn.Sequential(nn.BatchNorm2d(2))
        adabn(model, iter(torch.split(x, sizes)))
        by_channel = x.transpose(0, 1).flatten(1)
        assert_close(model[0].running_mean, by_channel.mean(1))
        assert_close(model[0].running_var, by_channel.var(1, correction=0))

    def test_torch_averages_batches(self):
        x = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
        average, pooled = nn.BatchNorm1d(1, momentum=None), nn.BatchNorm1d(1)
        for batch in torch.split(x, 2):
            average(batch)
        adabn(pooled, torch.split(x, 2))
        assert average.running_var.item() == pytest.approx(2.0)  # within the batches alone
        assert pooled.running_var.item() == pytest.approx(26.0)

    @pytest.mark.parametrize("prior", [0.0, 2.0, 6.0])
    def test_prior_counts_inputs(self, prior):
        model = source_statistics(nn.Sequential(nn.BatchNorm2d(2)))
        old = {k: v.clone() for k, v in model[0].named_buffers()}
        adabn(model, torch.split(IMAGES, 4), prior=prior)
        new = nn.Sequential(nn.BatchNorm2d(2))
        adabn(new, IMAGES)
        share = prior / (prior + 6)
        for name in ("running_mean", "running_var"):
            expected = share * old[name] + (1 - share) * getattr(new[0], name)
            assert_close(getattr(model[0], name), expected)

    def test_nothing_else_is_touched(self):
        model = source_statistics(Network()).train()
        model.body[1].momentum = 0.3
        model.body[3].eval()
        state = {k: v.clone() for k, v in model.state_dict().items()}
        modes = [m.training for m in model.modules()]
        adabn(model, IMAGES)
        changed = [k for k, v in model.state_dict().items() if not torch.equal(v, state[k])]
        assert changed == ["body.1.running_mean", "body.1.running_var", "body.4.running_mean",
                           "body.4.running_var"]  # fmt: skip
        assert [m.training for m in model.modules()] == modes
        assert not any(m._forward_pre_hooks for m in model.modules())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())

    def test_dropout_is_off(self):
        model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2))
        x = normal(20, 2)
        adabn(model, x)
        assert_close(model[1].running_mean, x.mean(0))

    def test_half_precision(self):
        model = nn.Sequential(nn.BatchNorm1d(2)).bfloat16()
        adabn(model, normal(50, 2).bfloat16())
        assert model[0].running_mean.dtype == torch.bfloat16

    def test_a_failure_leaves_the_statistics(self):
        model = source_statistics(nn.Sequential(nn.BatchNorm1d(2)))
        before = {k: v.clone() for k, v in model[0].named_buffers()}
        with pytest.raises(ValueError, match="NaN"):
            adabn(model, [normal(4, 2), torch.full((3, 2), math.nan)])
        assert all(torch.equal(v, before[k]) for k, v in model[0].named_buffers())
        assert not model[0]._forward_pre_hooks

    def test_batch_norm_that_does_not_run_is_left(self):
        model = nn.Module()
        model.used, model.unused = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        model.forward = lambda x: model.used(x)
        assert adabn(model, normal(4, 2)) == ["used"]
        assert model.unused.running_mean.tolist() == [0, 0]
        model.forward = lambda x: x
        with pytest.raises(ValueError, match="the model runs no batch norm"):
            adabn(model, normal(4, 2))

    @pytest.mark.parametrize(
        ("model", "batches", "settings", "error", "words"),
        [
            (nn.Linear(2, 2), torch.ones(3, 2), {}, ValueError, "runs no batch norm with running"),
            (nn.BatchNorm1d(2, track_running_stats=False), torch.ones(3, 2), {}, ValueError,
             "runs no batch norm with running statistics"),
            (nn.BatchNorm1d(2), [], {}, ValueError, "there are no batches; give at least one"),
            (nn.BatchNorm1d(2), torch.ones(1, 2), {}, ValueError, "a single value a channel"),
            (nn.BatchNorm1d(2), torch.ones(3, 2), {"prior": -1}, ValueError, "prior must lie in"),
            (nn.BatchNorm1d(2), torch.ones(3, 2).long(), {}, TypeError, "floating-point numbers"),
            (nn.BatchNorm1d(2), torch.ones(0, 2), {}, ValueError, "is empty"),
        ],
    )  # fmt: skip
    def test_bad_input(self, model, batches, settings, error, words):
        with pytest.raises(error, match=words):
            adabn(model, batches, **settings)


class TestTent:
    def test_what_learns(self):
        model = Network().train()
        norms = [model.body[1], model.body[4]]
        assert tent(model) == [p for n in norms for p in (n.weight, n.bias)]
        assert tent(model) == trainable(model)
        assert not model.training

    def test_each_batch_is_normalised_by_itself_also_in_eval_mode(self):
        model = source_statistics(Network())
        expected = copy.deepcopy(model).train()(IMAGES)
        tent(model)
        assert_close(model(IMAGES), expected)
        assert_close(model.train()(IMAGES), expected)
        assert_close(model.eval()(IMAGES), expected)

    def test_a_step_by_hand(self):
        model = source_statistics(Network())
        tent(model)
        twin = copy.deepcopy(model)
        gamma = twin.body[4].weight
        loss = entropy(twin(IMAGES))
        [gradient] = torch.autograd.grad(loss, [gamma])
        optimiser = torch.optim.SGD(trainable(model), lr=0.3)
        before = model.head.weight.clone()
        logits = tent_step(model, IMAGES, optimiser)
        assert_close(logits, twin(IMAGES).detach())  # those before the step
        assert not logits.requires_grad
        assert_close(model.body[4].weight, gamma - 0.3 * gradient)
        assert torch.equal(model.head.weight, before)

    def test_entropy_falls(self):
        model = Network()
        nn.init.normal_(model.head.weight, std=5)
        optimiser = torch.optim.SGD(tent(model), lr=0.5)
        found = [float(entropy(tent_step(model, IMAGES, optimiser))) for _ in range(20)]
        assert found[-1] < 0.9 * found[0]

    def test_gradients_do_not_add_up(self):
        model = source_statistics(Network())
        twin = copy.deepcopy(model)
        for m in (model, twin):
            optimiser = torch.optim.SGD(tent(m), lr=0.0)
            tent_step(m, IMAGES, optimiser)
            if m is model:
                tent_step(m, IMAGES, optimiser)
        assert_close(model.body[1].weight.grad, twin.body[1].weight.grad)

    def test_scale_alone(self):
        model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False))
        assert tent(model) == [model[0].weight, model[0].bias]
        assert model[1].running_var is None
        assert not model[1].track_running_stats

    @pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)])
    def test_nothing_to_train(self, model):
        with pytest.raises(ValueError, match="no batch norm with scale and shift"):
            tent(model)
        assert all(p.requires_grad for p in model.parameters())

    def test_model_that_was_not_prepared(self):
        model = Network()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=r"prepare it with tent\(model\)"):
            tent_step(model, IMAGES, optimiser)
        with pytest.raises(ValueError, match="prepare it"):
            tent_step(nn.Linear(2, 2), torch.ones(2, 2), optimiser)

    def test_optimiser_of_another_copy(self):
        model = Network()
        optimiser = torch.optim.SGD(tent(model), lr=0.1)
        with pytest.raises(ValueError, match="the optimiser holds no parameter of this model"):
            tent_step(copy.deepcopy(model), IMAGES, optimiser)

    def test_a_frozen_model(self):
        model = Network()
        optimiser = torch.optim.SGD(tent(model), lr=0.1)
        freeze(model)
        with pytest.raises(ValueError, match="all 11 parameters of the model are frozen"):
            tent_step(model, IMAGES, optimiser)

    def test_bad_inputs(self):
        model = Network()
        optimiser = torch.optim.SGD(tent(model), lr=0.1)
        with pytest.raises(ValueError, match="NaN"):
            tent_step(model, IMAGES * math.nan, optimiser)
        with pytest.raises(TypeError, match="inputs must hold floating-point"):
            tent_step(model, IMAGES.long(), optimiser)
        single = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
        with pytest.raises(ValueError, match="has one class only"):
            tent_step(single, normal(4, 2), torch.optim.SGD(tent(single), lr=0.1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestOnAGpu:
    def test_new_parameters_are_where_the_model_is(self):
        model, images = Network().cuda(), IMAGES.cuda()
        add_lora(model, "head", rank=1, generator=seeded())
        add_adapters(model, "body2", inputs=images, bottleneck=1, generator=seeded())
        assert all(p.is_cuda for p in model.parameters())
        before = model.eval()(images)
        merge_lora(model)
        assert torch.equal(model(images), before)

    def test_batch_norm(self):
        model, images = Network().cuda(), IMAGES.cuda()
        adabn(model, images)
        assert model.body[1].running_mean.is_cuda
        assert tent_step(model, images, torch.optim.SGD(tent(model), lr=0.1)).is_cuda
