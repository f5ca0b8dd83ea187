"""Choosing sources and strategies (section 8.3.1): closed forms, properties, words."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mapping_lib.strategies import (
    Controller,
    Decision,
    choose_strategy,
    disagree,
    rank_sources,
    regret,
    stalled,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LABELS = torch.tensor([0, 0, 1, 1, 1])
SHARES = st.floats(0, 1)


def width(rows, labels):
    return rows.amax() - rows.amin()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Regret


@pytest.mark.parametrize("dtype", FLOATS)
def test_regret_by_hand(dtype):
    scores = torch.tensor([[0.5, 0.75, 0.25], [1.0, 0.0, 0.5]], dtype=dtype)
    found = regret(torch.tensor([2, 1]), scores)
    assert found.dtype == dtype
    assert found.tolist() == [0.5, 1.0]
    assert regret(2, scores).tolist() == [0.5, 0.5]
    assert regret(0, scores[0]).shape == ()


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_regret_is_not_negative_zero_at_the_best_and_does_not_mind_a_constant(seed, m):
    scores = torch.randn(4, m, generator=generator(seed), dtype=torch.float64)
    assert (regret(scores.argmax(1), scores) == 0).all()
    chosen = torch.randint(m, (4,), generator=generator(seed))
    found = regret(chosen, scores)
    assert (found >= 0).all()
    assert_close(regret(chosen, scores + 3), found)
    assert_close(
        torch.stack([regret(c, scores) for c in range(m)]).mean(0), scores.amax(1) - scores.mean(1)
    )


def test_regret_names_the_shape_that_is_due():
    words = r"shape \(2,\), one choice for each row of scores \(2, 3\), got \(3,\)"
    with pytest.raises(ValueError, match=words):
        regret(torch.tensor([0, 1, 2]), torch.zeros(2, 3))


def test_regret_takes_small_integers_and_deeper_shapes():
    scores = torch.arange(12.0).view(2, 3, 2)
    chosen = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=torch.uint8)
    assert regret(chosen, scores).tolist() == [[1, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("chosen", "scores", "error", "words"),
    [
        (0, torch.tensor([1, 2]), TypeError, "scores must hold floating-point numbers"),
        (0, torch.tensor(1.0), ValueError, "single number; give one score for each candidate"),
        (0, torch.tensor([1.0, math.inf]), ValueError, "scores must be finite"),
        (0, torch.tensor([1.0, math.nan]), ValueError, "scores contains NaN"),
        (2, torch.tensor([1.0, 2.0]), ValueError, "between 0 and 1, got 2 to 2; count candidates"),
        (-1, torch.tensor([1.0, 2.0]), ValueError, "between 0 and 1, got -1 to -1"),
        (True, torch.tensor([1.0, 2.0]), TypeError, "whole number or a tensor of them, got True"),
        (0.0, torch.tensor([1.0, 2.0]), TypeError, "whole number or a tensor of them, got 0.0"),
        (torch.tensor(0.0), torch.tensor([1.0]), TypeError, "integers, got torch.float32; use"),
        (torch.tensor(0j), torch.tensor([1.0]), TypeError, "integers, got torch.complex64"),
        (torch.tensor(False), torch.tensor([1.0]), TypeError, "integers, got torch.bool"),
        (
            torch.tensor([0]),
            torch.tensor([1.0]),
            ValueError,
            r"shape \(\), one choice .* got \(1,\)",
        ),
    ],
)
def test_regret_refuses(chosen, scores, error, words):
    with pytest.raises(error, match=words):
        regret(chosen, scores)


# Ranking


SOURCES = {
    "narrow": torch.tensor([[0.0], [1.0], [0.5], [0.5], [0.5]]),
    "wide": torch.tensor([[0.0, 0.0], [0.0, 5.0], [4.0, 1.0], [2.0, 1.0], [0.0, 3.0]]),
    "none": torch.ones(5, 3),
}


def test_ranking_orders_by_score_and_keeps_ties_as_given():
    found = rank_sources(SOURCES, LABELS, score=width, generator=generator())
    assert found.order == ("wide", "narrow", "none")
    assert found.scores == (5.0, 1.0, 0.0)
    twice = {"b": SOURCES["narrow"], "a": SOURCES["narrow"]}
    tied = rank_sources(twice, LABELS, score=width, resamples=7)
    assert tied.order == ("b", "a")
    assert tied.firsts == (0.5, 0.5)


def test_shares_are_those_of_the_stratified_bootstrap():
    """One class, two rows: the sources' widths can be counted out."""
    labels = torch.zeros(2, dtype=torch.long)
    sources = {"a": torch.tensor([[0.0], [2.0]]), "b": torch.tensor([[1.0], [1.0]])}
    found = rank_sources(sources, labels, score=width, resamples=4000, generator=generator())
    # with probability 1/2 both rows are drawn and a is first; else both widths are 0
    assert abs(found.firsts[0] - 0.75) < 0.03
    assert_close(sum(found.firsts), 1.0)


def test_each_class_keeps_its_number_of_rows_and_all_sources_see_the_same_rows():
    seen = []

    def score(rows, labels):
        seen.append((rows[:, 0].tolist(), labels.tolist()))
        return rows.sum()

    rows = torch.tensor([[0.0], [1.0], [10.0], [11.0], [12.0]])
    rank_sources({"a": rows, "b": rows}, LABELS, score=score, resamples=20, generator=generator())
    assert len(seen) == 42
    for (rows_a, labels_a), (rows_b, labels_b) in zip(seen[::2], seen[1::2], strict=True):
        assert rows_a == rows_b
        assert labels_a == labels_b == [0, 0, 1, 1, 1]
        assert all(
            (value >= 10) == bool(label) for value, label in zip(rows_a, labels_a, strict=True)
        )
    assert len({tuple(rows) for rows, _ in seen}) > 10
    drawn = {value for rows, _ in seen[2:] for value in rows}
    assert drawn == {0.0, 1.0, 10.0, 11.0, 12.0}


def test_half_samples_draw_no_row_twice():
    seen = []

    def score(rows, labels):
        seen.append((sorted(rows[:, 0].tolist()), labels.tolist()))
        return rows.sum()

    rows = torch.tensor([[0.0], [1.0], [10.0], [11.0], [12.0]])
    rank_sources(
        {"a": rows}, LABELS, score=score, resamples=30, replacement=False, generator=generator()
    )
    for drawn, labels in seen[1:]:
        assert labels == [0, 1, 1]
        assert len(set(drawn)) == 3
    assert {value for drawn, _ in seen[1:] for value in drawn} == {0.0, 1.0, 10.0, 11.0, 12.0}


def test_ranking_repeats_with_its_generator_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (
        rank_sources(SOURCES, LABELS, score=width, generator=generator(3)) for _ in range(2)
    )
    assert first == second
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    third = rank_sources(SOURCES, LABELS, score=width)
    torch.manual_seed(5)
    assert rank_sources(SOURCES, LABELS, score=width) == third


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (90, "ahead of b by 1; first in 90 % of 100 resamples of 5 rows: sure"),
        (89, "first in 89 % of 100 resamples of 5 rows: likely, as b is first in 11 %"),
        (50, "first in 50 % of 100 resamples of 5 rows: likely, as b is first in 50 %"),
        (49, "first in 49 % of 100 resamples of 5 rows: open, as b is first in 51 %"),
    ],
)
def test_reason_says_how_sure(count, words):
    calls = iter(
        [2.0, 1.0] + [value for k in range(100) for value in ((1, 0) if k < count else (0, 1))]
    )
    sources = {"a": torch.ones(5, 1), "b": torch.ones(5, 1)}
    found = rank_sources(sources, LABELS, score=lambda rows, labels: torch.tensor(next(calls)))
    assert found.reason == f"a: score 2, {words}" or found.reason.endswith(words)
    assert found.reason.startswith("a: score 2, ahead of b by 1; ")


def test_reason_names_the_rival_that_is_first_most_often_not_the_runner_up():
    calls = iter([3.0, 2.0, 1.0] + [value for _ in range(4) for value in (0, 0, 1)])
    sources = {name: torch.ones(5, 1) for name in "abc"}
    found = rank_sources(
        sources, LABELS, score=lambda rows, labels: torch.tensor(next(calls)), resamples=4
    )
    assert found.reason == (
        "a: score 3, ahead of b by 1; first in 0 % of 4 resamples of 5 rows: open, "
        "as c is first in 100 %"
    )


def test_without_resamples_or_others():
    found = rank_sources(SOURCES, LABELS, score=width, resamples=0)
    assert found.reason == "wide: score 5, ahead of narrow by 4"
    assert all(math.isnan(share) for share in found.firsts)
    alone = rank_sources({"a": torch.ones(5, 1)}, LABELS, score=width, resamples=2)
    assert alone.reason == "a: score 0; there is no other source"
    assert alone.firsts == (1.0,)


@pytest.mark.parametrize(
    ("sources", "labels", "error", "words"),
    [
        ({}, LABELS, ValueError, "no source to rank; give one at least"),
        ({"a": torch.ones(4, 1)}, LABELS, ValueError, "a has 4 rows for 5 labels"),
        ({"a": torch.ones(5)}, LABELS, ValueError, "a must be a matrix"),
        ({"a": torch.ones(5, 1, dtype=torch.int)}, LABELS, TypeError, "a must hold floating"),
        ({"a": torch.full((5, 1), math.inf)}, LABELS, ValueError, "a must be finite"),
        ({"a": torch.full((5, 1), math.nan)}, LABELS, ValueError, "a contains NaN"),
        ({"a": torch.ones(5, 1)}, LABELS.float(), TypeError, "labels must be integers"),
        ({"a": torch.ones(5, 1)}, [0, 1], TypeError, "labels must be a torch.Tensor"),
    ],
)
def test_ranking_refuses(sources, labels, error, words):
    with pytest.raises(error, match=words):
        rank_sources(sources, labels, score=width)


def test_ranking_names_the_source_whose_score_is_none():
    with pytest.raises(ValueError, match="score of a is nan: look at its rows"):
        rank_sources(
            {"a": torch.ones(5, 1)}, LABELS, score=lambda rows, labels: torch.tensor(math.nan)
        )
    with pytest.raises(ValueError, match=r"resamples must lie in \[0, inf\), got -1"):
        rank_sources(SOURCES, LABELS, score=width, resamples=-1)


# Strategy


def choose(**changes):
    return choose_strategy(**({"labels": 100, "classes": 4, "frozen_score": 0.5} | changes))


def test_a_dearer_candidate_must_be_better_by_a_standard_error():
    # (0.5 + 0.6)/2 = 0.55, error sqrt(0.55 · 0.45 / 100) = 0.0497
    found = choose(tuned_score=0.6)
    assert found.name == "fine-tuning"
    assert found.reason == (
        "fine-tuning 0.60 against frozen head 0.50, more than 1 standard error (0.05) better"
    )
    assert choose(tuned_score=0.54).name == "frozen head"
    assert choose(tuned_score=0.6, labels=20).name == "frozen head"
    found = choose(tuned_score=0.6, margin=2.1)
    assert found.name == "frozen head"
    assert "not more than 2.1 standard error (0.05) better" in found.reason
    assert choose(tuned_score=0.6, margin=1.9).name == "fine-tuning"
    assert choose(tuned_score=0.5, margin=0).name == "frozen head"
    assert choose(tuned_score=0.51, margin=0).name == "fine-tuning"


def test_candidates_are_compared_from_the_cheapest_on():
    found = choose(tuned_score=0.7, scratch_score=0.8)
    assert found.name == "from scratch"
    assert found.reason == (
        "fine-tuning 0.70 against frozen head 0.50, more than 1 standard error (0.05) better; "
        "from scratch 0.80 against fine-tuning 0.70, more than 1 standard error (0.04) better"
    )
    assert choose(tuned_score=0.7, scratch_score=0.72).name == "fine-tuning"
    assert choose(tuned_score=0.4, scratch_score=0.52).name == "frozen head"
    assert choose(scratch_score=0.6).name == "from scratch"
    assert "against frozen head 0.50" in choose(tuned_score=0.4, scratch_score=0.52).reason


@given(SHARES, SHARES, SHARES, st.integers(1, 500))
def test_margin_zero_takes_the_highest_score(frozen, tuned, scratch, labels):
    found = choose(
        labels=labels, frozen_score=frozen, tuned_score=tuned, scratch_score=scratch, margin=0
    )
    by_name = {"frozen head": frozen, "fine-tuning": tuned, "from scratch": scratch}
    assert by_name[found.name] == max(frozen, tuned, scratch)


def test_without_other_scores_labels_a_class_decide():
    found = choose(labels=39)
    assert (found.name, found.reason) == (
        "frozen head",
        "9.75 labels a class, fewer than 10: frozen head",
    )
    found = choose(labels=40)
    assert (found.name, found.reason) == (
        "fine-tuning",
        "10 labels a class, 10 or more: fine-tuning",
    )
    assert choose(labels=40, few=11).name == "frozen head"


def test_useless_features_are_given_up():
    # guessing is 1/4, so 0.325 is 0.1 of the way to 1
    assert choose(frozen_score=0.33).name == "fine-tuning"
    found = choose(frozen_score=0.3)
    assert found.name == "from scratch"
    assert found.reason == (
        "frozen features reach 0.07 of the way from guessing to certainty, less than 0.1: "
        "from scratch"
    )
    assert choose(frozen_score=0.3, useless=0.05).name == "fine-tuning"
    assert choose(frozen_score=0.3, parameters=1_000_000).name == "from scratch"
    found = choose(frozen_score=0.3, parameters=1_000_001)
    assert found.name == "fine-tuning"
    assert found.reason.endswith("fine-tuning, as 100 labels are few for 1000001 parameters")
    assert choose(frozen_score=0.3, parameters=201, per_label=2).name == "fine-tuning"
    assert choose(frozen_score=0.25 + 0.075, useless=0.1).name == "fine-tuning"


def test_rates():
    frozen = choose(labels=8, rate=0.5)
    assert (frozen.head_rate, frozen.body_rate) == (0.5, 0.0)
    near = choose(rate=0.5)
    assert (near.head_rate, near.body_rate) == (0.5, 0.05)
    assert choose(rate=0.5, distance=1.0).body_rate == 0.05
    assert "distance 1.00, within 1:" in choose(distance=1.0).reason
    far = choose(rate=0.5, distance=1.5)
    assert (far.head_rate, far.body_rate) == (0.5, 0.15)
    assert far.reason.endswith("; distance 1.50, beyond 1: body at 0.3 of the head's rate")
    assert choose(distance=0.5).reason.endswith(
        "; distance 0.50, within 1: body at 0.1 of the head's rate"
    )
    assert choose(distance=0.5, far=0.25).body_rate == pytest.approx(3e-3)
    scratch = choose(scratch_score=1.0, distance=0.5, rate=0.5)
    assert (scratch.head_rate, scratch.body_rate) == (0.15, 0.15)
    assert "distance" not in scratch.reason
    assert "distance" not in choose(labels=8, distance=1.5).reason
    assert choose().head_rate == 1e-2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"labels": 0}, ValueError, r"labels must lie in \[1, inf\), got 0"),
        ({"classes": 1}, ValueError, r"classes must lie in \[2, inf\), got 1"),
        ({"frozen_score": 1.1}, ValueError, r"score of the frozen head must lie in \[0, 1\]"),
        ({"frozen_score": None}, TypeError, "score of the frozen head must be a number, got None"),
        ({"tuned_score": -0.1}, ValueError, r"score of the fine-tuning must lie in \[0, 1\]"),
        ({"scratch_score": math.nan}, ValueError, "score of the from scratch must lie"),
        ({"parameters": 0}, ValueError, r"parameters must lie in \[1, inf\), got 0"),
        ({"distance": 2.1}, ValueError, r"distance must lie in \[0, 2\], got 2.1"),
        ({"margin": -1}, ValueError, r"margin must lie in \[0, inf\), got -1"),
        ({"few": "ten"}, TypeError, "few must be a number, got 'ten'"),
        ({"useless": -1}, ValueError, "useless must lie"),
        ({"per_label": -1}, ValueError, "per_label must lie"),
        ({"far": -1}, ValueError, "far must lie"),
        ({"rate": math.inf}, ValueError, r"rate must lie in \[0, inf\), got inf"),
    ],
)
def test_strategy_refuses(changes, error, words):
    with pytest.raises(error, match=words):
        choose(**changes)


def test_bounds_are_allowed():
    assert choose(labels=1, frozen_score=0, tuned_score=1, parameters=1, distance=2).name
    assert choose(classes=2, frozen_score=1, tuned_score=0, distance=0).name == "frozen head"


# Losses and cosines


def test_stalled_by_hand():
    losses = [4.0, 2.0, 3.0, 1.9]
    assert not stalled(losses, patience=1)
    assert not stalled(losses, patience=2)
    assert stalled(losses, patience=2, factor=0.9)
    assert stalled(losses[:3], patience=1)
    assert not stalled(losses[:3], patience=1, factor=1.5)
    assert stalled(losses[:3], patience=1, factor=1.4)
    assert not stalled(losses[:3], patience=3)
    assert not stalled([], patience=1)
    assert not stalled([0.0, 0.0], patience=1)


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=12), st.integers(1, 5))
def test_a_larger_factor_and_another_unit_stall_no_more(losses, patience):
    plateau, rise = (stalled(losses, patience=patience, factor=f) for f in (0.5, 2))
    assert plateau >= rise
    assert stalled([8 * loss for loss in losses], patience=patience, factor=0.5) == plateau


def test_disagree_by_hand():
    cosines = [-1.0, 0.5, 0.25, -0.5, -0.5]
    assert disagree(cosines, window=2)
    assert disagree(cosines, window=3)
    assert disagree(cosines, window=4)
    assert not disagree(cosines[:3], window=2)
    assert not disagree(cosines, window=6)
    assert disagree(cosines, window=5)
    assert not disagree([0.5, -0.5], window=2)
    assert not disagree([], window=1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: stalled([-1.0], patience=1), ValueError, r"each loss must lie in \[0, inf\)"),
        (lambda: stalled([math.nan], patience=1), ValueError, "each loss must lie"),
        (lambda: stalled(["a"], patience=1), TypeError, "each loss must be a number, got 'a'"),
        (lambda: stalled([1.0], patience=0), ValueError, r"patience must lie in \[1, inf\), got 0"),
        (lambda: stalled([1.0], patience=1, factor=-1), ValueError, "factor must lie"),
        (lambda: stalled([1.0], patience=1, factor=math.inf), ValueError, "factor must lie"),
        (lambda: disagree([1.1], window=1), ValueError, r"each cosine must lie in \[-1, 1\]"),
        (lambda: disagree([0.5], window=0), ValueError, r"window must lie in \[1, inf\), got 0"),
    ],
)
def test_losses_and_cosines_are_checked(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_bounds_of_losses_and_cosines_are_allowed():
    assert not stalled([0.0], patience=1, factor=0)
    assert disagree([1.0, -1.0], window=1)


# Controller


def feed(controller, losses, cosines=None, start=0):
    for k, loss in enumerate(losses):
        controller.update(start + k, loss, cosine=None if cosines is None else cosines[k])
    return [(made.step, made.action) for made in controller.decisions]


def test_groups_open_one_after_the_other_until_all_learn():
    controller = Controller(3, patience=2)
    assert (controller.unfrozen, controller.source, controller.decisions) == (1, False, [])
    made = feed(controller, [1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9])
    # after the first opening the count begins anew, with 0.7 as the best
    assert made == [(3, "unfreeze"), (5, "unfreeze")]
    assert controller.unfrozen == 3
    assert controller.decisions[0].reason == "no loss below 0.495 (0.99 × the best) in 2 looks"
    assert controller.decisions[1].reason == "no loss below 0.693 (0.99 × the best) in 2 looks"


def test_improvement_keeps_groups_frozen():
    controller = Controller(3, patience=1)
    assert feed(controller, [1.0, 0.9, 0.8, 0.7]) == []
    assert feed(controller, [0.695], start=4) == [(4, "unfreeze")]


def test_source_is_dropped_by_cosines():
    controller = Controller(1, source=True, window=3)
    assert feed(controller, [1.0, 0.9, 0.8], [0.5, -0.125, -0.125]) == []
    assert controller.source
    made = feed(controller, [0.7], [-0.5], start=3)
    assert made == [(3, "drop source")]
    assert not controller.source
    assert controller.decisions[0].reason == "mean cosine -0.25 over 3 looks, below 0"
    assert len(feed(controller, [0.6, 0.5], [-1.0, -1.0], start=4)) == 1


def test_source_is_dropped_by_a_rise_before_anything_opens():
    controller = Controller(2, source=True, patience=2, rise=1.5)
    made = feed(controller, [1.0, 1.2, 1.6, 1.7], [0.5] * 4)
    assert made == [(2, "unfreeze")]  # a plateau, but no rise yet
    controller = Controller(2, source=True, patience=2, rise=1.5)
    made = feed(controller, [1.0, 1.6, 1.7, 1.7, 1.7], [0.5] * 5)
    assert made == [(2, "drop source"), (4, "unfreeze")]
    assert controller.decisions[0].reason == "all losses above 1.5 (1.5 × the best) in 2 looks"


def test_without_a_source_cosines_are_kept_but_decide_nothing():
    controller = Controller(1, window=1)
    assert feed(controller, [1.0, 9.0, 9.0, 9.0, 9.0], [-1.0] * 5) == []


def test_update_returns_what_it_decided():
    controller = Controller(2, patience=1)
    assert controller.update(0, 1.0) == []
    made = controller.update(7, 1.0)
    assert made == controller.decisions
    assert isinstance(made[0], Decision)
    assert (made[0].step, made[0].action) == (7, "unfreeze")
    assert made[0].reason.endswith("in 1 look")


def test_defaults():
    controller = Controller(2, source=True)
    settings = controller.state_dict()["settings"]
    assert settings == {"groups": 2, "patience": 3, "plateau": 0.99, "rise": 1.1, "window": 5}


@given(st.lists(st.tuples(st.floats(0.1, 2), st.floats(-1, 1)), max_size=25), st.integers(0, 25))
def test_a_controller_goes_on_from_its_state(numbers, cut):
    whole, first, second = (Controller(4, source=True, patience=2, window=3) for _ in range(3))
    for step, (loss, cosine) in enumerate(numbers):
        whole.update(step, loss, cosine=cosine)
    for step, (loss, cosine) in enumerate(numbers[:cut]):
        first.update(step, loss, cosine=cosine)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, (loss, cosine) in enumerate(numbers[cut:], cut):
        second.update(step, loss, cosine=cosine)
    assert second.decisions == whole.decisions
    assert second.state_dict() == whole.state_dict()
    assert (second.unfrozen, second.source) == (whole.unfrozen, whole.source)


def test_a_loaded_state_is_a_copy():
    first, second = Controller(2, patience=2), Controller(2, patience=2)
    feed(first, [1.0])
    state = first.state_dict()
    second.load_state_dict(state)
    feed(second, [1.0, 1.0], start=1)
    assert second.unfrozen == 2
    assert first.state_dict() == state
    assert first.unfrozen == 1


def test_state_of_another_controller_is_refused():
    state = Controller(2).state_dict()
    with pytest.raises(
        ValueError, match=r"controller with .*'groups': 2.* this one has .*'groups': 3"
    ):
        Controller(3).load_state_dict(state)
    del state["losses"], state["step"]
    with pytest.raises(
        ValueError, match=r"the state lacks step, losses; take one of state_dict\(\)"
    ):
        Controller(2).load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"groups": 0}, r"groups must lie in \[1, inf\), got 0"),
        ({"patience": 0}, r"patience must lie in \[1, inf\), got 0"),
        ({"window": 0}, r"window must lie in \[1, inf\), got 0"),
        ({"plateau": 1.1}, r"plateau must lie in \[0, 1\], got 1.1"),
        ({"plateau": -0.1}, r"plateau must lie in \[0, 1\], got -0.1"),
        ({"rise": 0.9}, r"rise must lie in \[1, inf\), got 0.9"),
        ({"rise": math.inf}, r"rise must lie in \[1, inf\), got inf"),
    ],
)
def test_controller_refuses_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        Controller(**({"groups": 2} | settings))


def test_controller_refuses_numbers_and_keeps_its_state():
    controller = Controller(2)
    controller.update(3, 1.0, cosine=1.0)
    before = controller.state_dict()
    for step, loss, cosine, words in (
        (3, 1.0, None, "steps must increase, got 3 after 3"),
        (4, -1.0, None, r"loss must lie in \[0, inf\), got -1.0"),
        (4, math.inf, None, r"loss must lie in \[0, inf\), got inf"),
        (4, 1.0, 1.5, r"cosine must lie in \[-1, 1\], got 1.5"),
        (4, 1.0, -1.5, r"cosine must lie in \[-1, 1\], got -1.5"),
    ):
        with pytest.raises(ValueError, match=words):
            controller.update(step, loss, cosine=cosine)
    assert controller.state_dict() == before
    controller.update(4, 0.0, cosine=-1.0)
    assert Controller(1).update(0, 1.0) == []
    assert Controller(1, plateau=1, rise=1, patience=1, window=1).groups == 1
    assert Controller(1, plateau=0).plateau == 0
