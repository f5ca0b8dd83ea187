"""The loop for several tasks, the balances, and the tasks on digits."""

import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab.multitasking import (
    METHODS,
    GradNorm,
    Task,
    TaskNetwork,
    TaskProblem,
    Uncertainty,
    balance,
    digit_tasks,
    fixed,
    largest,
    scores,
    train,
)


@pytest.fixture(scope="module")
def digits():
    return digit_tasks(0, labels_per_class=3)


def state(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class TestDigitTasks:
    def test_rows_are_disjoint_and_of_equal_numbers(self, digits):
        problem, others = digits
        labels = problem.tasks["digit"].targets
        rows = problem.tasks["digit"].rows
        assert labels[rows].bincount().tolist() == [3] * 10
        assert labels[problem.validation].bincount().tolist() == [10] * 10
        assert labels[problem.test].bincount().tolist() == [70] * 10
        sets = [set(part.tolist()) for part in (others, problem.validation, problem.test)]
        assert sum(map(len, sets)) == len(set.union(*sets)) == 1797
        assert set(rows.tolist()) <= sets[0]

    def test_targets_belong_together(self, digits):
        tasks = digits[0].tasks
        assert torch.equal(tasks["parity"].targets, tasks["digit"].targets % 2)
        ink = tasks["ink"].targets
        assert abs(ink.mean()) < 1e-5
        assert_close(ink.std(), torch.tensor(1.0))
        assert [task.outputs for task in tasks.values()] == [10, 2, 1]
        assert [task.squared for task in tasks.values()] == [False, False, True]

    def test_seed_draws_the_images(self):
        first, again, other = (digit_tasks(s)[0].test for s in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_parts_and_other_rows(self, digits):
        problem, others = digits
        assert list(problem.only("ink", "digit").tasks) == ["ink", "digit"]
        assert problem.labelled(parity=others).tasks["parity"].rows is others
        assert problem.tasks["parity"].rows is not others
        with pytest.raises(ValueError, match="no task 'inc'; did you mean 'ink'"):
            problem.only("inc")
        with pytest.raises(ValueError, match="between 1 and 90, got 91"):
            digit_tasks(0, labels_per_class=91)


class TestTask:
    def test_scale_multiplies_the_loss_and_not_the_score(self):
        targets = torch.tensor([0.0, 2.0, 4.0])
        rows, outputs = torch.tensor([0, 2]), torch.tensor([[1.0], [4.0]])
        for scale in (1.0, 10.0):
            task = Task(targets, rows, scale=scale)
            assert task.loss(outputs, rows) == scale * 0.5
            assert task.score(outputs, rows) == 1 - 0.5 / 4

    def test_classes_are_scored_by_accuracy(self):
        task = Task(torch.tensor([1, 0, 2]), torch.arange(3), scale=2.0)
        outputs = torch.tensor([[0.0, 9.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
        assert task.score(outputs, torch.arange(3)) == pytest.approx(2 / 3)
        assert task.loss(outputs, torch.arange(3)) > 5


class TestBalances:
    losses = torch.tensor([2.0, 3.0])
    gradients = torch.tensor([[2.0, 0.0], [-3.0, 4.0]])

    def test_fixed_weights(self):
        shared, weights = fixed((0.5, 2))(self.losses, self.gradients)
        assert shared.tolist() == [-5, 8]
        assert weights.tolist() == [0.5, 2]
        assert fixed()(self.losses, self.gradients).shared.tolist() == [-1, 4]

    def test_largest_follows_one_loss(self):
        shared, weights = largest((1, 1))(self.losses, self.gradients)
        assert shared.tolist() == [-3, 4]
        assert weights.tolist() == [0, 1]
        shared, weights = largest((4, 1))(self.losses, self.gradients)
        assert shared.tolist() == [8, 0]
        assert weights.tolist() == [4, 0]

    def test_uncertainty_moves_towards_the_best_variances(self):
        way = Uncertainty([False, True], rate=0.05)
        for _ in range(500):
            weights = way(self.losses, self.gradients).weights
        assert_close(weights * self.losses, torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)

    def test_gradnorm_keeps_the_sum_and_evens_the_lengths(self):
        way = GradNorm(2, rate=0.01)
        for _ in range(300):
            shared, weights = way(self.losses, self.gradients)
        assert_close(weights.sum(), torch.tensor(2.0))
        assert_close(weights, torch.tensor([10, 4]) / 7, atol=0.05, rtol=0)
        assert_close(shared, weights @ self.gradients)

    def test_methods_on_two_gradients(self, digits):
        problem = digits[0].only("digit", "parity")
        found = {
            name: balance(name, problem, seed=0)(self.losses, self.gradients) for name in METHODS
        }
        assert found["sum"].shared.tolist() == [-1, 4]
        assert_close(found["PCGrad"].shared, torch.tensor([1.28, 4.96]))
        assert_close(found["MGDA"].shared, 2 * torch.tensor([62 - 30, 40.0]) / 41)
        assert_close(found["equal lengths"].shared, 3.5 * torch.tensor([0.4, 0.8]))
        assert_close(found["equal lengths"].weights, torch.tensor([1.75, 0.7]))
        for name in ("PCGrad", "MGDA"):
            assert found[name].weights.tolist() == [1, 1]
        with pytest.raises(ValueError, match="no method 'pcgrad'; did you mean 'PCGrad'"):
            balance("pcgrad", problem, seed=0)


class TestTrain:
    def test_network_learns_and_the_seed_decides(self, digits):
        problem, _ = digits
        ends = []
        for seed in (0, 0, 1):
            network = TaskNetwork(problem.tasks, seed=seed)
            seen = train(network, problem, fixed(), steps=40, seed=seed)
            ends.append(state(network))
        assert torch.equal(ends[0], ends[1])
        assert not torch.equal(ends[0], ends[2])
        assert seen.losses[-5:, 0].mean() < seen.losses[:5, 0].mean() - 0.3
        assert seen.losses.shape == seen.lengths.shape == seen.weights.shape == (40, 3)
        assert seen.cosines.shape == (40, 3, 3)
        found = scores(network, problem, problem.test)
        assert list(found) == ["digit", "parity", "ink"]
        assert found["digit"] > 0.4

    def test_plain_sum_is_backward_of_the_sum(self, digits):
        problem = digits[0]
        network, plain = (TaskNetwork(problem.tasks, seed=3) for _ in range(2))
        train(network, problem, fixed((1, 2, 0.5)), steps=3, seed=5)
        optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(5)
        for _ in range(3):
            optimiser.zero_grad()
            rows = problem.tasks["digit"].rows
            rows = rows[(torch.rand(64, generator=generator) * len(rows)).long()]
            outputs = plain(problem.images[rows])
            losses = [task.loss(outputs[name], rows) for name, task in problem.tasks.items()]
            (losses[0] + 2 * losses[1] + 0.5 * losses[2]).backward()
            optimiser.step()
        assert_close(state(network), state(plain), atol=1e-6, rtol=1e-4)

    def test_a_task_of_weight_zero_leaves_the_trunk_to_the_others(self, digits):
        problem = digits[0]
        trunks = []
        for names, weights in ((("digit",), (1,)), (("digit", "ink"), (1, 0))):
            network = TaskNetwork(problem.only(*names).tasks, seed=0)
            train(network, problem.only(*names), fixed(weights), steps=5, seed=0)
            trunks.append(torch.cat([p.detach().flatten() for p in network.trunk.parameters()]))
        assert_close(trunks[0], trunks[1])

    def test_other_rows_are_used(self, digits):
        problem, others = digits
        used = []
        for each in (problem, problem.labelled(ink=others)):
            network = TaskNetwork(each.tasks, seed=0)
            used.append(train(network, each, fixed(), steps=1, seed=0).losses[0])
        assert torch.equal(used[0][:2], used[1][:2])
        assert used[0][2] != used[1][2]

    def test_calls_back_after_each_step(self, digits):
        calls = []
        network = TaskNetwork(digits[0].tasks, seed=0)
        train(network, digits[0], fixed(), steps=3, seed=0, after=calls.append)
        assert calls == [1, 2, 3]

    def test_divergence_is_named(self, digits):
        problem = digits[0]
        huge = TaskProblem(
            problem.images,
            {"ink": Task(problem.tasks["ink"].targets * 1e30, problem.tasks["ink"].rows)},
            problem.validation,
            problem.test,
        )
        network = TaskNetwork(huge.tasks, seed=0)
        with pytest.raises(FloatingPointError, match=r"in step 1: .*smaller rate \(now 0.001\)"):
            train(network, huge, fixed(), steps=2, seed=0)

    def test_first_weights_of_the_trunk_do_not_depend_on_the_tasks(self, digits):
        torch.manual_seed(0)
        before = torch.random.get_rng_state()
        all_tasks, one = (TaskNetwork(p.tasks, seed=4) for p in (digits[0], digits[0].only("ink")))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(all_tasks.trunk[1].weight, one.trunk[1].weight)
        assert TaskNetwork(digits[0].tasks, seed=4, width=5).heads["ink"].weight.shape == (1, 5)
