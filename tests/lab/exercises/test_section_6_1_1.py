import torch

from mapping_lib.lab.exercises import Case
from mapping_lib.metrics import fit_temperature, grad_cam


def by_grid(logits, labels):
    grid = torch.linspace(-2, 2, 801).exp()
    losses = [torch.nn.functional.cross_entropy(logits / t, labels) for t in grid]
    return grid[torch.stack(losses).argmin()]


def cam(maps, slopes, mean=True, relu=True):
    weights = slopes.mean((2, 3), keepdim=True) if mean else slopes
    found = (weights * maps).sum(1)
    return found.relu() if relu else found


CASES = {
    "6.1.1-a": Case(
        solution=(0.91, 0.728),
        wrong={
            "swapped": (0.728, 0.91),
            "not weighed by their size": (0.91, 0.91),
            "counts all 100 leaves": (0.728, 0.728),
            "give shares": (91, 72.8),
            "average it with the other's": (0.91, 0.5),
            "accuracies of the two classes": (86 / 90, 0.5),
        },
    ),
    "6.1.1-b": Case(
        solution=(2 * 0.35 + 3 * (0.95 - 2 / 3)) / 5,
        wrong={
            "one bin for all": 0.03,
            "weighed by its share": (0.35 + 0.95 - 2 / 3) / 2,
            "the lower bin's gap alone": 0.35,
            "not just added": 0.35 + 0.95 - 2 / 3,
            "not per cent": 31,
            "the upper bin alone": 0.95 - 2 / 3,
            "not by their numbers": 2 * 0.35 + 3 * (0.95 - 2 / 3),
        },
    ),
    "6.1.1-c": Case(
        solution=by_grid,
        wrong={
            "you return its inverse": lambda z, y: 1 / fit_temperature(z, y),
            "always 1": lambda z, y: 1.0,
            "return T": lambda z, y: by_grid(z, y).log(),
            "3 times as large as they should be is too small": lambda z, y: 1.5,
            "search with a finer grid": lambda z, y: round(10 * by_grid(z, y).item() - 0.8) / 10,
        },
    ),
    "6.1.1-d": Case(
        solution=cam,
        wrong={
            "negative places": lambda a, g: cam(a, g, relu=False),
            "one weight a channel": lambda a, g: cam(a, g, mean=False),
            "don't average": lambda a, g: cam(a, g) / 3,
            "averaged over the places, not added": lambda a, g: 20 * cam(a, g),
            "not each channel's part": lambda a, g: (
                (g.mean((2, 3), keepdim=True) * a).relu().sum(1)
            ),
            "what speaks against": lambda a, g: cam(a, g, relu=False).abs(),
            "they are swapped": lambda a, g: grad_cam(g, a),
            "the sign is turned": lambda a, g: cam(-a, g),
            "not over the channels": lambda a, g: (g.mean(1, keepdim=True) * a).sum(1).relu(),
            "not the weights": lambda a, g: (g.mean((2, 3), keepdim=True).relu() * a).sum(1).relu(),
        },
    ),
}
