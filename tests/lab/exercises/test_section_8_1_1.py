import math

import torch
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.lab.exercises import Case


def clip(images, texts, temperature, scaled=True, ways=(0, 1), factor=0.5, power=-1):
    if scaled:
        images, texts = normalize(images), normalize(texts)
    z = images @ texts.T * temperature**power
    own = torch.arange(len(images))
    return factor * sum(cross_entropy(z.T if way else z, own) for way in ways)


def head(prompts, before=True, after=True, axis=1):
    mean = (normalize(prompts, dim=2) if before else prompts).mean(axis)
    return normalize(mean) if after else mean


def gap(images, texts, scaled=True):
    if scaled:
        images, texts = normalize(images), normalize(texts)
    return (images.mean(0) - texts.mean(0)).norm()


CASES = {
    "8.1.1-a": Case(
        solution=(1.3863, -0.1875),
        wrong={
            "swapped": (-0.1875, 1.3863),
            "nats, not bits": (2.0, -0.1875),
            "doesn't add": (2.7726, -0.1875),
            "is negative": (1.3863, 0.1875),
            "divide by 4": (1.3863, -0.75),
            "both the row and the column": (1.3863, -0.09375),
            "factor of ½": (1.3863, -0.375),
            "another text's": (1.3863, 0.0625),
            "by the cosine": (1.3863, -1.875),
            "taken off twice": (1.3863, -0.0625),
            "which is positive": (-1.3863, -0.1875),
        },
    ),
    "8.1.1-b": Case(
        solution=clip,
        wrong={
            "one direction, the text": lambda a, b, t: clip(a, b, t, ways=(0,), factor=1),
            "one direction, the image": lambda a, b, t: clip(a, b, t, ways=(1,), factor=1),
            "don't add them": lambda a, b, t: clip(a, b, t, factor=1),
            "average over the pairs": lambda a, b, t: clip(a, b, t, factor=3),
            "scale the rows": lambda a, b, t: clip(a, b, t, scaled=False),
            "divide by the temperature": lambda a, b, t: clip(a, b, t, power=1),
            "temperature is missing": lambda a, b, t: clip(a, b, t, power=0),
            "loss of a guess": lambda a, b, t: math.log(len(a)),
            "sign is wrong": lambda a, b, t: -clip(a, b, t),
            "not over the batch": lambda a, b, t: clip(
                normalize(a, dim=0), normalize(b, dim=0), t, scaled=False
            ),
        },
    ),
    "8.1.1-c": Case(
        solution=head,
        wrong={
            "mean to length 1 again": lambda p: head(p, after=False),
            "sum to length 1 again": lambda p: normalize(p, dim=2).sum(1),
            "long ones count more": lambda p: head(p, before=False),
            "nothing is scaled": lambda p: head(p, before=False, after=False),
            "first prompt alone": lambda p: normalize(p[:, 0]),
            "not over the classes": lambda p: head(p, axis=0),
        },
    ),
    "8.1.1-d": Case(
        solution=gap,
        wrong={
            "before the means": lambda a, b: gap(a, b, scaled=False),
            "don't scale the means": lambda a, b: gap(
                normalize(a).mean(0, keepdim=True), normalize(b).mean(0, keepdim=True)
            ),
            "vector between": lambda a, b: normalize(a).mean(0) - normalize(b).mean(0),
            "not absolute values": lambda a, b: (
                (normalize(a).mean(0) - normalize(b).mean(0)).abs().sum()
            ),
            "take the root": lambda a, b: gap(a, b) ** 2,
            "distance of all pairs": lambda a, b: torch.cdist(normalize(a), normalize(b)).mean(),
            "take their distance": lambda a, b: (
                1 - torch.cosine_similarity(normalize(a).mean(0), normalize(b).mean(0), dim=0)
            ),
        },
    ),
}


def test_the_answer_is_the_librarys():
    from mapping_lib.crossmodal import clip_loss

    same = torch.ones(4, 3)
    assert math.isclose(clip_loss(same, same, temperature=0.1).item(), 1.3863, abs_tol=1e-4)
