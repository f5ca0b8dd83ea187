import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mapping_lib.lab.exercises import Case, check


def freeze_all_but_head(model):
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    return model


def freeze_convolutions(model):
    model.conv.requires_grad_(False)
    return model


def freeze_head_only(model):
    model.fc.requires_grad_(False)
    return model


def weight_only(model):
    model.requires_grad_(False)
    model.fc.weight.requires_grad_(True)
    return model


def new_numbers(model):
    model.requires_grad_(False)
    nn.init.zeros_(model.fc.weight)
    model.fc.requires_grad_(True)
    return model


def fixed_statistics(model, kinds=_BatchNorm):
    model.train()
    for module in model.modules():
        if isinstance(module, kinds):
            module.eval()
    return model


def frozen_norms(model):
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.requires_grad_(False)
    return model


def no_momentum(model):
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0
    return model


def train_dropout_only(model):
    model.eval()
    model.drop.train()
    return model


def without_norms(model):
    model.bn, model.norm = nn.Identity(), nn.Identity()
    return model.train()


def fold(weight, bias, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale[:, None] * weight, scale * (bias - norm.running_mean) + norm.bias


def fold_without_eps(weight, bias, norm):
    scale = norm.weight / norm.running_var.sqrt()
    return scale[:, None] * weight, scale * (bias - norm.running_mean) + norm.bias


def fold_by_variance(weight, bias, norm):
    scale = norm.weight / (norm.running_var + norm.eps)
    return scale[:, None] * weight, scale * (bias - norm.running_mean) + norm.bias


def fold_bias_wrong(weight, bias, norm, mean=1.0, old=None):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    old = scale if old is None else torch.ones_like(scale)
    return scale[:, None] * weight, old * bias - mean * scale * norm.running_mean + norm.bias


def fold_mean_unscaled(weight, bias, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale[:, None] * weight, scale * bias - norm.running_mean + norm.bias


CASES = {
    "5.2-a": Case(
        solution=(1280 * 20 + 20, 512 * 2 + 2),
        wrong={
            "the biases are missing": (25_600, 1_024),
            "a bias belongs to a class": (1280 * 20 + 1280, 512 * 2 + 512),
            "swapped": (1_026, 25_620),
        },
    ),
    "5.2-b": Case(
        solution=7,
        wrong={
            "a tenth of what is left, not a tenth of the original": 5,
            "still more than half": 6,
            "sooner than after ten batches": 10,
            "that is the share": 0.5,
            "come whole": 6.6,
            "batches is too large": 8,
        },
    ),
    "5.2-c": Case(
        solution=freeze_all_but_head,
        wrong={
            "nothing is frozen": lambda model: model,
            "lacks bn.bias": lambda model: model.fc,
            "nothing can learn": lambda model: model.requires_grad_(False),
            "bn.bias still learns, and 5 more": freeze_convolutions,
            "the head is frozen": freeze_head_only,
            "weight and bias must both learn": weight_only,
            "freezing changes no number": new_numbers,
            "where the model is due": lambda model: list(model.fc.parameters()),
        },
    ),
    "5.2-d": Case(
        solution=fixed_statistics,
        wrong={
            "statistics of batch norm still move": lambda model: model.train(),
            "dropout is off as well": lambda model: model.eval(),
            "rest of the model": train_dropout_only,
            "has to stay": without_norms,
            "a BatchNorm1d still moves": lambda model: fixed_statistics(model, nn.BatchNorm2d),
            "requires_grad can't stop them": frozen_norms,
            "the batch's own are used": no_momentum,
            "where the model is due": lambda model: model.training,
        },
    ),
    "5.2-e": Case(
        solution=lambda layers, rate, factor: [rate / factor**k for k in reversed(range(layers))],
        wrong={
            "must have the smallest rate": lambda n, rate, factor: [
                rate / factor**k for k in range(n)
            ],
            "divide by the factor": lambda n, rate, factor: [
                rate * factor**k for k in reversed(range(n))
            ],
            "must have the head's rate itself": lambda n, rate, factor: [
                rate / factor ** (k + 1) for k in reversed(range(n))
            ],
            "all layers have the same rate": lambda n, rate, factor: [rate] * n,
        },
    ),
    "5.2-f": Case(
        solution=fold,
        wrong={
            "eps under the root": fold_without_eps,
            "not by the variance": fold_by_variance,
            "the weight is unchanged": lambda weight, bias, norm: (weight, bias),
            "the running mean is missing": lambda w, b, n: fold_bias_wrong(w, b, n, mean=0.0),
            "sign of the running mean": lambda w, b, n: fold_bias_wrong(w, b, n, mean=-1.0),
            "the old bias has to be scaled": lambda w, b, n: fold_bias_wrong(w, b, n, old=1),
            "the running mean has to be scaled": fold_mean_unscaled,
            "eps stands under the root": lambda w, b, n: (
                (n.weight / (n.running_var.sqrt() + n.eps))[:, None] * w,
                b,
            ),
            "γ, which": lambda w, b, n: (w / (n.running_var + n.eps).sqrt()[:, None], b),
            "β, which": lambda w, b, n: (fold(w, b, n)[0], fold(w, b, n)[1] - n.bias),
            "bias is unchanged": lambda w, b, n: (fold(w, b, n)[0], b),
            "missing in the bias": lambda w, b, n: (
                fold(w, b, n)[0],
                fold_without_eps(w, b, n)[1],
            ),
            "two things": lambda weight, bias, norm: weight,
        },
    ),
}


def test_rates_may_be_an_array_that_runs_backwards():
    assert check("5.2-e", lambda n, rate, factor: (rate / factor ** np.arange(n))[::-1])
