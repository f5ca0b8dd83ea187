"""Texts of five public sets: reviews, named entities, translations.

Reviews of shops, news of Reuters and captions of Flickr must not be shown in anything that is
published (their entries say so); numbers about them may.
"""

import csv

import torch

from mapping_lib.lab.archives import lines, reading
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.data.types import TaggedSentences, Texts, Translations
from mapping_lib.lab.registry import locate

SENTIMENTS = ("negative", "positive")
REVIEW_DOMAINS = ("books", "dvd", "electronics", "kitchen")
SPLITS = ("train", "validation", "test")
MULTI30K_SPLITS = {
    "train": "train",
    "validation": "val",
    "test": "test_2016_flickr",
    "test 2017": "test_2017_flickr",
    "test 2017 coco": "test_2017_mscoco",
}


def sst2(split: str) -> Texts:
    """Return the film reviews of SST-2 in GLUE's split; GLUE's test labels aren't public.

    Parameters
    ----------
    split
        ``"train"`` (67,349 phrases and sentences) or ``"validation"`` (872 sentences).

    Raises
    ------
    ValueError
        An unknown split.
    MissingKnowledge, CorruptKnowledge
        The file isn't there, or isn't the one that the registry knows.
    """
    one_of(("train", "validation"), split=split)
    name = {"train": "train", "validation": "dev"}[split]
    rows = _table("sst2", f"sst2/{name}.tsv.gz", ("sentence", "label"))
    texts = tuple(row["sentence"] for row in rows)
    return Texts(texts, _labels(rows), SENTIMENTS, entry="sst2", split=split)


def amazon_reviews(domain: str) -> Texts:
    """Return 1,000 bad and 1,000 good reviews of one kind of goods, title and text.

    There is no official split. They must not be shown in anything that is published.

    Parameters
    ----------
    domain
        ``"books"``, ``"dvd"``, ``"electronics"`` or ``"kitchen"``.

    Raises
    ------
    ValueError
        An unknown domain.
    MissingKnowledge, CorruptKnowledge
        The file isn't there, or isn't the one that the registry knows.
    """
    one_of(REVIEW_DOMAINS, domain=domain)
    rows = _table(
        "amazon-reviews",
        f"amazon_blitzer/{domain}.tsv.gz",
        ("label", "rating", "asin", "title", "text"),
    )
    texts = tuple(f"{row['title']}\n{row['text']}".strip() for row in rows)
    return Texts(
        texts, _labels(rows), SENTIMENTS, entry="amazon-reviews", split="all", domain=domain
    )


def conll2003(split: str) -> TaggedSentences:
    """Return the English news of CoNLL-2003 with four types of named entities.

    They must not be shown in anything that is published.

    Parameters
    ----------
    split
        ``"train"`` (14,041 sentences), ``"validation"`` (3,250) or ``"test"`` (3,453).

    Raises
    ------
    ValueError
        An unknown split.
    MissingKnowledge, CorruptKnowledge
        The file isn't there, or isn't the one that the registry knows.
    """
    one_of(SPLITS, split=split)
    name = {"validation": "valid"}.get(split, split)
    types = ("LOC", "MISC", "ORG", "PER")
    return _tagged("conll2003", f"conll2003/{name}.txt.gz", split, types)


def wnut17(split: str) -> TaggedSentences:
    """Return the posts of WNUT-17 with six types of new and rare entities.

    Parameters
    ----------
    split
        ``"train"`` (3,394 posts), ``"validation"`` (1,009) or ``"test"`` (1,287).

    Raises
    ------
    ValueError
        An unknown split.
    MissingKnowledge, CorruptKnowledge
        The file isn't there, or isn't the one that the registry knows.
    """
    one_of(SPLITS, split=split)
    name = {
        "train": "wnut17train.conll",
        "validation": "emerging.dev.conll",
        "test": "emerging.test.annotated",
    }[split]
    types = ("corporation", "creative-work", "group", "location", "person", "product")
    return _tagged("wnut17", f"wnut17/{name}.gz", split, types)


def multi30k(language: str, split: str) -> Translations:
    """Return captions of Multi30k in English and in German or French.

    They must not be shown in anything that is published.

    Parameters
    ----------
    language
        ``"de"`` or ``"fr"``.
    split
        ``"train"`` (29,000 pairs), ``"validation"`` (1,014), ``"test"`` (1,000, of 2016),
        ``"test 2017"`` (1,000) or ``"test 2017 coco"`` (461).

    Raises
    ------
    ValueError
        An unknown language or split.
    MissingKnowledge, CorruptKnowledge
        The files aren't there, or aren't those that the registry knows.
    """
    one_of(("de", "fr"), language=language)
    one_of(MULTI30K_SPLITS, split=split)
    stem = f"multi30k/{MULTI30K_SPLITS[split]}"
    sources, targets = (
        tuple(line.strip() for line in lines(locate("multi30k", f"{stem}.{code}.gz")))
        for code in ("en", language)
    )
    return Translations(sources, targets, ("en", language), entry="multi30k", split=split)


def _table(entry: str, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read rows of a table whose columns are parted by tabs."""
    path = locate(entry, name)
    with reading(path, f"a table with the columns {', '.join(columns)}"):
        rows = list(csv.DictReader(lines(path), delimiter="\t", quoting=csv.QUOTE_NONE))
        if not rows or any(tuple(row) != columns or None in row.values() for row in rows):
            raise ValueError("other columns, or none")
        return rows


def _labels(rows: list[dict[str, str]]) -> torch.Tensor:
    return torch.tensor([int(row["label"]) for row in rows])


def _tagged(entry: str, name: str, split: str, types: tuple[str, ...]) -> TaggedSentences:
    """Read lines of a token and its tag; a blank line ends a sentence."""
    path = locate(entry, name)
    sentences: list[tuple[tuple[str, str], ...]] = []
    sentence: list[tuple[str, str]] = []
    with reading(path, "lines of a token and a tag"):
        for line in [*lines(path), ""]:
            if line.strip():
                token, tag = line.split()
                sentence.append((token, tag))
            elif sentence:
                sentences.append(tuple(sentence))
                sentence = []
    return TaggedSentences(
        tuple(tuple(token for token, _ in pairs) for pairs in sentences),
        tuple(tuple(tag for _, tag in pairs) for pairs in sentences),
        types,
        entry=entry,
        split=split,
    )
