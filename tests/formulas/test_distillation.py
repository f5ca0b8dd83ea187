"""Distillation: softened answers, hints, maps and relations, against closed forms and torch."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.nn.functional import huber_loss, kl_div, normalize
from torch.testing import assert_close

from mapping_lib.distillation import (
    attention_map,
    attention_transfer,
    distillation_loss,
    hint_loss,
    kd_loss,
    relational_angle,
    relational_distance,
    shuffle_non_target,
    soften,
)

SEEDS = st.integers(0, 10_000)
TEMPERATURES = st.floats(0.25, 20)


def normal(*size, seed=0, dtype=torch.float64, scale=1.0):
    draw = torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return scale * draw


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


# --- softened answers ---


def test_softening_in_closed_form():
    odds = soften(tensor([math.log(16), 0, math.log(4)]), temperature=2)
    assert_close(odds, tensor([4 / 7, 1 / 7, 2 / 7]))
    cold = soften(tensor([3.0, 1.0, 2.0]), temperature=0.01)
    assert_close(cold, tensor([1.0, 0.0, 0.0]))


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_softening_is_the_softmax_of_divided_logits(seed, temperature):
    logits = normal(4, 5, seed=seed, scale=5)
    assert_close(soften(logits, temperature=temperature), torch.softmax(logits / temperature, 1))


def test_divergence_in_closed_form():
    # Odds 9 : 1 and 1 : 4 are 3 : 1 and 1 : 2 at T = 2; another row is equal.
    teacher = tensor([math.log(9), 0], [1, 2])
    student = tensor([0, math.log(4)], [1, 2])
    expected = 4 * (3 / 4 * math.log(3 / 4 * 3) + 1 / 4 * math.log(1 / 4 * 3 / 2)) / 2
    assert_close(kd_loss(student, teacher, temperature=2), tensor(expected)[0])


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_divergence_is_torchs(seed, temperature):
    student, teacher = normal(4, 6, seed=seed), normal(4, 6, seed=seed + 1, scale=3)
    q, p = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    # The mistake of many scripts: reduction="mean" divides by the number of classes, too.
    expected = temperature**2 * kl_div(q, p, reduction="batchmean")
    assert_close(kd_loss(student, teacher, temperature=temperature), expected)


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_divergence_is_cross_entropy_with_probabilities_but_for_a_constant(seed, temperature):
    student, teacher = normal(4, 6, seed=seed), normal(4, 6, seed=seed + 1)
    p = soften(teacher, temperature=temperature)
    entropy = -(p * p.log()).sum(1).mean()
    expected = temperature**2 * (torch_cross_entropy(student / temperature, p) - entropy)
    assert_close(kd_loss(student, teacher, temperature=temperature), expected)


def test_gradient_in_closed_form():
    student, teacher = normal(3, 5).requires_grad_(), normal(3, 5, seed=1)
    (gradient,) = torch.autograd.grad(kd_loss(student, teacher, temperature=2.5), student)
    difference = soften(student, temperature=2.5) - soften(teacher, temperature=2.5)
    assert_close(gradient, 2.5 * difference / 3)


def test_gradient_at_large_temperature_is_that_of_matched_logits():
    student, teacher = normal(3, 5, scale=2), normal(3, 5, seed=1, scale=4)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = teacher - teacher.mean(1, keepdim=True)
    (gradient,) = torch.autograd.grad(kd_loss(student, teacher, temperature=1e5), student)
    assert_close(gradient, (student - teacher) / 5 / 3, rtol=1e-4, atol=1e-4)


def test_without_the_factor_the_gradient_would_vanish():
    """What T² is for: the mistake of leaving it out shrinks the teacher's part by 1 / T²."""
    student, teacher = normal(3, 5).requires_grad_(), normal(3, 5, seed=1)
    sizes = []
    for temperature in (1, 100):
        loss = kd_loss(student, teacher, temperature=temperature)
        sizes.append(torch.autograd.grad(loss, student)[0].norm())
    assert 0.2 < sizes[1] / sizes[0] < 5


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_divergence_is_not_negative_zero_on_equal_and_blind_to_shifts(seed, temperature):
    student, teacher = normal(4, 6, seed=seed), normal(4, 6, seed=seed + 1)
    loss = kd_loss(student, teacher, temperature=temperature)
    assert loss > 0
    shift, other = normal(4, 1, seed=seed + 2, scale=10), normal(4, 1, seed=seed + 3, scale=10)
    assert_close(kd_loss(student + shift, teacher + other, temperature=temperature), loss)
    zero = kd_loss(teacher + shift, teacher, temperature=temperature)
    assert_close(zero, torch.zeros_like(zero))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert_close(kd_loss(student[:, order], teacher[:, order], temperature=temperature), loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.5, 1, 8])
def test_extreme_logits_are_finite(dtype, temperature):
    student = torch.tensor([[1e4, -1e4, 0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0], [0, 0, -1e4]], dtype=dtype)
    loss = kd_loss(student, teacher, temperature=temperature)
    # Row 1: all of the teacher where the student has 2e4 less. Row 2: half of it there.
    expected = temperature * (2e4 + 1e4) / 2
    assert_close(loss.item(), expected, rtol=1e-3, atol=0)
    loss.backward()
    assert student.grad.isfinite().all()


# --- labels and teacher together ---


@given(seed=SEEDS, temperature=TEMPERATURES, alpha=st.floats(0, 1))
def test_both_parts_with_torchs_functions(seed, temperature, alpha):
    student, teacher = normal(4, 3, seed=seed), normal(4, 3, seed=seed + 1)
    labels = torch.tensor([2, 0, 1, 2])
    log_q, p = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    soft = kl_div(log_q, p, reduction="batchmean")
    expected = (1 - alpha) * torch_cross_entropy(student, labels) + alpha * temperature**2 * soft
    found = distillation_loss(student, teacher, labels, temperature=temperature, alpha=alpha)
    assert_close(found, expected)


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_factor_stays_at_the_ends(alpha):
    """torchdistill gives back the bare divergence where the labels' share is 0: without T²."""
    student, teacher, labels = normal(4, 3), normal(4, 3, seed=1), torch.tensor([2, 0, 1, 2])
    near = min(max(alpha, 1e-9), 1 - 1e-9)
    both = partial(distillation_loss, student, teacher, labels, temperature=4)
    assert_close(both(alpha=alpha), both(alpha=near), rtol=1e-6, atol=1e-8)
    assert_close(both(alpha=1), kd_loss(student, teacher, temperature=4))
    assert_close(both(alpha=0), torch_cross_entropy(student, labels))


def test_labels_may_be_probabilities():
    student, teacher = normal(2, 3), normal(2, 3, seed=1)
    labels = torch.tensor([2, 0])
    shares = nn.functional.one_hot(labels, 3).double()
    both = partial(distillation_loss, student, teacher, temperature=4, alpha=0.3)
    assert_close(both(labels), both(shares))


# --- the control without dark knowledge ---


@given(seed=SEEDS, n=st.integers(1, 5), K=st.integers(2, 6))
def test_shuffle_keeps_the_answer_and_the_values(seed, n, K):
    logits = normal(n, K, seed=seed)
    shuffled = shuffle_non_target(logits, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(shuffled.argmax(1), logits.argmax(1))
    assert torch.equal(shuffled.amax(1), logits.amax(1))
    assert torch.equal(shuffled.sort(1).values, logits.sort(1).values)


def test_shuffle_draws_every_order_equally_often_and_for_each_row():
    rows = torch.tensor([[1.0, 9.0, 2.0, 3.0]]).expand(6000, -1)
    shuffled = shuffle_non_target(rows, generator=torch.Generator().manual_seed(0))
    assert (shuffled[:, 1] == 9).all()
    for order in itertools.permutations([1.0, 2.0, 3.0]):
        share = (shuffled[:, [0, 2, 3]] == torch.tensor(order)).all(1).float().mean()
        assert abs(share - 1 / 6) < 0.02
    again = shuffle_non_target(rows, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shuffled, again)


def test_shuffle_of_equal_maxima_keeps_the_first():
    shuffled = shuffle_non_target(torch.tensor([[0.0, 5.0, 5.0]]))
    assert shuffled[0, 1] == 5
    assert shuffled.sum() == 10


# --- hints ---


def test_hint_in_closed_form():
    student, teacher = tensor([1, 2], [0, 0], [3, 1]), tensor([1, 4], [1, 0], [0, 1])
    assert_close(hint_loss(student, teacher), tensor((4 + 1 + 9) / 6)[0])


def test_hint_through_regressors():
    linear, images = nn.Linear(2, 3).double(), normal(5, 2, 4, 4)
    student, teacher = normal(5, 2), normal(5, 3, seed=1)
    expected = ((linear(student) - teacher) ** 2).sum() / 10
    assert_close(hint_loss(student, teacher, linear), expected)
    convolution, wide = nn.Conv2d(2, 3, 1).double(), normal(5, 3, 4, 4, seed=1)
    loss = hint_loss(images, wide, convolution)
    assert_close(loss, ((convolution(images) - wide) ** 2).sum() / 10)
    loss.backward()
    assert convolution.weight.grad.norm() > 0


# --- attention ---


def test_attention_in_closed_form():
    maps = tensor([[[1, -2]], [[1, 0]]])
    assert_close(attention_map(maps), tensor([2, 4]) / math.sqrt(20))
    other = tensor([[[3, 0]]])
    expected = (1 - 2 / math.sqrt(20)) ** 2 + 16 / 20
    assert_close(attention_transfer(maps, other), tensor(expected)[0])


@given(seed=SEEDS)
def test_attention_is_that_of_its_authors_code(seed):
    maps, other = normal(3, 4, 2, 5, seed=seed), normal(3, 2, 2, 5, seed=seed + 1)

    def at(x):  # their function, without the loss's mean over places
        return normalize(x.pow(2).mean(1).view(x.size(0), -1))

    assert_close(attention_map(maps), at(maps))
    expected = (at(maps) - at(other)).pow(2).mean() * 10
    assert_close(attention_transfer(maps, other), expected)
    assert_close(attention_transfer(maps * 1e3, other / 1e3), expected)
    assert 0 <= expected <= 2


def test_attention_of_extreme_and_silent_maps():
    maps = torch.tensor([[[[3e4, 0.0]]], [[[0.0, 0.0]]], [[[1e-6, 1e-6]]]], dtype=torch.float16)
    half = math.sqrt(0.5)
    expected = torch.tensor([[1, 0], [0, 0], [half, half]], dtype=torch.float16)
    assert_close(attention_map(maps), expected, rtol=1e-2, atol=0)
    silent = torch.zeros(2, 3, 2, 2, requires_grad=True)
    loss = attention_transfer(silent, torch.ones(2, 1, 2, 2))
    loss.backward()
    assert_close(loss.item(), 1.0)
    assert silent.grad.isfinite().all()


# --- relations ---


def test_distances_in_closed_form():
    student, teacher = tensor([0, 0], [3, 4], [0, 10]), tensor([0], [1], [9])
    # Distances 5, 10, sqrt 45 and 1, 9, 8, each over its mean.
    mu = (15 + math.sqrt(45)) / 3
    differences = [5 / mu - 1 / 6, 10 / mu - 9 / 6, math.sqrt(45) / mu - 8 / 6]
    expected = sum(d**2 / 2 for d in differences) / 3
    assert_close(relational_distance(student, teacher), tensor(expected)[0])


def test_distances_beyond_one_count_linearly():
    student, teacher = tensor([0], [1], [1e3]), tensor([0], [1e3], [1])
    mu = 2000 / 3  # of 1, 1000, 999 and of 1000, 1, 999
    differences = [abs(1 - 1000) / mu, abs(1000 - 1) / mu, 0.0]
    expected = sum(d - 0.5 if d > 1 else d**2 / 2 for d in differences) / 3
    assert_close(relational_distance(student, teacher), tensor(expected)[0])


@given(seed=SEEDS)
def test_distances_are_those_of_cdist_and_torchs_huber(seed):
    student, teacher = normal(6, 2, seed=seed), normal(6, 5, seed=seed + 1, scale=3)
    pairs = ~torch.eye(6, dtype=torch.bool)
    one, other = torch.cdist(student, student)[pairs], torch.cdist(teacher, teacher)[pairs]
    expected = huber_loss(one / one.mean(), other / other.mean())
    assert_close(relational_distance(student, teacher), expected)


@given(seed=SEEDS)
def test_angles_by_three_loops(seed):
    student, teacher = normal(4, 2, seed=seed), normal(4, 3, seed=seed + 1)

    def cosine(rows, i, j, k):
        return nn.functional.cosine_similarity(rows[i] - rows[j], rows[k] - rows[j], dim=0)

    triples = list(itertools.permutations(range(4), 3))
    one = torch.stack([cosine(student, *triple) for triple in triples])
    other = torch.stack([cosine(teacher, *triple) for triple in triples])
    assert_close(relational_angle(student, teacher), huber_loss(one, other))


def test_angles_at_equal_rows_count_as_right_ones():
    student = tensor([0, 0], [0, 0], [1, 0], [0, 1])
    teacher = tensor([0, 0], [1, 0], [1, 1], [0, 2])

    def cosine(rows, i, j, k):
        one, other = rows[i] - rows[j], rows[k] - rows[j]
        return one @ other / (one.norm() * other.norm()).clamp_min(1e-30)

    triples = list(itertools.permutations(range(4), 3))
    one = torch.stack([cosine(student, *triple) for triple in triples])
    other = torch.stack([cosine(teacher, *triple) for triple in triples])
    assert_close(relational_angle(student, teacher), huber_loss(one, other))


def test_angles_in_closed_form():
    line, corner = tensor([0], [1], [2]), tensor([0, 0], [1, 0], [0, 1])
    half = math.sqrt(0.5)
    expected = (1 / 2 + (1 + half - 0.5) + (1 - half) ** 2 / 2) / 3
    assert_close(relational_angle(line, corner), tensor(expected)[0])


@settings(max_examples=30)
@given(seed=SEEDS)
def test_relations_are_blind_to_shift_rotation_scale_and_order(seed):
    student, teacher = normal(5, 3, seed=seed), normal(5, 4, seed=seed + 1)
    turn = torch.linalg.qr(normal(3, 3, seed=seed + 2)).Q
    moved = 7 * student @ turn + normal(3, seed=seed + 3)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    for loss in (relational_distance, relational_angle):
        value = loss(student, teacher)
        assert value > 0
        assert_close(loss(moved, teacher), value)
        assert_close(loss(student[order], teacher[order]), value)
        assert_close(loss(moved, student), torch.zeros_like(value))


@pytest.mark.parametrize("loss", [relational_distance, relational_angle])
def test_equal_rows_have_finite_gradients(loss):
    teacher = normal(4, 3)
    some = normal(4, 2, seed=1)
    some[1] = some[0]
    for student in (some, torch.ones(4, 2, dtype=torch.float64)):
        student = student.clone().requires_grad_()
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


def test_collapsed_student_has_no_relations():
    teacher = normal(4, 3)
    pairs = torch.pdist(teacher)
    value = relational_distance(torch.ones(4, 2, dtype=torch.float64), teacher)
    zeros = torch.zeros_like(pairs)
    assert_close(value, huber_loss(pairs / pairs.mean(), zeros))


# --- gradients ---

PAIRS = {
    "kd": (partial(kd_loss, temperature=3), (3, 4), (3, 4)),
    "hint": (hint_loss, (3, 4), (3, 4)),
    "attention": (attention_transfer, (2, 3, 2, 2), (2, 1, 2, 2)),
    "distance": (relational_distance, (4, 2), (4, 3)),
    "angle": (relational_angle, (4, 2), (4, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_gradients(name):
    loss, one, other = PAIRS[name]
    student, teacher = normal(*one).requires_grad_(), normal(*other, seed=1).requires_grad_()
    assert gradcheck(partial(loss, teacher_gradient=True), (student, teacher))


@pytest.mark.parametrize("name", PAIRS)
def test_no_gradient_reaches_the_teacher_unless_asked(name):
    loss, one, other = PAIRS[name]
    student, teacher = normal(*one).requires_grad_(), normal(*other, seed=1).requires_grad_()
    value = loss(student, teacher)
    assert torch.autograd.grad(value, teacher, allow_unused=True) == (None,)
    assert_close(loss(student, teacher, teacher_gradient=True), value)
    asked = loss(student, teacher, teacher_gradient=True)
    assert torch.autograd.grad(asked, teacher)[0].norm() > 0


@pytest.mark.parametrize("name", PAIRS)
def test_hyperparameters_go_by_name(name):
    loss, one, other = PAIRS[name]
    with pytest.raises(TypeError, match=r"positional|callable"):
        loss(normal(*one), normal(*other), True)


def test_gradients_of_both_parts_and_of_softening():
    student, teacher = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    labels = torch.tensor([3, 0, 1])
    both = partial(distillation_loss, labels=labels, temperature=3, alpha=0.4)
    assert gradcheck(lambda z: both(z, teacher.detach()), (student,))
    assert torch.autograd.grad(both(student, teacher), teacher, allow_unused=True) == (None,)
    assert gradcheck(partial(soften, temperature=3), (student,))


@pytest.mark.parametrize("name", PAIRS)
def test_many_networks_at_once(name):
    """Under vmap: a stack of students, one teacher."""
    loss, one, other = PAIRS[name]
    students, teacher = normal(3, *one), normal(*other, seed=1)
    gradients = torch.vmap(torch.func.grad(loss), in_dims=(0, None))(students, teacher)
    alone = torch.stack([torch.func.grad(loss)(student, teacher) for student in students])
    assert_close(gradients, alone)


# --- bad input ---

LOGITS, FEATURES, MAPS = normal(3, 4), normal(4, 3), normal(2, 3, 2, 2)
LABELS = torch.tensor([0, 3, 1])
NAN, INF = torch.full((3, 4), math.nan).double(), torch.full((3, 4), math.inf).double()

BAD = {
    "temperature 0": (lambda: kd_loss(LOGITS, LOGITS, temperature=0), "temperature must be pos"),
    "temperature < 0": (lambda: soften(LOGITS, temperature=-2), "temperature must be positive"),
    "temperature inf": (lambda: soften(LOGITS, temperature=math.inf), "must be positive and fin"),
    "temperature nan": (lambda: soften(LOGITS, temperature=math.nan), "temperature must"),
    "classes": (
        lambda: kd_loss(LOGITS, LOGITS[:, :3], temperature=2),
        "the student has 4 classes, the teacher 3; give both the same classes",
    ),
    "fewer classes": (
        lambda: kd_loss(LOGITS[:, :3], LOGITS, temperature=2),
        "the student has 3 classes, the teacher 4; give both the same classes",
    ),
    "rows": (
        lambda: kd_loss(LOGITS[:2], LOGITS, temperature=2),
        "got 2 rows of the student and 3 of the teacher",
    ),
    "one class": (lambda: soften(LOGITS[:, :1], temperature=2), "one class only"),
    "nan": (lambda: kd_loss(LOGITS, NAN, temperature=2), "teacher_logits contains NaN in 12"),
    "inf": (lambda: kd_loss(INF, LOGITS, temperature=2), "student_logits must be finite"),
    "alpha": (
        lambda: distillation_loss(LOGITS, LOGITS, LABELS, temperature=2, alpha=1.5),
        r"alpha must lie in \[0, 1\], got 1.5",
    ),
    "alpha < 0": (
        lambda: distillation_loss(LOGITS, LOGITS, LABELS, temperature=2, alpha=-0.1),
        r"alpha must lie in \[0, 1\], got -0.1",
    ),
    "label": (
        lambda: distillation_loss(LOGITS, LOGITS, LABELS + 1, temperature=2, alpha=0.5),
        "labels must lie between 0 and 3",
    ),
    "shuffled nan": (lambda: shuffle_non_target(NAN), "logits contains NaN"),
    "shuffled axes": (lambda: shuffle_non_target(MAPS), "logits must be a matrix"),
    "hint": (
        lambda: hint_loss(FEATURES[:, :2], FEATURES),
        r"have shape \(4, 2\), the teacher's \(4, 3\); give a regressor",
    ),
    "hint wider": (
        lambda: hint_loss(FEATURES, FEATURES[:, :2]),
        r"have shape \(4, 3\), the teacher's \(4, 2\); give a regressor",
    ),
    "hint mapped": (
        lambda: hint_loss(FEATURES, FEATURES, nn.Linear(3, 2).double()),
        r"have shape \(4, 2\) after the regressor, the teacher's \(4, 3\)",
    ),
    "hint nan": (lambda: hint_loss(NAN, LOGITS), "student_features contains NaN"),
    "hint inf": (lambda: hint_loss(LOGITS, INF), "teacher_features must be finite"),
    "map axes": (lambda: attention_map(FEATURES), "maps must have 4 axes"),
    "map nan": (lambda: attention_map(MAPS * math.nan), "maps contains NaN"),
    "map inf": (lambda: attention_map(MAPS * math.inf), "maps must be finite"),
    "map size": (
        lambda: attention_transfer(MAPS, MAPS[..., :1]),
        r"one height and width, got \(2, 2\) for the student and \(2, 1\) for the teacher",
    ),
    "map rows": (
        lambda: attention_transfer(MAPS, MAPS[:1]),
        "got 2 rows of the student and 1 of the teacher",
    ),
    "one row": (
        lambda: relational_distance(FEATURES[:1], FEATURES[:1]),
        "must have at least 2 rows, got 1",
    ),
    "two rows": (
        lambda: relational_angle(FEATURES[:2], FEATURES[:2]),
        "must have at least 3 rows, got 2",
    ),
    "relations rows": (
        lambda: relational_distance(FEATURES[:3], FEATURES),
        "got 3 rows of the student and 4 of the teacher",
    ),
    "relations nan": (lambda: relational_angle(NAN, LOGITS), "student_features contains NaN"),
    "relations inf": (
        lambda: relational_angle(LOGITS, INF),
        "teacher_features must be finite, got 12 infinite values",
    ),
    "relations axes": (lambda: relational_distance(MAPS, MAPS), "student_features must be a mat"),
    "collapsed teacher": (
        lambda: relational_distance(LOGITS, torch.ones_like(LOGITS)),
        "all rows of the teacher's features are equal",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values(case):
    call, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kd_loss(LOGITS.float(), LOGITS, temperature=2), "must have one dtype"),
        (lambda: kd_loss(LOGITS.long(), LOGITS, temperature=2), "student_logits must hold float"),
        (lambda: soften([[1.0, 2.0]], temperature=2), "logits must be a torch.Tensor"),
        (lambda: soften(LOGITS, temperature="hot"), "temperature must be a number, got 'hot'"),
        (
            lambda: distillation_loss(LOGITS, LOGITS, LABELS, temperature=2, alpha=None),
            "alpha must be a number",
        ),
        (lambda: hint_loss(FEATURES.float(), FEATURES), "must have one dtype"),
        (lambda: attention_transfer(MAPS.float(), MAPS), "must have one dtype"),
        (lambda: relational_angle(FEATURES.float(), FEATURES), "must have one dtype"),
    ],
)
def test_bad_types(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_probabilities_are_warned_of():
    probabilities = LOGITS.softmax(1)
    with pytest.warns(UserWarning, match="teacher_logits: every row is a probability"):
        kd_loss(LOGITS, probabilities, temperature=2)
    with pytest.warns(UserWarning, match="logits: every row is a probability"):
        soften(probabilities, temperature=2)
