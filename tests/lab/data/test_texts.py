import gzip

import pytest

from mapping_lib.lab.data import amazon_reviews, conll2003, multi30k, sst2, wnut17
from mapping_lib.lab.registry import CorruptKnowledge


def packed(text):
    return gzip.compress(text.encode())


def test_sst2(plant):
    plant("sst2", {"sst2/dev.tsv.gz": packed('sentence\tlabel\na "fine film \t1\nno\t0\n')})
    dev = sst2("validation")
    assert dev.texts == ('a "fine film ', "no")  # a quotation mark is a mark like others
    assert dev.labels.tolist() == [1, 0]
    assert (dev.classes, dev.split, dev.domain) == (("negative", "positive"), "validation", "sst2")
    with pytest.raises(ValueError, match="unknown split 'test'; known names: 'train', 'validat"):
        sst2("test")


@pytest.mark.parametrize(
    "text",
    [
        "sentence\nfine\n",
        "sentence\tlabel\nfine\n",
        "sentence\tlabel\n",
        "a\tb\tc\td\n1\t2\t3\t4\n",
    ],
)
def test_damaged_tables(plant, text):
    plant("sst2", {"sst2/dev.tsv.gz": packed(text)})
    with pytest.raises(CorruptKnowledge, match=r"dev.tsv.gz can't be read as a table with the col"):
        sst2("validation")


def test_a_label_that_is_none(plant):
    plant("sst2", {"sst2/dev.tsv.gz": packed("sentence\tlabel\nfine\t2\n")})
    with pytest.raises(ValueError, match="labels must lie in 0 … 1"):
        sst2("validation")


def test_amazon_reviews(plant):
    head = "label\trating\tasin\ttitle\ttext\n"
    rows = "0\t1.0\tX\tBad\tVery bad.\n1\t5.0\tY\t\tGood.\n"
    plant("amazon-reviews", {"amazon_blitzer/dvd.tsv.gz": packed(head + rows)})
    reviews = amazon_reviews("dvd")
    assert reviews.texts == ("Bad\nVery bad.", "Good.")
    assert (reviews.entry, reviews.domain) == ("amazon-reviews", "dvd")
    with pytest.raises(ValueError, match=r"unknown domain 'book'; did you mean 'books'\?"):
        amazon_reviews("book")


TAGGED = "EU B-ORG\nsays O\n\n\n \nAnn B-PER\nLee I-PER\n"


def test_conll2003(plant):
    plant("conll2003", {"conll2003/valid.txt.gz": packed(TAGGED)})
    news = conll2003("validation")
    assert news.sentences == (("EU", "says"), ("Ann", "Lee"))
    assert news.tags == (("B-ORG", "O"), ("B-PER", "I-PER"))


@pytest.mark.parametrize("text", ["EU B-ORG X\n", "EU\n"])
def test_damaged_tags(plant, text):
    plant("conll2003", {"conll2003/test.txt.gz": packed(text)})
    with pytest.raises(CorruptKnowledge, match="can't be read as lines of a token and a tag"):
        conll2003("test")


def test_wnut17(plant):
    plant("wnut17", {"wnut17/emerging.dev.conll.gz": packed(TAGGED.replace(" ", "\t"))})
    with pytest.raises(ValueError, match=r"the tags \['B-ORG'\], not in BIO with the types corpo"):
        wnut17("validation")
    plant("wnut17", {"wnut17/emerging.dev.conll.gz": packed("Ann\tB-person\n\t\nok\tO\n")})
    assert wnut17("validation").sentences == (("Ann",), ("ok",))


def test_multi30k(plant):
    files = {
        "multi30k/val.en.gz": packed("A dog.\nA cat.\n"),
        "multi30k/val.fr.gz": packed("Un.\n"),
    }
    plant("multi30k", files)
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        multi30k("fr", "validation")
    plant("multi30k", files | {"multi30k/val.fr.gz": packed("Un chien. \nUn chat.\n")})
    pairs = multi30k("fr", "validation")
    assert pairs.targets == ("Un chien.", "Un chat.")
    assert pairs.languages == ("en", "fr")
    with pytest.raises(ValueError, match="unknown language 'zh'"):
        multi30k("zh", "train")


@pytest.mark.real
def test_the_real_texts():
    assert sst2("train").labels.bincount().tolist() == [67_349 - 37_569, 37_569]
    assert sst2("validation").labels.bincount().tolist() == [428, 444]
    for domain in ("books", "dvd", "electronics", "kitchen"):
        assert amazon_reviews(domain).labels.bincount().tolist() == [1000, 1000]


@pytest.mark.real
@pytest.mark.parametrize(
    ("split", "n", "tokens", "posts"),
    [
        ("train", 14_041, 203_621, 3_394),
        ("validation", 3_250, 51_362, 1_009),
        ("test", 3_453, 46_435, 1_287),
    ],
)
def test_the_real_entities(split, n, tokens, posts):
    news = conll2003(split)
    assert (len(news), sum(map(len, news.sentences))) == (n, tokens)
    assert len(wnut17(split)) == posts


@pytest.mark.real
@pytest.mark.parametrize("language", ["de", "fr"])
def test_the_real_translations(language):
    splits = ("train", "validation", "test", "test 2017", "test 2017 coco")
    sizes = [len(multi30k(language, split)) for split in splits]
    assert sizes == [29_000, 1_014, 1_000, 1_000, 461]
