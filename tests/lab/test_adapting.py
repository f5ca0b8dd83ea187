"""The training loop of domain adaptation, and the networks it trains."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mapping_lib.distances import coral
from mapping_lib.lab.adapting import (
    Adversary,
    Batch,
    ConditionalAdversary,
    DigitNetwork,
    DomainNorm,
    SecondHead,
    adapt,
    chosen,
    outputs,
)
from mapping_lib.lab.data import handwritten_digits, rendered_digits
from mapping_lib.lab.training import accuracy

SOURCE = rendered_digits(200, seed=0)
TARGET = handwritten_digits()


def batch(network, n=6):
    images = torch.cat([SOURCE.images[:n], TARGET.images[: n + 2]])
    features = network.features(images, n)
    logits = network.head(features)
    return Batch(features[:n], features[n:], logits[:n], logits[n:], SOURCE.labels[:n])


class TestDomainNorm:
    def test_each_domain_has_its_own_statistics(self):
        norm = DomainNorm(3)
        x = torch.randn(30, 3) * 2 + torch.cat([torch.zeros(20, 1), torch.full((10, 1), 9.0)])
        y = norm(x, 20)
        for part in (y[:20], y[20:]):
            assert_close(part.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
            assert_close(part.var(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
        assert norm.target.running_mean.min() > norm.source.running_mean.max()

    def test_shared_statistics_are_those_of_plain_batch_norm(self):
        norm, plain = DomainNorm(3, shared=True), nn.BatchNorm1d(3)
        x = torch.randn(30, 3)
        assert_close(norm(x, 20), plain(x))
        assert_close(norm.eval()(x, 0), plain.eval()(x))
        assert norm.source is norm.target

    def test_images_are_normalised_by_channel(self):
        x = torch.randn(5, 3, 4, 4)
        assert_close(DomainNorm(3)(x, 5), nn.BatchNorm2d(3)(x))

    def test_one_domain_alone_leaves_the_other_statistics(self):
        norm = DomainNorm(2)
        norm(torch.randn(5, 2) + 3, 0)
        assert norm.source.running_mean.tolist() == [0, 0]
        assert norm.target.running_mean.min() > 0


class TestNetworkAndLosses:
    def test_first_weights_depend_on_the_seed_alone(self):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one, same, other = DigitNetwork(seed=0), DigitNetwork(seed=0), DigitNetwork(seed=1)
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(one.third.weight, same.third.weight)
        assert not torch.equal(one.third.weight, other.third.weight)

    def test_forward_is_the_target(self):
        network = DigitNetwork(seed=0).eval()
        images = TARGET.images[:7]
        assert_close(network(images), outputs(network, images, "target").logits)

    @pytest.mark.parametrize("layer_norm", [True, False])
    @pytest.mark.parametrize("kind", [Adversary, ConditionalAdversary])
    def test_adversaries_pull_the_features_the_other_way(self, kind, layer_norm):
        network = DigitNetwork(seed=0)
        adversary = kind(seed=0, layer_norm=layer_norm)
        data = batch(network)
        loss = adversary(data)
        assert abs(loss.item() - math.log(2)) < 0.3
        turned = torch.autograd.grad(loss, data.target, retain_graph=True)[0]
        assert turned.abs().max() > 0
        stepped = data.target + 10 * turned  # up the loss for whoever isn't reversed: down here
        moved = Batch(
            data.source, stepped, data.source_logits, data.target_logits, data.source_labels
        )
        assert adversary(moved) < loss

    def test_the_second_head_is_trained_and_the_first_is_not_its_own(self):
        network = DigitNetwork(seed=0)
        second = SecondHead(network.head, seed=0)
        assert {id(p) for p in second.parameters()}.isdisjoint(map(id, network.parameters()))
        second(batch(network)).backward()
        assert network.head.weight.grad.abs().max() > 0
        assert second.second.weight.grad.abs().max() > 0


class TestAdapt:
    def test_learns_the_source_and_repeats_itself(self):
        networks = [DigitNetwork(seed=0) for _ in range(2)]
        runs = [
            adapt(
                network,
                SOURCE,
                TARGET.images,
                domain_loss=lambda b: coral(b.source, b.target),
                weight=1,
                steps=30,
                seed=3,
            )
            for network in networks
        ]
        assert runs[0].source_losses == runs[1].source_losses
        assert runs[0].domain_losses == runs[1].domain_losses
        assert len(runs[0].source_losses) == 30
        logits = outputs(networks[0], SOURCE.images, "source").logits
        assert accuracy(logits, SOURCE.labels) > 0.5
        assert_close(logits, outputs(networks[1], SOURCE.images, "source").logits)

    def test_the_source_alone_ignores_the_target_but_for_its_statistics(self):
        networks = [DigitNetwork(seed=0) for _ in range(2)]
        for network, target in zip(networks, (TARGET.images, 1 - TARGET.images), strict=True):
            adapt(network, SOURCE, target, steps=3)
        one, other = networks
        assert torch.equal(one.third.weight, other.third.weight)
        assert not torch.equal(one.norms[0].target.running_mean, other.norms[0].target.running_mean)

    def test_trains_the_adversary_too(self):
        adversary = Adversary(seed=0)
        before = adversary.discriminator[1].weight.clone()
        adapt(DigitNetwork(seed=0), SOURCE, TARGET.images, domain_loss=adversary, weight=1, steps=3)
        assert not torch.equal(before, adversary.discriminator[1].weight)

    def test_bad_input(self):
        network = DigitNetwork(seed=0)
        with pytest.raises(ValueError, match="target has 10 images, fewer than batch_size 64"):
            adapt(network, SOURCE, TARGET.images[:10])
        with pytest.raises(ValueError, match="weight must lie in"):
            adapt(network, SOURCE, TARGET.images, weight=-1)
        with pytest.raises(FloatingPointError, match="step 1: try a smaller weight"):
            adapt(
                network,
                SOURCE,
                TARGET.images,
                domain_loss=lambda b: b.source.sum() * math.nan,
                weight=1,
            )
        with pytest.raises(ValueError, match="must be 'source' or 'target', not 'both'"):
            outputs(network, TARGET.images, "both")


ROWS = [
    {"method": method, "weight": weight, "seed": seed, "accuracy": 0, "score": score}
    for method, weight, seed, score in [
        ("a", 1, 0, 3.0),
        ("a", 2, 0, 5.0),
        ("a", 1, 1, 4.0),
        ("a", 2, 1, 4.0),
        ("b", 7, 0, 1.0),
    ]
]


def test_chosen_takes_the_best_of_each_method_and_seed():
    assert [row["weight"] for row in chosen(ROWS, "score")] == [2, 1, 7]
    assert [row["weight"] for row in chosen(ROWS, "score", largest=False)] == [1, 1, 7]
    with pytest.raises(KeyError, match="no column 'scores'"):
        chosen(ROWS, "scores")
