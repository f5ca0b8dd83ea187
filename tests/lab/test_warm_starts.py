"""Learners that begin from a pretrained body: what is copied, what moves, what stays."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from mapping_lib.lab.data.types import Images
from mapping_lib.lab.few_shot import ANIL, MAML, Pretraining, Task, draw_task
from mapping_lib.lab.warm_starts import (
    Cosine,
    FeatureScale,
    ScaleShift,
    crossing_task,
    from_body,
    mean_accuracy,
)


@pytest.fixture(scope="module")
def squares():
    """Six classes: a bright square in one of six places, with noise; twelve images each."""
    generator = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(72, 1, 16, 16, generator=generator)
    labels = torch.arange(6).repeat_interleave(12)
    for n, label in enumerate(labels.tolist()):
        row, column = divmod(label, 3)
        images[n, 0, 2 + 7 * row : 7 + 7 * row, 5 * column : 5 * column + 5] += 0.6
    return Images(images, labels, tuple("abcdef"), entry="rendered-glyphs", split="train")


@pytest.fixture(scope="module")
def pretrained(squares):
    learner = Pretraining(**settings())
    learner.train(squares, 20)
    return learner


def settings(**changed):
    return {"ways": 3, "shots": 1, "seed": 0} | changed


def task(squares, shots=1, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return draw_task(squares, ways=3, shots=shots, queries=4, generator=draw)


@pytest.mark.parametrize("make", [Cosine, ScaleShift, MAML, ANIL])
def test_a_body_is_copied_and_its_owner_left_alone(make, squares, pretrained):
    before = {n: t.clone() for n, t in pretrained.network.state_dict().items()}
    learner = make(**settings(seed=1))
    head = [p.clone() for p in learner.network.head.parameters()]
    assert from_body(learner, pretrained) is learner
    for name, part in learner.network.body.state_dict().items():
        assert torch.equal(part, pretrained.network.body.state_dict()[name]), name
    assert all(map(torch.equal, head, learner.network.head.parameters()))
    learner.train(squares, 2)
    after = pretrained.network.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before)
    moved = learner.network.body.state_dict()
    assert any(not torch.equal(part, after[f"body.{n}"]) for n, part in moved.items())


def test_bodies_of_another_structure_are_refused(pretrained):
    other = Cosine(**settings())
    other.network.body = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="state_dict"):
        from_body(other, pretrained)


def test_cosine_head_is_the_cosine_with_the_class_mean():
    support, query = torch.randn(5, 4), 3 * torch.randn(2, 4)
    labels = torch.tensor([1, 0, 1, 1, 0])
    means = torch.stack([support[labels == k].mean(0) for k in (0, 1)])
    expected = 10 * (cosine_similarity(query[:, None], means[None], dim=2) - 1)
    assert_close(Cosine(**settings()).head(support, labels, query), expected)


def test_cosine_head_looks_at_directions_alone():
    head = Cosine(**settings()).head
    support, labels, query = torch.randn(3, 4), torch.arange(3), torch.randn(2, 4)
    assert_close(head(5 * support, labels, 0.1 * query), head(support, labels, query))


def test_scale_and_shift_moves_nothing_else(squares, pretrained):
    learner = from_body(ScaleShift(**settings()), pretrained)
    before = {n: t.clone() for n, t in learner.network.state_dict().items()}
    learner.train(squares, 3)
    moved = {n for n, t in learner.network.state_dict().items() if not torch.equal(t, before[n])}
    norms = [n for n, m in learner.network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert moved == {f"{n}.{part}" for n in norms for part in ("weight", "bias")}
    assert sum(part.numel() for part in learner.moving) == 256


def test_fixed_statistics_stay_and_weights_move(squares, pretrained):
    class Fixed(Cosine):
        statistics_fixed = True

    for make, stay in ((Fixed, True), (Cosine, False)):
        learner = from_body(make(**settings()), pretrained)
        learner.train(squares, 2)
        state, before = learner.network.state_dict(), pretrained.network.state_dict()
        assert torch.equal(state["body.1.running_mean"], before["body.1.running_mean"]) == stay
        assert not torch.equal(state["body.0.weight"], before["body.0.weight"])


@pytest.mark.parametrize("make", [Cosine, ScaleShift])
def test_query_labels_are_not_looked_at(make, squares, pretrained):
    learner = from_body(make(**settings()), pretrained)
    learner.train(squares, 1)
    drawn = task(squares)
    expected = learner.classify(drawn)
    assert not expected.requires_grad
    assert_close(learner.classify(drawn._replace(query_labels=torch.zeros(12).long())), expected)


@pytest.mark.parametrize("make", [Cosine, ScaleShift])
def test_one_seed_gives_one_learner(make, squares):
    first, again, other = (make(**settings(seed=s)) for s in (1, 1, 2))
    for learner in (first, again, other):
        learner.train(squares, 2)
    logits = [learner.classify(task(squares)) for learner in (first, again, other)]
    assert_close(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


def test_mean_accuracy_has_the_standard_error_of_a_mean():
    labels = torch.tensor([0, 1])
    right, wrong = torch.eye(2), torch.eye(2).flip(0)
    tasks = [Task(logits, labels, logits, labels) for logits in (right, wrong, right, right)]
    mean, error = mean_accuracy(lambda each: each.query, tasks)
    assert mean == 0.75
    assert_close(error, 0.25)  # a deviation of 0.5 over the root of 4


class TestFeatureScale:
    def test_untrained_it_is_the_cosine_of_the_features(self):
        learner = FeatureScale(width=6, **settings())
        drawn = crossing(2)
        expected = Cosine(**settings()).head(drawn.support, drawn.support_labels, drawn.query)
        assert_close(learner.classify(drawn), expected)

    def test_it_learns_which_feature_tells(self):
        generator = torch.Generator().manual_seed(0)

        def draw(generator):
            labels = torch.arange(3).repeat_interleave(4)
            features = torch.randn(12, 8, generator=generator)
            told = torch.randn(3, 2, generator=generator)
            features[:, :2] = told[labels] + 0.1 * torch.randn(12, 2, generator=generator)
            rows = torch.arange(0, 12, 4)
            rest = torch.ones(12).bool().index_fill_(0, rows, False)
            return Task(features[rows], labels[rows], features[rest], labels[rest])

        tasks = [draw(generator) for _ in range(50)]
        learner = FeatureScale(width=8, **settings())
        for group in learner.optimiser.param_groups:
            group["lr"] = 0.05
        before, _ = mean_accuracy(learner.classify, tasks)
        learner.practise(draw, 100)
        weight = learner.network.weight.abs()
        assert weight[:2].min() > 2 * weight[2:].max()
        assert mean_accuracy(learner.classify, tasks)[0] > before + 0.1


def crossing(shots, **changed):
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(24, 6, generator=generator), torch.arange(4).repeat(6)
    new = 100 + torch.randn(40, 6, generator=generator), torch.arange(4).repeat(10)
    drawing = {"classes": torch.tensor([0, 1, 3]), "ways": 2, "queries": 3} | changed
    return crossing_task(known, new, **drawing, shots=shots, generator=generator)


class TestCrossingTask:
    def test_support_and_query_come_from_their_own_sets(self):
        drawn = crossing(2)
        assert (drawn.support.shape, drawn.query.shape) == ((4, 6), (6, 6))
        assert drawn.support.max() < 50 < drawn.query.min()
        assert drawn.support_labels.tolist() == [0, 0, 1, 1]
        assert drawn.query_labels.tolist() == [0, 0, 0, 1, 1, 1]

    def test_labels_name_the_same_class_on_both_sides(self):
        labels = torch.arange(4).repeat_interleave(5)
        inputs = labels[:, None].float()
        for seed in range(10):
            drawn = crossing_task(
                (inputs, labels),
                (inputs, labels),
                classes=torch.tensor([1, 2, 3]),
                ways=3,
                shots=1,
                queries=2,
                generator=torch.Generator().manual_seed(seed),
            )
            support = drawn.support[:, 0].repeat_interleave(2)
            assert torch.equal(support, drawn.query[:, 0])
            assert sorted(drawn.support[:, 0].tolist()) == [1, 2, 3]

    def test_no_example_is_drawn_twice(self):
        assert len(crossing(6).support.unique(dim=0)) == 12

    def test_too_few_classes_or_examples_are_named(self):
        with pytest.raises(ValueError, match="4 ways need as many classes, got 3"):
            crossing(1, ways=4)
        with pytest.raises(ValueError, match="has 6 examples, but 7 are asked for"):
            crossing(7)


def test_one_task_has_no_standard_error(squares):
    with pytest.raises(ValueError, match="at least two tasks, got 1; draw more"):
        mean_accuracy(Cosine(**settings()).classify, [task(squares)])
