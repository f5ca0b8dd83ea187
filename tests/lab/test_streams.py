"""Streams of shards, mixtures and long tails."""

import pytest
import torch
from torch.utils.data import DataLoader

from mapping_lib.lab.data import rendered_digits
from mapping_lib.lab.streams import (
    ShardStream,
    long_tail,
    mixed_batches,
    tail_counts,
    write_shards,
)


@pytest.fixture
def paths(tmp_path):
    images = torch.arange(10.0)[:, None, None, None].expand(-1, 1, 2, 2)
    return write_shards(tmp_path, images, torch.arange(10), rows=4)


def labels(stream):
    return [y for _, y in stream]


def test_shards_hold_all_rows_in_order(paths):
    assert len(paths) == 3
    rows = list(ShardStream(paths, buffer=1))
    assert [y for _, y in rows] == list(range(10))
    assert all((x == y).all() and x.shape == (1, 2, 2) for x, y in rows)


@pytest.mark.parametrize("buffer", [2, 5, 10, 100])
def test_buffer_mixes_and_loses_nothing(paths, buffer):
    stream = ShardStream(paths, buffer=buffer, seed=1)
    first, second = labels(stream), labels(stream)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert labels(ShardStream(paths, buffer=buffer, seed=1)) == first
    # What comes out at place i has come in by place i + buffer.
    assert all(y <= i + buffer for i, y in enumerate(first))


def test_shards_change_their_order_together(paths):
    found = labels(ShardStream(paths, buffer=1, shuffle_shards=True, seed=0))
    assert sorted(found) == list(range(10))
    starts = [found.index(y) for y in (0, 4, 8)]
    assert found[starts[0] : starts[0] + 4] == [0, 1, 2, 3]


@pytest.mark.parametrize("shuffled", [False, True])
def test_workers_share_the_rows_only_if_told(paths, shuffled):
    def read(split):
        stream = ShardStream(paths, buffer=3, split=split, shuffle_shards=shuffled)
        return sorted(y for _, y in DataLoader(stream, batch_size=None, num_workers=2))

    assert read(split=True) == list(range(10))
    assert read(split=False) == sorted(2 * list(range(10)))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_draw_anew_in_each_pass(paths, persistent):
    def two_passes(seed):
        stream = ShardStream(paths, buffer=3, seed=1, shuffle_shards=True)
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=2,
            persistent_workers=persistent,
            generator=torch.Generator().manual_seed(seed),
        )
        return labels(loader), labels(loader)

    first, second = two_passes(0)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert (first, second) == two_passes(0)
    assert (first, second) != two_passes(1)


def test_stream_refuses(paths, tmp_path):
    with pytest.raises(ValueError, match="no shards"):
        ShardStream([], buffer=1)
    with pytest.raises(ValueError, match="at least 1 row, got 0"):
        ShardStream(paths, buffer=0)
    with pytest.raises(ValueError, match="as many labels as images"):
        write_shards(tmp_path, torch.ones(2, 1), torch.ones(3), rows=2)
    with pytest.raises(ValueError, match="at least one: got 0 and 0"):
        write_shards(tmp_path, torch.ones(0, 1), torch.ones(0), rows=2)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        write_shards(tmp_path, torch.ones(2, 1), torch.ones(2), rows=0)


def test_mixture_keeps_the_shares():
    sources = [(torch.full((n, 1), float(i)), torch.full((n,), i)) for i, n in enumerate((90, 3))]
    batches = mixed_batches(sources, torch.tensor([0.25, 0.75]), steps=100, seed=0)
    assert len(batches) == 100
    assert all(x.shape == (64, 1) and (x[:, 0] == y).all() for x, y in batches)
    share = torch.cat([y for _, y in batches]).double().mean()
    assert abs(share - 0.75) < 0.02
    again = mixed_batches(sources, torch.tensor([0.25, 0.75]), steps=100, seed=0)
    assert all((y == z).all() for (_, y), (_, z) in zip(batches, again, strict=True))


def test_mixture_refuses():
    one = (torch.ones(2, 1), torch.ones(2))
    with pytest.raises(ValueError, match="1 sources, 2 shares"):
        mixed_batches([one], torch.ones(2), steps=1, seed=0)
    with pytest.raises(ValueError, match="source 1 is empty"):
        mixed_batches([one, (torch.ones(0, 1), torch.ones(0))], torch.ones(2), steps=1, seed=0)


def test_tail_falls_geometrically():
    assert tail_counts(5, most=81, ratio=81).tolist() == [81, 27, 9, 3, 1]
    assert tail_counts(3, most=7, ratio=1).tolist() == [7, 7, 7]
    assert tail_counts(2, most=3, ratio=100).tolist() == [3, 1]
    with pytest.raises(ValueError, match="got 1, 5, 2"):
        tail_counts(1, most=5, ratio=2)
    with pytest.raises(ValueError, match="at least 1"):
        tail_counts(2, most=5, ratio=0.5)


def test_long_tail_leaves_the_rest():
    digits = rendered_digits(50, seed=0)
    counts = tail_counts(10, most=5, ratio=5)
    chosen, left = long_tail(digits, counts, seed=3)
    assert digits.labels[chosen].bincount(minlength=10).tolist() == counts.tolist()
    assert sorted([*chosen.tolist(), *left.tolist()]) == list(range(50))
    with pytest.raises(ValueError, match="class 0 has 5 rows, 6 are wanted"):
        long_tail(digits, counts + 1, seed=0)
