"""The tail of every "unknown name" error: what the reader probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(unknown: str, known: Iterable[str]) -> str:
    """End an error message about an unknown name with the nearest known one, or with all of them.

    Parameters
    ----------
    unknown
        The name that was given.
    known
        The names that exist.

    Returns
    -------
    str
        ``"; did you mean 'x'?"`` when a known name is near, else the sorted list of known names.

    Examples
    --------
    >>> "unknown tier 'reel'" + suggest("reel", ["bundled", "real", "full"])
    "unknown tier 'reel'; did you mean 'real'?"
    >>> suggest("zzz", ["full", "bundled"])
    "; known names: 'bundled', 'full'"
    """
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    near = get_close_matches(str(unknown).casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    return "; known names: " + ", ".join(map(repr, names))
