import torch

from mapping_lib.lab.exercises import Case


def by_autocorrelation(frame, rate, low=60, high=400):
    lags = range(rate // high, rate // low + 1)
    scores = [frame[:-lag] @ frame[lag:] for lag in lags]
    return rate / (rate // high + int(torch.stack(scores).argmax()))


def dealt(speakers, folds):
    order = speakers.unique()
    return torch.searchsorted(order, speakers) % folds


CASES = {
    "6.3.3-a": Case(
        solution=(0.83, 0.5167),
        wrong={
            "swapped": (0.5167, 0.83),
            "same weight": (0.83, 0.83),
            "counts clips": (0.5167, 0.5167),
            "give shares": (83, 51.67),
            "neutral among them": (0.83, 0.3),
            "average all three": (0.83, 0.2),
        },
    ),
    "6.3.3-b": Case(
        solution=by_autocorrelation,
        wrong={
            "divide the rate by it": lambda x, r: r / by_autocorrelation(x, r),
            "its inverse": lambda x, r: 1 / by_autocorrelation(x, r),
            "one octave too low": lambda x, r: by_autocorrelation(x, r) / 2,
            "begin the search at rate / 400": lambda x, r: r / (r // 400),
            "the rate isn't always 8,000": lambda x, r: by_autocorrelation(x, r) * 8000 / r,
            "near lag 0 every wave": lambda x, r: float(r),
            "a third of the pitch": lambda x, r: by_autocorrelation(x, r) / 3,
            "a quarter of the pitch": lambda x, r: by_autocorrelation(x, r) / 4,
            "one octave too high": lambda x, r: by_autocorrelation(x, r) * 2,
            "loudest or busiest partial": lambda x, r: (
                ((x[1:] * x[:-1]) < 0).sum().item() * r / len(x) / 2
            ),
            "320 Hz, at 8,000 samples a second, is too small": lambda x, r: (
                r / (r / by_autocorrelation(x, r) + 1)
            ),
            "lag and index differ": lambda x, r: r / (r / by_autocorrelation(x, r) - r // 400),
        },
    ),
    "6.3.3-c": Case(
        solution=dealt,
        wrong={
            "one number a clip": lambda s, k: dealt(s, k)[:5],
            "the numbers are 0, 1 and 2": lambda s, k: s,
            "numbered the speakers afresh": lambda s, k: s % k,
            "was trained on": lambda s, k: torch.arange(len(s)) % k,
            "with 2 folds": lambda s, k: dealt(s, 3),
            "not a list for each fold": lambda s, k: [
                (dealt(s, k) == j).nonzero().flatten().tolist() for j in range(k)
            ],
            "not 0, 1, 2, 3, 4, …": lambda s, k: torch.arange(60),
            "deal them out evenly": lambda s, k: (s > 5).long() + (s > 8).long(),
        },
    ),
}
