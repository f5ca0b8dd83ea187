"""What the notebooks make of rows: means, and tables in plain text."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from mapping_lib._names import suggest
from mapping_lib.lab.results.files import Row


def mean_and_sd(rows: Sequence[Row], value: str, **where: Any) -> tuple[float, float]:
    """Return mean and standard deviation of a value over the rows that match.

    Parameters
    ----------
    rows
        One a measurement.
    value
        The column to average.
    **where
        Columns and what they must hold.

    Raises
    ------
    KeyError
        No row has such a column, or none matches.

    Examples
    --------
    >>> rows = [{"method": "a", "seed": 0, "accuracy": 1.0}, {"method": "a", "seed": 1, \
"accuracy": 0.0}]
    >>> mean_and_sd(rows, "accuracy", method="a")
    (0.5, 0.7071067811865476)
    """
    known = {name for row in rows for name in row}
    for name in (value, *where):
        if rows and name not in known:
            raise KeyError(f"no row has {name!r}{suggest(name, known)}")
    values = [
        row[value] for row in rows if all(row.get(key) == wanted for key, wanted in where.items())
    ]
    if not values:
        raise KeyError(f"no row has {where}")
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def comparison(
    rows: Sequence[Row],
    methods: Iterable[str],
    *,
    by: str | None = None,
    value: str = "accuracy",
    digits: int = 2,
) -> str:
    """Return a table in plain text: mean ± standard deviation over the seeds of each method.

    Parameters
    ----------
    rows
        With "method", `value` and the column `by`.
    methods
        The methods to compare, one line each.
    by
        Whose values become the columns; None for a problem that has only one.
    value
        What was measured.
    digits
        Decimals.

    Examples
    --------
    >>> rows = [{"method": "a", "n": n, "accuracy": n / 10} for n in (1, 1, 5)]
    >>> print(comparison(rows, ["a"], by="n"))
    n             1            5
    a   0.10 ± 0.00  0.50 ± 0.00
    """
    methods = list(methods)
    columns = sorted({row[by] for row in rows}) if by else [value]
    wide = max(len(name) for name in [by or "", *methods]) + 3
    lines = [(by or "").ljust(wide) + "  ".join(f"{column:>11}" for column in columns)]
    for method in methods:
        cells = []
        for column in columns:
            where = {"method": method, **({by: column} if by else {})}
            if any(where.items() <= row.items() for row in rows):
                mean, sd = mean_and_sd(rows, value, **where)
                cells.append(f"{mean:.{digits}f} ± {sd:.{digits}f}")
            else:
                cells.append("–")
        lines.append(method.ljust(wide) + "  ".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)
