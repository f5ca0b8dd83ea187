"""What several modules refuse in the same words."""

import pytest
import torch

from mapping_lib.augmentation import mixup
from mapping_lib.multitask import pcgrad
from mapping_lib.transport import sliced_wasserstein

ROWS = torch.arange(12.0).reshape(4, 3)
CALLS = {
    "transport": lambda g: sliced_wasserstein(ROWS, ROWS, projections=2, generator=g),
    "augmentation": lambda g: mixup(ROWS, torch.eye(4), alpha=1.0, generator=g),
}


def test_a_generator_may_be_left_out_where_it_has_a_default():
    assert pcgrad(ROWS, generator=None).shape == (4, 3)
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got 7"):
        pcgrad(ROWS, generator=7)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("given", "seed"), [(7, 7), (None, 0), ("cpu", 0)])
def test_a_seed_in_place_of_a_generator(call, given, seed):
    words = rf"generator must be a torch\.Generator, got {given!r}; write .*manual_seed\({seed}\)"
    with pytest.raises(TypeError, match=words):
        call(given)
