"""A pool of sources, targets, and fine-tuning whose schedule changes on the way (section 8.3.1)."""

import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab import checkpoints, choosing
from mapping_lib.lab.adjusting import adjust, every, split
from mapping_lib.lab.choosing import (
    SHAPES,
    Target,
    cross_validated,
    fine_tune,
    frozen_features,
    small_network,
    source_problem,
    target_problem,
    tuned_cross_validated,
)
from mapping_lib.lab.training import accuracy, predict
from mapping_lib.strategies import Controller


@pytest.fixture(scope="module")
def bars():
    """Three classes: a bright bar at one of three heights, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    images = 0.3 * torch.rand(60, 1, 16, 16, generator=generator)
    for n, label in enumerate(labels.tolist()):
        images[n, 0, 2 + 5 * label : 5 + 5 * label] += 0.6
    return Target(images[:18], labels[:18], images[18:], labels[18:], 3)


class TestPool:
    def test_network_standardises_its_images_and_draws_from_its_seed_alone(self):
        state = torch.get_rng_state()
        network = small_network(7, seed=1)
        assert torch.equal(state, torch.get_rng_state())
        images = torch.rand(4, 1, 16, 16)
        assert network(images).shape == (4, 7)
        assert_close(network(images), network(0.5 * images + 0.2), atol=5e-2, rtol=0)
        assert_close(network(images), small_network(7, seed=1)(images))
        assert frozen_features(network, images).shape == (4, 64)

    def test_sources_have_the_classes_they_name(self):
        images, labels = source_problem("shapes")
        assert images.shape == (2400, 1, 16, 16)
        assert 0 <= images.min() <= images.max() <= 1
        assert labels.bincount().tolist() == [300] * len(SHAPES)
        digits, right = source_problem("digits")
        same, wrong = source_problem("wrong labels")
        assert_close(digits, same)
        assert 0.05 < (right == wrong).float().mean() < 0.15
        assert wrong.bincount().tolist() == right.bincount().tolist()

    def test_unknown_names_are_refused(self):
        with pytest.raises(ValueError, match=r"no 'digit'.*'digits'"):
            source_problem("digit")
        with pytest.raises(ValueError, match=r"no 'hebrew'.*'Hebrew'"):
            target_problem("hebrew", per_class=1, seed=0)

    def test_missing_and_other_files_are_refused(self, monkeypatch, tmp_path):
        monkeypatch.setattr(choosing, "pool_path", lambda: tmp_path / "none.pt")
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            choosing.pool()
        path = checkpoints.save(small_network(2, seed=0).state_dict(), tmp_path / "other.pt")
        monkeypatch.setattr(choosing, "pool_path", lambda: path)
        with pytest.raises(checkpoints.CheckpointError, match="SHA-256 is another"):
            choosing.pool()


class TestTargets:
    def test_labels_are_drawn_by_the_seed_and_never_test(self):
        first, again, other = (
            target_problem("handwritten", per_class=3, seed=s) for s in (0, 0, 1)
        )
        assert first.labels.bincount().tolist() == [3] * 10
        assert_close(first.images, again.images)
        assert not torch.equal(first.images, other.images)
        assert_close(first.test_images, other.test_images)
        assert len(first.test_labels) == 797

    def test_more_labels_than_there_are_are_refused(self):
        with pytest.raises(ValueError, match="per_class must be at least 1 and whole, got 0"):
            target_problem("handwritten", per_class=0, seed=0)
        with pytest.raises(ValueError, match=r"handwritten: class 0 has \d+ images, not 1000"):
            target_problem("handwritten", per_class=1000, seed=0)

    def test_photographs_come_from_ten_pictures(self):
        found = target_problem("photographs", per_class=2, seed=0)
        assert found.images.shape == (20, 1, 16, 16)
        assert found.test_labels.bincount().tolist() == [40] * 10
        large = target_problem("photographs", per_class=1, seed=0, side=24)
        assert large.images.shape == (10, 1, 24, 24)


class TestTuning:
    def test_fine_tuning_leaves_the_source_alone_and_learns(self, bars):
        source = small_network(5, seed=0)
        before = {name: v.clone() for name, v in source.state_dict().items()}
        tuned = fine_tune(source, bars, steps=40)
        assert_close(source.state_dict(), before)
        assert accuracy(predict(tuned, bars.test_images), bars.test_labels) > 0.9
        scratch = fine_tune(None, bars, steps=40, head_rate=3e-3, body_rate=3e-3)
        assert accuracy(predict(scratch, bars.test_images), bars.test_labels) > 0.9

    def test_a_rate_of_zero_freezes_the_body(self, bars):
        source = small_network(5, seed=0)
        tuned = fine_tune(source, bars, body_rate=0.0, steps=5)
        assert_close(tuned[:-1].state_dict(), source[:-1].state_dict())

    def test_cross_validation(self, bars):
        rows = torch.nn.functional.one_hot(bars.labels).float()
        assert cross_validated(rows, bars.labels) == 1
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(18, 4, generator=generator)
        assert cross_validated(noise, bars.labels) < 0.8
        assert tuned_cross_validated(None, bars, steps=40, body_rate=3e-3) > 0.8
        with pytest.raises(ValueError, match="two labelled rows of each class"):
            cross_validated(torch.rand(2, 3), torch.tensor([0, 1]))


class TestAdjusting:
    def test_split_takes_the_last_of_each_class(self, bars):
        train, held = split(bars, 2)
        assert train.labels.bincount().tolist() == [4] * 3
        assert_close(held.images, bars.images[12:])
        assert_close(train.test_images, bars.test_images)

    def test_a_schedule_says_which_groups_move(self, bars):
        train, held = split(bars, 2)
        network = small_network(3, seed=0)
        before = [p.clone() for p in network.parameters()]
        run = adjust(network, train, held, schedule=lambda _: 2, steps=10)
        moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
        assert moved == [False] * 12 + [True] * 4
        assert run.looks == [5, 10]
        assert run.unfrozen == [2, 2]
        assert len(run.accuracies) == 1
        assert not run.cosines
        assert all(p.requires_grad for p in network.parameters())

    def test_a_fixed_schedule_opens_one_after_the_other(self, bars):
        train, held = split(bars, 2)
        run = adjust(small_network(3, seed=0), train, held, schedule=every(5), steps=15)
        assert run.unfrozen == [1, 2, 3]
        assert run.losses[-1] < run.losses[0]

    def test_a_controller_is_shown_every_look(self, bars):
        train, held = split(bars, 2)
        controller = Controller(5, patience=1, plateau=0.0)  # everything is a plateau
        run = adjust(small_network(3, seed=0), train, held, schedule=controller, steps=25)
        assert [made.step for made in controller.decisions] == [10, 15, 20, 25]
        assert run.unfrozen == [1, 1, 2, 3, 4]

    def test_source_takes_part_until_it_is_dropped(self, bars):
        train, held = split(bars, 2)
        source = (bars.test_images, (bars.test_labels + 1) % 3)
        settings = {"steps": 40, "source": source, "head_rate": 3e-3, "body_rate": 3e-3}
        joint = adjust(small_network(3, seed=0), train, held, schedule=lambda _: 5, **settings)
        assert joint.shares == [1.0] * 40
        assert all(-1 <= c <= 1 for c in joint.cosines)
        gate = adjust(
            small_network(3, seed=0), train, held, schedule=lambda _: 5, gate=True, **settings
        )
        assert gate.shares == [float(c >= 0) for c in gate.cosines]
        controller = Controller(5, source=True, patience=1, rise=1.0, window=2)
        controller.unfrozen = 5
        run = adjust(small_network(3, seed=0), train, held, schedule=controller, **settings)
        dropped = [made.step for made in controller.decisions if made.action == "drop source"]
        assert len(dropped) == 1
        assert run.shares == [1.0] * dropped[0] + [0.0] * (40 - dropped[0])
