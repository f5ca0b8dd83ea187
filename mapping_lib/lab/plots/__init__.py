"""Figures in the house style; importing this package switches the style on.

``style`` has the colours, the sizes and what several chapters draw; each chapter's own figures
stand in a module of their own.
"""

from mapping_lib.lab.plots.style import (
    COLOURS,
    SOURCE,
    TARGET,
    WIDTH,
    bars_with_seeds,
    learning_curve,
    panels,
    use_style,
)

__all__ = [
    "COLOURS",
    "SOURCE",
    "TARGET",
    "WIDTH",
    "bars_with_seeds",
    "learning_curve",
    "panels",
    "use_style",
]

use_style()
