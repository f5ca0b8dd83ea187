import pytest
import torch

from mapping_lib.lab.data import breast_cancer, diabetes, wine
from mapping_lib.lab.shifts import (
    BIASES,
    biased_table,
    cropped,
    curve,
    curve_ratio,
    hazed,
    shifted_curve,
    standardised,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_curve_is_where_it_should_be():
    drawn = shifted_curve(generator=seeded(), shift=1.0, source_rows=4000, target_rows=5000)
    assert drawn.source.shape == (4000, 1)
    assert drawn.target_truth.shape == (5000,)
    assert drawn.source.mean().item() == pytest.approx(1, abs=0.03)
    assert drawn.source.std().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.target.mean().item() == pytest.approx(2, abs=0.03)
    assert drawn.target.std().item() == pytest.approx(0.3, abs=0.02)
    noise = drawn.source_truth - curve(drawn.source[:, 0])
    assert noise.std().item() == pytest.approx(0.1, abs=0.01)


def test_ratio_makes_the_source_stand_for_the_target():
    drawn = shifted_curve(generator=seeded(), shift=0.3, source_rows=20000)
    assert drawn.ratio.mean().item() == pytest.approx(1, abs=0.03)
    weighted = (drawn.ratio * drawn.source[:, 0]).mean().item()
    assert weighted == pytest.approx(1.3, abs=0.03)
    assert torch.equal(drawn.ratio, curve_ratio(drawn.source[:, 0], shift=0.3))


@pytest.mark.parametrize("name", BIASES)
def test_biased_sample_prefers_small_values(name):
    drawn, even = biased_table(name, seed=1), biased_table(name, seed=1, biased=False)
    rows = {"breast cancer": breast_cancer, "wine": wine, "diabetes": diabetes}[name]()
    assert len(drawn.source) == len(drawn.ratio) == len(drawn.source_truth) == BIASES[name][2]
    assert len(drawn.target) == len(rows) // 2
    assert torch.equal(drawn.target, even.target)
    assert torch.allclose(drawn.target.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(drawn.target.std(0), torch.ones(2), atol=1e-5)
    assert drawn.source[:, 0].mean() < even.source[:, 0].mean() - 0.3
    assert even.ratio.unique().tolist() == [1]
    order = drawn.source[:, 0].argsort()
    assert (drawn.ratio[order].diff() >= 0).all()  # rare rows count more
    assert torch.equal(biased_table(name, seed=1).source, drawn.source)
    assert not torch.equal(biased_table(name, seed=2).source, drawn.source)


def test_source_and_target_share_no_row():
    drawn = biased_table("wine", seed=0)
    both = torch.cdist(drawn.source.double(), drawn.target.double())
    known = wine()
    columns = known.features[:, [known.names.index(c) for c in BIASES["wine"][0]]]
    twins = len(columns) - len(columns.unique(dim=0))
    assert (both == 0).sum() <= twins


def test_true_ratio_balances_the_sample():
    weighted, plain = [], []
    for seed in range(10):
        drawn = biased_table("breast cancer", seed=seed)
        weights = drawn.ratio / drawn.ratio.sum()
        weighted.append((weights @ drawn.source[:, 0]).item())
        plain.append(drawn.source[:, 0].mean().item())
    assert abs(sum(weighted) / 10) < abs(sum(plain) / 10) / 2  # the target's mean is 0


def test_unknown_names_are_answered():
    with pytest.raises(ValueError, match="unknown name 'wines'; did you mean 'wine'"):
        biased_table("wines", seed=0)
    with pytest.raises(ValueError, match="unknown style 'fog'"):
        hazed(torch.rand(1, 1, 4, 4), "fog")


def test_haze_and_light():
    images = torch.rand(2, 3, 8, 8)
    haze = hazed(images, "haze")
    assert torch.allclose(haze.std((1, 2, 3)), images.std((1, 2, 3)) / 4)
    lit = hazed(images, "haze and light")
    assert lit[:, :, -1].mean() > lit[:, :, 0].mean() + 0.4  # rows are counted from above
    assert lit.max() <= 1


def test_standardising_undoes_haze():
    images = 0.5 + 0.2 * (torch.rand(2, 1, 8, 8) - 0.5)
    assert torch.allclose(standardised(images), standardised(hazed(images, "haze")), atol=1e-5)
    assert torch.allclose(standardised(torch.full((1, 1, 4, 4), 0.3)), torch.tensor(0.5), atol=1e-3)


def test_crops_come_from_the_image():
    images = torch.linspace(0, 1, 16).repeat(6, 1, 16, 1)  # rises from left to right
    cut = cropped(images, seeded())
    assert cut.shape == images.shape
    assert cut.min() >= 0
    assert cut.max() <= 1
    rising = (cut.diff(dim=-1) > -1e-6).all(dim=(1, 2, 3))
    assert 0 < rising.sum() < 6  # some are mirrored
    spans = cut.amax((1, 2, 3)) - cut.amin((1, 2, 3))
    assert (spans >= 0.5).all()
    assert torch.equal(cropped(images, seeded()), cut)
    whole = cropped(images, seeded(), least=1.0)
    assert all(
        torch.equal(w, i) or torch.equal(w, i.flip(-1)) for w, i in zip(whole, images, strict=True)
    )
