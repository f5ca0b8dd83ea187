import contextlib
import pickle
import random
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from mapping_lib.lab import checkpoints
from mapping_lib.lab.checkpoints import CheckpointError, load, read, save


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


def other():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(model, tmp_path):
    x = torch.randn(5, 3)
    path = save(model.state_dict(), tmp_path / "model.pt")
    fresh = other()
    assert not torch.equal(fresh(x), model(x))
    assert load(path, fresh) is fresh
    assert torch.equal(fresh(x), model(x))
    assert files(tmp_path) == ["model.pt"]


def test_saved_as_plain_torch(model, tmp_path):
    path = save(model.state_dict(), str(tmp_path / "model.pt"))
    state = torch.load(path, weights_only=True)
    assert type(state) is dict
    assert list(state) == list(model.state_dict())


@pytest.mark.parametrize("failing", ["save", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_keeps_the_old_file(model, tmp_path, monkeypatch, failing, error):
    path = save(model.state_dict(), tmp_path / "model.pt")
    before = path.read_bytes()

    def interrupted(first, second, *rest):
        if failing == "save":
            second.write_bytes(b"half a ")
        raise error

    monkeypatch.setattr(torch if failing == "save" else Path, failing, interrupted)
    with pytest.raises(error):
        save(other().state_dict(), path)
    assert path.read_bytes() == before
    assert files(tmp_path) == ["model.pt"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (nn.Linear(1, 1), r"save it as save\(model.state_dict\(\), path\): a Linear where"),
        ([1], "a list where a dictionary of tensors is due"),
        ({"epoch": 3}, "under 'epoch' is a int where a tensor"),
        ({"model": {"weight": torch.ones(1)}}, r"is a dict \(take that part of it\) where"),
        ({3: torch.ones(1)}, "under 3 is a Tensor where a tensor under a name is due"),
    ],
)
def test_only_state_dicts_are_saved(tmp_path, state, words):
    with pytest.raises(TypeError, match=words):
        save(state, tmp_path / "model.pt")
    assert files(tmp_path) == []


def test_no_folder_to_save_in(model, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no folder .*nowhere to save model.pt in"
    ):
        save(model.state_dict(), tmp_path / "nowhere" / "model.pt")


def test_no_file(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*model.pt"):
        load(tmp_path / "model.pt", model)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("writer", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 2))])
def test_code_in_a_file_is_refused_not_run(tmp_path, writer):
    path, harm = tmp_path / "model.pt", tmp_path / "harm"
    writer({"weight": Hostile(harm)}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors, or isn't a checkpoint"):
        read(path)
    assert not harm.exists()


def test_a_whole_model_is_refused(model, tmp_path):
    torch.save(model, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read(tmp_path / "model.pt")


def test_a_training_state_is_no_state_dict(model, tmp_path):
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "model.pt")
    words = r"is not a plain state dict: under 'model' is a OrderedDict \(take that part of it\)"
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path / "model.pt", model)


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_a_torn_file(model, tmp_path, keep):
    path = save(model.state_dict(), tmp_path / "model.pt")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.pt (is torn or damaged|holds more than)"):
        read(path)


def test_text_is_no_checkpoint(tmp_path):
    (tmp_path / "model.pt").write_text("<html>404</html>")
    with pytest.raises(CheckpointError, match=r"isn't a checkpoint|torn or damaged"):
        read(tmp_path / "model.pt")


def test_names_and_shapes_must_be_the_models(model, tmp_path):
    state = dict(model.state_dict())
    state["3.weight"] = state.pop("0.bias")
    state["2.weight"] = torch.zeros(5, 4)
    path = save(state, tmp_path / "model.pt")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load(path, model)
    text = str(caught.value)
    for words in (
        "is no checkpoint of this Sequential",
        "it lacks 0.bias",
        "it has 3.weight, which the model has not",
        "other shapes: 2.weight (5, 4) where the model has (2, 4)",
        "Build the model as it was when it was saved",
    ):
        assert words in text
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_many_names_are_counted(tmp_path):
    path = save({}, tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match=r"it lacks 0.weight, .* and 5 more"):
        load(path, other())
    assert checkpoints.SHOWN == 4


def test_no_damage_gives_a_raw_error(model, tmp_path):
    path = save(model.state_dict(), tmp_path / "model.pt")
    whole, chance = pickle.dumps({"a": [1]}, 2), random.Random(0)
    for content in (path.read_bytes(), whole):
        for _ in range(150):
            damaged = bytearray(content)
            for _ in range(3):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            with contextlib.suppress(CheckpointError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)


def test_an_error_of_the_disk_is_no_damage(model, tmp_path, monkeypatch):
    path = save(model.state_dict(), tmp_path / "model.pt")

    def refuse(*arguments, **options):
        raise PermissionError("not yours")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        read(path)


def test_others_may_read_what_is_saved(model, tmp_path):
    path = save(model.state_dict(), tmp_path / "model.pt")
    assert path.stat().st_mode & 0o777 == 0o644
