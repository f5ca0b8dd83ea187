"""Sequences: values by hand, torch's attention and smoothing, gradients, properties, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.testing import assert_close

from mapping_lib.sequences import (
    AttentionLayers,
    attention,
    attention_weights,
    multi_head_attention,
    sinusoidal_positions,
    smoothed_cross_entropy,
    smoothed_labels,
    split_heads,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)
SHARES = st.floats(0, 0.95)


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def triple(n=4, m=5, d=3, width=2, lead=(), seed=0, dtype=torch.float64):
    """Return queries, keys and values of unequal sizes."""
    return (
        normal(*lead, n, d, seed=seed, dtype=dtype),
        normal(*lead, m, d, seed=seed + 1, dtype=dtype),
        normal(*lead, m, width, seed=seed + 2, dtype=dtype),
    )


def some_mask(*shape, seed=0):
    """Draw a mask that leaves each row its first place at least."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[..., 0] = True
    return mask


def layers_of(d_source=5, d_target=3, d=8, d_out=7, bias=True, seed=0):
    sizes = ((d, d_target), (d, d_source), (d, d_source), (d_out, d))
    return AttentionLayers(
        *(
            (normal(*size, seed=seed + k), normal(size[0], seed=seed + 9 + k) if bias else None)
            for k, size in enumerate(sizes)
        )
    )


class TestAttentionWeights:
    def test_by_hand(self):
        query = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
        log = [0.0, math.log(2), math.log(3)]
        key = torch.tensor([[log[0], 0, 0, 0], [log[1], 0, 0, 0], [log[2], 0, 0, 0]])
        expected = torch.tensor([[1 / 6, 2 / 6, 3 / 6], [1 / 3, 1 / 3, 1 / 3]])
        assert_close(attention_weights(query, key), expected)

    def test_divides_by_the_root_of_the_width_of_the_keys(self):
        query, key, _ = triple(d=9)
        expected = (query @ key.T / 3).softmax(1)
        assert_close(attention_weights(query, key), expected)

    def test_masked_places_get_nothing_and_the_others_share(self):
        query = torch.zeros(2, 3, dtype=torch.float64)
        key = normal(4, 3)
        mask = torch.tensor([[True, False, True, False], [True, True, True, True]])
        expected = torch.tensor([[0.5, 0, 0.5, 0], [0.25] * 4], dtype=torch.float64)
        assert_close(attention_weights(query, key, mask=mask), expected)

    @given(seed=SEEDS, n=st.integers(1, 5), m=st.integers(1, 6), d=st.integers(1, 7))
    def test_rows_are_distributions(self, seed, n, m, d):
        weights = attention_weights(*triple(n, m, d, seed=seed)[:2], mask=some_mask(n, m))
        assert weights.shape == (n, m)
        assert (weights >= 0).all()
        assert_close(weights.sum(-1), torch.ones(n, dtype=torch.float64))

    @given(seed=SEEDS, shift=st.floats(-5, 5))
    def test_a_shift_of_all_keys_changes_nothing(self, seed, shift):
        query, key, _ = triple(seed=seed)
        assert_close(attention_weights(query, key + shift), attention_weights(query, key))

    def test_large_scores_are_stable(self):
        query = torch.tensor([[1e4]])
        key = torch.tensor([[1e4], [1e4 - 1], [-1e4]])
        assert_close(attention_weights(query, key), torch.tensor([[1.0, 0.0, 0.0]]))


class TestAttention:
    def test_by_hand(self):
        query = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
        key = torch.tensor([[0.0, 5.0, 0.0, 0.0], [math.log(3), 0.0, 0.0, 0.0]])
        value = torch.tensor([[0.0, 4.0], [8.0, -4.0]])
        assert_close(attention(query, key, value), torch.tensor([[6.0, -2.0]]))

    @pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
    @pytest.mark.parametrize("masked", [False, True])
    def test_agrees_with_torch(self, lead, masked):
        query, key, value = triple(lead=lead)
        mask = some_mask(*lead, 4, 5) if masked else None
        expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        assert_close(attention(query, key, value, mask=mask), expected)

    def test_causal_mask_agrees_with_torch(self):
        query, key, value = triple(n=6, m=6)
        mask = torch.ones(6, 6, dtype=torch.bool).tril()
        expected = scaled_dot_product_attention(query, key, value, is_causal=True)
        assert_close(attention(query, key, value, mask=mask), expected)

    def test_padding_mask_gets_an_axis_for_the_queries(self):
        query, key, value = triple(lead=(2,))
        there = torch.tensor([[True] * 5, [True, True, True, False, False]])
        found = attention(query, key, value, mask=there[:, None, :])
        assert_close(found[0], attention(query[0], key[0], value[0]))
        assert_close(found[1], attention(query[1], key[1, :3], value[1, :3]))

    def test_leading_axes_are_broadcast(self):
        query, key, value = triple()
        several = torch.stack([query, 2 * query])
        expected = torch.stack([attention(q, key, value) for q in several])
        assert_close(attention(several, key, value), expected)

    @pytest.mark.parametrize("masked", [False, True])
    def test_gradients(self, masked):
        tensors = [t.requires_grad_() for t in triple()]
        mask = some_mask(4, 5) if masked else None
        call = lambda *t: attention(*t, mask=mask)  # noqa: E731
        assert torch.autograd.gradcheck(call, tensors)
        assert torch.autograd.gradgradcheck(call, tensors)

    @given(seed=SEEDS)
    def test_order_of_the_source_does_not_matter(self, seed):
        query, key, value = triple(seed=seed)
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        found = attention(query, key[order], value[order])
        assert_close(found, attention(query, key, value))

    @given(seed=SEEDS)
    def test_permuting_the_queries_permutes_the_output(self, seed):
        query, key, value = triple(seed=seed)
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        assert_close(attention(query[order], key, value), attention(query, key, value)[order])

    @given(seed=SEEDS)
    def test_stays_between_the_values(self, seed):
        query, key, value = triple(seed=seed)
        found = attention(query, key, value)
        assert (found <= value.amax(0) + 1e-12).all()
        assert (found >= value.amin(0) - 1e-12).all()

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        query, key, value = triple(dtype=dtype)
        found = attention(query, key, value)
        assert found.dtype == dtype
        expected = attention(query.double(), key.double(), value.double())
        tolerance = max(1e-6, 8 * torch.finfo(dtype).eps)
        assert_close(found.double(), expected, atol=tolerance, rtol=0)

    def test_runs_inside_vmap_and_compile_with_a_mask(self):
        query, key, value = triple(lead=(3,))
        mask = some_mask(3, 4, 5)
        mapped = torch.func.vmap(lambda q, k, v, m: attention(q, k, v, mask=m))
        assert_close(mapped(query, key, value, mask), attention(query, key, value, mask=mask))
        compiled = torch.compile(attention, backend="eager", fullgraph=True)
        assert_close(
            compiled(query, key, value, mask=mask), attention(query, key, value, mask=mask)
        )


class TestSplitHeads:
    def test_by_hand(self):
        sequence = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]])
        expected = torch.tensor([[[1.0, 2], [7, 8]], [[3, 4], [9, 10]], [[5, 6], [11, 12]]])
        assert_close(split_heads(sequence, heads=3), expected)

    @pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
    def test_is_undone_by_putting_heads_side_by_side(self, lead):
        sequence = normal(*lead, 5, 12)
        heads = split_heads(sequence, heads=4)
        assert heads.shape == (*lead, 4, 5, 3)
        assert_close(torch.cat(heads.unbind(-3), dim=-1), sequence)

    def test_one_head_adds_an_axis(self):
        assert_close(split_heads(normal(2, 3), heads=1), normal(2, 3)[None])


class TestMultiHeadAttention:
    @pytest.mark.parametrize("heads", [1, 2, 4])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("masked", [False, True])
    def test_agrees_with_torch(self, heads, bias, masked):
        source, target = normal(2, 5, 6), normal(2, 4, 8, seed=1)
        torch.manual_seed(0)
        module = nn.MultiheadAttention(
            8, heads, bias=bias, kdim=6, vdim=6, batch_first=True, dtype=torch.float64
        )
        if bias:
            nn.init.normal_(module.in_proj_bias)
            nn.init.normal_(module.out_proj.bias)
        biases = module.in_proj_bias.chunk(3) if bias else (None, None, None)
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        layers = AttentionLayers(
            *zip(weights, biases, strict=True), (module.out_proj.weight, module.out_proj.bias)
        )
        mask = some_mask(4, 5) if masked else None
        expected, _ = module(target, source, source, attn_mask=None if mask is None else ~mask)
        found = multi_head_attention(source, target, layers, heads=heads, mask=mask)
        assert_close(found, expected)

    def test_one_head_with_identities_is_attention(self):
        one = (torch.eye(4, dtype=torch.float64), None)
        layers = AttentionLayers(one, one, one, one)
        source, target = normal(5, 4), normal(3, 4, seed=1)
        found = multi_head_attention(source, target, layers, heads=1)
        assert_close(found, attention(target, source, source))

    def test_heads_differ(self):
        one = (torch.eye(4, dtype=torch.float64), None)
        layers = AttentionLayers(one, one, one, one)
        source, target = normal(5, 4), normal(3, 4, seed=1)
        found = multi_head_attention(source, target, layers, heads=2)
        halves = [
            attention(target[:, k], source[:, k], source[:, k]) for k in (slice(2), slice(2, 4))
        ]
        assert_close(found, torch.cat(halves, dim=1))

    def test_sizes_may_all_differ(self):
        found = multi_head_attention(normal(2, 6, 5), normal(2, 4, 3), layers_of(), heads=4)
        assert found.shape == (2, 4, 7)

    def test_gradients(self):
        flat = [t.requires_grad_() for layer in layers_of(d=4) for t in layer]
        source, target = normal(4, 5).requires_grad_(), normal(3, 3, seed=1).requires_grad_()

        def call(source, target, *flat):
            layers = AttentionLayers(*zip(flat[::2], flat[1::2], strict=True))
            return multi_head_attention(source, target, layers, heads=2)

        assert torch.autograd.gradcheck(call, (source, target, *flat))

    @given(seed=SEEDS)
    def test_self_attention_without_positions_is_equivariant(self, seed):
        layers = layers_of(d_source=3, d_out=3)
        x = normal(6, 3, seed=seed)
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        plain = multi_head_attention(x, x, layers, heads=2)
        turned = multi_head_attention(x[order], x[order], layers, heads=2)
        assert_close(turned, plain[order])

    def test_padding_mask_has_an_axis_for_the_heads(self):
        source, target = normal(2, 6, 5), normal(2, 4, 3)
        there = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
        mask = there[:, None, None, :]
        found = multi_head_attention(source, target, layers_of(), heads=4, mask=mask)
        alone = multi_head_attention(source[1, :4], target[1], layers_of(), heads=4)
        assert_close(found[1], alone)


class TestSinusoidalPositions:
    def test_by_hand(self):
        found = sinusoidal_positions(3, 4, base=100.0, dtype=torch.float64)
        expected = [
            [math.sin(t), math.cos(t), math.sin(t / 10), math.cos(t / 10)] for t in range(3)
        ]
        assert_close(found, torch.tensor(expected, dtype=torch.float64))

    def test_default_base_is_ten_thousand(self):
        assert_close(sinusoidal_positions(5, 8), sinusoidal_positions(5, 8, base=10_000))
        assert sinusoidal_positions(2, 4)[1, 2].item() == pytest.approx(math.sin(0.01))

    @given(width=st.integers(1, 8), shift=st.integers(0, 9))
    def test_inner_products_depend_on_the_distance_alone(self, width, shift):
        places = sinusoidal_positions(20, 2 * width, dtype=torch.float64)
        gram = places @ places.T
        diagonal = gram.diagonal(shift)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal))
        assert gram[0, 0].item() == pytest.approx(width)

    def test_a_step_is_one_rotation(self):
        places = sinusoidal_positions(30, 8, dtype=torch.float64)
        step = torch.linalg.lstsq(places[:-3], places[3:]).solution
        assert_close(places[:-3] @ step, places[3:])
        assert_close(step @ step.T, torch.eye(8, dtype=torch.float64), atol=1e-8, rtol=0)

    def test_base_is_named(self):
        with pytest.raises(TypeError, match="positional"):
            sinusoidal_positions(3, 4, 100.0)

    def test_dtype(self):
        assert sinusoidal_positions(2, 2).dtype == torch.get_default_dtype()
        assert sinusoidal_positions(2, 2, dtype=torch.float16).dtype == torch.float16

    def test_far_places_are_exact(self):
        found = sinusoidal_positions(100_001, 2)[-1]
        expected = torch.tensor([math.sin(100_000), math.cos(100_000)])
        assert_close(found, expected, atol=1e-6, rtol=0)


Q, K, V = triple()

ERRORS = [
    (lambda: attention_weights(Q.tolist(), K), TypeError, "query must be a torch.Tensor"),
    (lambda: attention_weights(Q, K.long()), TypeError, "key must hold floating-point"),
    (lambda: attention_weights(Q, K.float()), TypeError, "one dtype"),
    (lambda: attention_weights(Q[:, :2], K), ValueError, "same features, got (4, 2) and (5, 3)"),
    (lambda: attention_weights(Q, K[:, :2]), ValueError, "same features, got (4, 3) and (5, 2)"),
    (lambda: attention_weights(Q[0], K), ValueError, "query must have the shape (..., time"),
    (lambda: attention_weights(Q, K[:0]), ValueError, "key is empty"),
    (lambda: attention_weights(Q / 0, K), ValueError, "query must be finite, got 12 infinite"),
    (lambda: attention_weights(Q * math.nan, K), ValueError, "query contains NaN in 12 of 12"),
    (lambda: attention(Q, K, V[:4]), ValueError, "one value for each key, got 4 values (4, 2)"),
    (lambda: attention(Q, K, V.repeat(2, 1)), ValueError, "for each key, got 10 values (10, 2)"),
    (
        lambda: attention(Q, K, V[None, :4].repeat(2, 1, 1)),
        ValueError,
        "one value for each key, got 4 values (2, 4, 2) for 5 keys (5, 3)",
    ),
    (lambda: attention(Q, K, V[:, 0]), ValueError, "value must have the shape"),
    (
        lambda: attention_weights(Q, K, mask=torch.ones(4, 5)),
        TypeError,
        "mask must be boolean, True where attending is allowed, got torch.float32",
    ),
    (
        lambda: attention_weights(Q, K, mask=[[True] * 5] * 4),
        TypeError,
        "mask must be a torch.Tensor",
    ),
    (
        lambda: attention_weights(Q, K, mask=torch.ones(5, 4, dtype=torch.bool)),
        ValueError,
        "mask (5, 4) doesn't fit the weights (4, 5)",
    ),
    (
        lambda: attention_weights(Q, K, mask=torch.ones(2, 4, 5, dtype=torch.bool)),
        ValueError,
        "mask (2, 4, 5) doesn't fit",
    ),
    (
        lambda: attention_weights(
            Q, K, mask=some_mask(4, 5) & torch.tensor([[1], [0], [1], [0]]) > 0
        ),
        ValueError,
        "mask leaves 2 of 4 rows nothing to attend to",
    ),
    (lambda: split_heads(Q, heads=2), ValueError, "heads must divide the 3 features of (4, 3)"),
    (lambda: split_heads(Q[None], heads=2), ValueError, "must divide the 3 features of (1, 4, 3)"),
    (lambda: split_heads(Q, heads=0), ValueError, "heads must lie in [1, inf)"),
    (lambda: split_heads(Q[0], heads=1), ValueError, "sequence must have the shape"),
    (
        lambda: multi_head_attention(normal(6, 4), normal(4, 3), layers_of(), heads=2),
        ValueError,
        "",
    ),
    (
        lambda: multi_head_attention(normal(6, 5), normal(4, 3), layers_of(), heads=3),
        ValueError,
        "heads must divide the 8 features",
    ),
    (lambda: sinusoidal_positions(0, 2), ValueError, "length must lie in [1, inf)"),
    (lambda: sinusoidal_positions(3, 3), ValueError, "width must be even"),
    (lambda: sinusoidal_positions(3, 1), ValueError, "width must lie in [2, inf)"),
    (lambda: sinusoidal_positions(3, 2, base=0.5), ValueError, "base must lie in [1, inf)"),
]


@pytest.mark.parametrize(("call", "error", "words"), ERRORS)
def test_bad_input_is_refused_in_words(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


def test_reader_learns_what_torch_does_with_a_row_that_attends_to_nothing():
    """Torch's own attention gives 0 or NaN there, by version and way; ours says so instead."""
    mask = torch.zeros(4, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match="softmax over nothing is NaN"):
        attention(Q, K, V, mask=mask)


def drawn(n=5, classes=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    return logits.to(dtype), labels


class TestSmoothedLabels:
    def test_by_hand(self):
        found = smoothed_labels(torch.tensor([2, 0]), classes=5, smoothing=0.1)
        expected = torch.tensor([[0.02, 0.02, 0.92, 0.02, 0.02], [0.92, 0.02, 0.02, 0.02, 0.02]])
        assert_close(found, expected)

    def test_the_sum_is_not_098(self):
        # One well-known library leaves the label's own even share out: 0.9 + 4 * 0.02 = 0.98.
        found = smoothed_labels(torch.tensor([3]), classes=5, smoothing=0.1)
        mistaken = torch.full((1, 5), 0.02)
        mistaken[0, 3] = 0.9
        assert_close(mistaken.sum(), torch.tensor(0.98))
        assert_close(found.sum(), torch.tensor(1.0))

    @given(SEEDS, SHARES, st.integers(2, 9))
    def test_rows_are_distributions(self, seed, smoothing, classes):
        labels = drawn(7, classes, seed)[1]
        found = smoothed_labels(labels, classes=classes, smoothing=smoothing)
        assert found.shape == (7, classes)
        assert (found >= 0).all()
        assert_close(found.sum(1), torch.ones(7))
        assert_close(found.gather(1, labels[:, None]).squeeze(1), found.max(1).values)

    def test_no_smoothing_is_one_hot(self):
        labels = torch.tensor([1, 0, 3])
        found = smoothed_labels(labels, classes=4, smoothing=0)
        assert_close(found, torch.eye(4)[labels])

    @pytest.mark.parametrize(
        ("labels", "classes", "smoothing", "error", "words"),
        [
            (torch.tensor([1.0]), 3, 0.1, TypeError, "labels must be integers"),
            (torch.tensor([3]), 3, 0.1, ValueError, "labels"),
            (torch.tensor([[1]]), 3, 0.1, ValueError, "one label a row"),
            (torch.tensor([0]), 1, 0.1, ValueError, "classes"),
            (torch.tensor([0]), 3, 1.0, ValueError, "smoothing"),
            (torch.tensor([0]), 3, -0.1, ValueError, "smoothing"),
        ],
    )
    def test_bad_input(self, labels, classes, smoothing, error, words):
        with pytest.raises(error, match=words):
            smoothed_labels(labels, classes=classes, smoothing=smoothing)


class TestSmoothedCrossEntropy:
    def test_by_hand(self):
        logits = torch.tensor([[math.log(3.0), 0.0]])  # p is 3/4 and 1/4
        found = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.2)
        assert_close(found, torch.tensor(-0.9 * math.log(0.75) - 0.1 * math.log(0.25)))

    def test_warns_of_probabilities(self):
        logits, labels = drawn(9, 4)
        with pytest.warns(UserWarning, match="logits are due"):
            smoothed_cross_entropy(logits.softmax(1), labels, smoothing=0.1)

    @given(SEEDS, SHARES, st.integers(2, 6))
    def test_like_torch(self, seed, smoothing, classes):
        logits, labels = drawn(6, classes, seed)
        found = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
        assert_close(found, cross_entropy(logits, labels, label_smoothing=smoothing))

    def test_like_torch_with_padding(self):
        logits, labels = drawn(9, 4)
        labels[:3] = 0
        found = smoothed_cross_entropy(logits, labels, smoothing=0.1, ignore=0)
        theirs = cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=0)
        assert_close(found, theirs)

    @given(SEEDS, SHARES)
    def test_cross_entropy_to_the_smoothed_labels(self, seed, smoothing):
        logits, labels = drawn(5, 4, seed)
        soft = smoothed_labels(labels, classes=4, smoothing=smoothing).double()
        expected = -(soft * logits.log_softmax(1)).sum(1).mean()
        found = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
        assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_the_best_prediction_is_the_smoothed_label(self):
        labels = torch.tensor([1, 1])
        soft = smoothed_labels(labels, classes=3, smoothing=0.3)
        logits = soft.log().requires_grad_()
        (slope,) = torch.autograd.grad(
            smoothed_cross_entropy(logits, labels, smoothing=0.3), logits
        )
        assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)

    def test_gradient(self):
        logits, labels = drawn()
        logits.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda z: smoothed_cross_entropy(z, labels, smoothing=0.1, ignore=0), logits
        )

    def test_extreme_logits(self):
        logits = torch.tensor([[1e9, 0.0]])
        found = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.1)
        assert_close(found, torch.tensor(0.05e9))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtypes(self, dtype):
        logits, labels = drawn(dtype=dtype)
        found = smoothed_cross_entropy(logits, labels, smoothing=0.1)
        assert found.dtype == dtype
        assert found.isfinite()

    def test_over_batches_at_once(self):
        logits, labels = drawn(12, 4)
        found = torch.vmap(lambda z, y: smoothed_cross_entropy(z, y, smoothing=0.1, ignore=0))(
            logits.view(3, 4, 4), labels.view(3, 4)
        )
        for batch, loss in enumerate(found):
            rows = slice(4 * batch, 4 * batch + 4)
            alone = smoothed_cross_entropy(logits[rows], labels[rows], smoothing=0.1, ignore=0)
            assert_close(loss, alone)

    def test_all_padding(self):
        with pytest.raises(ValueError, match="no place counts"):
            smoothed_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 0]), smoothing=0.1, ignore=0)

    @pytest.mark.parametrize(
        ("logits", "labels", "smoothing", "error", "words"),
        [
            (torch.zeros(2, 3).long(), torch.tensor([0, 1]), 0.1, TypeError, "floating-point"),
            (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 0.1, TypeError, "integers"),
            (torch.zeros(2, 3), torch.tensor([0, 3]), 0.1, ValueError, "labels"),
            (torch.zeros(2, 3), torch.tensor([0]), 0.1, ValueError, "one label a row"),
            (torch.full((2, 3), torch.inf), torch.tensor([0, 1]), 0.1, ValueError, "finite"),
            (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), 0.1, ValueError, "NaN"),
            (torch.zeros(2, 3), torch.tensor([0, 1]), 1.0, ValueError, "smoothing"),
        ],
    )
    def test_bad_input(self, logits, labels, smoothing, error, words):
        with pytest.raises(error, match=words):
            smoothed_cross_entropy(logits, labels, smoothing=smoothing)
