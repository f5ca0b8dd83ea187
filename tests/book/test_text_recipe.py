import results_6_2_1 as recipe
import torch


def test_a_network_trained_in_half_precision_sees_its_own_steps():
    # autocast's cache kept a weight's copy for as long as the context lasted
    layer = torch.nn.Linear(2, 1, bias=False)
    with recipe.halved():
        before = layer(torch.ones(1, 2))
        with torch.no_grad():
            layer.weight += 1
        after = layer(torch.ones(1, 2))
    assert (after - before).item() > 1.9
