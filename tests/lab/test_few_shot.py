"""Few-shot problems and learners: what they draw, that they learn, and what they leave alone."""

import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab import checkpoints, few_shot
from mapping_lib.lab.data.types import Images
from mapping_lib.lab.few_shot import (
    ANIL,
    MAML,
    FirstOrder,
    Fresh,
    Pixels,
    Pretraining,
    Prototypes,
    Reptile,
    Ridge,
    draw_task,
    episode_accuracies,
    errors_by_step,
    meta_train,
    pretrain,
    regressor,
    sinusoids,
    stacked,
)

TRAINED = [Prototypes, Ridge, MAML, FirstOrder, ANIL, Reptile, Pretraining]


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


def settings(**changed):
    return {"ways": 3, "shots": 1, "seed": 0} | changed


class TestSinusoids:
    def test_every_task_is_one_curve(self):
        draw = torch.Generator().manual_seed(0)
        (x, y), (u, v) = sinusoids(200, shots=3, queries=4, generator=draw)
        assert (x.shape, y.shape, u.shape, v.shape) == ((200, 3, 1),) * 2 + ((200, 4, 1),) * 2
        assert x.abs().max() <= 5
        assert 4.5 < y.abs().max() <= 5
        # A sin(x − φ) = a sin x + b cos x: two points of the support decide the others.
        basis = torch.cat([x.sin(), x.cos()], dim=2).double()
        weights = torch.linalg.lstsq(basis, y.double(), driver="gelsd").solution
        again = torch.cat([u.sin(), u.cos()], dim=2).double() @ weights
        assert (again - v).abs().median() < 1e-4
        amplitude = weights.square().sum(1).sqrt()
        assert amplitude.min() > 0.1 - 1e-3
        assert amplitude.median() > 1.5

    def test_learning_to_adapt(self):
        network = regressor(seed=0)
        losses = meta_train(network, iterations=60, seed=0)
        assert len(losses) == 60
        before, after = (errors_by_step(n, steps=1, tasks=50) for n in (regressor(seed=0), network))
        assert after[1].mean() < before[1].mean() - 0.3
        again = regressor(seed=0)
        assert meta_train(again, iterations=60, seed=0) == losses
        assert_close(dict(again.named_parameters()), dict(network.named_parameters()))

    def test_pretraining_learns_the_mean_curve(self):
        network = regressor(seed=0)
        losses = pretrain(network, iterations=60, seed=0)
        assert sum(losses[-20:]) < sum(losses[:20])
        found = errors_by_step(network, steps=2, tasks=30)
        assert found.shape == (3, 30)
        assert all(part.requires_grad for part in network.parameters())

    def test_seed_draws_weights_alone(self):
        state = torch.random.get_rng_state()
        first, second = regressor(seed=1), regressor(seed=1)
        assert_close(dict(first.named_parameters()), dict(second.named_parameters()))
        assert torch.equal(state, torch.random.get_rng_state())


class TestCheckpoints:
    def test_unknown_and_missing(self, monkeypatch, tmp_path):
        with pytest.raises(ValueError, match="did you mean 'MAML'"):
            few_shot.converged_regressor("maml")
        monkeypatch.setattr(few_shot, "checkpoint_path", lambda method: tmp_path / "none.pt")
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            few_shot.converged_regressor("MAML")

    def test_another_file_is_refused(self, monkeypatch, tmp_path):
        path = checkpoints.save(regressor(seed=5).state_dict(), tmp_path / "other.pt")
        monkeypatch.setattr(few_shot, "checkpoint_path", lambda method: path)
        with pytest.raises(checkpoints.CheckpointError, match="SHA-256 is another"):
            few_shot.converged_regressor("MAML")


class TestTasks:
    def test_draw_and_stack(self, squares):
        draw = torch.Generator().manual_seed(0)
        tasks = [draw_task(squares, ways=3, shots=2, queries=4, generator=draw) for _ in range(2)]
        (support, labels), (query, wanted) = stacked(tasks)
        assert support.shape == (2, 6, 1, 16, 16)
        assert query.shape == (2, 12, 1, 16, 16)
        assert labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 2
        assert wanted.shape == (2, 12)

    def test_all_learners_meet_the_same_episodes(self, squares):
        seen = []

        def classify(task):
            seen.append(task.query.sum().item())
            return torch.eye(3)[task.query_labels]

        for _ in range(2):
            found = episode_accuracies(
                classify, squares, ways=3, shots=1, episodes=3, seed=4, queries=2
            )
            assert found == [1.0] * 3
        assert seen[:3] == seen[3:]


@pytest.mark.parametrize("make", TRAINED)
def test_learners_learn_and_can_go_on(make, squares):
    learner = make(**settings())
    before = {n: p.clone() for n, p in learner.network.named_parameters()}
    learner.train(squares, 15)
    learner.train(squares, 15)
    moved = [n for n, p in learner.network.named_parameters() if not torch.equal(before[n], p)]
    assert moved
    found = episode_accuracies(
        learner.classify, squares, ways=3, shots=1, episodes=10, seed=1, queries=5
    )
    assert sum(found) / 10 > 0.55


@pytest.mark.parametrize("make", [Pixels, Fresh, *TRAINED])
def test_query_labels_are_not_looked_at(make, squares):
    learner = make(**settings())
    learner.train(squares, 1)
    draw = torch.Generator().manual_seed(0)
    task = draw_task(squares, ways=3, shots=1, queries=2, generator=draw)
    expected = learner.classify(task)
    assert expected.shape == (6, 3)
    assert not expected.requires_grad
    assert_close(learner.classify(task._replace(query_labels=torch.zeros(6).long())), expected)
    assert all(module.training for module in learner.network.modules())


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile])
def test_adapting_leaves_the_network_alone(make, squares):
    learner = make(**settings())
    state = {n: t.clone() for n, t in learner.network.state_dict().items()}
    draw = torch.Generator().manual_seed(0)
    task = draw_task(squares, ways=3, shots=1, queries=2, generator=draw)
    learner.classify(task)
    assert all(torch.equal(state[n], t) for n, t in learner.network.state_dict().items())
    adapted = learner.adapted(task, 2)
    moved = {n for n, p in learner.parameters.items() if not torch.equal(adapted[n], p)}
    heads = {"head.weight", "head.bias"}
    assert (moved == heads) == (make is ANIL)


def test_one_at_a_time_looks_at_no_other_query(squares):
    learner = MAML(**settings())
    draw = torch.Generator().manual_seed(0)
    task = draw_task(squares, ways=3, shots=1, queries=2, generator=draw)
    alone = learner.one_at_a_time(task)
    assert_close(learner.one_at_a_time(task._replace(query=task.query[2:4])), alone[2:4])
    fewer = learner.classify(task._replace(query=task.query[2:4]))
    assert not torch.allclose(learner.classify(task)[2:4], fewer)


def test_heads_on_a_pretrained_network(squares):
    learner = Pretraining(**settings())
    learner.train(squares, 30)
    for classify in (learner.by_regression, learner.by_fine_tuning):
        found = episode_accuracies(
            classify, squares, ways=3, shots=1, episodes=5, seed=1, queries=5
        )
        assert sum(found) / 5 > 0.5
