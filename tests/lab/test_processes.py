import numpy as np
import pytest

from mapping_lib.lab.processes import elsewhere, peak_memory


def test_arrays_go_in_and_come_back_with_the_memory_they_took():
    found = elsewhere("tests.lab.test_processes:doubled", {"x": np.arange(3), "times": 2})
    assert found["y"].tolist() == [0, 2, 4]
    assert 10 < found["peak_mb"] < peak_memory() + 1000


def test_settings_reach_the_process():
    found = elsewhere("tests.lab.test_processes:word", {}, settings={"WORD": "tangerine"})
    assert str(found["word"]) == "tangerine"


def doubled(x, times):
    return {"y": x * times}


def word():
    import os

    return {"word": np.array(os.environ["WORD"])}


def taken():
    return {"peak_mb": 1}


def no_dictionary():
    return 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_dictionary", "returned a int where a dictionary of arrays is due"),
        ("taken", "which is measured here"),
        ("missing", "has no attribute 'missing'"),
    ],
)
def test_what_goes_wrong_there_is_said_here(name, words):
    with pytest.raises(RuntimeError, match=words):
        elsewhere(f"tests.lab.test_processes:{name}", {})


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match=r"package\.module:name"):
        elsewhere("numpy.linspace", {})
    with pytest.raises(ValueError, match="call the argument otherwise"):
        elsewhere("numpy:array", {"peak_mb": 1})


def test_a_process_that_takes_too_long_is_ended():
    with pytest.raises(RuntimeError, match=r"took more than 0\.01 s"):
        elsewhere("numpy:array", {}, timeout=0.01)
