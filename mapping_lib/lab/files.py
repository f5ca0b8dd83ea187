"""Write files whole or not at all: an interrupted run leaves no half file behind."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a draft beside the path to write to; it takes the path's place if the block succeeds.

    Otherwise, Ctrl-C included, the draft is removed and what stood at the path stays.

    Parameters
    ----------
    path
        The file to write; its folder must exist.

    Yields
    ------
    Path
        The draft, an empty file with the same ending.

    Raises
    ------
    OSError
        The folder doesn't exist or can't be written to.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "numbers.txt")) as draft:
    ...         _ = draft.write_text("1 2 3")
    ...     [file.name for file in Path(folder).iterdir()]
    ['numbers.txt']
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)  # a temporary file is its owner's alone
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
