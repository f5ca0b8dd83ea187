"""Texts that stand in another collection already: what runs of shared words find, and miss.

Taught in :ref:`glue` (section 7.3.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mapping_lib._checks import require_number

Gram = tuple[str, ...]


def word_runs(text: str, n: int) -> set[Gram]:
    """Return a text's runs of n words; capitals, marks and spaces don't count.

    Examples
    --------
    >>> sorted(word_runs("The sum, the SUM!", 2))
    [('sum', 'the'), ('the', 'sum')]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def all_runs(texts: Iterable[str], n: int) -> set[Gram]:
    """Return the runs of n words of all texts together."""
    found: set[Gram] = set()
    for text in texts:
        found |= word_runs(text, n)
    return found


def shared(texts: Sequence[str], known: set[Gram]) -> Tensor:
    """Return which share of each text's runs is among the known ones.

    Parameters
    ----------
    texts
        What may have been seen.
    known
        The runs of the other collection, as :func:`all_runs` gives them; all of one length.

    Returns
    -------
    Tensor
        Shape (texts,), from 0 to 1; NaN for a text that is shorter than a run, of which nothing
        can be said.

    Raises
    ------
    ValueError
        There are no known runs.

    Examples
    --------
    >>> shared(["a b c d", "x b c", "b"], all_runs(["a b c"], 2))
    tensor([0.6667, 0.5000,    nan])
    """
    if not known:
        raise ValueError("there are no known runs: the other texts are shorter than a run")
    n = len(next(iter(known)))
    shares = []
    for text in texts:
        runs = word_runs(text, n)
        shares.append(len(runs & known) / len(runs) if runs else float("nan"))
    return torch.tensor(shares)


def edited(texts: Sequence[str], *, share: float, seed: int) -> list[str]:
    """Replace some words of texts by words of the same texts, drawn at random.

    Parameters
    ----------
    texts
        At least one.
    share
        The chance of each word to be replaced, from 0 to 1.
    seed
        Draws them.

    Raises
    ------
    ValueError
        The share is out of range.

    Examples
    --------
    >>> edited(["one two three"], share=0.0, seed=0)
    ['one two three']
    """
    require_number("share", share, most=1)
    generator = torch.Generator().manual_seed(seed)
    words = [text.split() for text in texts]
    pool = [word for row in words for word in row]
    found = []
    for row in words:
        replaced = (torch.rand(len(row), generator=generator) < share).tolist()
        others = torch.randint(len(pool), (len(row),), generator=generator).tolist()
        changed = zip(row, replaced, others, strict=True)
        found.append(" ".join(pool[j] if hit else word for word, hit, j in changed))
    return found
