import re

import pytest

from mapping_lib.lab.text_files import read_texts

GOOD = 'text,label,by\n"One, two",spam,me\nThree,ham,you\nFour,ham,\nFive,spam,me\n'


def save(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def wrong(path, words, error=ValueError, **settings):
    with pytest.raises(error, match=re.escape(words)):
        read_texts(path, **settings)


def test_a_table(tmp_path):
    found = read_texts(save(tmp_path / "mail.csv", GOOD))
    assert found.texts == ("One, two", "Three", "Four", "Five")
    assert found.classes == ("ham", "spam")
    assert found.labels.tolist() == [1, 0, 0, 1]
    assert found.places[2] == "mail.csv, line 4"
    assert repr(found) == "OwnTexts(mail.csv, all: 4 texts, 2 classes)"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(tmp_path, separator):
    content = GOOD.replace('"One, two"', "One").replace(",", separator)
    assert read_texts(save(tmp_path / "mail.csv", content)).labels.tolist() == [1, 0, 0, 1]


def test_a_tsv_with_other_names_windows_ends_and_a_blank_line(tmp_path):
    content = "Klasse\tSatz\r\na\teins, zwei\r\n\r\na\tdrei\r\nb\tvier\r\nb\tfünf\r\n"
    found = read_texts(save(tmp_path / "m.TSV", content), text="Satz", label="Klasse")
    assert found.texts == ("eins, zwei", "drei", "vier", "fünf")
    assert found.places == ("m.TSV, line 2", "m.TSV, line 4", "m.TSV, line 5", "m.TSV, line 6")


def test_lines_are_counted_over_texts_of_several_lines(tmp_path):
    content = 'text,label\n"one\ntwo\nthree",a\nfour,a\n,b\n'
    wrong(save(tmp_path / "m.csv", content), "m.csv, line 6: the column 'text' is empty")


def test_marks_of_utf8_and_other_encodings(tmp_path):
    content = "text,label\ngut,a\nschön,a\nschlecht,b\nübel,b\n"
    for encoding in ("utf-8-sig", "utf-8"):
        found = read_texts(save(tmp_path / "m.csv", content, encoding))
        assert found.texts == ("gut", "schön", "schlecht", "übel")
    path = save(tmp_path / "w.csv", content, "cp1252")
    wrong(path, "w.csv, line 3: the byte 0xf6 isn't utf-8; pass the encoding")
    assert read_texts(path, encoding="cp1252").texts == found.texts
    path = save(tmp_path / "u.csv", content, "utf-16")
    wrong(path, "is UTF-16, not UTF-8; pass encoding='utf-16'")
    assert read_texts(path, encoding="utf-16").texts == found.texts
    wrong(path, "Python knows no encoding 'utf-9'", encoding="utf-9")
    wrong(save(tmp_path / "z.csv", b"text,label\na\0b,c\n"), "z.csv, line 2: there is a zero byte")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "m.csv, line 1: there is no column 'text' (name yours by text=…)"),
        ("texts,label\na,b\n", "no column 'text' (name yours by text=…); did you mean 'texts'?"),
        ("text;lable\na;b\n", "no column 'label' (name yours by label=…); did you mean 'lable'?"),
        ("text,label,text\na,b,c\n", "line 1: the column 'text' stands twice"),
        ("text,label\na,b\nc,d,e\n", "m.csv, line 3: 3 columns where the first line names 2"),
        ("text,label\na,b\nc\n", "m.csv, line 3: 1 columns where"),
        ("text,label\na,b\nc, \n", "m.csv, line 3: the column 'label' is empty"),
        ("text,label\n", "at least two classes, it has no texts at all"),
        ("text,label\na,b\nc,b\n", "at least two classes, it has only 'b'"),
        ("text,label\na,b\nc,b\nd,e\n", "the class 'e' has one text (m.csv, line 4)"),
        ('text,label\na,b\n"c,d\ne,f\n', "m.csv, line 3: this row can't be read"),
        ("text,label\na  b,x\na b,y\n", "line 3 is the same text as m.csv, line 2, but under 'y'"),
        ("text,label\na,x\na,x\n", "line 3 is the same text as m.csv, line 2: it could be learned"),
    ],
)
def test_broken_tables(tmp_path, content, words):
    wrong(save(tmp_path / "m.csv", content), words)


def test_repeated_texts_are_dropped_if_wanted(tmp_path):
    path = save(tmp_path / "m.csv", "text,label\na,x\nb,x\na,x\nc,y\nd,y\n")
    assert read_texts(path, drop_repeated=True).texts == ("a", "b", "c", "d")


def test_a_folder(tmp_path):
    for name, words in {
        "b/2.txt": "two\n",
        "a/1.txt": "one",
        "a/3.TXT": "three",
        "b/4.txt": "4",
    }.items():
        save(tmp_path / "own" / name, words)
    save(tmp_path / "own" / ".hidden", "")
    found = read_texts(str(tmp_path / "own"))
    assert found.texts == ("one", "three", "two", "4")
    assert found.places == ("a/1.txt", "a/3.TXT", "b/2.txt", "b/4.txt")
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_broken_folders(tmp_path):
    folder = tmp_path / "own"
    wrong(folder, "there is no", FileNotFoundError)
    save(folder / "a" / "1.txt", "one")
    wrong(folder, "at least two classes, it has only 'a'")
    (folder / "b").mkdir()
    wrong(folder, "has no texts (.txt)")
    save(folder / "b" / "2.txt", " \n")
    wrong(folder, "b/2.txt is empty")
    save(folder / "b" / "2.txt", b"caf\xe9")
    wrong(folder, "2.txt, line 1: the byte 0xe9 isn't utf-8")
    save(folder / "b" / "2.pdf", "x")
    wrong(folder, "2.pdf is no .txt file")
    (folder / "b" / "2.pdf").unlink()
    save(folder / "b" / "2.txt", "two")
    save(folder / "c.txt", "x")
    wrong(folder, "c.txt lies beside the classes")


def test_a_spreadsheet(tmp_path):
    wrong(save(tmp_path / "m.xlsx", b"PK"), "save a spreadsheet as CSV first")
