"""Measured tables in ``book/results``: written by recipes in ``scripts``, read by the book.

A file holds what was measured ("problem"), by which recipe, on which data and weights, what each
method does and how its hyper-parameters were chosen, the versions and the machine, and the rows.
A row is a method, the columns of the problem, a seed, and after it what was measured. A file may
hold further tables, such as learning curves.
"""

from mapping_lib.lab.results.files import Row, folder, key_of, load, read, write
from mapping_lib.lab.results.recorder import Method, Recorder, conditions
from mapping_lib.lab.results.tables import comparison, mean_and_sd

__all__ = [
    "Method",
    "Recorder",
    "Row",
    "comparison",
    "conditions",
    "folder",
    "key_of",
    "load",
    "mean_and_sd",
    "read",
    "write",
]
