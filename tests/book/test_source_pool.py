"""The pool of sources that the book ships is the one that its code names."""

import torch

from mapping_lib.lab.choosing import SOURCES, pool


def test_pool_loads_and_answers():
    networks = pool()
    assert list(networks) == list(SOURCES)
    for name, network in networks.items():
        assert network(torch.rand(2, 1, 16, 16)).shape == (2, SOURCES[name])
