import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mapping_lib.lab.label_errors import (
    measured_accuracy,
    out_of_fold,
    precision_recall,
    suspects,
    turning_point,
    with_errors,
)


@pytest.mark.parametrize("kind", ["any", "next"])
def test_errors_stand_where_they_are_said_to_be(kind):
    labels = torch.arange(3000) % 5
    noisy, changed = with_errors(labels, share=0.2, classes=5, seed=1, kind=kind)
    assert torch.equal(noisy != labels, changed)
    assert abs(changed.double().mean() - 0.2) < 0.03
    assert noisy.min() >= 0
    assert noisy.max() < 5
    steps = ((noisy - labels) % 5)[changed].unique().tolist()
    assert steps == ([1, 2, 3, 4] if kind == "any" else [1])


def test_impossible_errors_are_refused():
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\], got 2"):
        with_errors(labels, share=2, classes=3, seed=0)
    with pytest.raises(ValueError, match="kind must be one of"):
        with_errors(labels, share=0.1, classes=3, seed=0, kind="all")
    with pytest.raises(ValueError, match="at least 2, got 1"):
        with_errors(labels, share=0.1, classes=1, seed=0)


def test_suspects_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.8, 0.2], [0.45, 0.55]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    # thresholds: (0.9 + 0.5 + 0.45) / 3 = 0.617 and (0.7 + 0.2) / 2 = 0.45
    assert suspects(p, labels).tolist() == [False, True, False, True, True]


def test_no_confident_class_is_no_suspicion():
    p = torch.tensor([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    assert not suspects(p, torch.tensor([0, 0, 1, 2]))[1]


def test_suspects_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3,\)"):
        suspects(torch.ones(2, 3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="class 1 has no label"):
        suspects(torch.ones(2, 3) / 3, torch.tensor([0, 2]))


def test_errors_in_two_clouds_are_found():
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(200) % 2
    features = torch.randn(200, 3, generator=generator) + 6.0 * true[:, None]
    noisy, changed = with_errors(true, share=0.1, classes=2, seed=0)
    found = suspects(out_of_fold(features, noisy, seed=0), noisy)
    precision, recall = precision_recall(found, changed)
    assert precision > 0.95
    assert recall > 0.8


def test_fold_is_not_seen():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 40, generator=generator)  # pure noise, which a fit would learn
    labels = torch.arange(60) % 2
    right = (out_of_fold(features, labels, seed=0).argmax(1) == labels).double().mean()
    assert right < 0.75


def test_rare_class_is_named():
    with pytest.raises(ValueError, match="class 1 has 2 examples for 5 folds"):
        out_of_fold(torch.ones(9, 2), torch.tensor([0] * 7 + [1] * 2), seed=0)


def test_precision_and_recall_of_nothing():
    nothing = torch.tensor([False, False])
    assert precision_recall(nothing, nothing) == (0.0, 0.0)
    assert precision_recall(torch.tensor([True, False]), torch.tensor([True, True])) == (1.0, 0.5)


def test_measured_accuracy_is_what_a_count_gives():
    true = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
    given_labels = true.clone()
    given_labels[:4] = torch.tensor([1, 1, 2, 0])
    answers = torch.tensor([0, 1, 0, 1, 1, 2, 0, 2, 2, 0])
    wrong = given_labels != true
    counted = measured_accuracy(
        float((answers == true).double().mean()),
        right=float((answers == true)[wrong].double().mean()),
        wrong=float((answers == given_labels)[wrong].double().mean()),
        noise=float(wrong.double().mean()),
    )
    assert counted == pytest.approx(float((answers == given_labels).double().mean()))


SHARE = st.floats(0, 1)


@given(a=SHARE, b=SHARE, r=SHARE, s=SHARE, v=SHARE, w=SHARE)
def test_at_the_turning_point_both_measure_the_same(a, b, r, s, v, w):
    point = turning_point((a, r, v), (b, s, w))
    if point is not None:
        first = measured_accuracy(a, right=r, wrong=v, noise=point)
        second = measured_accuracy(b, right=s, wrong=w, noise=point)
        assert first == pytest.approx(second, abs=1e-9)


def test_chance_errors_never_swap_two_models():
    classes = 10
    models = []
    for accuracy in (0.9, 0.8):
        models.append((accuracy, accuracy, (1 - accuracy) / (classes - 1)))
    point = turning_point(*models)
    assert point == pytest.approx(1 - 1 / classes)
