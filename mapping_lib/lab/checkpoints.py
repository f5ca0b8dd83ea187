"""Save what a model has learned, and load it again: tensors under names, nothing else."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mapping_lib.lab.files import whole

SHOWN = 4  # names listed in a message


class CheckpointError(ValueError):
    """A file isn't a checkpoint, or not one of this model."""


def save(state: Mapping[str, Tensor], path: str | Path) -> Path:
    """Write a state dict whole or not at all; an interrupted save leaves the old file as it was.

    Parameters
    ----------
    state
        Tensors under names, as ``model.state_dict()`` returns them.
    path
        Where to; its folder must exist.

    Raises
    ------
    TypeError
        Not a plain state dict: a model, or a dictionary that holds other things than tensors.
    OSError
        The folder doesn't exist or can't be written to.
    """
    _check_plain(state, "save it as save(model.state_dict(), path)", TypeError)
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to save {path.name} in")
    with whole(path) as draft:
        torch.save(dict(state), draft)
    return path


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict; code hidden in the file is refused, not run (``weights_only=True``).

    Parameters
    ----------
    path
        A file that :func:`save` or ``torch.save(model.state_dict(), …)`` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        The file is torn or damaged, or holds other things than tensors under names.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or isn't a checkpoint: it was not loaded, because "
            "loading Python objects can run any code. Ask for a file made by "
            "torch.save(model.state_dict(), …)"
        ) from error
    except OSError:
        raise
    except Exception as error:  # the unpickler meets damage with any kind of error
        raise CheckpointError(
            f"{path} is torn or damaged, or no state dict ({type(error).__name__}): "
            "copy or save it again"
        ) from error
    _check_plain(state, f"{path} is not a plain state dict", CheckpointError)
    return dict(state)


def load(path: str | Path, model: nn.Module) -> nn.Module:
    """Read a checkpoint into a model, every name and every shape matching, and return the model.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        The file can't be read, or its names or shapes aren't the model's. The model is unchanged.
    """
    state, wanted = read(path), model.state_dict()
    complaints = []
    if missing := [name for name in wanted if name not in state]:
        complaints.append(f"it lacks {_listed(missing)}")
    if unexpected := [name for name in state if name not in wanted]:
        complaints.append(f"it has {_listed(unexpected)}, which the model has not")
    other = [
        f"{name} {tuple(state[name].shape)} where the model has {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if other:
        complaints.append(f"other shapes: {_listed(other)}")
    if complaints:
        raise CheckpointError(
            f"{path} is no checkpoint of this {type(model).__name__}: {'; '.join(complaints)}. "
            "Build the model as it was when it was saved (same classes, same head)"
        )
    model.load_state_dict(state)
    return model


def _check_plain(state: object, words: str, error: type[Exception]) -> None:
    """Refuse anything but a dictionary of tensors under names."""
    if not isinstance(state, Mapping):
        raise error(f"{words}: a {type(state).__name__} where a dictionary of tensors is due")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            hint = " (take that part of it)" if isinstance(value, Mapping) else ""
            raise error(
                f"{words}: under {name!r} is a {type(value).__name__}{hint} "
                "where a tensor under a name is due"
            )


def _listed(names: list[str]) -> str:
    """List the first few names and count the rest."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
