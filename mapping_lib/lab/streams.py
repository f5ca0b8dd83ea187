"""Data that pass by: shards on disk, a stream with a shuffle buffer, mixtures, and long tails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mapping_lib.lab.data import Images

__all__ = ["ShardStream", "long_tail", "mixed_batches", "tail_counts", "write_shards"]

Row = tuple[Tensor, int]


def write_shards(folder: Path, images: Tensor, labels: Tensor, *, rows: int) -> list[Path]:
    """Write rows in their order to ``.npz`` files of equal size.

    Parameters
    ----------
    folder
        Where to; must exist.
    images, labels
        The rows.
    rows
        Of a file; the last one may have fewer.

    Returns
    -------
    list of Path
        In the order of the rows.

    Raises
    ------
    ValueError
        There are no rows, their numbers differ, or a file would have none.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"give as many labels as images, at least one: got {len(labels)} and {len(images)}"
        )
    paths = []
    for number, start in enumerate(range(0, len(images), rows)):
        path = folder / f"shard-{number:04}.npz"
        part = slice(start, start + rows)
        np.savez(path, images=images[part].numpy(), labels=labels[part].numpy())
        paths.append(path)
    return paths


class ShardStream(IterableDataset[Row]):
    """Rows of shards, read one shard at a time and mixed in a buffer of fixed size.

    The buffer is filled first. Then each row that comes in takes the place of one drawn at random,
    which goes out. A buffer of 1 leaves the order as it is.

    Parameters
    ----------
    paths
        Of the shards, as :func:`write_shards` made them.
    buffer
        Rows that are held back.
    seed
        Of the draws; a new pass draws anew. The workers of a data loader are copies that begin
        again with each pass; there the loader's own generator tells the passes apart, so that the
        order is repeatable only if that is seeded as well.
    shuffle_shards
        Whether each pass takes the shards in another order.
    split
        Whether the workers of a data loader share the shards. Without it each of them reads them
        all, and every row comes once from each worker.

    Raises
    ------
    ValueError
        No shards, or a buffer without room.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        buffer: int,
        seed: int = 0,
        shuffle_shards: bool = False,
        split: bool = True,
    ) -> None:
        if not paths:
            raise ValueError("there are no shards to read; write some with write_shards")
        if buffer < 1:
            raise ValueError(f"buffer must hold at least 1 row, got {buffer}")
        self.paths, self.buffer, self.seed = list(paths), buffer, seed
        self.shuffle_shards, self.split = shuffle_shards, split
        self._passes = 0

    def __iter__(self) -> Iterator[Row]:
        """Go through the rows once."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        this_pass = [self.seed, self._passes]
        if worker is not None:  # a copy, made anew for each pass: it can't count them
            this_pass.append(worker.seed - worker.id)
        paths = self.paths
        if self.shuffle_shards:  # the same order in all workers, so that none is read twice
            order = np.random.default_rng(this_pass).permutation(len(paths))
            paths = [paths[i] for i in order]
        if self.split:
            paths = paths[number::workers]
        draw = np.random.default_rng([*this_pass, number, 1])
        self._passes += 1
        held: list[Row] = []
        for row in self._rows(paths):
            if len(held) < self.buffer:
                held.append(row)
                continue
            place = int(draw.integers(self.buffer))
            yield held[place]
            held[place] = row
        for place in draw.permutation(len(held)) if self.buffer > 1 else range(len(held)):
            yield held[int(place)]

    @staticmethod
    def _rows(paths: Sequence[Path]) -> Iterator[Row]:
        for path in paths:
            with np.load(path) as shard:
                images, labels = torch.from_numpy(shard["images"]), shard["labels"].tolist()
            for image, label in zip(images, labels, strict=True):
                yield image.clone(), label  # a view would keep the whole shard alive


def mixed_batches(
    sources: Sequence[tuple[Tensor, Tensor]],
    shares: Tensor,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int,
) -> list[tuple[Tensor, Tensor]]:
    """Draw batches from several sources, rows with replacement.

    Parameters
    ----------
    sources
        Inputs and labels of each.
    shares
        How often each is drawn from, ``(m,)``.
    steps, batch_size
        How many batches, and rows of each.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        There isn't one share for each source, or a source is empty.
    """
    if len(shares) != len(sources):
        raise ValueError(f"give one share a source: {len(sources)} sources, {len(shares)} shares")
    if empty := [i for i, (_, labels) in enumerate(sources) if len(labels) == 0]:
        raise ValueError(f"source {empty[0]} is empty; leave it out of the mixture")
    inputs = torch.cat([x for x, _ in sources])
    labels = torch.cat([y for _, y in sources])
    counts = torch.tensor([len(y) for _, y in sources])
    starts = counts.cumsum(0) - counts
    generator = torch.Generator().manual_seed(seed)
    drawn = shares.multinomial(steps * batch_size, replacement=True, generator=generator)
    within = (torch.rand(len(drawn), generator=generator) * counts[drawn]).long()
    rows = starts[drawn] + within.minimum(counts[drawn] - 1)
    parts = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [(inputs[part], labels[part]) for part in parts]


def tail_counts(classes: int, *, most: int, ratio: float) -> Tensor:
    """Return numbers of rows that fall geometrically from the first class to the last.

    Parameters
    ----------
    classes
        At least two.
    most
        Rows of the first class; the last one has ``most / ratio``, at least one.
    ratio
        At least 1.

    Raises
    ------
    ValueError
        A number that is too small.

    Examples
    --------
    >>> tail_counts(3, most=100, ratio=100)
    tensor([100,  10,   1])
    """
    if classes < 2 or most < 1 or ratio < 1:
        raise ValueError(
            f"classes must be at least 2, most and ratio at least 1: got {classes}, {most}, {ratio}"
        )
    exponents = torch.arange(classes, dtype=torch.float64) / (classes - 1)
    return (most * ratio**-exponents).round().long().clamp(min=1)


def long_tail(images: Images, counts: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw a training set with a long tail; the rest is left for tests.

    Parameters
    ----------
    images
        To draw from.
    counts
        Rows of each class, ``(K,)``.
    seed
        Of the draw.

    Returns
    -------
    Tensor, Tensor
        Places of the drawn rows, and of all others.

    Raises
    ------
    ValueError
        A class doesn't have so many rows.
    """
    order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))
    chosen = []
    for k, count in enumerate(counts.tolist()):
        rows = order[images.labels[order] == k]
        if len(rows) < count:
            raise ValueError(f"class {k} has {len(rows)} rows, {count} are wanted")
        chosen.append(rows[:count])
    drawn = torch.cat(chosen)
    left = torch.ones(len(order), dtype=torch.bool)
    left[drawn] = False
    return drawn, left.nonzero().flatten()
