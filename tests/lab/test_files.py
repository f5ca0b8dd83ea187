import pytest

from mapping_lib.lab.files import whole


def test_takes_the_place_of_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with whole(path) as draft:
        assert draft.suffix == ".json"
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail():
        with whole(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "none" / "a.json"):
        pass
