"""Sentences with people and places, put together from Faker's lists of names."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from zlib import crc32

import numpy as np

from mapping_lib.lab.data._arguments import at_least_one, check_seed, one_of
from mapping_lib.lab.data.types import TaggedSentences
from mapping_lib.lab.registry import find, locate

DOMAINS = ("news", "german names", "posts")
TYPES = ("LOC", "PER")
SPLITS = ("train", "test")

# Words are parted by spaces. PER is a person, FIRST and LAST parts of a name that stand alone for
# one, LOC is a place; FIRM is a company named after a family, which is neither.
NEWS = {
    "train": (
        "PER was elected mayor of LOC on Monday .",
        "The match in LOC ended without a goal .",
        "Police in LOC arrested two men on Friday night .",
        "PER , who was born in LOC , won the first prize .",
        "The trial of PER begins in June .",
        "Dr. LAST called the result a surprise .",
        "LAST scored twice before the break .",
        "Heavy rain closed the road between LOC and LOC .",
        "The museum bought the painting from PER .",
        "A spokesman for FIRM said sales had doubled .",
        "Shares of FIRM fell by four percent in March .",
        "LOC has a new library .",
        "According to PER , the bridge is safe .",
        "The Ministry of Health published new figures on Tuesday .",
        "Teachers from LOC met the minister .",
        "Prices rose again in the second quarter .",
        "FIRST and LAST agreed to meet again .",
        "Judge LAST spoke of a clear case .",
        "Trains to LOC are late because of snow .",
        "The Red Cross sent tents and water .",
        "In the final PER beat PER in three sets .",
        "PER left LOC for LOC at the age of nine .",
        "Scientists counted fewer birds than last year .",
        "Her brother FIRST works in LOC .",
    ),
    "test": (
        "PER opened the new station in LOC on Sunday .",
        "Farmers near LOC fear another dry summer .",
        "LAST , 34 , had signed a contract with FIRM .",
        "Mrs. LAST refused to answer questions .",
        "The orchestra of LOC plays in April .",
        "No one was hurt in the fire .",
        "The Supreme Court will hear the case in May .",
        "PER and PER share the award .",
        "LOC was quiet after the storm .",
        "FIRM plans a factory outside LOC .",
        "LAST thanked the voters .",
        "Coach LAST praised the young team .",
        "Two hundred people marched through LOC .",
        "The letter was signed by PER .",
        "Flights from LOC to LOC were cancelled .",
        "Growth slowed in the third quarter .",
        "My neighbour FIRST moved here from LOC .",
        "Researchers warned of high tides in October .",
    ),
}
POSTS = {
    "train": (
        "omg just saw PER at the airport",
        "anyone in LOC up for coffee ?",
        "cant believe FIRST is leaving the band :(",
        "LOC you were amazing last night !!!",
        "so tired of this rain lol",
        "stuck in traffic near LOC again ugh",
        "happy bday FIRST !! love u",
        "going to LOC next week cant wait",
        "PER is the best thing on tv rn",
        "rt if you miss summer",
        "new phone who dis",
        "who else thinks LAST should be fired ?",
        "me and FIRST at the beach <3",
        "missing LOC so much today",
        "FIRM customer service is a joke",
        "this song is stuck in my head help",
    ),
    "test": (
        "PER just followed me back i am screaming",
        "good morning LOC !!",
        "FIRST pls call me its urgent",
        "why is everyone in LOC so rude",
        "homework due tmrw and i havent started",
        "heading to LOC w/ FIRST & co",
        "lol LAST missed again what a clown",
        "pizza or sushi tonight ?",
        "just landed in LOC , so cold",
        "never buying from FIRM again smh",
        "thx PER for the shoutout",
        "my cat has a better life than me",
    ),
}

Names = dict[str, tuple[str, ...]]


def entities(domain: str, split: str, *, count: int = 400, seed: int = 0) -> TaggedSentences:
    """Return sentences with people and places, drawn from patterns and lists of names.

    No name and no pattern of the training sentences stands in the test sentences of any domain:
    first names, surnames and places are parted once for all by a hash of their letters. (Parts of
    places such as "Lake" or "ville" stand in both.) Companies are named after families and are
    neither person nor place.

    Taught in :ref:`named-entities` (section 6.2.2).

    Parameters
    ----------
    domain
        ``"news"`` (American names), ``"german names"`` (the same patterns with German names of
        people and places) or ``"posts"`` (other patterns, American names, all in small letters).
    split
        ``"train"`` or ``"test"``.
    count
        Number of sentences.
    seed
        Of the drawing.

    Raises
    ------
    ValueError
        An unknown domain or split, no sentence, or a negative seed.
    MissingKnowledge, CorruptKnowledge
        Faker isn't installed, or has other lists than the registry knows.

    Examples
    --------
    >>> found = entities("german names", "test", count=6, seed=4)
    >>> list(zip(found.sentences[5], found.tags[5]))[:4]
    [('Carsten', 'B-PER'), ('Wohlgemut', 'I-PER'), ('opened', 'O'), ('the', 'O')]
    """
    one_of(DOMAINS, domain=domain)
    one_of(SPLITS, split=split)
    at_least_one(count=count)
    check_seed(seed)
    names = _names("de_DE" if domain == "german names" else "en_US", split)
    patterns = (POSTS if domain == "posts" else NEWS)[split]
    draw = np.random.default_rng([seed, DOMAINS.index(domain), SPLITS.index(split)])
    sentences, tags = [], []
    for _ in range(count):
        words, row = _filled(patterns[draw.integers(len(patterns))], names, draw)
        sentences.append(tuple(w.lower() for w in words) if domain == "posts" else words)
        tags.append(row)
    return TaggedSentences(
        tuple(sentences), tuple(tags), TYPES, entry="made-entities", split=split, domain=domain
    )


def _filled(
    pattern: str, names: Names, draw: np.random.Generator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put names into a pattern; return its words and their tags."""
    words: list[str] = []
    tags: list[str] = []
    for word in pattern.split():
        if word not in _MAKERS:
            words.append(word)
            tags.append("O")
            continue
        parts = _MAKERS[word](names, draw).split()
        kind = {"LOC": "LOC", "FIRM": ""}.get(word, "PER")
        words += parts
        tags += [f"{'I' if k else 'B'}-{kind}" if kind else "O" for k in range(len(parts))]
    return tuple(words), tuple(tags)


def _one(names: Sequence[str], draw: np.random.Generator) -> str:
    return names[int(draw.integers(len(names)))]


def _person(names: Names, draw: np.random.Generator) -> str:
    """Return a full name; one in six has an initial, one in six two surnames."""
    first, last = _one(names["first"], draw), _one(names["last"], draw)
    kind = draw.integers(6)
    if kind == 0:
        return f"{first[0]}. {last}"
    return f"{first} {last}-{_one(names['last'], draw)}" if kind == 1 else f"{first} {last}"


def _place(names: Names, draw: np.random.Generator) -> str:
    """Return a town or a state; American towns are made of names, as Faker makes them."""
    if draw.random() < 0.3:
        return _one(names["states"], draw)
    if "towns" in names:
        return _one(names["towns"], draw)
    stem = _one(names["first" if draw.random() < 0.5 else "last"], draw)
    if draw.random() < 0.5:
        return f"{_one(names['prefixes'], draw)} {stem}"
    return stem + _one(names["suffixes"], draw)


def _firm(names: Names, draw: np.random.Generator) -> str:
    """Return a company of one or two families."""
    last = _one(names["last"], draw)
    if draw.random() < 0.5:
        return f"{last} & {_one(names['last'], draw)}"
    return f"{last} {_one(('Group', 'Ltd', 'Inc', 'Brothers'), draw)}"


_MAKERS: Mapping[str, Callable[[Names, np.random.Generator], str]] = {
    "PER": _person,
    "FIRST": lambda names, draw: _one(names["first"], draw),
    "LAST": lambda names, draw: _one(names["last"], draw),
    "LOC": _place,
    "FIRM": _firm,
}


@cache
def _names(locale: str, split: str) -> Names:
    """Return Faker's names of a locale that belong to a split."""
    entry = find("made-entities")
    for file in entry.files:  # Python runs them: they are checked before it may
        locate(entry, file.path)
    person = import_module(f"faker.providers.person.{locale}").Provider
    address = import_module(f"faker.providers.address.{locale}").Provider
    lists = {"first": person.first_names, "last": person.last_names, "states": address.states}
    if locale == "de_DE":
        lists["towns"] = address.cities
    ours = SPLITS.index(split)
    longer = {word for name in address.states for word in name.split() if name != word}
    found = {
        kind: tuple(
            sorted(
                name
                for name in set(names) - longer  # no South and Dakota beside South Dakota
                if crc32(name.lower().encode()) % 2 == ours
            )
        )
        for kind, names in lists.items()
    }
    if locale == "en_US":
        found |= {"prefixes": address.city_prefixes, "suffixes": address.city_suffixes}
    return found
