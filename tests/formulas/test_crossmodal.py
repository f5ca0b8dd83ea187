import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.crossmodal import (
    clip_loss,
    close_gap,
    info_nce,
    modality_gap,
    zero_shot_weights,
)


def randn(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosines(a, b):
    return torch.as_tensor(cosine_similarity(a.numpy(), b.numpy()))


IMAGES, TEXTS = randn(7, 5), randn(7, 5, seed=1)
BLOCKS = [None, 1, 2, 3, 7, 50]


# InfoNCE


def test_info_nce_is_the_cross_entropy_of_the_scaled_cosines():
    keys = torch.cat([TEXTS, randn(4, 5, seed=2)])  # four belong to no query
    expected = cross_entropy(cosines(IMAGES, keys) / 0.3, torch.arange(7))
    assert torch.allclose(info_nce(IMAGES, keys, temperature=0.3), expected)


def test_info_nce_by_hand():
    queries = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[0.0, 3.0], [0.0, 5.0], [7.0, 0.0]])
    lost = math.log(2 + math.exp(2)), math.log(2 * math.exp(2) + 1) - 2  # cosines 0, 0, 1; 1, 1, 0
    assert info_nce(queries, keys, temperature=0.5).item() == pytest.approx(sum(lost) / 2)


@pytest.mark.parametrize("keys", [4, 9])
def test_info_nce_of_keys_that_are_alike_is_the_logarithm_of_their_number(keys):
    same = randn(1, 3).expand(keys, 3)
    value = info_nce(randn(4, 3, seed=1), same, temperature=0.1)
    assert value.item() == pytest.approx(math.log(keys))


def test_info_nce_of_one_query_among_several_keys():
    assert info_nce(randn(1, 3), randn(2, 3, seed=1), temperature=1.0).item() > 0


# the symmetric loss


@pytest.mark.parametrize("block", BLOCKS)
def test_clip_loss_is_the_mean_of_both_cross_entropies(block):
    logits, own = cosines(IMAGES, TEXTS) / 0.2, torch.arange(7)
    expected = (cross_entropy(logits, own) + cross_entropy(logits.mT, own)) / 2
    assert torch.allclose(clip_loss(IMAGES, TEXTS, temperature=0.2, block=block), expected)


@pytest.mark.parametrize("block", [None, 2])
def test_clip_loss_of_identical_embeddings_is_log_n(block):
    same = randn(1, 4).expand(6, 4)
    assert clip_loss(same, same, temperature=0.01, block=block).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("block", [None, 2])
def test_clip_loss_of_orthogonal_pairs_in_closed_form(block):
    found = clip_loss(torch.eye(5).double(), torch.eye(5).double(), temperature=0.5, block=block)
    assert found.item() == pytest.approx(math.log(1 + 4 * math.exp(-2)))


def test_clip_loss_is_both_directions_and_symmetric():
    both = [info_nce(a, b, temperature=0.4) for a, b in ((IMAGES, TEXTS), (TEXTS, IMAGES))]
    assert abs(both[0] - both[1]) > 0.01
    found = clip_loss(IMAGES, TEXTS, temperature=0.4)
    assert torch.allclose(found, sum(both) / 2)
    assert torch.allclose(clip_loss(TEXTS, IMAGES, temperature=0.4), found)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50])
def test_blocks_give_the_gradients_of_the_plain_form(block):
    found = []
    for size in (None, block):
        inputs = [x.clone().requires_grad_() for x in (IMAGES, TEXTS, torch.tensor(0.3).double())]
        loss = clip_loss(inputs[0], inputs[1], temperature=inputs[2], block=size)
        found.append(torch.autograd.grad(3 * loss, inputs))
    for plain, blocked in zip(*found, strict=True):
        assert plain.abs().max() > 1e-3
        assert torch.allclose(plain, blocked, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block", [None, 2])
def test_gradcheck(block):
    half = torch.tensor(0.5, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (IMAGES[:5], TEXTS[:5], half)]

    def loss(images, texts, temperature):
        return clip_loss(images, texts, temperature=temperature, block=block)

    assert torch.autograd.gradcheck(loss, inputs)
    if block is None:
        assert torch.autograd.gradgradcheck(loss, inputs)
    else:
        with pytest.raises(RuntimeError, match=r"no gradient of its own.*use block=None"):
            torch.autograd.grad(loss(*inputs), inputs, create_graph=True)


def test_gradcheck_of_info_nce():
    queries, keys = IMAGES[:3].clone().requires_grad_(), TEXTS[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: info_nce(q, k, temperature=0.5), (queries, keys))


def test_the_gradient_of_the_similarities_in_closed_form():
    z = (cosines(IMAGES, TEXTS) / 0.3).requires_grad_()
    loss = (z.logsumexp(1) + z.logsumexp(0)).mean() / 2 - z.diagonal().mean()
    expected = (z.softmax(1) + z.softmax(0) - 2 * torch.eye(7)) / 14
    assert torch.allclose(torch.autograd.grad(loss, z)[0], expected)


@given(
    n=st.integers(2, 9),
    d=st.integers(1, 6),
    block=st.integers(1, 10),
    temperature=st.floats(0.05, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_properties_of_the_loss(n, d, block, temperature, seed):
    images, texts = randn(n, d, seed=seed), randn(n, d, seed=seed + 1)
    plain = clip_loss(images, texts, temperature=temperature)
    assert 0 <= plain <= math.log(n) + 2 / temperature + 1e-9
    blocked = clip_loss(images, texts, temperature=temperature, block=block)
    assert torch.allclose(plain, blocked, atol=1e-10)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(clip_loss(images[order], texts[order], temperature=temperature), plain)
    scaled = clip_loss(3 * images, texts * (1 + order[:, None]), temperature=temperature)
    assert torch.allclose(scaled, plain)  # lengths don't matter


@pytest.mark.parametrize("block", [None, 2])
def test_extreme_temperatures_and_lengths_stay_finite(block):
    inputs = [(1e30 * x).float().requires_grad_() for x in (IMAGES, TEXTS)]
    loss = clip_loss(*inputs, temperature=1e-4, block=block)
    gradients = torch.autograd.grad(loss, inputs)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    expected = clip_loss(IMAGES.float(), TEXTS.float(), temperature=1e-4, block=block)
    assert torch.allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_come_back(dtype, block):
    images, texts = IMAGES.to(dtype), TEXTS.to(dtype)
    found = clip_loss(images, texts, temperature=0.2, block=block)
    assert found.dtype == dtype
    exact = clip_loss(images.double(), texts.double(), temperature=0.2)
    assert found.double().item() == pytest.approx(exact.item(), rel=2e-2)
    assert info_nce(images, texts, temperature=0.2).dtype == dtype
    assert modality_gap(images, texts).dtype == dtype
    gap = modality_gap(images, texts)
    assert [x.dtype for x in close_gap(images, texts, gap=gap)] == [dtype, dtype]
    assert zero_shot_weights(texts, torch.arange(7)).dtype == dtype


def test_a_whole_number_as_tensor_is_a_temperature():
    found = clip_loss(IMAGES, TEXTS, temperature=torch.tensor(2))
    assert torch.equal(found, clip_loss(IMAGES, TEXTS, temperature=2.0))


BAD_TEMPERATURES = [0, 0.0, -0.07, math.inf, torch.tensor(0.0), torch.tensor(-1.0)]


@pytest.mark.parametrize("loss", [info_nce, clip_loss])
def test_bad_input_of_the_losses(loss):
    for temperature in BAD_TEMPERATURES:
        with pytest.raises(ValueError, match=r"temperature must be positive.* CLIP starts at 0.07"):
            loss(IMAGES, TEXTS, temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be positive and finite, got inf"):
        loss(IMAGES, TEXTS, temperature=torch.tensor(math.inf))
    for temperature in (math.nan, torch.tensor(math.nan)):
        with pytest.raises(ValueError, match=r"temperature must .* got nan"):
            loss(IMAGES, TEXTS, temperature=temperature)
    with pytest.raises(ValueError, match=r"temperature must be a scalar, got the shape \(2,\)"):
        loss(IMAGES, TEXTS, temperature=torch.ones(2))
    with pytest.raises(TypeError, match="temperature must be a number, got 'low'"):
        loss(IMAGES, TEXTS, temperature="low")
    with pytest.raises(ValueError, match="widths must be equal"):
        loss(IMAGES, TEXTS[:, :3], temperature=1.0)
    with pytest.raises(TypeError, match="one dtype"):
        loss(IMAGES, TEXTS.float(), temperature=1.0)
    broken = IMAGES.clone()
    broken[2, 1] = math.nan
    with pytest.raises(ValueError, match="contains NaN in 1 of 35 places"):
        loss(broken, TEXTS, temperature=1.0)
    broken[2] = 0.0
    with pytest.raises(ValueError, match=r"no direction: \[2\]; remove them"):
        loss(broken, TEXTS, temperature=1.0)
    with pytest.raises(ValueError, match=r"no direction: \[0, 1, 2, 3, 4\] …; remove them"):
        loss(IMAGES, torch.zeros_like(TEXTS), temperature=1.0)


def test_unpaired_and_lonely_rows():
    with pytest.raises(ValueError, match=r"must be pairs, got 7 images and 6 texts; put the text"):
        clip_loss(IMAGES, TEXTS[:6], temperature=1.0)
    with pytest.raises(ValueError, match=r"must be pairs, got 6 images and 7 texts; put the text"):
        clip_loss(IMAGES[:6], TEXTS, temperature=1.0)
    with pytest.raises(ValueError, match=r"one pair only: the loss is 0"):
        clip_loss(IMAGES[:1], TEXTS[:1], temperature=1.0)
    with pytest.raises(ValueError, match=r"needs its key, got 7 queries and 6 keys"):
        info_nce(IMAGES, TEXTS[:6], temperature=1.0)
    with pytest.raises(ValueError, match=r"one key only"):
        info_nce(IMAGES[:1], TEXTS[:1], temperature=1.0)


@pytest.mark.parametrize("block", [0, -2, 1.5, True, "all"])
def test_bad_blocks(block):
    with pytest.raises(ValueError, match=r"block must be a whole number, at least 1, or None"):
        clip_loss(IMAGES, TEXTS, temperature=1.0, block=block)


# a head from words


def test_zero_shot_weights_against_a_loop():
    labels = torch.tensor([2, 0, 2, 1, 0, 0, 2])
    found = zero_shot_weights(TEXTS, labels)
    for k in range(3):
        rows = TEXTS[labels == k]
        mean = (rows / rows.norm(dim=1, keepdim=True)).mean(0)
        assert torch.allclose(found[k], mean / mean.norm())
    assert torch.equal(found, zero_shot_weights(TEXTS, labels, classes=3))


def test_one_prompt_a_class_is_only_scaled():
    assert torch.allclose(zero_shot_weights(TEXTS, torch.arange(7)), normalize(TEXTS))
    one = zero_shot_weights(TEXTS[:1], torch.tensor([0]), classes=1)
    assert torch.allclose(one, normalize(TEXTS[:1]))


@given(seed=st.integers(0, 10_000))
def test_prompts_count_by_direction_only_and_in_any_order(seed):
    prompts, labels = randn(9, 4, seed=seed), torch.arange(9) % 4
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    lengths = 0.1 + torch.rand(9, 1, generator=torch.Generator().manual_seed(seed)).double()
    expected = zero_shot_weights(prompts, labels)
    found = zero_shot_weights((lengths * prompts)[order], labels[order])
    assert torch.allclose(found, expected, atol=1e-8)
    assert torch.allclose(found.norm(dim=1), torch.ones(4).double())


def test_gradcheck_of_the_head():
    prompts = TEXTS.clone().requires_grad_()
    labels = torch.tensor([0, 1, 1, 0, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda p: zero_shot_weights(p, labels), prompts)


def test_bad_input_of_the_head():
    labels = torch.tensor([0, 0, 2, 2, 2, 0, 4])
    with pytest.raises(ValueError, match=r"no prompt for the classes \[1, 3\]; write at least one"):
        zero_shot_weights(TEXTS, labels)
    with pytest.raises(ValueError, match=r"no prompt for the classes \[7\]"):
        zero_shot_weights(TEXTS, torch.arange(7), classes=8)
    with pytest.raises(ValueError, match="labels must lie between 0 and 3, got 0 to 4"):
        zero_shot_weights(TEXTS, labels, classes=4)
    with pytest.raises(TypeError, match="labels must be integers"):
        zero_shot_weights(TEXTS, labels.float())
    with pytest.raises(ValueError, match="one label a row"):
        zero_shot_weights(TEXTS, labels[:5])
    with pytest.raises(TypeError, match="positional"):
        zero_shot_weights(TEXTS, labels, 4)
    for classes in (0, 2.5):
        with pytest.raises(ValueError, match="classes must be a whole number, at least 1"):
            zero_shot_weights(TEXTS, labels, classes=classes)
    opposite = torch.tensor([[0.0, 1.0], [1.0, 2.0], [-2.0, -4.0]])
    with pytest.raises(ValueError, match=r"classes \[1\] point in opposite directions"):
        zero_shot_weights(opposite, torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match=r"prompts has rows that are zero"):
        zero_shot_weights(torch.zeros(1, 2), torch.tensor([0]))


# the gap


def test_the_gap_by_hand_and_its_bounds():
    images = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]])
    texts = torch.tensor([[-2.0, 0.0]])
    assert torch.allclose(modality_gap(images, texts), torch.tensor([1.6 / 3 + 1, 1.8 / 3]))
    assert modality_gap(texts, -texts).norm().item() == 2
    assert modality_gap(images, 7 * images).norm().item() < 1e-7


@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_the_gap_changes_its_sign_with_the_order(n, m, seed):
    a, b = randn(n, 3, seed=seed), randn(m, 3, seed=seed + 1)
    gap = modality_gap(a, b)
    assert torch.allclose(gap, -modality_gap(b, a))
    assert gap.norm() <= 2


def test_the_gap_is_closed_half_from_each_side():
    images, texts = IMAGES + 3, TEXTS - torch.tensor([2.0, 0, 0, 1, 0]).double()
    gap = modality_gap(images, texts)
    for share in (-0.5, 0.0, 0.4, 1.0):
        moved = close_gap(images, texts, gap=gap, share=share)
        for rows, before, sign in ((moved[0], images, -1), (moved[1], texts, 1)):
            expected = normalize(normalize(before) + sign * share / 2 * gap)
            assert torch.allclose(rows, expected)
    widths = [
        modality_gap(*close_gap(images, texts, gap=gap, share=share)).norm()
        for share in (-0.5, 0.0, 0.5, 1.0)
    ]
    assert all(a > b + 0.1 for a, b in pairwise(widths))
    assert torch.equal(
        close_gap(images, texts, gap=gap)[0], close_gap(images, texts, gap=gap, share=1.0)[0]
    )


def test_gradcheck_of_the_gap():
    inputs = [x.clone().requires_grad_() for x in (IMAGES[:3], TEXTS[:4])]
    assert torch.autograd.gradcheck(modality_gap, inputs)
    gap = modality_gap(IMAGES, TEXTS)
    assert torch.autograd.gradcheck(lambda a, b: close_gap(a, b, gap=gap, share=0.7), inputs)


def test_bad_input_of_the_gap():
    gap = modality_gap(IMAGES, TEXTS)
    for function in (modality_gap, lambda a, b: close_gap(a, b, gap=gap)):
        with pytest.raises(ValueError, match="texts has rows that are zero"):
            function(IMAGES, torch.zeros_like(TEXTS))
        with pytest.raises(ValueError, match="widths must be equal"):
            function(IMAGES, TEXTS[:, :4])
    for bad in (gap[:3], gap.repeat(2), gap[None], gap[0]):
        with pytest.raises(ValueError, match=r"gap must be a vector \(5,\).* modality_gap"):
            close_gap(IMAGES, TEXTS, gap=bad)
    with pytest.raises(ValueError, match="gap contains NaN"):
        close_gap(IMAGES, TEXTS, gap=gap * math.nan)
    for share in (math.nan, math.inf):
        with pytest.raises(ValueError, match="share must lie in"):
            close_gap(IMAGES, TEXTS, gap=gap, share=share)
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    with pytest.raises(ValueError, match="shifted_images has rows that are zero"):
        close_gap(one, other, gap=modality_gap(one, other))
