"""Segmentation: closed forms, plain loops, torchmetrics and SciPy, known mistakes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import entropy as scipy_entropy
from torch.autograd import gradcheck
from torch.testing import assert_close

from mapping_lib.losses import entropy
from mapping_lib.segmentation import (
    IGNORED,
    boundary_band,
    class_balanced_thresholds,
    pixel_entropy,
    pseudo_labels,
    soft_dice_loss,
)

SEEDS = st.integers(0, 10_000)


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*size, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, size, generator=generator)


def logits_of(rows):
    """Logits (1, K, n) whose softmax is the rows (n, K)."""
    return torch.tensor(rows, dtype=torch.float64).log().T[None]


# the Dice loss


def dice_by_loops(logits, target):
    p = torch.softmax(logits, 1).movedim(1, -1).reshape(-1, logits.shape[1]).tolist()
    y = target.flatten().tolist()
    quotients = []
    for k in sorted(set(y) - {IGNORED}):
        up = sum(2 * row[k] for row, label in zip(p, y, strict=True) if label == k)
        down = sum(
            row[k] ** 2 + (label == k) for row, label in zip(p, y, strict=True) if label != IGNORED
        )
        quotients.append(up / down)
    return 1 - sum(quotients) / len(quotients)


def test_dice_by_hand():
    logits = logits_of([[0.5, 0.25, 0.25], [0.2, 0.8, 1e-300]])
    first = 2 * 0.5 / (0.5**2 + 0.2**2 + 1)
    second = 2 * 0.8 / (0.25**2 + 0.8**2 + 1)
    due = 1 - (first + second) / 2  # the third class doesn't occur
    assert_close(soft_dice_loss(logits, torch.tensor([[0, 1]])).item(), due)


@given(SEEDS)
def test_dice_is_the_loop(seed):
    logits, target = normal(2, 3, 4, 2, seed=seed), labels(2, 4, 2, classes=3, seed=seed)
    target[0, :2, 0] = IGNORED
    assert_close(soft_dice_loss(logits, target).item(), dice_by_loops(logits, target))


@given(SEEDS)
def test_dice_counts_no_order_and_no_sum(seed):
    logits, target = normal(2, 3, 5, seed=seed), labels(2, 5, classes=3, seed=seed)
    loss = soft_dice_loss(logits, target)
    order = torch.tensor([2, 0, 1])
    renamed = torch.tensor([1, 2, 0])[target]  # class 0 is now in channel 1, and so on
    assert_close(soft_dice_loss(logits[:, order], renamed), loss)
    assert_close(soft_dice_loss(logits.repeat(3, 1, 1), target.repeat(3, 1)), loss)
    assert_close(soft_dice_loss(logits + normal(2, 1, 5), target), loss)
    assert 0 < loss < 1


def test_dice_of_what_is_right_and_of_what_is_wrong():
    target = labels(2, 6, classes=3)
    sure = 1e4 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).double()
    assert soft_dice_loss(sure, target) == 0
    assert soft_dice_loss(sure, (target + 1) % 3) == 1


def test_dice_weighs_classes_alike_where_cross_entropy_weighs_pixels():
    """99 pixels of ground and one of a thing: calling all of it ground costs half."""
    target = torch.zeros(1, 100, dtype=torch.int64)
    target[0, 7] = 1
    ground = torch.zeros(1, 2, 100, dtype=torch.float64)
    ground[:, 0] = 30.0
    assert_close(soft_dice_loss(ground, target).item(), 1 - 0.5 * 2 * 99 / 199, rtol=1e-6, atol=0)


def test_dice_ignores_what_is_not_labelled():
    logits, target = normal(1, 2, 6), labels(1, 6, classes=2)
    target[0, 3:] = IGNORED
    assert_close(soft_dice_loss(logits, target), soft_dice_loss(logits[..., :3], target[:, :3]))
    nothing = torch.full((1, 6), IGNORED)
    logits.requires_grad_()
    loss = soft_dice_loss(logits, nothing)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_dice_does_not_punish_absent_classes_by_a_constant():
    """A mean over all classes adds 1/K for each that is absent, whatever is predicted."""
    target = torch.zeros(1, 4, dtype=torch.int64)
    sure = torch.zeros(1, 5, 4)
    sure[:, 0] = 100.0
    assert soft_dice_loss(sure, target) == 0


def test_dice_has_the_right_gradient():
    logits = normal(2, 3, 2, 2).requires_grad_()
    target = labels(2, 2, 2, classes=3)
    target[0, 0, 0] = IGNORED
    assert gradcheck(lambda z: soft_dice_loss(z, target), logits)


@pytest.mark.parametrize(
    ("logits", "target", "error", "words"),
    [
        (torch.ones(1, 2, 3), torch.zeros(1, 2).long(), ValueError, "mask's size with interpolate"),
        (torch.ones(1, 2, 3), torch.zeros(1, 3), TypeError, r"target must be integers"),
        (torch.ones(1, 2, 3), torch.zeros(1, 3) > 0, TypeError, r"target must be integers"),
        (torch.ones(1, 2, 3), torch.tensor([[0, 2, -1]]), ValueError, r"\[-1, 2\].* 0 to 1"),
        (torch.ones(1, 1, 3), torch.zeros(1, 3).long(), ValueError, "at least two classes"),
        (torch.ones(3), torch.zeros(3).long(), ValueError, r"\(n, K, \.\.\.\)"),
        (torch.ones(1, 2, 3).long(), torch.zeros(1, 3).long(), TypeError, "floating-point"),
        (torch.full((1, 2, 3), math.nan), torch.zeros(1, 3).long(), ValueError, "NaN"),
        (torch.full((1, 2, 3), math.inf), torch.zeros(1, 3).long(), ValueError, "finite"),
    ],
)
def test_dice_refuses(logits, target, error, words):
    with pytest.raises(error, match=words):
        soft_dice_loss(logits, target)


# entropy


@given(SEEDS)
def test_entropy_is_that_of_scipy_and_of_the_losses(seed):
    logits = 3 * normal(2, 4, 3, 5, seed=seed)
    found = pixel_entropy(logits)
    due = scipy_entropy(logits.softmax(1).numpy(), axis=1, base=4)
    assert_close(found, torch.from_numpy(due))
    rows = logits.movedim(1, -1).reshape(-1, 4)
    assert_close(found.mean(), entropy(rows) / math.log(4))


def test_entropy_between_0_and_1():
    logits = torch.zeros(1, 3, 2)
    logits[0, 1, 1] = 1e4
    assert_close(pixel_entropy(logits), torch.tensor([[1.0, 0.0]]))


def test_entropy_has_the_right_gradient():
    assert gradcheck(pixel_entropy, normal(2, 3, 2).requires_grad_())


def test_entropy_refuses():
    with pytest.raises(ValueError, match="at least two classes"):
        pixel_entropy(torch.ones(2, 1, 3, 3))
    with pytest.raises(ValueError, match="finite"):
        pixel_entropy(torch.full((2, 2), math.inf))


@pytest.mark.parametrize(
    "call",
    [
        lambda p: soft_dice_loss(p, torch.zeros(2, 4, 5, dtype=torch.long)),
        pixel_entropy,
        lambda p: class_balanced_thresholds(p, share=0.5),
        lambda p: pseudo_labels(p, thresholds=0.5),
    ],
)
def test_probabilities_in_place_of_logits_are_noticed(call):
    with pytest.warns(UserWarning, match="logits are due"):
        call(normal(2, 3, 4, 5).softmax(1))


# thresholds


def test_thresholds_by_hand():
    rows = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6], [0.45, 0.55]]
    for share, due in (
        (1.0, [0.7, 0.55]),
        (0.5, [0.8, 0.6]),
        (0.34, [0.8, 0.6]),
        (1 / 3, [0.9, 0.6]),
        (0.01, [0.9, 0.6]),
        (0.6, [0.8, 0.55]),
    ):
        found = class_balanced_thresholds(logits_of(rows), share=share)
        assert_close(found, torch.tensor(due, dtype=torch.float64))


def test_a_class_never_called_has_the_threshold_1():
    logits = logits_of([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1]])
    found = class_balanced_thresholds(logits, share=0.5)
    assert_close(found, torch.tensor([0.7, 1.0, 1.0], dtype=torch.float64))


@given(SEEDS, st.floats(0.05, 1))
def test_thresholds_keep_that_share_of_each_class(seed, share):
    logits = normal(2, 3, 5, 4, seed=seed)
    tau = class_balanced_thresholds(logits, share=share)
    surest, called = logits.softmax(1).max(1)
    for k in range(3):
        mine = surest[called == k]
        if len(mine):
            assert (mine >= tau[k]).sum() == math.ceil(round(share * len(mine), 6))


def test_thresholds_refuse():
    for share, words in ((0, "more than 0"), (1.1, r"\[0, 1\]"), (-1, r"\[0, 1\]")):
        with pytest.raises(ValueError, match=words):
            class_balanced_thresholds(torch.zeros(1, 2, 3), share=share)
    with pytest.raises(ValueError, match="at least two classes"):
        class_balanced_thresholds(torch.zeros(1, 1, 3), share=0.5)


def test_thresholds_give_no_gradient():
    logits = normal(1, 2, 3).requires_grad_()
    assert not class_balanced_thresholds(logits, share=0.5).requires_grad


# pseudo-labels


def test_pseudo_labels_by_hand():
    logits = logits_of([[0.7, 0.3], [0.59, 0.41], [0.2, 0.8], [0.55, 0.45]])
    assert pseudo_labels(logits, thresholds=0.7).tolist() == [[0, IGNORED, 1, IGNORED]]
    # thresholds of their own may turn a label round: 0.45/0.42 > 0.55/0.6
    tau = torch.tensor([0.6, 0.42])
    assert pseudo_labels(logits, thresholds=tau).tolist() == [[0, IGNORED, 1, 1]]


@given(SEEDS, st.floats(0.3, 1))
def test_pseudo_labels_of_one_threshold(seed, tau):
    logits = normal(2, 3, 4, 5, seed=seed)
    surest, called = logits.softmax(1).max(1)
    found = pseudo_labels(logits, thresholds=tau)
    assert torch.equal(found == IGNORED, surest / tau < 1)
    assert torch.equal(found[found != IGNORED], called[found != IGNORED])
    same = pseudo_labels(logits, thresholds=torch.full((3,), tau, dtype=torch.float64))
    assert torch.equal(found, same)


def test_balanced_labels_keep_the_rare_class():
    """One threshold keeps only the sure class; thresholds by class keep half of each."""
    rows = [[0.99, 0.01]] * 8 + [[0.4, 0.6], [0.45, 0.55]]
    logits = logits_of(rows)
    assert set(pseudo_labels(logits, thresholds=0.9).unique().tolist()) == {0, IGNORED}
    tau = class_balanced_thresholds(logits, share=0.5)
    assert (pseudo_labels(logits, thresholds=tau) == 1).sum() == 1


def test_labels_that_are_no_class_are_all_named():
    target = torch.tensor([[0, 2, 3, -1, IGNORED]])
    with pytest.raises(ValueError, match=r"labels \[-1, 2, 3\], but classes are 0 to 1"):
        soft_dice_loss(torch.zeros(1, 2, 5), target)


def test_logits_need_no_axis_of_pixels():
    assert_close(pixel_entropy(torch.zeros(3, 2)), torch.ones(3))


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        (0.0, r"\(0, 1\], got 0"),
        (1.5, r"\(0, 1\]"),
        (torch.ones(3), "one number or 2"),
        (torch.ones(1), "one number or 2"),
        (torch.tensor([0.5, 0.0]), r"got 0 to 0\.5"),
    ],
)
def test_pseudo_labels_refuse(thresholds, words):
    with pytest.raises(ValueError, match=words):
        pseudo_labels(torch.zeros(1, 2, 3), thresholds=thresholds)


# the band


@given(SEEDS, st.integers(1, 3))
def test_band_is_that_of_scipy(seed, radius):
    mask = labels(2, 7, 9, classes=3, seed=seed)
    mask[:, 2:6, 1:5] = 1
    size = (1, 2 * radius + 1, 2 * radius + 1)
    high = ndimage.maximum_filter(mask.numpy(), size=size, mode="nearest")
    low = ndimage.minimum_filter(mask.numpy(), size=size, mode="nearest")
    found = boundary_band(mask, radius=radius)
    assert np.array_equal(found.numpy(), high > low)


def test_band_by_hand():
    mask = torch.zeros(1, 5, 7, dtype=torch.int64)
    mask[0, :, 4:] = 2
    found = boundary_band(mask, radius=2)[0, 0].long().tolist()
    assert found == [0, 0, 1, 1, 1, 1, 0]


def test_band_leaves_out_what_is_ignored():
    mask = torch.tensor([[[0, 0, IGNORED, 0, 1, IGNORED]]])
    assert boundary_band(mask).flatten().tolist() == [False, False, False, True, True, False]
    assert not boundary_band(torch.full((1, 3, 3), IGNORED)).any()


def test_band_refuses():
    mask = torch.zeros(1, 3, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(n, height, width\)"):
        boundary_band(mask[0])
    with pytest.raises(TypeError, match="integers"):
        boundary_band(mask.float())
    for radius in (0, 1.5, True):
        with pytest.raises(ValueError, match="whole number of pixels from 1"):
            boundary_band(mask, radius=radius)
