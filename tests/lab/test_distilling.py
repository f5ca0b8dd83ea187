"""Teachers and students: their layers, the draw of the digits, and the training loop."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mapping_lib.distillation import hint_loss, kd_loss
from mapping_lib.lab.data import Images
from mapping_lib.lab.distilling import (
    STUDENT,
    TEACHER,
    DigitCnn,
    Lesson,
    PhotographCnn,
    answers,
    classroom,
    from_logits,
    learn,
    study,
)
from mapping_lib.lab.training import accuracy, predict


@pytest.fixture(scope="module")
def images():
    """Sixty images, easy to tell apart: a bright row says the class."""
    labels = torch.arange(60) % 10
    pixels = torch.rand(60, 1, 16, 16, generator=torch.Generator().manual_seed(0)) / 4
    pixels[torch.arange(60), 0, labels] += 0.75
    return Images(pixels, labels, tuple("0123456789"), entry="rendered-glyphs", split="all")


@pytest.fixture(scope="module")
def lesson(images):
    """A teacher that is sure of the right class."""
    logits = 8.0 * nn.functional.one_hot(images.labels, 10)
    return Lesson(images.images, images.labels, from_logits(logits), labelled=10)


def softened(student, teacher):
    return kd_loss(student.logits, teacher.logits, temperature=2)


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("structure", "size"), [(TEACHER, 46_650), (STUDENT, 2_653)])
def test_sizes_and_layers(structure, size):
    network = DigitCnn(structure, seed=0)
    assert sum(p.numel() for p in network.parameters()) == size
    found = answers(network, torch.rand(3, 1, 16, 16))
    assert found.first.shape == (3, structure.first, 8, 8)
    assert found.second.shape == (3, structure.second, 4, 4)
    assert found.features.shape == (3, structure.hidden or 176)
    assert found.logits.shape == (3, 10)
    assert_close(network.head(found.features), found.logits)
    assert found.rows(slice(2)).second.shape == (2, structure.second, 4, 4)
    assert not found.logits.requires_grad


def test_seed_alone_draws_the_first_weights():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = (state(DigitCnn(STUDENT, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_close(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_parts_of_a_classroom_share_no_image():
    room, other = classroom(0), classroom(1)
    parts = (room.teacher, room.pool, room.held_out, room.test)
    assert [len(part) for part in parts] == [500, 600, 100, 597]
    rows = torch.cat([part.images.flatten(1) for part in parts])
    assert len(rows.unique(dim=0)) == len(rows)
    assert room.pool.labels[:30].tolist() == [k for k in range(10) for _ in range(3)]
    assert torch.equal(room.test.images, other.test.images)
    assert not torch.equal(room.pool.images, other.pool.images)
    assert classroom(0, per_class=1).pool.labels[:10].tolist() == list(range(10))


def test_labels_alone_are_learned(images):
    network = DigitCnn(STUDENT, seed=0)
    curve = learn(network, images, steps=150, watched=images)
    assert len(curve) == 4  # at 0, 50, 100 and 150
    assert curve[0] < 0.4
    assert curve[-1] > 0.95
    assert accuracy(predict(network, images.images), images.labels) == curve[-1]
    assert not network.training


def test_teacher_alone_is_learned_and_labels_are_not_looked_at(images, lesson):
    wrong = replace(lesson, labels=(lesson.labels + 1) % 10)
    found = []
    for given in (lesson, wrong):
        student = DigitCnn(STUDENT, seed=0)
        assert study(student, given, softened, share=1, steps=150) == []
        found.append(state(student))
    assert_close(*found)
    logits = answers(student, images.images).logits
    assert accuracy(logits, images.labels) > 0.95


def test_without_a_share_the_teacher_is_not_looked_at(lesson):
    def refuse(student, teacher):
        raise AssertionError

    study(DigitCnn(STUDENT, seed=0), lesson, refuse, share=0, steps=3)


def test_labels_beyond_the_labelled_ones_are_not_looked_at(lesson):
    other = replace(lesson, labels=torch.cat([lesson.labels[:10], lesson.labels[10:] * 0]))
    found = []
    for given in (lesson, other):
        student = DigitCnn(STUDENT, seed=0)
        study(student, given, softened, share=0.5, steps=20)
        found.append(state(student))
    assert_close(*found)


def test_scale_of_the_loss_changes_nothing_seed_does(lesson):
    """What makes T² needless where the weight is tuned: Adam sees the ratio of two parts alone."""

    def trained(term, share, seed=0):
        student = DigitCnn(STUDENT, seed=0).double()
        double = Lesson(lesson.images.double(), lesson.labels, lesson.teacher, 10)
        study(student, double, term, share=share, steps=30, seed=seed)
        return state(student)

    def logits(student, teacher, factor):
        return factor * kd_loss(student.logits, teacher.logits.double(), temperature=2)

    one = trained(partial(logits, factor=1), 0.5)
    same = trained(partial(logits, factor=4), 0.2)
    other = trained(partial(logits, factor=1), 0.5, seed=1)
    near, far = ((one["head.weight"] - state["head.weight"]).norm() for state in (same, other))
    assert near < far / 20  # what is left is Adam's epsilon


def test_regressor_is_trained_along(images):
    teacher = DigitCnn(TEACHER, seed=1)
    given = Lesson(images.images, images.labels, answers(teacher, images.images), 10)
    regressor = nn.Conv2d(STUDENT.second, TEACHER.second, 1)
    before = regressor.weight.clone()

    def hint(student, wanted):
        return hint_loss(student.second, wanted.second, regressor)

    study(DigitCnn(STUDENT, seed=0), given, hint, share=0.5, steps=5, extra=regressor)
    assert not torch.equal(regressor.weight, before)


def test_photographs_are_learned_with_batch_norm():
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 2
    images[labels == 0, :, :16] = 0
    given = Lesson(images, labels, from_logits(torch.zeros(8, 2)), 8)
    student = PhotographCnn(2, seed=0)
    assert answers(student, images).features.shape == (8, 128)
    study(student, given, softened, share=0, steps=30, batch_size=8)
    assert not student.training
    assert accuracy(answers(student, images).logits, labels) == 1


def test_loss_that_is_not_finite_stops(lesson):
    def broken(student, teacher):
        return student.logits.sum() * torch.inf

    with pytest.raises(FloatingPointError, match="isn't finite in step 1"):
        study(DigitCnn(STUDENT, seed=0), lesson, broken, share=0.5, steps=2)
