import pytest
import torch

from mapping_lib.lab.overlaps import all_runs, edited, shared, word_runs


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


def test_edits_change_as_many_words_as_asked():
    texts = [" ".join(f"w{10 * i + j}" for j in range(10)) for i in range(100)]
    before = " ".join(texts).split()
    for share in (0.0, 0.3, 1.0):
        after = " ".join(edited(texts, share=share, seed=0)).split()
        assert len(after) == 1000
        assert set(after) <= set(before)
        changed = sum(a != b for a, b in zip(after, before, strict=True)) / 1000
        assert abs(changed - share) < 0.05
    with pytest.raises(ValueError, match=r"got 1\.5"):
        edited(texts, share=1.5, seed=0)
