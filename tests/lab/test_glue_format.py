import pytest
from sklearn.metrics import matthews_corrcoef

from mapping_lib.lab.glue_format import TASKS, find_task, glue_score, read_rows, task_scores


def test_there_are_nine_tasks_whose_label_is_a_column():
    assert len(TASKS) == 9
    for task in TASKS.values():
        assert task.label in task.columns
        assert len(task.dev) == len(task.test) == (2 if task.name == "MNLI" else 1)


def test_unknown_task_is_suggested():
    with pytest.raises(ValueError, match=r"unknown task 'COLA'.*CoLA"):
        find_task("COLA")


def test_quotes_and_strange_characters_stay(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text(
        'sentence\tlabel\n"open\t1\na\u2028b\t0\nclosed"\t1\n', encoding="utf-8", newline=""
    )
    rows = read_rows(path, "SST-2")
    assert [row["sentence"] for row in rows] == ['"open', "a\u2028b", 'closed"']
    assert [row["label"] for row in rows] == ["1", "0", "1"]


def test_files_without_and_with_header(tmp_path):
    train = tmp_path / "train.tsv"
    train.write_bytes(b"bc01\t0\t*\tThey drank.\r\ngj04\t1\t\tBill floated.\r\n")
    assert read_rows(train, "CoLA")[1] == {
        "source": "gj04",
        "label": "1",
        "mark": "",
        "sentence": "Bill floated.",
    }
    test = tmp_path / "test.tsv"
    test.write_text("index\tsentence\n0\tBill ran.\n")
    assert read_rows(test, "CoLA", labelled=False) == [{"sentence": "Bill ran."}]
    assert read_rows(test, "SST-2", labelled=False) == [{"sentence": "Bill ran."}]


def test_other_columns_are_left_out(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    assert read_rows(path, "RTE") == [{"sentence1": "a", "sentence2": "b", "label": "entailment"}]


def test_broken_files_are_named_with_their_line(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("sentence\tlabel\nfine\t1\nno tab here\n")
    with pytest.raises(ValueError, match=r"dev.tsv, line 3: 1 columns where 2 are due"):
        read_rows(path, "SST-2")
    with pytest.raises(ValueError, match="line 1: there is no column 'sentence1' for RTE"):
        read_rows(path, "RTE")
    with pytest.raises(ValueError, match=r"line 1: 2 columns where 4 are due"):
        read_rows(path, "CoLA")


def test_measures_of_tasks():
    said, true = [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]
    assert task_scores("RTE", said, true) == {"accuracy": pytest.approx(0.6)}
    assert task_scores("MRPC", said, true) == {
        "F1": pytest.approx(2 / 3),
        "accuracy": pytest.approx(0.6),
    }
    assert task_scores("CoLA", said, true)["Matthews"] == pytest.approx(
        matthews_corrcoef(true, said)
    )
    alike = task_scores("STS-B", [1.0, 2.0, 9.0], [0.0, 1.0, 2.0])
    assert alike["Spearman"] == pytest.approx(1)
    assert alike["Pearson"] < 0.95
    assert list(task_scores("MNLI", said, true)) == ["accuracy"]
    with pytest.raises(ValueError, match="as many predictions as labels"):
        task_scores("RTE", [1], [1, 0])


def test_score_counts_each_task_once():
    scores = {name: [0.0] * len(task.metrics) for name, task in TASKS.items()}
    assert glue_score(scores | {"MRPC": [0.9, 0.9]}) == pytest.approx(0.1)
    assert glue_score(scores | {"RTE": [0.9]}) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="not so: \\['RTE'\\]"):
        glue_score({name: values for name, values in scores.items() if name != "RTE"})
    with pytest.raises(ValueError, match="MNLI has the measures"):
        glue_score(scores | {"MNLI": [0.8]})
