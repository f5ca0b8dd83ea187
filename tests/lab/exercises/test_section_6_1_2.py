import torch
from torch.nn.functional import max_pool2d, pad

from mapping_lib.lab.exercises import Case, check


def iou(a, b, *, clamp=True, union=True, edge=0.0):
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    sides = high - low + edge
    inside = (sides.clamp(min=0) if clamp else sides).prod()
    areas = sum((box[2:] - box[:2] + edge).prod() for box in (a, b))
    return float(inside / (areas - inside if union else areas))


def both_negative(a, b):
    apart = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2]) < 0).all()
    return 0.0 if apart else iou(a, b, clamp=False)


def smaller(a, b):
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    inside = (high - low).clamp(min=0).prod()
    return float(inside / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def parts(a, b):
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    return (high - low).clamp(min=0).prod(), [(box[2:] - box[:2]).prod() for box in (a, b)]


def second_begins_last(a, b):
    inside = (torch.minimum(a[2:], b[2:]) - b[:2]).clamp(min=0).prod()
    return inside / (sum(parts(a, b)[1]) - inside)


def on_a_ring(heat):
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return torch.stack([heat >= heat.roll(move, (1, 2)) for move in moves]).all(0)


def inside(heat):
    peak = torch.zeros_like(heat, dtype=torch.bool)
    peak[:, 1:-1, 1:-1] = window(heat, 3)[:, 1:-1, 1:-1]
    return peak


def window(heat, side):
    return heat == max_pool2d(heat[None], side, stride=1, padding=side // 2)[0]


def four(heat):
    out = pad(heat, (1, 1, 1, 1), value=-torch.inf)
    peak = torch.ones_like(heat, dtype=torch.bool)
    for other in (out[:, :-2, 1:-1], out[:, 2:, 1:-1], out[:, 1:-1, :-2], out[:, 1:-1, 2:]):
        peak &= heat >= other
    return peak


def strict(heat):
    out = pad(heat, (1, 1, 1, 1), value=-torch.inf)
    rows, columns = heat.shape[1:]
    peak = torch.ones_like(heat, dtype=torch.bool)
    for down, right in ((y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)):
        peak &= heat > out[:, down : down + rows, right : right + columns]
    return peak


CASES = {
    "6.1.2-a": Case(
        solution=2 / 3,
        wrong={
            "mean of the precisions at the hits": (1 / 2 + 2 / 3) / 2,
            "precision of all four": 1 / 2,
            "that is the recall": 1,
            "counts for the lower recalls": (51 / 2 + 50 * 2 / 3) / 101,
            "mean of the four precisions": (0 + 1 / 2 + 2 / 3 + 1 / 2) / 4,
            "not per cent": 66.7,
        },
    ),
    "6.1.2-b": Case(
        solution=iou,
        wrong={
            "must not be negative": lambda a, b: iou(a, b, clamp=False),
            "one beside the other": both_negative,
            "counted twice": lambda a, b: iou(a, b, union=False),
            "not pixels to count": lambda a, b: iou(a, b, edge=1.0),
            "share of the smaller box": smaller,
            "is Dice": lambda a, b: 2 * iou(a, b, union=False),
            "share of the first box": lambda a, b: parts(a, b)[0] / parts(a, b)[1][0],
            "area of the union": lambda a, b: sum(parts(a, b)[1]) - parts(a, b)[0],
            "the second left of and above the first": second_begins_last,
        },
    ),
    "6.1.2-c": Case(
        solution=lambda heat: window(heat, 3),
        wrong={
            "outside the map there is nothing": lambda heat: (
                heat == max_pool2d(pad(heat, (1, 1, 1, 1))[None], 3, stride=1)[0]
            ),
            "it has fewer neighbours": inside,
            "isn't a ring": on_a_ring,
            "neighbours at the corners": four,
            "equally hot": strict,
            "one peak a map": lambda heat: heat == heat.amax((1, 2), keepdim=True),
            "5 × 5": lambda heat: window(heat, 5),
            "a map of its own": lambda heat: heat == heat.amax(0, keepdim=True),
            "the opposite": lambda heat: ~window(heat, 3),
            "torch.bool": lambda heat: window(heat, 3).double(),
        },
    ),
}


def test_overlap_may_be_a_tensor():
    assert check("6.1.2-b", lambda a, b: torch.tensor(iou(a, b)))
