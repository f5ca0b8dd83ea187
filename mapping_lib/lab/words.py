"""Words as vectors: fixed lists, neighbours, and analogies answered by a rule and its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mapping_lib._names import suggest
from mapping_lib.lab.attending import vocabulary

RELATIONS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        name: tuple((a, b) for a, b in (pair.split(":") for pair in pairs.split()))
        for name, pairs in {
            "capital": """athens:greece baghdad:iraq bangkok:thailand beijing:china berlin:germany
            cairo:egypt dublin:ireland havana:cuba helsinki:finland kabul:afghanistan
            lisbon:portugal london:england madrid:spain moscow:russia oslo:norway ottawa:canada
            paris:france rome:italy stockholm:sweden tehran:iran tokyo:japan vienna:austria
            warsaw:poland""",
            "plural": """bird:birds book:books car:cars cat:cats city:cities cloud:clouds
            country:countries dog:dogs eye:eyes flower:flowers hand:hands horse:horses
            house:houses king:kings letter:letters lion:lions mountain:mountains river:rivers
            road:roads star:stars tree:trees woman:women""",
            "comparative": """bad:worse big:bigger bright:brighter cheap:cheaper cold:colder
            dark:darker deep:deeper easy:easier fast:faster good:better great:greater hard:harder
            high:higher large:larger long:longer low:lower old:older short:shorter small:smaller
            strong:stronger tall:taller young:younger""",
            "past": """begin:began bring:brought build:built buy:bought come:came fall:fell
            find:found give:gave go:went hold:held keep:kept know:knew leave:left lose:lost
            make:made run:ran say:said see:saw speak:spoke take:took think:thought write:wrote""",
            "opposite": """good:bad hot:cold big:small high:low fast:slow old:young rich:poor
            light:dark strong:weak early:late open:closed full:empty hard:soft happy:sad
            wet:dry long:short true:false wide:narrow""",
            "woman": """actor:actress boy:girl brother:sister father:mother god:goddess
            grandfather:grandmother he:she hero:heroine husband:wife king:queen man:woman
            nephew:niece prince:princess son:daughter uncle:aunt waiter:waitress""",
        }.items()
    }
)
"""Pairs of English words by what relates them; fixed before anything was measured on them."""

RULES = ("offset", "offset, inputs allowed", "nearest", "nearest to both")
"""How the fourth word is sought, see :func:`answers`."""


def whole_words(count: int, *, least: int = 3) -> list[str]:
    """Return the first whole words of MiniLM's vocabulary, which begins with common ones.

    Parameters
    ----------
    count
        How many.
    least
        Letters of a word, at least.

    Raises
    ------
    ValueError
        There aren't so many.

    Examples
    --------
    >>> whole_words(4)
    ['the', 'and', 'was', 'for']
    """
    ordered = sorted(vocabulary().items(), key=lambda entry: entry[1])
    words = [w for w, _ in ordered if len(w) >= least and w.isascii() and w.isalpha()]
    if not 1 <= count <= len(words):
        raise ValueError(f"count must lie between 1 and {len(words)}, got {count}")
    return words[:count]


def candidates(count: int) -> list[str]:
    """Return all words of the relations and the first whole words of the vocabulary, sorted.

    Parameters
    ----------
    count
        How many of the vocabulary's, as :func:`whole_words` takes it.
    """
    listed = {word for pairs in RELATIONS.values() for pair in pairs for word in pair}
    return sorted(listed | set(whole_words(count)))


def neighbours(word: str, words: Sequence[str], vectors: Tensor, *, count: int = 5) -> list[str]:
    """Return the words whose vectors make the smallest angles with that of a word.

    Parameters
    ----------
    word
        One of the words; it isn't its own neighbour.
    words
        All words.
    vectors
        Their vectors (n, d).
    count
        How many neighbours.

    Raises
    ------
    ValueError
        The word isn't among the words.

    Examples
    --------
    >>> vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]])
    >>> neighbours("cat", ["cat", "dog", "stone"], vectors, count=1)
    ['dog']
    """
    if word not in words:
        raise ValueError(f"{word!r} is not among the words{suggest(word, words)}")
    at = words.index(word)
    unit = normalize(vectors)
    cosines = unit @ unit[at]
    cosines[at] = -2
    return [words[k] for k in cosines.topk(count).indices.tolist()]


def answers(
    pairs: Sequence[tuple[str, str]], words: Sequence[str], vectors: Tensor, *, rule: str
) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """Answer each question "a is to b as c is to …" that two of the pairs make.

    Rules, for vectors of length 1: ``"offset"`` takes the word nearest to b − a + c, but none of
    a, b, c :cite:p:`mikolov2013linguistic`; ``"offset, inputs allowed"`` may take them, too;
    ``"nearest"`` takes the word nearest to c, whatever a and b are, and ``"nearest to both"`` the
    word nearest to b + c; these two leave out a, b, c as well :cite:p:`linzen2016issues`.

    Parameters
    ----------
    pairs
        At least two, (a, b).
    words
        The candidates, all words of the pairs among them.
    vectors
        Their vectors (n, d).
    rule
        One of :data:`RULES`.

    Returns
    -------
    tuple
        The questions (a, b, c, d) with their right answers d, and the words found.

    Raises
    ------
    ValueError
        An unknown rule, a single pair, or a word that is no candidate.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}{suggest(rule, RULES)}")
    if len(pairs) < 2:
        raise ValueError("two pairs make a question; give at least two")
    place = {word: k for k, word in enumerate(words)}
    missing = [word for pair in pairs for word in pair if word not in place]
    if missing:
        raise ValueError(f"{missing[0]!r} is not among the words; add it to them")
    questions = [(a, b, c, d) for (a, b), (c, d) in permutations(pairs, 2)]
    a, b, c = (torch.tensor([place[question[k]] for question in questions]) for k in range(3))
    unit = normalize(vectors)
    sought = {
        "offset": unit[b] - unit[a] + unit[c],
        "offset, inputs allowed": unit[b] - unit[a] + unit[c],
        "nearest": unit[c],
        "nearest to both": unit[b] + unit[c],
    }[rule]
    cosines = normalize(sought) @ unit.T
    if rule != "offset, inputs allowed":
        for which in (a, b, c):
            cosines.scatter_(1, which[:, None], -2)
    return questions, [words[k] for k in cosines.argmax(1).tolist()]


def right(questions: Sequence[tuple[str, str, str, str]], found: Sequence[str]) -> float:
    """Return the share of questions whose answer is right.

    Parameters
    ----------
    questions, found
        As :func:`answers` returns them.
    """
    return sum(q[3] == word for q, word in zip(questions, found, strict=True)) / len(questions)
