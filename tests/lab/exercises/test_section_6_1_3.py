import torch

from mapping_lib.lab.exercises import Case, check


def miou(guess, mask, classes, *, known=True, absent=None, twice=False, dice=False, of=None):
    if known:
        guess, mask = guess[mask != 255], mask[mask != 255]
    values = []
    for k in range(classes):
        both = ((guess == k) & (mask == k)).sum()
        union = (guess == k).sum() + (mask == k).sum() - (0 if twice or dice else both)
        if of and not ({"mask": mask, "guess": guess}[of] == k).any():
            continue
        if union:
            values.append((2 if dice else 1) * both / union)
        elif absent is not None:
            values.append(torch.tensor(absent))
    return float(torch.stack(values).mean())


def per_image(guess, mask, classes):
    return sum(miou(a, b, classes) for a, b in zip(guess, mask, strict=True)) / len(mask)


def accuracy(guess, mask, classes):
    return float((guess == mask)[mask != 255].float().mean())


def sure(logits, threshold, *, axis=1, rest=255, turned=False):
    chance = logits.softmax(axis) if axis is not None else logits
    surest, called = chance.max(1)[0], logits.argmax(1)
    out = (surest < threshold) != turned
    return called.masked_fill(out, rest)


def by_sigmoid(logits, threshold):
    return logits.argmax(1).masked_fill(logits.sigmoid().amax(1) < threshold, 255)


def over_pixels(logits, threshold):
    chance = logits.flatten(2).softmax(2).view_as(logits).amax(1)
    return logits.argmax(1).masked_fill(chance < threshold, 255)


CASES = {
    "6.1.3-a": Case(
        solution=0.8 / 3,
        wrong={
            "pixel accuracy": 0.8,
            "mean is over all of them": 0.4,
            "union for ground is all 100 pixels": 1 / 3,
            "Dice": 160 / 180 / 3,
            "not per cent": 26.7,
        },
    ),
    "6.1.3-b": Case(
        solution=miou,
        wrong={
            "leave out the pixels": lambda g, m, k: miou(g, m, k, known=False),
            "don't count it as 0": lambda g, m, k: miou(g, m, k, absent=0.0),
            "take the overlap off": lambda g, m, k: miou(g, m, k, twice=True),
            "count the pixels of all images": per_image,
            "pixel accuracy": accuracy,
            "mean recall": lambda g, m, k: (
                sum((g == c)[m == c].double().mean() for c in range(k)) / k
            ),
            "this one is said": lambda g, m, k: miou(g, m, k, of="mask"),
            "this one occurs": lambda g, m, k: miou(g, m, k, of="guess"),
            "Dice": lambda g, m, k: miou(g, m, k, dice=True),
            "NaN": lambda g, m, k: miou(g, m, k, absent=float("nan")),
        },
    ),
    "6.1.3-c": Case(
        solution=sure,
        wrong={
            "softmax first": lambda z, t: sure(z, t, axis=None),
            "over the classes, axis 1": lambda z, t: sure(z, t, axis=0),
            "not over the pixels": over_pixels,
            "not a sigmoid": by_sigmoid,
            "not -1": lambda z, t: sure(z, t, rest=-1),
            "not 0, which is a class": lambda z, t: sure(z, t, rest=0),
            "is not sure": lambda z, t: sure(z, t, turned=True),
            "no pixel is left out": lambda z, t: z.argmax(1),
            "integers": lambda z, t: sure(z, t).double(),
        },
    ),
}


def test_three_decimals_will_do():
    assert check("6.1.3-a", 0.267)


def test_mean_overlap_may_be_a_tensor():
    assert check("6.1.3-b", lambda g, m, k: torch.tensor(miou(g, m, k)))
