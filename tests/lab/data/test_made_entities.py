import sys

import pytest

from mapping_lib.lab.data.entities import DOMAINS, NEWS, POSTS, SPLITS, TYPES, entities
from mapping_lib.lab.entities import spans
from mapping_lib.lab.registry import MissingKnowledge


def names(data):
    return {
        " ".join(words[start:end]).lower()
        for words, tags in zip(data.sentences, data.tags, strict=True)
        for _, start, end in spans(tags)
    }


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn(domain, split):
    data = entities(domain, split, count=300)
    assert (data.domain, data.split, len(data), data.types) == (domain, split, 300, TYPES)
    found = [kind for tags in data.tags for kind, *_ in spans(tags)]
    assert found.count("PER") > 90
    assert found.count("LOC") > 60
    assert sum(not spans(tags) for tags in data.tags) > 50
    assert any(end - start > 1 for tags in data.tags for _, start, end in spans(tags))
    assert not {"PER", "FIRST", "LAST", "LOC", "FIRM"} & {w for row in data.sentences for w in row}


def test_no_name_and_no_pattern_of_training_in_any_test():
    train = set().union(*(names(entities(domain, "train", count=2000)) for domain in DOMAINS))
    test = set().union(*(names(entities(domain, "test", count=2000)) for domain in DOMAINS))
    assert min(len(train), len(test)) > 1000
    # "j. smith" has no first name that could be told; the surnames are parted all the same
    assert not train & test
    for patterns in (NEWS, POSTS):
        assert not set(patterns["train"]) & set(patterns["test"])


def test_the_same_seed_draws_the_same():
    assert entities("news", "train", count=20, seed=3) == entities(
        "news", "train", seed=3, count=20
    )
    one, other = (entities("news", "train", count=20, seed=seed) for seed in (3, 4))
    assert one.sentences != other.sentences


def test_posts_are_in_small_letters_and_companies_are_no_entities():
    posts = entities("posts", "train", count=300)
    assert all(word == word.lower() for row in posts.sentences for word in row)
    news = entities("news", "train", count=300)
    ends = {"Group", "Ltd", "Inc", "Brothers"}
    tags = {
        tag
        for words, row in zip(news.sentences, news.tags, strict=True)
        for k, tag in enumerate(row)
        if words[k] in ends or words[min(k + 1, len(words) - 1)] in ends
    }
    assert tags == {"O"}


def test_names_look_like_those_of_their_country():
    german = names(entities("german names", "train", count=1000))
    assert any(letter in name for name in german for letter in "äöüß")
    assert not any(letter in name for name in names(entities("news", "train")) for letter in "äöüß")


def test_bad_requests():
    with pytest.raises(ValueError, match=r"unknown domain 'post'; did you mean 'posts'\?"):
        entities("post", "train")
    with pytest.raises(ValueError, match="unknown split 'validation'"):
        entities("posts", "validation")
    with pytest.raises(ValueError, match="count must be at least 1"):
        entities("posts", "train", count=0)
    with pytest.raises(ValueError, match="seed must be"):
        entities("posts", "train", seed=-1)


def test_a_missing_package_is_named(monkeypatch):
    from mapping_lib.lab.data import entities as module

    module._names.cache_clear()
    monkeypatch.setitem(sys.modules, "faker", None)
    with pytest.raises(MissingKnowledge, match="package 'faker', which isn't installed"):
        entities("news", "train")
    module._names.cache_clear()
