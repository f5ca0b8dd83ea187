"""Conditional random fields: hand-computed values, all rows of tags by brute force, gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from mapping_lib.lab.entities import bio_labels, bio_rules
from mapping_lib.tagging import crf_log_partition, crf_loss, crf_marginals, crf_score, viterbi

SEEDS = st.integers(0, 10_000)
SIZES = {"n": st.integers(1, 3), "time": st.integers(1, 4), "classes": st.integers(1, 3)}


def normal(*shape, seed=0, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def problem(n=3, time=4, classes=3, seed=0, dtype=torch.float64):
    """Return scores, tags and options: sequences of unequal lengths, the first one whole."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, time + 1, (n,), generator=generator)
    lengths[0] = time
    options = {
        "start": normal(classes, seed=seed + 1, dtype=dtype),
        "end": normal(classes, seed=seed + 2, dtype=dtype),
        "mask": torch.arange(time) < lengths[:, None],
    }
    tags = torch.randint(classes, (n, time), generator=generator)
    emissions = normal(n, time, classes, seed=seed + 3, dtype=dtype)
    return emissions, tags, normal(classes, classes, seed=seed + 4, dtype=dtype), options


def by_hand(emissions, row, transitions, start, end):
    """Score one row of tags with plain loops."""
    score = start[row[0]] + end[row[-1]]
    for t, tag in enumerate(row):
        score += emissions[t, tag]
    for before, after in itertools.pairwise(row):
        score += transitions[before, after]
    return score


def brute_force(emissions, transitions, options):
    """Return log Z, marginals and the best row of each sequence, over all rows of tags."""
    found = []
    arrays = transitions.numpy(), options["start"].numpy(), options["end"].numpy()
    for one, mask in zip(emissions.numpy(), options["mask"].numpy(), strict=True):
        length, classes = int(mask.sum()), one.shape[1]
        rows = list(itertools.product(range(classes), repeat=length))
        scores = np.array([by_hand(one, row, *arrays) for row in rows])
        total = logsumexp(scores)
        marginals = np.zeros_like(one)
        for row, score in zip(rows, scores, strict=True):
            for t, tag in enumerate(row):
                marginals[t, tag] += np.exp(score - total)
        best = [*rows[int(scores.argmax())], *[-1] * (len(one) - length)]
        found.append((total, marginals, best))
    totals, marginals, best = zip(*found, strict=True)
    return (torch.tensor(np.array(values)) for values in (totals, marginals, best))


class TestByHand:
    def test_score(self):
        emissions = torch.tensor([[[1.0, 10.0], [100.0, 1000.0], [7.0, 7.0]]])
        transitions = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
        ends = {"start": torch.tensor([0.01, 0.02]), "end": torch.tensor([0.001, 0.002])}
        mask = torch.tensor([[True, True, False]])
        tags = torch.tensor([[1, 0, 99]])
        score = crf_score(emissions, tags, transitions, **ends, mask=mask)
        assert_close(score, torch.tensor([10 + 100 + 0.3 + 0.02 + 0.001]))

    def test_two_places(self):
        emissions = torch.tensor([[[0.0, math.log(2)], [0.0, math.log(3)]]], dtype=torch.float64)
        transitions = torch.tensor([[0.0, 0.0], [math.log(5), 0.0]], dtype=torch.float64)
        # weights of the rows 00, 01, 10, 11: 1, 3, 2 · 5, 2 · 3
        total = crf_log_partition(emissions, transitions)
        assert_close(total.exp(), torch.tensor([20.0], dtype=torch.float64))
        marginals = crf_marginals(emissions, transitions)
        due = torch.tensor([[[4, 16], [11, 9]]], dtype=torch.float64) / 20
        assert_close(marginals, due)
        assert viterbi(emissions, transitions).tolist() == [[1, 0]]
        loss = crf_loss(emissions, torch.tensor([[0, 1]]), transitions)
        assert loss.item() == pytest.approx(math.log(20 / 3))

    def test_one_place_is_a_softmax(self):
        emissions, tags = normal(5, 1, 4), torch.tensor([[0], [3], [1], [1], [2]])
        loss = crf_loss(emissions, tags, normal(4, 4, seed=1))
        assert_close(loss, cross_entropy(emissions[:, 0], tags[:, 0]))


class TestAgainstAllRows:
    @given(seed=SEEDS, **SIZES)
    def test_everything(self, seed, n, time, classes):
        emissions, _, transitions, options = problem(n, time, classes, seed)
        total, marginals, best = brute_force(emissions, transitions, options)
        assert_close(crf_log_partition(emissions, transitions, **options), total)
        assert_close(crf_marginals(emissions, transitions, **options), marginals)
        assert viterbi(emissions, transitions, **options).equal(best)

    @given(seed=SEEDS, **SIZES)
    def test_score(self, seed, n, time, classes):
        emissions, tags, transitions, options = problem(n, time, classes, seed)
        start, end, mask = options["start"], options["end"], options["mask"]
        due = [
            by_hand(one, row[here].tolist(), transitions, start, end)
            for one, row, here in zip(emissions, tags, mask, strict=True)
        ]
        assert_close(crf_score(emissions, tags, transitions, **options), torch.stack(due))

    def test_forbidden_steps_of_bio(self):
        labels = bio_labels(["LOC", "PER"])
        after, first = bio_rules(labels)
        emissions, _, transitions, options = problem(4, 4, len(labels), seed=7)
        never = -10_000.0
        options["start"] = options["start"].masked_fill(~first, never)
        transitions = transitions.masked_fill(~after, never)
        total, marginals, best = brute_force(emissions, transitions, options)
        assert_close(crf_log_partition(emissions, transitions, **options), total)
        assert_close(crf_marginals(emissions, transitions, **options), marginals)
        assert viterbi(emissions, transitions, **options).equal(best)
        assert (crf_marginals(emissions, transitions, **options)[:, 0][:, ~first] == 0).all()

    def test_decoded_rows_are_whole_even_where_the_places_say_otherwise(self):
        labels = bio_labels(["LOC", "PER"])
        after, first = bio_rules(labels)
        emissions = normal(50, 8, len(labels), seed=3, scale=20.0)
        rules = {
            "transitions": torch.zeros(after.shape, dtype=torch.float64).masked_fill(~after, -1e4),
            "start": torch.zeros(len(labels), dtype=torch.float64).masked_fill(~first, -1e4),
        }
        best = viterbi(emissions, **rules)
        assert first[best[:, 0]].all()
        assert after[best[:, :-1], best[:, 1:]].all()
        alone = emissions.argmax(2)
        assert not after[alone[:, :-1], alone[:, 1:]].all()


class TestGradients:
    def test_gradcheck(self):
        emissions, tags, transitions, options = problem(seed=2)
        mask = options["mask"]
        inputs = [emissions, transitions, options["start"], options["end"]]
        inputs = [tensor.requires_grad_() for tensor in inputs]

        def named(function):
            def call(emissions, transitions, start, end):
                return function(emissions, transitions, start=start, end=end, mask=mask)

            return call

        def loss(emissions, transitions, start, end):
            return crf_loss(emissions, tags, transitions, start=start, end=end, mask=mask)

        for function in (named(crf_log_partition), named(crf_marginals), loss):
            assert torch.autograd.gradcheck(function, inputs)

    @given(SEEDS)
    def test_marginals_are_the_gradient_of_the_log_partition(self, seed):
        emissions, _, transitions, options = problem(seed=seed)
        emissions.requires_grad_()
        (gradient,) = torch.autograd.grad(
            crf_log_partition(emissions, transitions, **options).sum(), emissions
        )
        assert_close(crf_marginals(emissions, transitions, **options).detach(), gradient)

    def test_forbidden_steps_give_no_nan(self):
        emissions, tags, _, options = problem(seed=4)
        transitions = torch.full((3, 3), -1e4, dtype=torch.float64, requires_grad=True)
        loss = crf_loss(emissions.requires_grad_(), tags, transitions, **options)
        loss.backward()
        assert emissions.grad.isfinite().all()
        assert transitions.grad.isfinite().all()


class TestProperties:
    @given(seed=SEEDS, **SIZES)
    def test_probabilities(self, seed, n, time, classes):
        emissions, tags, transitions, options = problem(n, time, classes, seed)
        marginals = crf_marginals(emissions, transitions, **options)
        assert_close(marginals.sum(2), options["mask"].double())
        assert crf_loss(emissions, tags, transitions, **options) >= -1e-12

    @given(SEEDS)
    def test_padding_and_order_change_nothing(self, seed):
        emissions, tags, transitions, options = problem(seed=seed)
        mask = options["mask"]
        padded = emissions.masked_fill(~mask[..., None], 99.0)
        order = torch.tensor([2, 0, 1])
        for function in (crf_log_partition, crf_marginals, viterbi):
            found = function(emissions, transitions, **options)
            assert_close(function(padded, transitions, **options), found)
            turned = function(emissions[order], transitions, **options | {"mask": mask[order]})
            assert_close(turned, found[order])
        alone = {k: v for k, v in options.items() if k != "mask"}
        for one, row, here in zip(emissions, tags, mask, strict=True):
            short = one[here][None], row[here][None], transitions
            whole = one[None], row[None], transitions
            assert_close(crf_loss(*short, **alone), crf_loss(*whole, **alone, mask=here[None]))

    @given(SEEDS)
    def test_a_constant_at_a_place_changes_no_probability(self, seed):
        emissions, tags, transitions, options = problem(seed=seed)
        shifted = emissions + normal(3, 4, 1, seed=seed + 9)
        assert_close(
            crf_loss(shifted, tags, transitions, **options),
            crf_loss(emissions, tags, transitions, **options),
        )
        assert viterbi(shifted, transitions, **options).equal(
            viterbi(emissions, transitions, **options)
        )

    @given(SEEDS)
    def test_without_transitions_it_is_the_cross_entropy_of_the_places(self, seed):
        emissions, tags, transitions, options = problem(seed=seed)
        mask = options["mask"]
        loss = crf_loss(emissions, tags, 0 * transitions, mask=mask)
        due = cross_entropy(emissions[mask], tags[mask], reduction="sum") / len(emissions)
        assert_close(loss, due)

    @given(SEEDS)
    def test_no_row_scores_more_than_viterbis(self, seed):
        emissions, tags, transitions, options = problem(seed=seed)
        best = viterbi(emissions, transitions, **options)
        top = crf_score(emissions, best, transitions, **options)
        assert (top >= crf_score(emissions, tags, transitions, **options)).all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_the_type_is_kept_and_large_scores_are_fine(self, dtype):
        emissions, tags, transitions, options = problem(seed=5, dtype=dtype)
        assert crf_loss(emissions, tags, transitions, **options).dtype == dtype
        large = crf_loss(1000 * emissions, tags, transitions, **options)
        assert large.isfinite()
        marginals = crf_marginals(emissions, transitions, **options)
        assert marginals.dtype == dtype


def test_over_problems_at_once():
    emissions, _, transitions, options = problem()
    first = torch.zeros_like(options["mask"])
    first[:, 0] = True
    masks = torch.stack([options["mask"], first])
    found = torch.vmap(lambda mask: crf_log_partition(emissions, transitions, mask=mask))(masks)
    for mask, values in zip(masks, found, strict=True):
        assert_close(values, crf_log_partition(emissions, transitions, mask=mask))


class TestBadInput:
    def test_shapes(self):
        emissions, tags, transitions, options = problem()
        with pytest.raises(ValueError, match=r"\(n, time, tags\), got \(4, 3\); give a single"):
            crf_log_partition(emissions[0], transitions)
        with pytest.raises(ValueError, match=r"transitions must be \(3, 3\), a row and a column"):
            crf_log_partition(emissions, transitions[:2])
        with pytest.raises(ValueError, match=r"tag of emissions \(3, 4, 3\), got \(4, 3\)"):
            crf_log_partition(emissions, torch.cat([transitions, transitions[:1]]))
        with pytest.raises(ValueError, match=r"end must be \(3,\), one a tag, got \(2,\)"):
            viterbi(emissions, transitions, end=options["end"][:2])
        with pytest.raises(ValueError, match=r"tags must be \(3, 4\), one a place"):
            crf_score(emissions, tags[:, :2], transitions)
        with pytest.raises(ValueError, match=r"mask must be \(3, 4\), one a place"):
            crf_score(emissions, tags, transitions, mask=options["mask"][:2])

    def test_types(self):
        emissions, tags, transitions, options = problem()
        with pytest.raises(TypeError, match="mask must be boolean, True where there is a token"):
            crf_marginals(emissions, transitions, mask=options["mask"].long())
        with pytest.raises(TypeError, match=r"tags must be integers, got torch\.float64"):
            crf_loss(emissions, tags.double(), transitions)
        with pytest.raises(TypeError, match=r"tags must be integers, got torch\.bool"):
            crf_loss(emissions, tags == 1, transitions)
        with pytest.raises(TypeError, match=r"emissions must be a torch\.Tensor"):
            viterbi([[1.0]], transitions)
        with pytest.raises(TypeError, match="dtype"):
            viterbi(emissions.float(), transitions)

    def test_values(self):
        emissions, tags, transitions, _ = problem()
        with pytest.raises(ValueError, match="a large negative number such as -1e4"):
            viterbi(emissions, transitions.masked_fill(transitions < 0, -math.inf))
        with pytest.raises(ValueError, match="NaN"):
            viterbi(emissions.masked_fill(emissions < 0, math.nan), transitions)
        with pytest.raises(ValueError, match="between 0 and 2, got 0 to 3; mask padding"):
            crf_loss(emissions, tags.masked_fill(tags == 1, 3), transitions)
        with pytest.raises(ValueError, match="between 0 and 2, got 0 to 7"):
            crf_loss(emissions, tags.masked_fill(tags == 1, 7), transitions)
        with pytest.raises(ValueError, match="between 0 and 2, got -1 to"):
            crf_loss(emissions, tags.masked_fill(tags == 1, -1), transitions)

    @pytest.mark.parametrize("row", [[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]])
    def test_masks(self, row):
        emissions, _, transitions, _ = problem(n=1)
        with pytest.raises(ValueError, match="without a hole; pad at the end, and leave empty"):
            viterbi(emissions, transitions, mask=torch.tensor([row]) == 1)
