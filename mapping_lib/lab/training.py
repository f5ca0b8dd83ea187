"""One training loop for the whole book: seeds, devices, history, and errors in words."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from mapping_lib._modules import modes_kept
from mapping_lib.lab import machine
from mapping_lib.lab.machine import device, seed_everything, shows_progress, single_thread

__all__ = [
    "Batches",
    "History",
    "accuracy",
    "device",
    "fit",
    "predict",
    "seed_everything",
    "single_thread",
]

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(repr=False)
class History:
    """What :func:`fit` measured, one entry an epoch."""

    losses: list[float] = field(default_factory=list)
    """The mean training loss over the examples, each before the step it took part in."""

    accuracies: list[float] = field(default_factory=list)
    """Accuracy on the validation set after the epoch; empty without a validation set."""

    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds."""

    def __repr__(self) -> str:
        if not self.losses:
            return "History: no epochs"
        text = f"History: {len(self.losses)} epochs, loss {self.losses[0]:.3g}"
        text += f" → {self.losses[-1]:.3g}" if len(self.losses) > 1 else ""
        return text + (f", accuracy {self.accuracies[-1]:.3f}" if self.accuracies else "")


def fit(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor | Batches,
    targets: Tensor | None = None,
    *,
    epochs: int,
    rate: float | Callable[[int], float] | None = None,
    batch_size: int = 32,
    momentum: float = 0.9,
    optimiser: torch.optim.Optimizer | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    frozen_batch_norm: bool = True,
    seed: int = 0,
    progress: bool | None = None,
    device: str | torch.device = "cpu",
    history: History | None = None,
) -> History:
    """Train a model by stochastic gradient descent.

    Shuffling and dropout depend on `seed` alone, and the random numbers of the caller are left as
    they were. The model is moved to `device` and stays there; each of its modules is afterwards in
    the mode (train or eval) it was in before. Frozen parameters (``requires_grad`` false) are left
    alone. An interrupt (Ctrl-C) never falls into the middle of a step.

    Parameters
    ----------
    model
        Maps a batch of inputs to logits, or to whatever `loss` takes.
    loss
        Called as ``loss(model(inputs), targets)``; returns a scalar.
    inputs, targets
        Tensors with one row an example, shuffled in every epoch; a last batch of one example, on
        which batch norm would fail, joins the batch before it. Or `inputs` alone: batches (inputs,
        targets) that can be gone through once an epoch, such as a
        :class:`~torch.utils.data.DataLoader`, which does its own shuffling.
    epochs
        How often to go through the data.
    rate
        Learning rate, or a schedule: a function of the step, counted from 0.
    batch_size
        Examples a step; unused when `inputs` are batches.
    momentum
        Of the built-in optimiser, :class:`torch.optim.SGD`.
    optimiser
        Used in place of `rate` and `momentum`, for other methods or a rate for each layer.
    validation
        Inputs and labels on which accuracy is measured after every epoch.
    frozen_batch_norm
        Whether batch norm with frozen weights stays in eval mode, so that its running statistics
        stay frozen as well. False is PyTorch's own behaviour, which lets a frozen network drift.
        A backbone that :func:`~mapping_lib.lab.backbones.freeze` or `unfreeze` was called on keeps
        to what they were told.
    seed
        For shuffling and dropout.
    progress
        Whether to show a progress bar; by default in a terminal or notebook. The variable
        ``MAPPING_PROGRESS`` (0 or 1) changes that default.
    device
        Where to train, see :func:`device`.
    history
        A history to append to, which also keeps its epochs when training is interrupted.

    Returns
    -------
    History
        Loss, validation accuracy and seconds of each epoch.

    Raises
    ------
    ValueError
        An argument cannot be right: no data, lengths that differ, labels out of range, NaN in the
        inputs, nothing to train …
    FloatingPointError
        The loss is NaN or infinite. The parameters are as they were before that step.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> line = nn.Linear(1, 1)
    >>> fit(line, nn.functional.mse_loss, x, 3 * x, epochs=200, rate=0.05).losses[-1] < 1e-4
    True
    """
    place = machine.device(device)
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be a whole number from 1, not {count!r}")
    model.to(place)
    optimiser, schedule = _optimiser(model, optimiser, rate, momentum)
    if isinstance(inputs, Tensor):
        _check_pair(model, loss, inputs, targets, batch_size)
    elif targets is not None:
        raise ValueError(
            f"inputs ({type(inputs).__name__}) are no tensor but batches, which hold the targets: "
            "convert them with torch.as_tensor, or pass no targets"
        )
    if validation is not None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise ValueError("validation must be a pair (inputs, labels)")
        _check_pair(model, loss, *validation, batch_size)
        accuracy(predict(model, validation[0][:1]), validation[1][:1])  # not after an epoch
    history = History() if history is None else history
    generator = torch.Generator().manual_seed(seed)
    on_gpu = place.type == "cuda"
    step = 0
    with (
        torch.random.fork_rng(devices=range(torch.cuda.device_count() if on_gpu else 0)),
        modes_kept(model),
        tqdm(total=epochs, unit="epoch", leave=False, disable=not shows_progress(progress)) as bar,
    ):
        (torch if on_gpu else torch.default_generator).manual_seed(seed)
        for epoch in range(epochs):
            started = time.perf_counter()
            total, examples = 0.0, 0
            _train_mode(model, frozen_batch_norm)
            for batch, wanted in _batches(inputs, targets, batch_size, generator):
                if schedule is not None:
                    for group in optimiser.param_groups:
                        group["lr"] = _rate(schedule(step), f" in step {step + 1}")
                optimiser.zero_grad()
                value = loss(model(batch.to(place)), wanted.to(place))
                number = _finite(value, epoch, step, optimiser)
                value.backward()  # type: ignore[no-untyped-call]
                with _undivided():
                    optimiser.step()
                total += number * len(batch)
                examples += len(batch)
                step += 1
            if examples == 0:
                raise ValueError("there are no batches: is the iterable empty or used up?")
            if validation is not None:
                history.accuracies.append(accuracy(predict(model, validation[0]), validation[1]))
            history.losses.append(total / examples)
            history.seconds.append(time.perf_counter() - started)
            bar.update()
            bar.set_postfix_str(f"loss {total / examples:.3g}")
    return history


def predict(model: nn.Module, inputs: Tensor, *, batch_size: int = 256) -> Tensor:
    """Return the model's outputs in eval mode, without gradients, batch after batch.

    Computed where the model is, returned where `inputs` are. Each module is afterwards in the mode
    it was in before.

    Parameters
    ----------
    model
        Maps a batch of inputs to outputs.
    inputs
        One row an example.
    batch_size
        Examples at a time; doesn't change the result beyond rounding.

    Returns
    -------
    Tensor
        One row an example.

    Raises
    ------
    ValueError
        There are no inputs, or no batch can be made.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if len(inputs) == 0:
        raise ValueError("there are no inputs to predict from")
    parameter = next(model.parameters(), inputs)
    with modes_kept(model), torch.no_grad():
        model.eval()
        outputs = [model(batch.to(parameter.device)) for batch in torch.split(inputs, batch_size)]
    return torch.cat(outputs).to(inputs.device)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of rows whose largest logit is that of the label.

    Parameters
    ----------
    logits
        Shape (n, K), or (n,) for two classes told apart by the sign.
    labels
        Shape (n,), whole numbers from 0 to K − 1.

    Raises
    ------
    ValueError
        The shapes do not fit, there are no rows, a logit is NaN, or a label is out of range.

    Examples
    --------
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    0.6666666666666666
    """
    if logits.dim() not in (1, 2) or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits (n, K) and labels (n,) are due, not {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if len(logits) == 0:
        raise ValueError("there are no rows to measure accuracy on")
    if logits.isnan().any():
        raise ValueError("logits contain NaN: has training diverged?")
    _check_labels(labels, 2 if logits.dim() == 1 else logits.shape[1])
    predicted = logits.argmax(dim=1) if logits.dim() == 2 else (logits > 0).long()
    # Counted, not averaged in float64, which MPS has not.
    return int((predicted == labels.to(logits.device)).sum()) / len(labels)


def _optimiser(
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    rate: float | Callable[[int], float] | None,
    momentum: float,
) -> tuple[torch.optim.Optimizer, Callable[[int], float] | None]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: every parameter of the model is frozen")
    if (rate is None) == (optimiser is None):
        raise ValueError("give either rate or optimiser")
    if optimiser is not None:
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        if held.isdisjoint(map(id, trainable)):
            raise ValueError("the optimiser holds no trainable parameter of this model")
        return optimiser, None
    assert rate is not None
    if not callable(rate) and not isinstance(rate, int | float | np.number):
        raise ValueError(f"rate must be a number or a schedule, not {rate!r}")
    first = rate(0) if callable(rate) else rate
    if first == 0 and not callable(rate):
        raise ValueError("the rate must be positive, not 0")
    if not 0 <= momentum < math.inf:
        raise ValueError(f"momentum must be a number from 0, not {momentum}")
    sgd = torch.optim.SGD(trainable, lr=_rate(first), momentum=momentum)
    return sgd, rate if callable(rate) else None


def _rate(rate: float, where: str = "") -> float:
    if not 0 <= rate < math.inf:
        raise ValueError(f"the rate must be positive, not {rate}{where}")
    return rate


def _batches(
    inputs: Tensor | Batches, targets: Tensor | None, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(inputs, Tensor):
        yield from inputs
        return
    assert targets is not None
    order = torch.randperm(len(inputs), generator=generator)
    parts = list(torch.split(order, batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    for rows in parts:
        yield inputs[rows], targets[rows]


def _train_mode(model: nn.Module, frozen_batch_norm: bool) -> None:
    model.train()
    told = getattr(model, "statistics_fixed", None) is not None  # a backbone sees to it itself
    for module in model.modules() if frozen_batch_norm and not told else ():
        if isinstance(module, _BatchNorm):
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()


@contextmanager
def _undivided() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done."""
    default = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not default
    ):
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, default)
    if pressed:
        raise KeyboardInterrupt


def _finite(value: Tensor, epoch: int, step: int, optimiser: torch.optim.Optimizer) -> float:
    if value.dim() != 0:
        raise ValueError(f"the loss must be a scalar, not of shape {tuple(value.shape)}")
    number = value.item()
    if not np.isfinite(number):
        raise FloatingPointError(
            f"the loss is {number} in epoch {epoch + 1}, step {step + 1}: try a smaller rate "
            f"(now {optimiser.param_groups[0]['lr']:g}), and look for extreme values in the inputs"
        )
    return number


def _check_pair(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor | None,
    batch_size: int,
) -> None:
    """Check data before training, on the output for the first batch."""
    if targets is None:
        raise ValueError("inputs is a tensor, so targets are due as well")
    for name, values in (("inputs", inputs), ("targets", targets)):
        if not isinstance(values, Tensor):
            raise ValueError(
                f"{name} must be a tensor, not {type(values).__name__}: use torch.as_tensor"
            )
    if len(inputs) == 0:
        raise ValueError("there are no examples: inputs has no rows")
    if len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} inputs but {len(targets)} targets: one for each is due")
    for name, values in (("inputs", inputs), ("targets", targets)):
        if values.is_floating_point() and not values.isfinite().all():
            raise ValueError(f"{name} contain NaN or infinite values")
    try:
        outputs = predict(model, inputs[:batch_size])
    except RuntimeError as error:
        raise ValueError(
            f"the model cannot take inputs of shape {tuple(inputs.shape)} and dtype "
            f"{inputs.dtype}: {error}"
        ) from error
    # Other losses may mean anything by whole numbers: an identity, a length.
    name = getattr(loss, "__name__", type(loss).__name__)
    if name in ("cross_entropy", "CrossEntropyLoss") and outputs.dim() == 2 and targets.dim() == 1:
        _check_labels(targets, outputs.shape[1])


def _check_labels(labels: Tensor, classes: int) -> None:
    if labels.is_floating_point():
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}: use labels.long()")
    if classes < 2:
        raise ValueError("one class is nothing to tell apart: the model needs at least 2 outputs")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels must be from 0 to {classes - 1} (the model has {classes} outputs), "
            f"but they run from {low} to {high}"
        )
