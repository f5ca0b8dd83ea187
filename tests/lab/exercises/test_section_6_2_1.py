import numpy as np
import torch
from torch.nn.functional import normalize

from mapping_lib.lab.exercises import Case, check

COUNT = 6 * 2 * 2 * 384 * 8


def pooled(states, mask):
    given = mask.unsqueeze(2)
    return normalize((states * given).sum(1))


def f1(found, labels, classes, only_found=False, safe=True, part="f1"):
    scores = []
    for k in range(classes):
        both = ((found == k) & (labels == k)).sum().item()
        said, true = (found == k).sum().item(), (labels == k).sum().item()
        if only_found and not said:
            continue
        if part == "precision":
            scores.append(both / said)
        elif part == "recall":
            scores.append(both / true)
        elif safe:
            scores.append(2 * both / (said + true))
        else:
            precision, recall = both / said, both / true
            scores.append(2 * precision * recall / (precision + recall))
    return sum(scores) / len(scores)


CASES = {
    "6.2.1-a": Case(
        solution=(0.91, 0.7606),
        wrong={
            "swapped": (0.7606, 0.91),
            "mean of the classes' recalls": (0.91, 0.7722),
            "rare class alone": (0.91, 0.5714),
            "common class alone": (0.91, 0.9497),
            "mean of the classes' precisions": (0.91, 0.7503),
            "weighed by the classes' sizes": (0.91, 0.9119),
            "give shares": (91, 76.06),
        },
    ),
    "6.2.1-b": Case(
        solution=COUNT,
        wrong={
            "that is half": COUNT // 2,
            "six layers": COUNT // 6,
            "weights themselves": 6 * 2 * 384 * 384,
            "one change alone": COUNT // 12,
            "leave the head out": COUNT + 7 * 384 + 7,
            "not the keys": COUNT * 3 // 2,
        },
    ),
    "6.2.1-c": Case(
        solution=pooled,
        wrong={
            "the padding is averaged": lambda s, m: normalize(s.mean(1)),
            "scale them to length 1": lambda s, m: (
                (s * m.unsqueeze(2)).sum(1) / m.sum(1, keepdim=True)
            ),
            "scale the sum": lambda s, m: (s * m.unsqueeze(2)).sum(1),
            "turned round": lambda s, m: pooled(s, 1 - m),
            "[CLS]": lambda s, m: normalize(s[:, 0]),
            "a row for each piece": lambda s, m: normalize(s * m.unsqueeze(2), dim=2),
            "not over the texts": lambda s, m: normalize(
                (s * m.unsqueeze(2)).sum(1) / m.sum(1, keepdim=True), dim=0
            ),
        },
    ),
    "6.2.1-d": Case(
        solution=f1,
        wrong={
            "counts, too, with F1 = 0": lambda f, y, k: f1(f, y, k, only_found=True),
            "division by zero": lambda f, y, k: f1(f, y, k, safe=False),
            "you divide by 0": lambda f, y, k: f1(f, y, k) * float("nan"),
            "the accuracy": lambda f, y, k: (f == y).double().mean(),
            "the mean recall": lambda f, y, k: f1(f, y, k, part="recall"),
            "is off": lambda f, y, k: 2 * f1(f, y, k),
        },
    ),
}


def test_numpys_nan_is_named():
    message = check("6.2.1-d", lambda found, labels, classes: np.float32("nan")).message
    assert "you divide by 0" in message


def test_the_count_is_the_librarys():
    from mapping_lib.lab.language import minilm
    from mapping_lib.lab.text_classifiers import TextNetwork, tune

    network = TextNetwork(minilm(), 2)
    tune(network, torch.tensor([[101, 102]]), torch.tensor([0]), way="LoRA", rate=1e-3, steps=1)
    learned = sum(p.numel() for p in network.body.parameters() if p.requires_grad)
    assert learned == COUNT
