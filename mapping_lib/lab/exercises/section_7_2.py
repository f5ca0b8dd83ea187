"""The checks of the exercises of section 7.2, Pretrained models."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

_ran: list[str] = []  # what a pickle of these exercises has run


def _plant(words: str) -> str:
    """Note that a pickle was run; the pickle of exercise 7.2-c calls this."""
    _ran.append(words)
    return words


class _Hostile:
    """Pickles as a call of :func:`_plant`."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return _plant, ("ran",)


@exercise("7.2-a")
def prefixes_on_paper(answer: Any) -> str | None:
    """Check the tries for eight digits, the minutes they take, and the bits of a whole hash."""
    if not isinstance(answer, list | tuple | Tensor) or len(answer) != 3:
        return "give a list of three numbers: [tries, minutes, bits]"
    tries, minutes, bits = (float(x) if type(x) is int else x for x in answer)  # 2**64 is long
    return (
        compare(
            tries,
            2.0**32,
            what="the number of tries",
            hints={
                "a hexadecimal digit has sixteen values, not ten": 1e8,
                "that many are for digits of 8 bits; a hexadecimal one has 4": 2.0**64,
                "half of that is the median of a search without repetition; here each try "
                "hits with the same probability": 2.0**31,
            },
        )
        or compare(
            minutes,
            2.0**32 / 1e6 / 60,
            what="the time",
            hints={
                "this is in seconds": 2.0**32 / 1e6,
                "this is in hours": 2.0**32 / 1e6 / 3600,
            },
            tolerance=0.02,
        )
        or compare(
            bits,
            256.0,
            what="the logarithm",
            hints={
                "this is the number of digits; each has 4 bits": 64.0,
                "this is for two files of one's own choice that agree (a birthday), not for a "
                "file that agrees with a given one": 128.0,
                "64 digits of 4 bits each": 512.0,
            },
        )
    )


@exercise("7.2-b")
def verified(answer: Callable[[Path, str], Any]) -> str | None:
    """Check a function that returns the path of a right file and refuses a wrong one in words."""
    function = getattr(answer, "__wrapped__", answer)  # what it raises is looked at here
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        content = bytes(range(256)) * 8
        path.write_bytes(content)
        right = hashlib.sha256(content).hexdigest()
        for expected in (right, right.upper()):
            try:
                found = function(path, expected)
            except Exception as error:
                case = " written in capitals" if expected != right else ""
                return f"the right file was refused, its hash{case}: `{type(error).__name__}`"
            if found is None:
                return "nothing yet: the function returns None"
            if found != path:
                return f"return the path of a file that is right, not {found!r}"
        changed = bytearray(content)
        changed[-1] ^= 1
        path.write_bytes(changed)  # the same size and the same beginning
        return _refused(function, path, right, hashlib.sha256(changed).hexdigest())


def _refused(
    function: Callable[[Path, str], Any], path: Path, right: str, other: str
) -> str | None:
    """Say what is wrong with how a file with one flipped bit was refused."""
    try:
        function(path, right)
    except ValueError as error:
        words = str(error)
    except Exception as error:
        return f"a wrong file should raise ValueError, not `{type(error).__name__}: {error}`"
    else:
        return "a file whose last bit was flipped was accepted: hash all of its content"
    if path.name not in words:
        return f"the error doesn't name the file: {words!r}"
    if other[:8] not in words or right[:8] not in words:
        return "the error should show both hashes, the one found and the one expected"
    return None


@exercise("7.2-c")
def imports(answer: Callable[[bytes], Any]) -> str | None:
    """Check the names that a pickle of protocol 2 would import, without running it."""
    scales = OrderedDict(scale=Decimal("0.5"))
    cases: list[tuple[Any, set[str]]] = [
        ({"a": [1, 2.5, "collections OrderedDict"]}, set()),
        ([_Hostile()], {f"{__name__}._plant"}),
        (scales, {"collections.OrderedDict", "decimal.Decimal"}),
    ]
    for content, due in cases:
        _ran.clear()
        found = answer(pickle.dumps(content, protocol=2))
        if _ran:
            return "your function ran the pickle: read its opcodes, don't load it"
        if isinstance(found, bool):
            return "return the names, not a truth value"
        try:
            names = {str(name).replace(" ", ".") for name in found}
        except TypeError:
            return f"return a set of names, got {type(found).__name__}"
        if names != due:
            if not due:
                return f"a dictionary of numbers and words imports nothing, this says {names}"
            if not names:
                return f"{sorted(due)} would be imported, this finds nothing"
            if {name.rpartition(".")[2] for name in due} == names:
                return f"give the module as well: {sorted(due)}"
            return f"{sorted(due)} would be imported, this says {sorted(names)}"
    return None


@exercise("7.2-d")
def adapted(answer: Callable[[dict[str, Tensor], dict[str, Tensor]], Any]) -> str | None:
    """Check a state dict without the prefix of DataParallel and without what doesn't fit."""
    body, head = torch.randn(4, 3), torch.randn(5, 4)
    stored = {
        "module.body.weight": body,
        "module.body.module.bias": torch.randn(4),
        "module.head.weight": torch.randn(2, 4),
        "module.old": torch.randn(1),
    }
    wanted = {"body.weight": body * 0, "body.module.bias": torch.zeros(4), "head.weight": head}
    before = dict(stored)
    found = answer(stored, wanted)
    if stored.keys() != before.keys():
        return "the dictionary that was given has been changed: build a new one"
    if not isinstance(found, dict):
        return f"return a dictionary, got {type(found).__name__}"
    if any(name.startswith("module.") for name in found):
        return "names still begin with the prefix 'module.'"
    if "body.bias" in found:
        return "'module.' was also taken out of the middle of 'module.body.module.bias'"
    if "head.weight" in found:
        return "the head has another shape than the model wants: leave it out"
    if "old" in found:
        return "the model has nothing of the name 'old': leave it out"
    if missing := {"body.weight", "body.module.bias"} - found.keys():
        return f"{sorted(missing)} fits and isn't there"
    if not torch.equal(found["body.weight"], body):
        return "the values must be those of the checkpoint, not those of the model"
    return None
