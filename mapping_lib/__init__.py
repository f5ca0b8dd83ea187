"""The formulas of knowledge transfer between deep-learning models, one pure function each.

One module a topic, named as the book's chapters name it; :mod:`mapping_lib.lab` holds what the
notebooks need that is no formula (data, backbones, training, plots, exercises).
"""

__version__ = "0.1.0"
