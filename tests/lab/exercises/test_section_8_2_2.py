import torch

from mapping_lib.distances import linear_cka
from mapping_lib.lab.exercises import Case

LARGE = 10_000 / 10_001


def hsic(K, L, signs=(1, 1, -2)):
    n = len(K)
    terms = (K @ L).trace(), K.sum() * L.sum() / ((n - 1) * (n - 2)), (K @ L).sum() / (n - 2)
    return sum(s * t for s, t in zip(signs, terms, strict=True)) / (n * (n - 3))


def kernels(x, y, zeroed=True):
    K, L = x @ x.T, y @ y.T
    if zeroed:
        K.fill_diagonal_(0)
        L.fill_diagonal_(0)
    return K, L


def debiased(x, y, zeroed=True, signs=(1, 1, -2), root=True):
    K, L = kernels(x, y, zeroed)
    own = hsic(K, K, signs) * hsic(L, L, signs)
    return hsic(K, L, signs) / (own.sqrt() if root else own)


def back(after, before, part, inside=lambda name, part: name.startswith(part + ".")):
    chosen = {name: (before if inside(name, part) else after)[name] for name in after}
    return {name: tensor.clone() for name, tensor in chosen.items()}


def in_place(after, before, part):
    for name in after:
        if name.startswith(part + "."):
            after[name].copy_(before[name])
    return after


def old_changed(after, before, part):
    for name in before:
        before[name].copy_(after[name])
    return before


CASES = {
    "8.2.2-a": Case(
        solution=(LARGE, 0.5),
        wrong={
            "swapped": (0.5, LARGE),
            "enter squared": (100 / 101, 0.5),
            "isn't exactly 1": (1, 0.5),
            "counts directions": (0.5, 0.5),
            "both norms": (LARGE, 2**-0.5),
            "still shared": (LARGE, 0),
        },
    ),
    "8.2.2-b": Case(
        solution=debiased,
        wrong={
            "biased CKA": linear_cka,
            "diagonals of both": lambda x, y: debiased(x, y, zeroed=False),
            "is subtracted": lambda x, y: debiased(x, y, signs=(1, 1, 2)),
            "factor 2 / (n − 2)": lambda x, y: debiased(x, y, signs=(1, 1, -1)),
            "last two terms are missing": lambda x, y: debiased(x, y, signs=(1, 0, 0)),
            "last term is missing": lambda x, y: debiased(x, y, signs=(1, 1, 0)),
            "that is HSIC": lambda x, y: hsic(*kernels(x, y)),
            "square root": lambda x, y: debiased(x, y, root=False),
        },
    ),
    "8.2.2-c": Case(
        solution=back,
        wrong={
            "make a new dictionary": in_place,
            "changes the old state": old_changed,
            "with all names": lambda a, b, part: {
                n: t for n, t in back(a, b, part).items() if n.startswith(part + ".")
            },
            "everything was put back": lambda a, b, part: dict(b),
            "nothing was put back": lambda a, b, part: back(a, b, part, lambda n, p: n == p),
            "wrong way round": lambda a, b, part: back(b, a, part),
            "add the dot": lambda a, b, part: back(a, b, part, lambda n, p: n.startswith(p)),
            "beginning of the name": lambda a, b, part: back(a, b, part, lambda n, p: p + "." in n),
            "its bias among them": lambda a, b, part: back(
                a, b, part, lambda n, p: n == p + ".weight"
            ),
            "shares its memory": lambda a, b, part: {
                n: (b if n.startswith(part + ".") else a)[n] for n in a
            },
        },
    ),
}


def test_debiased_cka_of_unrelated_features_is_near_nothing():
    torch.manual_seed(0)
    pairs = [(torch.randn(40, 300), torch.randn(40, 200)) for _ in range(20)]
    mean = sum(float(debiased(x, y)) for x, y in pairs) / 20
    assert abs(mean) < 0.02
    assert min(float(linear_cka(x, y)) for x, y in pairs) > 0.7
