import copy

import pytest
import torch
from torch import nn

from mapping_lib.lab.backbones import efficientnet_lite0
from mapping_lib.lab.movement import PARTS, SMALL_PARTS, distances, rewound
from mapping_lib.lab.probing import STAGES
from mapping_lib.lab.small_networks import small_network


@pytest.fixture
def pair():
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    after = copy.deepcopy(before)
    for tensor in after.state_dict().values():
        tensor += 1
    return before, after


def test_distance_is_over_all_parameters_of_a_part(pair):
    before, after = pair
    found = distances(before, after, {"first": ["0", "1.weight"], "bias": ["2.bias"]})
    old = torch.cat([before[0].weight.flatten(), before[0].bias, before[1].weight]).norm()
    assert found["first"] == pytest.approx(12**0.5 / old.item(), rel=1e-6)
    assert found["bias"] == pytest.approx(1 / before[2].bias.abs().item(), rel=1e-6)
    assert list(found) == ["first", "bias"]


def test_distance_has_the_unit_of_the_first_network(pair):
    before, _ = pair
    double = copy.deepcopy(before)
    for parameter in double.parameters():
        parameter.data *= 3
    assert distances(before, double, {"all": ["*"]})["all"] == pytest.approx(2)
    assert distances(double, before, {"all": ["*"]})["all"] == pytest.approx(2 / 3)
    assert distances(before, before, {"all": ["*"]}) == {"all": 0.0}


def test_distance_refuses_what_does_not_fit(pair):
    before, after = pair
    with pytest.raises(ValueError, match="no parameter matches '3'"):
        distances(before, after, {"third": ["3"]})
    with pytest.raises(ValueError, match=r"only one of them has '3\.bias'"):
        distances(before, nn.Sequential(*after, nn.Linear(1, 1)), {"all": ["*"]})
    with pytest.raises(ValueError, match=r"'0\.weight' has the shapes"):
        distances(before, nn.Sequential(nn.Linear(4, 3), *after[1:]), {"all": ["*"]})
    with pytest.raises(ValueError, match="all parameters of 'shift' are 0 before"):
        distances(before, after, {"shift": ["1.bias"]})


def test_what_is_put_back_is_old_with_its_buffers_and_the_rest_new(pair):
    before, after = pair
    kept = [{k: v.clone() for k, v in model.state_dict().items()} for model in pair]
    found = rewound(after, before, ["1"]).state_dict()
    for name, tensor in found.items():
        expected = kept[0] if name.startswith("1.") else kept[1]
        assert torch.equal(tensor, expected[name]), name
    for model, state in zip(pair, kept, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_putting_everything_back_gives_the_old_network(pair):
    before, after = pair
    found = rewound(after, before, ["*"]).state_dict()
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in found.items())
    assert found["0.weight"].data_ptr() != before[0].weight.data_ptr()


def test_putting_back_refuses_what_does_not_fit(pair):
    before, after = pair
    with pytest.raises(ValueError, match="no submodule matches '5'"):
        rewound(after, before, ["5"])
    with pytest.raises(ValueError, match="differ in structure"):
        rewound(after, before[:2], ["0"])


@pytest.mark.parametrize(
    ("model", "parts", "left"),
    [
        (lambda: efficientnet_lite0(pretrained=False, classes=10), PARTS, {"head"}),
        (lambda: small_network("convolutional", seed=0), SMALL_PARTS, set()),
    ],
)
def test_parts_hold_each_parameter_once(model, parts, left):
    names = [name for name, _ in model().named_parameters()]
    for name in names:
        inside = [
            part
            for part, modules in parts.items()
            if any(name.startswith(f"{module}.") for module in modules)
        ]
        assert len(inside) == (name.split(".")[0] not in left), name


def test_parts_are_the_stages_that_are_probed():
    assert list(PARTS) == list(STAGES)
