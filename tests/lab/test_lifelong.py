"""Tasks that come one after another: how they are cut, and what each learner may know."""

from dataclasses import replace

import pytest
import torch

from mapping_lib.lab.data import handwritten_digits
from mapping_lib.lab.lifelong import METHODS, LifelongNetwork, learn, split_tasks

SIZES = (12, 4, 6)


@pytest.fixture(scope="module")
def tasks():
    return split_tasks(handwritten_digits(size=8), [[3, 1], [0, 4]], sizes=SIZES, seed=0)


def test_tasks_have_their_classes_and_no_row_twice(tasks):
    first, second = tasks
    assert repr(first) == "Task(3 1: 2 classes, 24, 8, 12 images)"
    assert set(second.test[1].tolist()) == {0, 4}
    parts = (first.train, first.validation, first.test)
    rows = torch.cat([images.flatten(1) for images, _ in parts])
    assert len(rows.unique(dim=0)) == len(rows) == 44


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([[0, 1], [1, 2]], "class 1 stands twice"),
        ([[0], []], "needs at least one class"),
        ([], "there must be a task"),
    ],
)
def test_groups_that_cannot_be(groups, words):
    with pytest.raises(ValueError, match=words):
        split_tasks(handwritten_digits(size=8), groups, sizes=SIZES, seed=0)


def test_classes_that_are_too_small():
    with pytest.raises(ValueError, match=r"class 0 has \d+ images, 600 are due"):
        split_tasks(handwritten_digits(size=8), [[0]], sizes=(200, 200, 200), seed=0)


def test_closed_classes_have_no_logits():
    network = LifelongNetwork(5, seed=0)
    x = torch.rand(3, 1, 8, 8)
    whole = network(x)
    network.open = [4, 1]
    torch.testing.assert_close(network(x), whole[:, [4, 1]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_every_method_learns_the_task_at_hand(tasks, method, scenario):
    settings = {"seed": 0, "strength": 1.0, "memory": 8, "epochs": 15, "rate": 5e-3, "width": 30}
    course = learn(tasks, method, scenario, **settings)
    assert course.accuracies.shape == (2, 2)
    assert course.accuracies[0, 0] > 0.8
    if method != "frozen body":
        assert course.accuracies[1, 1] > 0.8
    if scenario == "class":
        assert course.accuracies[0, 1] == 0  # its classes aren't open yet
    again = learn(tasks, method, scenario, **settings)
    assert torch.equal(course.accuracies, again.accuracies)


def test_a_frozen_body_and_its_old_heads_stay():
    tasks = split_tasks(handwritten_digits(size=8), [[4, 1], [0, 3]], sizes=SIZES, seed=0)
    settings = {"seed": 0, "epochs": 3, "width": 30}
    one = learn(tasks[:1], "frozen body", "task", **settings).network
    both = learn(tasks, "frozen body", "task", **settings).network
    for name, before in one.body.state_dict().items():
        assert torch.equal(before, both.body.state_dict()[name])
    assert torch.equal(one.head.weight[[4, 1]], both.head.weight[[4, 1]])
    assert not torch.equal(
        LifelongNetwork(5, width=30, seed=0).head.weight[[0, 3]], both.head.weight[[0, 3]]
    )


def test_ewc_without_strength_is_fine_tuning(tasks):
    settings = {"seed": 0, "epochs": 3, "width": 30}
    plain, held = (learn(tasks, m, "task", **settings).network for m in ("fine-tuning", "EWC"))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, held.state_dict()[name])


def test_what_cannot_be_learned(tasks):
    with pytest.raises(ValueError, match="unknown method 'EWK'; did you mean 'EWC'"):
        learn(tasks, "EWK", "task", seed=0)
    empty = replace(tasks[1], train=(torch.zeros(0, 1, 8, 8), torch.zeros(0).long()))
    with pytest.raises(ValueError, match="task '0 4' is empty"):
        learn([tasks[0], empty], "EWC", "task", seed=0)
