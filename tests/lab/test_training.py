import os
import random
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from mapping_lib.lab.backbones import freeze, small_cnn
from mapping_lib.lab.machine import shows_progress
from mapping_lib.lab.training import (
    History,
    accuracy,
    device,
    fit,
    predict,
    seed_everything,
    single_thread,
)


def two_clouds(n=40, seed=0):
    """Points around (−2, −2) and (2, 2), half of each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return torch.randn(n, 2, generator=generator) + 4 * labels[:, None] - 2, labels


def network(*, dropout=0.0, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
        )


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(before, model):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


# The loop ----------------------------------------------------------------------------------------


def test_one_step_is_the_step_by_hand():
    # w = 2, x = (1, 3), y = (1, 2): loss (1² + 4²)/2 = 8.5, gradient (2·1·1 + 2·4·3)/2 = 13.
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(2.0)
    x, y = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [2.0]])
    history = fit(model, mse_loss, x, y, epochs=1, rate=0.1)
    assert history.losses == [pytest.approx(8.5)]
    assert model.weight.item() == pytest.approx(2 - 0.1 * 13)


def test_momentum_and_schedule_by_hand():
    # Gradient 1 in every step (loss = w): v = 1, 1.5, 1.75; w = −(r₀·1 + r₁·1.5 + r₂·1.75).
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.zero_()
    rates = [0.1, 0.2, 0.4]
    fit(
        model,
        lambda outputs, targets: outputs.mean(),
        torch.ones(1, 1),
        torch.zeros(1),
        epochs=3,
        rate=rates.__getitem__,
        momentum=0.5,
    )
    assert model.weight.item() == pytest.approx(-(0.1 + 0.2 * 1.5 + 0.4 * 1.75))


def test_loss_is_the_mean_over_examples_not_over_batches():
    # Batches of 4 and 2; a model that cannot learn (gradient zero) has the mean over all six.
    model = nn.Linear(1, 1)
    x, y = torch.zeros(6, 1), torch.arange(6.0)[:, None]
    expected = mse_loss(model(x), y).item()
    history = fit(model, mse_loss, x, y, epochs=1, rate=1e-12, batch_size=4)
    assert history.losses[0] == pytest.approx(expected, rel=1e-5)


def test_learns_two_clouds():
    model = network()
    x, y = two_clouds()
    history = fit(model, cross_entropy, x, y, epochs=20, rate=0.02, validation=two_clouds(seed=1))
    assert len(history.losses) == len(history.accuracies) == len(history.seconds) == 20
    assert history.losses[-1] < 0.1 * history.losses[0]
    assert history.accuracies[-1] > 0.95
    assert history.accuracies[-1] == accuracy(predict(model, two_clouds(seed=1)[0]), y)
    assert all(seconds > 0 for seconds in history.seconds)


def test_same_seed_same_history_whatever_was_drawn_before():
    def run(seed):
        torch.rand(3)
        model = network(dropout=0.5)
        history = fit(
            model, cross_entropy, *two_clouds(), epochs=3, rate=0.1, batch_size=8, seed=seed
        )
        return history.losses, copied(model)

    (first, weights), (second, again), (other, _) = run(1), run(1), run(2)
    assert first == second != other
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit(network(dropout=0.5), cross_entropy, *two_clouds(), epochs=1, rate=0.1)
    assert torch.equal(torch.rand(1), expected)


def test_every_example_once_an_epoch_in_another_order():
    seen = []

    def loss(outputs, targets):
        seen.append(targets.tolist())
        return outputs.mean()

    fit(nn.Linear(1, 1), loss, torch.ones(9, 1), torch.arange(9), epochs=2, rate=0.1, batch_size=4)
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert [len(batch) for batch in seen] == [4, 5, 4, 5]  # no lone last example
    assert sorted(first) == sorted(second) == list(range(9))
    assert first != second


def test_batches_in_place_of_tensors():
    x, y = two_clouds()
    batches = [(x[:10], y[:10]), (x[10:], y[10:])]
    model, twin = network(), network()
    history = fit(model, cross_entropy, batches, epochs=2, rate=0.1)
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for inputs, labels in batches * 2:
        optimiser.zero_grad()
        cross_entropy(twin(inputs), labels).backward()
        optimiser.step()
    assert same(copied(twin), model)
    assert len(history.losses) == 2


def test_own_optimiser_with_a_rate_for_each_layer():
    model = network()
    before = copied(model)
    groups = [
        {"params": model[0].parameters(), "lr": 0.0},
        {"params": model[4].parameters(), "lr": 0.1},
    ]
    optimiser = torch.optim.SGD(groups)
    fit(model, cross_entropy, *two_clouds(), epochs=1, optimiser=optimiser)
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[4].weight, before["4.weight"])


def test_history_goes_on():
    model, history = network(), History()
    fit(model, cross_entropy, *two_clouds(), epochs=2, rate=0.1, history=history)
    assert fit(model, cross_entropy, *two_clouds(), epochs=1, rate=0.1, history=history) is history
    assert len(history.losses) == 3
    assert repr(history).startswith("History: 3 epochs, loss ")
    assert repr(History()) == "History: no epochs"
    assert repr(History([0.5], [0.75], [1.0])) == "History: 1 epochs, loss 0.5, accuracy 0.750"


# Modes and frozen parts --------------------------------------------------------------------------


def test_modes_are_left_as_they_were():
    model = network()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    fit(model, cross_entropy, *two_clouds(), epochs=1, rate=0.1)
    predict(model, two_clouds()[0])
    assert [module.training for module in model.modules()] == modes

    def fails(outputs, targets):
        raise KeyError

    with pytest.raises(KeyError):
        fit(model, fails, *two_clouds(), epochs=1, rate=0.1)
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("frozen_batch_norm", [True, False])
def test_frozen_batch_norm(frozen_batch_norm):
    model = network()
    model[:4].requires_grad_(False)
    before = copied(model)
    fit(
        model,
        cross_entropy,
        *two_clouds(),
        epochs=1,
        rate=0.1,
        frozen_batch_norm=frozen_batch_norm,
    )
    assert torch.equal(model[0].weight, before["0.weight"])
    assert torch.equal(model[1].weight, before["1.weight"])
    assert torch.equal(model[1].running_mean, before["1.running_mean"]) is frozen_batch_norm
    assert not torch.equal(model[4].weight, before["4.weight"])


@pytest.mark.parametrize("frozen_batch_norm", [True, False])
@pytest.mark.parametrize("statistics_fixed", [True, False])
def test_a_backbone_keeps_to_what_freeze_was_told(statistics_fixed, frozen_batch_norm):
    model = freeze(small_cnn(2), statistics_fixed=statistics_fixed)
    before = copied(model)
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fit(
        model,
        cross_entropy,
        images,
        torch.arange(8) % 2,
        epochs=1,
        rate=0.1,
        frozen_batch_norm=frozen_batch_norm,
    )
    moved = not torch.equal(model.body[2].running_mean, before["body.2.running_mean"])
    assert moved is not statistics_fixed


def test_a_backbone_that_was_told_nothing_is_frozen_as_others_are():
    model = small_cnn(2)
    model.body.requires_grad_(False)
    before = copied(model)
    fit(model, cross_entropy, torch.ones(8, 3, 32, 32), torch.arange(8) % 2, epochs=1, rate=0.1)
    assert torch.equal(model.body[2].running_mean, before["body.2.running_mean"])


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_that_is_not_frozen_is_trained(affine):
    model = network()
    model[1] = nn.BatchNorm1d(8, affine=affine)
    fit(model, cross_entropy, *two_clouds(), epochs=1, rate=0.1)
    assert model[1].running_mean.abs().sum() > 0


# Interrupts --------------------------------------------------------------------------------------


class Interrupted(torch.optim.SGD):
    """An optimiser during whose second step somebody presses Ctrl-C."""

    steps = 0

    def step(self):
        self.steps += 1
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)
        super().step()


@pytest.fixture
def listens_to_ctrl_c():
    """Python's own handler, which a process started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_an_interrupt_waits_for_the_end_of_the_step():
    x, y = two_clouds()
    model, twin, history = network(), network(), History()
    optimiser = Interrupted(model.parameters(), lr=0.1)
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            cross_entropy,
            x,
            y,
            epochs=5,
            batch_size=40,
            optimiser=optimiser,
            history=history,
        )
    fit(twin, cross_entropy, x, y, epochs=2, batch_size=40, rate=0.1, momentum=0)
    assert same(copied(twin), model)
    assert len(history.losses) == 1  # the epochs that were complete
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert model.training


# Errors ------------------------------------------------------------------------------------------

X, Y = two_clouds(6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number from 1, not 1.5"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"rate": "0.1"}, "rate must be a number or a schedule, not '0.1'"),
        ({"validation": X}, r"validation must be a pair \(inputs, labels\)"),
        ({"rate": None}, "give either rate or optimiser"),
        ({"rate": 0.0}, "rate must be positive, not 0"),
        ({"rate": float("nan")}, "rate must be positive, not nan"),
        ({"rate": float("inf")}, "rate must be positive, not inf"),
        ({"rate": lambda step: -0.1}, "rate must be positive, not -0.1"),
        ({"momentum": -1}, "momentum must be a number from 0, not -1"),
        ({"momentum": float("nan")}, "momentum must be a number from 0, not nan"),
        ({"inputs": X.numpy()}, r"inputs \(ndarray\) are no tensor .* torch.as_tensor"),
        ({"targets": Y.tolist()}, "targets must be a tensor, not list: use torch.as_tensor"),
        ({"validation": (X.numpy(), Y)}, "inputs must be a tensor, not ndarray"),
        ({"inputs": X[:0], "targets": Y[:0]}, "no examples"),
        ({"targets": Y[:5]}, "6 inputs but 5 targets"),
        ({"targets": None}, "targets are due"),
        ({"targets": Y + 1}, r"labels must be from 0 to 1 .* run from 1 to 2"),
        ({"targets": Y - 1}, r"run from -1 to 0"),
        ({"targets": Y + 1, "loss": nn.CrossEntropyLoss()}, "run from 1 to 2"),
        ({"targets": Y.float()}, r"labels must be whole numbers.*labels.long\(\)"),
        ({"inputs": X / 0}, "inputs contain NaN or infinite"),
        ({"inputs": X.double()}, r"cannot take inputs of shape \(6, 2\) and dtype torch.float64"),
        ({"inputs": X[:, :1]}, r"cannot take inputs of shape \(6, 1\)"),
        ({"inputs": [], "targets": None}, "no batches"),
        ({"inputs": [(X, Y)]}, "pass no targets"),
        ({"validation": (X, Y + 1)}, "labels must be from 0 to 1"),
        ({"validation": (X, Y.float())}, r"labels must be whole numbers.*labels.long\(\)"),
        ({"validation": (X[:0], Y[:0])}, "no examples"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"must be a scalar, not of shape \(6,\)"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_bad_arguments(arguments, words):
    model = network()
    before = copied(model)
    given = {"loss": cross_entropy, "inputs": X, "targets": Y, "epochs": 1, "rate": 0.1} | arguments
    with pytest.raises(ValueError, match=words):
        fit(model, **given)
    for parameter, tensor in model.named_parameters():
        assert torch.equal(tensor, before[parameter])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="one class is nothing to tell apart"):
        fit(nn.Linear(2, 1), cross_entropy, X, torch.zeros_like(Y), epochs=1, rate=0.1)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.1])
def test_a_schedule_that_goes_wrong_stops_before_its_step(rate):
    model = network()
    with pytest.raises(ValueError, match=f"rate must be positive, not {rate} in step 2"):
        fit(model, cross_entropy, X, Y, epochs=2, rate=lambda step: rate if step else 0.1)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_rate_and_optimiser_together():
    model = network()
    optimiser = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match="either rate or optimiser"):
        fit(model, cross_entropy, X, Y, epochs=1, rate=0.1, optimiser=optimiser)


def test_optimiser_of_another_model():
    optimiser = torch.optim.Adam(network().parameters())
    with pytest.raises(ValueError, match="holds no trainable parameter of this model"):
        fit(network(), cross_entropy, X, Y, epochs=1, optimiser=optimiser)


def test_everything_frozen():
    with pytest.raises(ValueError, match="every parameter of the model is frozen"):
        fit(network().requires_grad_(False), cross_entropy, X, Y, epochs=1, rate=0.1)


def test_divergence_stops_with_the_model_as_it_was():
    model = nn.Linear(1, 1, bias=False)
    x = torch.tensor([[100.0]])
    with pytest.raises(FloatingPointError, match=r"loss is inf in epoch \d+.*rate \(now 1\)"):
        fit(model, mse_loss, x, x, epochs=100, rate=1.0, momentum=0)
    assert model.weight.isfinite().all()


# Progress ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "argument", "shown"),
    [(None, None, False), ("1", None, True), ("0", True, True), ("1", False, False)],
)
def test_progress_bar(monkeypatch, capsys, setting, argument, shown):
    monkeypatch.delenv("MAPPING_PROGRESS", raising=False)
    if setting is not None:
        monkeypatch.setenv("MAPPING_PROGRESS", setting)
    fit(network(), cross_entropy, X, Y, epochs=1, rate=0.1, progress=argument)
    assert ("epoch" in capsys.readouterr().err) is shown


def test_progress_bar_is_shown_in_a_notebook(monkeypatch):
    monkeypatch.delenv("MAPPING_PROGRESS", raising=False)
    assert not shows_progress()
    monkeypatch.setattr(
        "mapping_lib.lab.machine.get_ipython", lambda: SimpleNamespace(kernel=object())
    )
    assert shows_progress()


def test_progress_setting_is_checked(monkeypatch):
    monkeypatch.setenv("MAPPING_PROGRESS", "yes")
    with pytest.raises(ValueError, match="MAPPING_PROGRESS must be 0 or 1, not 'yes'"):
        fit(network(), cross_entropy, X, Y, epochs=1, rate=0.1)


# Predictions -------------------------------------------------------------------------------------


def test_predict_refuses_an_impossible_batch():
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        predict(network(), X, batch_size=0)


def test_predict_is_the_model_in_eval_mode():
    model = network(dropout=0.5)
    outputs = predict(model, X, batch_size=4)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs, model.eval()(X).detach())
    assert predict(nn.Flatten(), X).shape == (6, 2)  # a model without parameters
    with pytest.raises(ValueError, match="no inputs"):
        predict(model, X[:0])


def test_accuracy():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 5.0, 1.0], [1.0, 0.0, 0.0]])
    assert accuracy(logits, torch.tensor([0, 2, 2, 1])) == 0.5
    assert accuracy(torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([0, 1, 0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (X, Y[:5], r"not \(6, 2\) and \(5,\)"),
        (X, Y[:, None], "are due"),
        (X[:0], Y[:0], "no rows"),
        (X * float("nan"), Y, "NaN"),
        (X, Y + 1, "from 0 to 1"),
        (X, Y.float(), "whole numbers"),
    ],
)
def test_accuracy_refuses(logits, labels, words):
    with pytest.raises(ValueError, match=words):
        accuracy(logits, labels)


# Seeds, devices, threads -------------------------------------------------------------------------


def test_seed_everything():
    def draw():
        seed_everything(7)
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    assert draw() == draw()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="a seed is a whole number"):
        seed_everything(seed)


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with some CUDA devices and perhaps MPS."""

    def pretend(cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(2, False, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_auto_device(machine, cuda, mps, best):
    machine(cuda, mps)
    assert device() == torch.device(best)


def test_named_devices(machine):
    machine(2, False)
    assert device("cuda:1") == torch.device("cuda:1")
    assert device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"'cuda:2' is not there: .* sees cuda, cpu"):
        device("cuda:2")
    with pytest.raises(ValueError, match=r"'mps' is not there.*device='auto'"):
        device("mps")


@pytest.mark.parametrize(
    ("name", "meant"), [("cdua", "'cuda'"), ("CPU", "'cpu'"), ("cpu:x", "cpu")]
)
def test_unknown_device(name, meant):
    with pytest.raises(ValueError, match=f"unknown device '{name}'.*{meant}"):
        device(name)


def test_single_thread():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        single_thread()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu():
    model = network(dropout=0.5)
    history = fit(
        model,
        cross_entropy,
        *two_clouds(),
        epochs=10,
        rate=0.1,
        device="cuda",
        validation=two_clouds(seed=1),
    )
    assert next(model.parameters()).is_cuda
    assert history.accuracies[-1] > 0.95
    assert predict(model, X).device == X.device
