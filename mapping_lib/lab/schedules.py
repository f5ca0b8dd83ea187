"""How a learning rate changes while a network learns."""

import math
from collections.abc import Callable


def warm_up(steps: int) -> Callable[[int], float]:
    """Return a schedule that rises to 1 in a tenth of the steps and falls to 0 in a line.

    Parameters
    ----------
    steps
        How many there are.

    Examples
    --------
    >>> rate = warm_up(20)
    >>> [rate(step) for step in (0, 1, 2, 11, 20)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rise = math.ceil(steps / 10)
    return lambda step: min((step + 1) / rise, max(0, steps - step) / max(1, steps - rise))
