"""Checks of the exercises of section 5.2, fine-tuning with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise, guard


def _network() -> nn.Sequential:
    """Make a small network with two kinds of batch norm, dropout, and a head named ``fc``."""
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 4, 3))
    network.add_module("bn", nn.BatchNorm2d(4))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flat", nn.Flatten())
    network.add_module("hidden", nn.Linear(4, 5))
    network.add_module("norm", nn.BatchNorm1d(5))
    network.add_module("drop", nn.Dropout(0.5))
    network.add_module("fc", nn.Linear(5, 2))
    return network


@exercise("5.2-a")
def trained_numbers(answer: Any) -> str | None:
    """Check how many numbers the recipe trains for (1,280 features, 20 classes), (512, 2)."""
    return compare(
        answer,
        (25_620, 1_026),
        what="the pair of counts",
        hints={
            "the weights are counted, the biases are missing": (25_600, 1_024),
            "a bias belongs to a class, not to a feature": (26_880, 1_536),
            "the two networks are swapped": (1_026, 25_620),
        },
        tolerance=1e-9,
    )


@exercise("5.2-b")
def batches_to_forget(answer: Any) -> str | None:
    """Check after how many batches less than half of the old running mean is left."""
    if isinstance(answer, float) and 6 < answer < 7:
        return "that is where exactly half is left; batches come whole"
    return compare(
        answer,
        7,
        what="the number of batches",
        hints={
            "each batch takes a tenth of what is left, not a tenth of the original: 0.9⁵ = 0.59": 5,
            "almost: 0.9⁶ = 0.53 is still more than half": 6,
            "a tenth each time, but of what is left: sooner than after ten batches": 10,
            "that is the share; the number of batches is asked for": 0.5,
        },
    )


@exercise("5.2-c")
def freeze_all_but_head(answer: Callable[..., Any]) -> str | None:
    """Check a function that freezes all of a model but its layer ``fc``."""
    network = _network()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = answer(network)
    if not isinstance(result, nn.Module):
        return f"the function returns a {type(result).__name__} where the model is due"
    if missing := sorted(weights.keys() - result.state_dict().keys()):
        return f"the whole model is due; the one returned lacks {missing[0]}"
    learns = {name for name, parameter in result.named_parameters() if parameter.requires_grad}
    head = {name for name in learns if name.startswith("fc.")}
    if not learns:
        return "nothing can learn any more: the head has to keep its gradient"
    if learns == {name for name, _ in result.named_parameters()}:
        return "nothing is frozen"
    if not head:
        return f"the head is frozen, and {sorted(learns)[0]} is not"
    if rest := sorted(learns - head):
        return f"{rest[0]} still learns" + (f", and {len(rest) - 1} more" if rest[1:] else "")
    if len(head) < 2:
        return "of the head, weight and bias must both learn"
    moved = [n for n, tensor in result.state_dict().items() if not torch.equal(tensor, weights[n])]
    return f"{moved[0]} has changed; freezing changes no number" if moved else None


@exercise("5.2-d")
def fixed_statistics(answer: Callable[..., Any]) -> str | None:
    """Check a function that sets train mode with every batch norm's statistics fixed."""
    network = _network().eval()
    result = answer(network)
    if not isinstance(result, nn.Module):
        return f"the function returns a {type(result).__name__} where the model is due"
    norms = [module for module in result.modules() if isinstance(module, _BatchNorm)]
    if len(norms) < 2 or any(norm.running_mean is None for norm in norms):
        return "every batch norm has to stay in the model, with its running statistics"
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]  # type: ignore[union-attr]
    guard(result)(torch.randn(8, 3, 6, 6))
    moved = [
        norm
        for norm, (mean, variance) in zip(norms, before, strict=True)
        if not (torch.equal(norm.running_mean, mean) and torch.equal(norm.running_var, variance))  # type: ignore[arg-type]
    ]
    frozen = not any(p.requires_grad for norm in norms for p in norm.parameters())
    if moved and frozen:
        return "the statistics still move: they are no parameters, so requires_grad can't stop them"
    if len(moved) == len(norms):
        return "the statistics of batch norm still move in train mode"
    if moved:
        return f"a {type(moved[0]).__name__} still moves: there are several kinds of batch norm"
    if any(norm.training for norm in norms):
        return (
            "the running statistics stay, but the batch's own are used instead: look at .training"
        )
    if not result.get_submodule("drop").training:
        return "dropout is off as well: only batch norm belongs in eval mode"
    if not all(module.training for module in result.modules() if module not in norms):
        return "only batch norm belongs in eval mode; the rest of the model isn't in train mode"
    return None


@exercise("5.2-e")
def layer_rates(answer: Callable[..., Any]) -> str | None:
    """Check rates that shrink by a factor with each layer further from the head."""
    expected = [0.02 / 2.5**3, 0.02 / 2.5**2, 0.02 / 2.5, 0.02]
    rates = answer(4, 0.02, 2.5)
    return compare(
        rates.copy() if isinstance(rates, np.ndarray) else rates,  # an array may run backwards
        expected,
        what="the list of rates",
        hints={
            "the first layer, at the input, must have the smallest rate": expected[::-1],
            "the rates grow towards the input: divide by the factor": [
                0.02 * 2.5**3,
                0.02 * 2.5**2,
                0.02 * 2.5,
                0.02,
            ],
            "the last layer must have the head's rate itself": [r / 2.5 for r in expected],
            "all layers have the same rate": [0.02] * 4,
        },
    )


@exercise("5.2-f")
def fold(answer: Callable[..., Any]) -> str | None:
    """Check a fixed batch norm folded into the linear layer before it."""
    weight, bias = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    norm = nn.BatchNorm1d(3, eps=0.1, dtype=torch.float64).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        assert tensor is not None
        nn.init.normal_(tensor)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.5, 2)
    got = answer(weight, bias, norm)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "the function must return two things, the new weight and the new bias"
    with torch.no_grad():
        gamma, beta, mean, variance = norm.weight, norm.bias, norm.running_mean, norm.running_var
        assert mean is not None
        scale = gamma / (variance + norm.eps).sqrt()
        no_eps = gamma / variance.sqrt()
        by_variance = gamma / (variance + norm.eps)

        def folded(scale: Tensor) -> tuple[Tensor, Tensor]:
            return scale[:, None] * weight, scale * (bias - mean) + beta

        right = folded(scale)
        wrong = compare(
            got[0],
            right[0],
            what="the new weight",
            hints={
                "eps under the root is missing": folded(no_eps)[0],
                "divide by the standard deviation, not by the variance": folded(by_variance)[0],
                "the weight is unchanged: each row has to be scaled": weight,
                "eps stands under the root, with the variance": (
                    (gamma / (variance.sqrt() + norm.eps))[:, None] * weight
                ),
                "γ, which is norm.weight, is missing": folded(scale / gamma)[0],
            },
        )
        return wrong or compare(
            got[1],
            right[1],
            what="the new bias",
            hints={
                "the running mean has to be scaled as well": scale * bias - mean + beta,
                "the old bias has to be scaled as well": bias - scale * mean + beta,
                "the bias is unchanged": bias,
                "β, which is norm.bias, is missing": scale * (bias - mean),
                "eps under the root is missing in the bias": folded(no_eps)[1],
                "the running mean is missing": scale * bias + beta,
                "the sign of the running mean is wrong": scale * (bias + mean) + beta,
            },
        )
