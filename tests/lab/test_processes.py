import numpy as np
import pytest

from mapping_lib.lab.processes import _serve, elsewhere, peak_memory


def test_arrays_go_in_and_come_back_with_the_memory_they_took():
    found = elsewhere("builtins:dict", {"x": np.arange(3), "times": 2})
    assert found["x"].tolist() == [0, 1, 2]
    assert found["times"] == 2
    assert 10 < found["peak_mb"] < peak_memory() + 1000


def test_settings_reach_the_process(tmp_path):
    with pytest.raises(RuntimeError, match="builtins:dict failed"):
        elsewhere("builtins:dict", {}, settings={"PYTHONHOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("numpy:zeros", "returned a ndarray where a dictionary of arrays is due"),
        ("numpy:missing", "has no attribute 'missing'"),
    ],
)
def test_what_goes_wrong_there_is_said_here(name, words):
    with pytest.raises(RuntimeError, match=words):
        elsewhere(name, {"shape": 2})


def test_peak_memory_is_measured_and_not_handed_over(tmp_path):
    np.savez(tmp_path / "given.npz", peak_mb=1)
    with pytest.raises(RuntimeError, match="which is measured here"):
        _serve("builtins:dict", str(tmp_path / "given.npz"), str(tmp_path / "found.npz"))
    with pytest.raises(ValueError, match="call the argument otherwise"):
        elsewhere("builtins:dict", {"peak_mb": 1})


def test_a_function_without_a_module_is_refused():
    with pytest.raises(ValueError, match=r"package\.module:name"):
        elsewhere("numpy.linspace", {})


def test_a_process_that_takes_too_long_is_ended():
    with pytest.raises(RuntimeError, match=r"took more than 0\.01 s"):
        elsewhere("builtins:dict", {}, timeout=0.01)
