"""The exercises of section 7.2: their solutions and plausible wrong answers."""

import hashlib
import pickle
import pickletools

from mapping_lib.lab.exercises import Case


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verified(path, sha256):
    found = digest(path)
    if found != sha256.lower():
        raise ValueError(f"{path.name} has the SHA-256 {found}, not {sha256}")
    return path


def refuses(words, kind=ValueError, of=digest):
    def function(path, sha256):
        if of(path) != sha256.lower():
            raise kind(words.format(path=path, found=digest(path), due=sha256))
        return path

    return function


def by_size(path, sha256):
    if path.stat().st_size != 2048:
        raise ValueError(path.name)
    return path


def case_matters(path, sha256):
    if digest(path) != sha256:
        raise ValueError(f"{path.name} {digest(path)} {sha256}")
    return path


def imports(data):
    return {arg.replace(" ", ".") for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"}


def adapted(stored, wanted):
    named = {name.removeprefix("module."): value for name, value in stored.items()}
    return {k: v for k, v in named.items() if k in wanted and v.shape == wanted[k].shape}


def renamed(change):
    def function(stored, wanted):
        named = {change(name): value for name, value in stored.items()}
        return {k: v for k, v in named.items() if k not in wanted or v.shape == wanted[k].shape}

    return function


def in_place(stored, wanted):
    for name in list(stored):
        stored[name.removeprefix("module.")] = stored.pop(name)
    return stored


CASES = {
    "7.2-a": Case(
        solution=[2**32, 71.6, 256],
        wrong={
            "three numbers": 2**32,
            "sixteen values": [10**8, 71.6, 256],
            "that many are for digits of 8 bits": [2**64, 71.6, 256],
            "median": [2**31, 71.6, 256],
            "in seconds": [2**32, 4295, 256],
            "in hours": [2**32, 1.193, 256],
            "number of digits": [2**32, 71.6, 64],
            "birthday": [2**32, 71.6, 128],
            "64 digits of 4 bits each": [2**32, 71.6, 512],
        },
    ),
    "7.2-b": Case(
        solution=verified,
        wrong={
            "nothing yet": lambda path, sha256: None,
            "return the path of a file that is right, not True": lambda path, sha256: True,
            "written in capitals": case_matters,
            "last bit was flipped was accepted": by_size,
            "not `KeyError": refuses("{path.name} {found} {due}", KeyError),
            "doesn't name the file": refuses("{found} is not {due}"),
            "both hashes": refuses("{path.name} is wrong, not {due}"),
        },
    ),
    "7.2-c": Case(
        solution=imports,
        wrong={
            "ran the pickle": lambda data: [type(pickle.loads(data)), set()][1],
            "not a truth value": lambda data: False,
            "a set of names, got int": lambda data: 0,
            "imports nothing": lambda data: {
                arg for op, arg, _ in pickletools.genops(data) if isinstance(arg, str)
            },
            "finds nothing": lambda data: set(),
            "give the module": lambda data: {name.rpartition(".")[2] for name in imports(data)},
            "this says ['collections.OrderedDict']": lambda data: (
                imports(data) - {"decimal.Decimal"}
            ),
        },
    ),
    "7.2-d": Case(
        solution=adapted,
        wrong={
            "has been changed": in_place,
            "return a dictionary": lambda stored, wanted: list(stored),
            "still begin": lambda stored, wanted: stored | {},
            "out of the middle": renamed(lambda name: name.replace("module.", "")),
            "another shape": lambda stored, wanted: {
                name.removeprefix("module."): value for name, value in stored.items()
            },
            "of the name 'old'": renamed(lambda name: name.removeprefix("module.")),
            "fits and isn't there": lambda stored, wanted: {},
            "not those of the model": lambda stored, wanted: {
                k: v for k, v in wanted.items() if k != "head.weight"
            },
        },
    ),
}
