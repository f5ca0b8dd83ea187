"""LogME beside the method of the published code, which goes through the classes one by one.

    OMP_NUM_THREADS=1 python benchmarks/transferability.py
    python benchmarks/transferability.py --rows 1000 --width 64 --classes 10

"published" is the algorithm of the first paper's code (github.com/thuml/LogME): a decomposition of
the features' products, then for each class its fixed point with products of the features in every
step. Prints CPU seconds (medians of interleaved runs), the ratio, and the difference of the values.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.source_scores import logme


def published(features: np.ndarray, labels: np.ndarray) -> float:
    """Iterate alpha and beta for each class, at most eleven times."""
    n, d = features.shape
    v, s, vh = np.linalg.svd(features.T @ features)
    evidences = []
    for k in range(int(labels.max()) + 1):
        y = (labels == k).astype(features.dtype)
        turned, alpha, beta = vh @ (features.T @ y), 1.0, 1.0
        for _ in range(11):
            ratio = alpha / beta
            gamma = (s / (s + ratio)).sum()
            m = v @ (turned * beta / (alpha + beta * s))
            weights, errors = (m * m).sum(), ((y - features @ m) ** 2).sum()
            alpha, beta = gamma / (weights + 1e-5), (n - gamma) / (errors + 1e-5)
            if abs(alpha / beta - ratio) / ratio < 0.01:
                break
        evidences.append(
            d / 2 * np.log(alpha)
            + n / 2 * np.log(beta)
            - np.log(alpha + beta * s).sum() / 2
            - beta / 2 * errors
            - alpha / 2 * weights
            - n / 2 * np.log(2 * np.pi)
        )
    return float(np.mean(evidences) / n)


def main() -> None:
    """Measure both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("rows", 5000), ("width", 512), ("classes", 100), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.arange(given.rows) % given.classes
    features = torch.randn(given.rows, given.width, dtype=torch.float64)
    features += torch.randn(given.classes, given.width, dtype=torch.float64)[labels]
    values = logme(features, labels), published(features.numpy(), labels.numpy())
    taken = measuring.seconds(
        {
            "ours": lambda: logme(features, labels),
            "published": lambda: published(features.numpy(), labels.numpy()),
        },
        given.repeats,
    )
    print(
        f"n = {given.rows}, d = {given.width}, {given.classes} classes: "
        f"ours {taken['ours']:.3f} s, published {taken['published']:.3f} s, "
        f"{taken['published'] / taken['ours']:.1f} times; values differ by "
        f"{abs(float(values[0]) - values[1]):.1e}"
    )


if __name__ == "__main__":
    main()
