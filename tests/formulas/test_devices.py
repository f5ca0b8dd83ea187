"""Another default device than the tensors' own changes nothing: what a function makes follows them.

Every example of a docstring runs once more, the function itself under the default device ``meta``.
That device holds no numbers: a tensor made on it by mistake gives an error or another result.
"""

import doctest
import functools
import importlib
import inspect
import pkgutil

import pytest
import torch

import mapping_lib

MAKE_LAYERS = {"add_adapters"}  # layers are made on the default device, then moved
MODULES = [
    importlib.import_module(f"mapping_lib.{module.name}")
    for module in pkgutil.iter_modules(mapping_lib.__path__)
    if not module.name.startswith("_") and module.name != "lab"
]
FUNCTIONS = [
    getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) and name not in MAKE_LAYERS
]


def elsewhere(function):
    """Wrap a function: while it runs, new tensors are made on ``meta`` unless it says where."""

    @functools.wraps(function)
    def call(*arguments, **options):
        with torch.device("meta"):
            return function(*arguments, **options)

    return call


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_the_default_device_does_not_matter(function):
    names = {**vars(inspect.getmodule(function)), function.__name__: elsewhere(function)}
    (example,) = doctest.DocTestFinder(recurse=False).find(function, globs=names)
    report = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)
