import pytest
import torch

from mapping_lib.lab.overlaps import all_runs, shared, word_runs


def test_capitals_and_marks_do_not_count():
    assert word_runs("A, b. C!", 3) == word_runs("a b c", 3) == {("a", "b", "c")}
    assert word_runs("a b", 3) == set()
    assert word_runs("信号 的 傅里叶", 2) == {("信号", "的"), ("的", "傅里叶")}


def test_shares():
    known = all_runs(["one two three four", "five six"], 2)
    assert len(known) == 4
    found = shared(["One two, six", "seven eight nine", "ten", "three four"], known)
    assert found[:2].tolist() == [0.5, 0.0]
    assert found[2].isnan()
    assert found[3] == 1
    assert found.dtype == torch.float32


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no known runs"):
        shared(["a b c"], all_runs(["a"], 2))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        word_runs("a", 0)
