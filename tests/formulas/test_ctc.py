import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import ctc_loss as torch_ctc_loss

from mapping_lib.ctc import collapse, ctc_loss, frames_needed, greedy_decode


def randn(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_all_paths(logits, target, blank=0):
    """Add up the probabilities of all paths that collapse to the target."""
    rows = logits.softmax(-1).tolist()
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(rows)):
        kept = [k for k, _ in itertools.groupby(path)]
        if [k for k in kept if k != blank] == list(target):
            total += math.prod(row[k] for row, k in zip(rows, path, strict=True))
    return -math.log(total)


@pytest.mark.parametrize(
    ("path", "blank", "labels"),
    [
        ([], 0, []),
        ([0, 0], 0, []),
        ([1, 1, 2, 2, 1], 0, [1, 2, 1]),
        ([0, 3, 3, 0, 3, 5, 5], 0, [3, 3, 5]),
        ([2, 0, 0, 2, 0], 2, [0, 0]),
        ([1], 1, []),
        ([1, 0], 1, [0]),
    ],
)
def test_collapse(path, blank, labels):
    assert collapse(path, blank=blank) == labels
    assert collapse(torch.tensor(path, dtype=torch.long), blank=blank) == labels


@given(st.lists(st.integers(0, 3), max_size=8))
def test_collapse_of_the_shortest_path(labels):
    labels = [k + 1 for k in labels]
    path = [labels[0]] if labels else []
    for before, label in itertools.pairwise(labels):
        path += [0, label] if before == label else [label]
    assert collapse(path) == labels
    assert len(path) == frames_needed(labels) == frames_needed(torch.tensor(labels))


def test_three_frames_by_hand():
    """Blank, a, b with probabilities 1/2, 1/3, 1/6: "ab" is aab, abb, -ab, a-b, ab-."""
    p, a, b = 1 / 2, 1 / 3, 1 / 6
    wanted = a * a * b + a * b * b + 3 * p * a * b
    logits = torch.tensor([[p, a, b]] * 3, dtype=torch.float64).log()[None]
    loss = ctc_loss(logits, torch.tensor([[1, 2]]))
    assert abs(loss.item() + math.log(wanted)) < 1e-12
    doubled = ctc_loss(logits, torch.tensor([[1, 1]]))  # only a-a
    assert abs(doubled.item() + math.log(a * p * a)) < 1e-12
    nothing = ctc_loss(logits, torch.zeros(1, 0).long())
    assert abs(nothing.item() + 3 * math.log(p)) < 1e-12


@pytest.mark.parametrize("target", [[], [1], [2, 1], [1, 1], [2, 1, 2], [2, 2, 1], [1, 2, 1, 2]])
@pytest.mark.parametrize("blank", [0, 2])
def test_all_paths(target, blank):
    if blank:
        target = [k - 1 for k in target]
    logits = 2 * randn(5, 3, seed=len(target))
    loss = ctc_loss(logits[None], torch.tensor([target]).long(), blank=blank)
    assert abs(loss.item() - by_all_paths(logits, target, blank)) < 1e-10


def test_all_sequences_have_probability_one():
    logits = randn(4, 3)
    total = 0.0
    for length in range(5):
        for target in itertools.product((1, 2), repeat=length):
            if frames_needed(target) <= 4:
                tensor = torch.tensor([target]).long().reshape(1, length)
                total += math.exp(-ctc_loss(logits[None], tensor).item())
    assert abs(total - 1) < 1e-12


@pytest.mark.parametrize("blank", [0, 4])
def test_torch_with_gradients(blank):
    """Unequal lengths, repeated labels, an empty target; sum over examples as torch has it."""
    logits = (2 * randn(4, 9, 5)).requires_grad_()
    targets = torch.tensor([[1, 1, 2, 3], [3, 2, 7, 7], [2, 2, 2, -1], [7, 7, 7, 7]])
    if blank == 4:
        targets = targets - 1
    frames, lengths = torch.tensor([9, 5, 8, 3]), torch.tensor([4, 2, 3, 0])
    ours = ctc_loss(logits, targets, frames=frames, lengths=lengths, blank=blank)
    (ours_grad,) = torch.autograd.grad(ours, logits)
    flat = torch.cat([t[:k] for t, k in zip(targets, lengths, strict=True)])
    theirs = torch_ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), flat, frames, lengths, blank, reduction="none"
    ).mean()
    (theirs_grad,) = torch.autograd.grad(theirs, logits)
    assert abs(ours - theirs) < 1e-10
    assert torch.allclose(ours_grad, theirs_grad, atol=1e-10)


def test_gradient():
    logits = randn(2, 4, 3).requires_grad_()
    targets, frames = torch.tensor([[1, 1], [2, 1]]), torch.tensor([4, 3])
    assert torch.autograd.gradcheck(lambda z: ctc_loss(z, targets, frames=frames), logits)


def test_frames_after_the_end_change_nothing():
    logits, targets = randn(1, 6, 4), torch.tensor([[3, 1]])
    longer = torch.cat([logits, 50 * randn(1, 3, 4, seed=1)], 1)
    a = ctc_loss(logits, targets)
    b = ctc_loss(longer, targets, frames=torch.tensor([6]))
    assert torch.equal(a, b)


@given(st.integers(0, 1000))
def test_shift_and_order(seed):
    """A constant added to a frame's scores changes nothing, nor does the order of examples."""
    logits, targets = randn(3, 5, 4, seed=seed), torch.tensor([[1, 2], [3, 3], [2, 1]])
    moved = logits + 10 * randn(3, 5, 1, seed=seed + 1)
    value = ctc_loss(logits, targets)
    assert torch.allclose(value, ctc_loss(moved, targets))
    assert torch.allclose(value, ctc_loss(logits.flip(0), targets.flip(0)))
    assert value >= 0


def test_extreme_scores_in_single_precision():
    logits = torch.full((1, 200, 3), -1e4)
    logits[0, :, 0] = 0
    logits[0, 50, 1], logits[0, 50, 0] = 0, -1e4
    logits.requires_grad_()
    loss = ctc_loss(logits, torch.tensor([[1]]))
    loss.backward()
    assert loss.item() < 1e-3
    assert logits.grad.isfinite().all()
    wrong = ctc_loss(logits, torch.tensor([[2]]))
    assert wrong.isfinite()
    assert wrong.item() > 1e4 - 10


def test_greedy_decoding():
    path = torch.tensor([[1, 1, 0, 2, 2], [0, 3, 0, 3, 3]])
    logits = torch.nn.functional.one_hot(path, 4).double()
    assert greedy_decode(logits) == [[1, 2], [3, 3]]
    assert greedy_decode(logits, frames=torch.tensor([2, 3])) == [[1], [3]]
    assert greedy_decode(logits, blank=3) == [[1, 0, 2], [0, 0]]


def test_greedy_needs_not_find_the_likeliest():
    """Two frames, blank 0.6 and a 0.4: the best path is blank, but "a" is likelier: 0.64."""
    logits = torch.tensor([[0.6, 0.4]] * 2).log()[None]
    assert greedy_decode(logits) == [[]]
    assert abs(math.exp(-ctc_loss(logits, torch.tensor([[1]])).item()) - 0.64) < 1e-6


GOOD = torch.zeros(2, 4, 3)
TARGETS = torch.tensor([[1, 2], [2, 1]])


@pytest.mark.parametrize(
    ("logits", "targets", "options", "error", "words"),
    [
        (GOOD.long(), TARGETS, {}, TypeError, "logits must hold floating-point numbers"),
        (GOOD[0], TARGETS, {}, ValueError, r"must have the shape \(n, frames, labels\)"),
        (GOOD * math.nan, TARGETS, {}, ValueError, "logits contains NaN"),
        (GOOD - math.inf, TARGETS, {}, ValueError, "logits must be finite"),
        (GOOD, TARGETS.double(), {}, TypeError, "targets must be a tensor of integers"),
        (GOOD, [[1, 2], [2, 1]], {}, TypeError, "targets must be a tensor of integers"),
        (GOOD, TARGETS[:1], {}, ValueError, r"targets must have the shape \(2, labels\)"),
        (GOOD, TARGETS[0], {}, ValueError, r"targets must have the shape \(2, labels\)"),
        (GOOD, TARGETS + 1, {}, ValueError, r"target 0 must hold labels from 0 to 2 .*\[2, 3\]"),
        (GOOD, TARGETS - 1, {}, ValueError, "other than the blank 0.*count labels from 1"),
        (GOOD, -TARGETS, {}, ValueError, "target 0 must hold labels from 0 to 2"),
        (GOOD, torch.tensor([[1, 2], [-1, 1]]), {}, ValueError, r"target 1 .* got \[-1, 1\]"),
        (GOOD, torch.tensor([[1, 2], [1, 7]]), {}, ValueError, r"target 1 .* got \[1, 7\]"),
        (GOOD, TARGETS, {"blank": 3}, ValueError, r"blank must lie in \[0, 2\]"),
        (GOOD, TARGETS, {"frames": torch.tensor([4, 5])}, ValueError, "between 1 and 4"),
        (GOOD, TARGETS, {"frames": torch.tensor([0, 4])}, ValueError, "between 1 and 4"),
        (GOOD, TARGETS, {"frames": torch.tensor([4])}, ValueError, r"the shape \(2,\)"),
        (GOOD, TARGETS, {"frames": torch.ones(2)}, TypeError, "frames must be a tensor of int"),
        (GOOD, TARGETS, {"lengths": torch.tensor([3, 1])}, ValueError, "between 0 and 2"),
        (
            GOOD,
            TARGETS,
            {"frames": torch.tensor([4, 1])},
            ValueError,
            "target 1 with 2 labels needs 2 frames .* but there are 1; shorten the stride",
        ),
        (
            GOOD[:, :2],
            torch.ones(2, 2).long(),
            {},
            ValueError,
            "target 0 with 2 labels needs 3 frames .one more for each repeated label",
        ),
    ],
)
def test_bad_input(logits, targets, options, error, words):
    with pytest.raises(error, match=words):
        ctc_loss(logits, targets, **options)


def test_bad_paths():
    with pytest.raises(ValueError, match="one label a frame"):
        collapse(torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match=r"blank must lie in \[0, 2\]"):
        greedy_decode(GOOD, blank=7)
