"""Augmentation: mixing by hand, operations against torchvision, spectra, pseudo-labels."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torchvision.transforms import v2

from mapping_lib import augmentation
from mapping_lib.augmentation import cutmix, fourier_mix, mixup, pseudo_labels, rand_augment

SEEDS = st.integers(0, 10_000)
NAMES = {  # ours: torchvision's
    "identity": "Identity",
    "shear x": "ShearX",
    "shear y": "ShearY",
    "shift x": "TranslateX",
    "shift y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "colour": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterise": "Posterize",
    "solarise": "Solarize",
    "automatic contrast": "AutoContrast",
    "equalise": "Equalize",
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=6, channels=3, height=8, width=10, seed=0, dtype=torch.float64):
    return torch.rand(n, channels, height, width, generator=generator(seed), dtype=dtype)


def smooth(n=3, height=8, width=10, seed=0):
    """Pictures with little contrast, which no change of spectrum drives out of [0, 1]."""
    return 0.45 + 0.1 * pictures(n, 1, height, width, seed=seed)


def labels(n=6, classes=4, dtype=torch.float64):
    return torch.nn.functional.one_hot(torch.arange(n) % classes, classes).to(dtype)


def test_settings_by_keyword_alone():
    calls = [
        lambda: mixup(pictures(), labels(), 1.0, generator()),
        lambda: cutmix(pictures(), labels(), 1.0, generator()),
        lambda: rand_augment(pictures(), generator()),
        lambda: fourier_mix(pictures(), pictures(), 0.1, generator()),
        lambda: pseudo_labels(labels(), 0.5),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="positional argument"):
            call()


class TestMixup:
    @given(SEEDS, st.floats(0.1, 5.0))
    def test_formula(self, seed, alpha):
        x, y = torch.randn(7, 3, 2, generator=generator(seed)).double(), torch.eye(7).double()
        mixed = mixup(x, y, alpha=alpha, generator=generator(seed))
        # with one class a row, the labels are the mixing matrix
        assert_close(mixed.inputs, torch.einsum("ij,j...->i...", mixed.labels, x))
        assert_close(mixed.labels.sum(1), torch.ones(7).double())
        assert ((mixed.labels > 0).sum(1) <= 2).all()
        assert (mixed.shares[:, None] * torch.eye(7) <= mixed.labels + 1e-12).all()

    def test_each_row_is_the_partner_of_one(self):
        y = torch.eye(50).double()
        mixed = mixup(y, y, alpha=1.0, generator=generator())
        rest = mixed.labels - mixed.shares[:, None] * y
        assert_close(rest.sum(1), 1 - mixed.shares)
        partner = rest.argmax(1)
        assert sorted(partner.tolist()) == list(range(50))
        assert (partner != torch.arange(50)).sum() > 40

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
    def test_shares_are_beta_distributed_one_a_row(self, alpha):
        x = torch.zeros(4000, 1)
        shares = mixup(x, torch.ones(4000, 1), alpha=alpha, generator=generator()).shares
        assert scipy.stats.kstest(shares.double(), scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01

    def test_other_seeds_other_draws(self):
        x, y = pictures(), labels()
        one, same, other = (
            mixup(x, y, alpha=1.0, generator=generator(seed)).inputs for seed in (1, 1, 2)
        )
        assert_close(one, same)
        assert not torch.allclose(one, other)

    def test_gradients_pass(self):
        x, y = torch.randn(4, 2, dtype=torch.float64, requires_grad=True), labels(4)
        mix = lambda x: mixup(x, y, alpha=1.0, generator=generator()).inputs  # noqa: E731
        assert torch.autograd.gradcheck(mix, x)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtype(self, dtype):
        mixed = mixup(pictures(dtype=dtype), labels(dtype=dtype), alpha=0.4, generator=generator())
        assert mixed.inputs.dtype == mixed.labels.dtype == mixed.shares.dtype == dtype

    def test_does_not_change_its_arguments(self):
        x, y = pictures(), labels()
        for mix in (mixup, cutmix):
            mix(x, y, alpha=1.0, generator=generator())
            assert_close(x, pictures())
            assert_close(y, labels())

    @pytest.mark.parametrize("mix", [mixup, cutmix])
    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            ({"labels": torch.arange(6)}, TypeError, r"one_hot\(labels\)\.float\(\)"),
            (
                {"labels": [0, 1, 2, 0, 1, 2]},
                TypeError,
                r"labels must be a torch\.Tensor, got list",
            ),
            ({"labels": labels() * 2}, ValueError, "labels must be class labels or rows of prob"),
            ({"labels": labels(5)}, ValueError, "one row of labels an input, got 5 for 6"),
            ({"labels": labels(7)}, ValueError, "one row of labels an input, got 7 for 6"),
            ({"labels": labels()[0]}, ValueError, "labels must be a matrix"),
            ({"labels": labels().float()}, TypeError, "one dtype"),
            ({"labels": labels() * math.nan}, ValueError, "labels contains NaN"),
            ({"images": pictures() * math.inf}, ValueError, "must be finite|contains NaN"),
            ({"images": (255 * pictures()).byte()}, TypeError, "floating-point"),
            ({"alpha": 0.0}, ValueError, "alpha must be positive, got 0; without mixing"),
            ({"alpha": -1.0}, ValueError, "alpha must lie in"),
            ({"alpha": math.inf}, ValueError, "alpha must lie in"),
        ],
    )
    def test_bad_input(self, mix, changed, error, words):
        settings = {"images": pictures(), "labels": labels(), "alpha": 1.0} | changed
        with pytest.raises(error, match=words):
            mix(
                settings["images"],
                settings["labels"],
                alpha=settings["alpha"],
                generator=generator(),
            )


class TestCutmix:
    @given(SEEDS)
    def test_labels_count_the_pixels(self, seed):
        # image i holds the number i everywhere, so the pixels say where they come from
        x = torch.arange(5.0).double().view(5, 1, 1, 1).expand(5, 2, 7, 9)
        mixed = cutmix(x, torch.eye(5).double(), alpha=1.0, generator=generator(seed))
        for i in range(5):
            counted = torch.stack([(mixed.inputs[i, 0] == j).double().mean() for j in range(5)])
            assert_close(mixed.labels[i], counted)
        assert (mixed.inputs[:, 0] == mixed.inputs[:, 1]).all()
        own = (mixed.inputs[:, 0] == x[:, 0]).double().mean((1, 2))
        assert (mixed.shares <= own + 1e-12).all()

    def test_it_is_one_rectangle(self):
        x = torch.stack([torch.zeros(1, 20, 30), torch.ones(1, 20, 30)])
        seen = 0
        for seed in range(30):
            first = cutmix(x, torch.eye(2), alpha=1.0, generator=generator(seed)).inputs[0, 0]
            rows, columns = first.amax(1).nonzero(), first.amax(0).nonzero()
            if len(rows):
                seen += 1
                assert len(rows) == rows[-1] - rows[0] + 1
                assert len(columns) == columns[-1] - columns[0] + 1
                assert first.sum() == len(rows) * len(columns)
        assert seen > 5

    def test_sides_and_place_as_in_the_reference(self, monkeypatch):
        # the reference: int(side sqrt(1 - share)) // 2 to both sides of the place, clipped
        monkeypatch.setattr(augmentation, "_beta", lambda a, n, g: torch.full((n,), 0.64).double())
        x = torch.arange(400.0).view(400, 1, 1, 1).expand(400, 1, 20, 30)
        mixed = cutmix(x, torch.eye(400), alpha=1.0, generator=generator())
        changed = mixed.inputs[:, 0] != x[:, 0]
        heights, widths = changed.any(2).sum(1), changed.any(1).sum(1)
        assert set(heights.tolist()) - {0} == {6, 7, 8, 9, 10, 11, 12} & set(heights.tolist())
        assert heights.max() == 12  # 20 · 0.6
        assert widths.max() == 18  # 30 · 0.6
        # cut off at the border, half of it is left at least
        assert heights[heights > 0].min() == 6
        assert widths[widths > 0].min() == 9
        middle = changed[(heights == 12) & (widths == 18)].double().mean(0)
        assert middle[0, 0] < middle[10, 15]
        assert changed[:, 0].any()  # and it does reach each border
        assert changed[:, -1].any()
        assert changed[:, :, 0].any()
        assert changed[:, :, -1].any()

    def test_known_mistake_share_without_the_part_cut_off(self):
        # the drawn share would say that more was pasted than fits in
        x, y = torch.rand(300, 1, 16, 16, generator=generator(1)).double(), torch.eye(300).double()
        drawn = augmentation._beta(1.0, 300, generator())
        shares = cutmix(x, y, alpha=1.0, generator=generator()).shares
        assert (shares >= drawn - 1e-12).all()
        assert shares.mean() > drawn.mean() + 0.1

    def test_mean_of_the_drawn_area(self):
        drawn = augmentation._beta(0.5, 20_000, generator())
        assert_close(drawn.mean(), torch.tensor(0.5).double(), atol=0.01, rtol=0)

    def test_dtype(self):
        x, y = pictures(dtype=torch.float32), labels(dtype=torch.float32)
        mixed = cutmix(x, y, alpha=1.0, generator=generator())
        assert mixed.inputs.dtype == mixed.labels.dtype == mixed.shares.dtype == torch.float32

    def test_not_images(self):
        with pytest.raises(ValueError, match=r"\(n, channels, height, width\), got \(6, 3\)"):
            cutmix(torch.rand(6, 3).double(), labels(), alpha=1.0, generator=generator())


class TestRandAugment:
    @pytest.mark.parametrize("step", [3, 10, 21, 30])  # of 30
    @pytest.mark.parametrize("name", NAMES)
    def test_operations_agree_with_torchvision(self, name, step):
        reference = v2.RandAugment()
        images = pictures(2, height=16, width=23, dtype=torch.float32)
        levels, signed = reference._AUGMENTATION_SPACE[NAMES[name]]
        strengths = levels(31, 16, 23)
        strength = 0.0 if strengths is None else float(strengths[step])
        for sign in (-1, 1):
            expected = reference._apply_image_or_video_transform(
                images,
                NAMES[name],
                sign * strength if signed else strength,
                interpolation=v2.InterpolationMode.NEAREST,
                fill={torch.Tensor: None},
            )
            found = augmentation._policy(step / 30, 16, 23)[name](images, sign)
            assert_close(found, expected, atol=1e-5, rtol=1e-5)

    def test_fourteen_operations_all_drawn(self, monkeypatch):
        assert list(augmentation._policy(0.5, 8, 8)) == list(NAMES)
        drawn = []
        policy = {
            name: lambda x, sign, name=name: drawn.extend([(name, sign)] * len(x)) or x
            for name in NAMES
        }
        monkeypatch.setattr(augmentation, "_policy", lambda *_: policy)
        rand_augment(pictures(2800, 1, 2, 2), operations=3, generator=generator())
        assert len(drawn) == 3 * 2800
        counts = [drawn.count((name, sign)) for name in NAMES for sign in (-1, 1)]
        assert scipy.stats.chisquare(counts).pvalue > 0.001

    def test_operations_are_drawn_for_each_image(self):
        images = pictures(1, dtype=torch.float32).expand(40, 3, 8, 10)
        changed = rand_augment(images, operations=1, magnitude=9.0, generator=generator())
        assert len(changed.unique(dim=0)) > 10

    def test_strength_zero_and_no_operation(self, monkeypatch):
        images = pictures(30)
        assert_close(rand_augment(images, operations=0, generator=generator()), images)
        for name, operation in augmentation._policy(0.0, 8, 10).items():
            if name not in ("automatic contrast", "equalise", "posterise"):
                assert_close(operation(images, 1), images)
        white = torch.ones(2, 1, 4, 4)
        assert_close(augmentation._policy(0.0, 4, 4)["solarise"](white, 1), white)

    def test_two_operations_of_strength_3_by_default(self):
        images = pictures(20)
        expected = rand_augment(images, operations=2, magnitude=3.0, generator=generator())
        assert_close(rand_augment(images, generator=generator()), expected)
        other = rand_augment(images, operations=2, magnitude=3.5, generator=generator())
        assert not torch.allclose(other, expected)
        other = rand_augment(images, operations=3, magnitude=3.0, generator=generator())
        assert not torch.allclose(other, expected)

    @given(SEEDS, st.sampled_from([1, 3]), st.sampled_from([torch.float32, torch.float64]))
    def test_range_shape_and_dtype(self, seed, channels, dtype):
        images = pictures(9, channels, seed=seed, dtype=dtype)
        changed = rand_augment(images, magnitude=10, generator=generator(seed))
        assert changed.shape == images.shape
        assert changed.dtype == dtype
        assert ((changed >= 0) & (changed <= 1)).all()
        assert_close(images, pictures(9, channels, seed=seed, dtype=dtype))

    def test_black_and_white_are_in_the_range(self):
        images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(3, 1, 4, 2)
        assert rand_augment(images, operations=0, generator=generator()).unique().tolist() == [0, 1]

    def test_seeds(self):
        images = pictures(20)
        one, same, other = (rand_augment(images, generator=generator(s)) for s in (1, 1, 2))
        assert_close(one, same)
        assert not torch.allclose(one, other)

    @pytest.mark.parametrize(
        ("images", "settings", "error", "words"),
        [
            (255 * pictures(), {}, ValueError, r"must lie in \[0, 1\], got .* divide bytes by 255"),
            (pictures() - 0.5, {}, ValueError, "normalise after augmenting, not before"),
            ((255 * pictures()).byte(), {}, TypeError, "floating-point"),
            (pictures(channels=2), {}, ValueError, "must have 1 or 3 channels, got 2"),
            (pictures()[0], {}, ValueError, r"got \(3, 8, 10\)"),
            (pictures() * math.nan, {}, ValueError, "contains NaN"),
            (pictures(), {"operations": -1}, ValueError, "operations must lie in"),
            (pictures(), {"magnitude": 11}, ValueError, r"magnitude must lie in \[0, 10\]"),
            (pictures(), {"magnitude": "high"}, TypeError, "magnitude must be a number"),
        ],
    )
    def test_bad_input(self, images, settings, error, words):
        with pytest.raises(error, match=words):
            rand_augment(images, generator=generator(), **settings)


class TestFourierMix:
    def test_share_0_moves_the_mean(self):
        source, target = smooth(3), smooth(1, seed=1) + 0.2
        mixed = fourier_mix(source, target, share=0, generator=generator())
        gap = target.mean() - source.mean((1, 2, 3), keepdim=True)
        assert_close(mixed, source + gap)

    def test_weight_is_the_way_there(self):
        source, target = smooth(3), smooth(1, seed=1) + 0.2
        mixed = fourier_mix(source, target, share=0, weight=0.25, generator=generator())
        gap = target.mean() - source.mean((1, 2, 3), keepdim=True)
        assert_close(mixed, source + 0.25 * gap)
        none = fourier_mix(source, target, share=0.3, weight=0, generator=generator())
        assert_close(none, source)

    @pytest.mark.parametrize(("share", "reach"), [(0.1, (0, 1)), (0.2, (1, 2)), (0.5, (4, 5))])
    def test_amplitudes_of_low_frequencies_and_all_phases(self, share, reach):
        source, target = smooth(1), smooth(1, seed=1)
        mixed = fourier_mix(source, target, share=share, generator=generator())
        s, t, m = (torch.fft.fft2(x)[0, 0] for x in (source, target, mixed))
        low = torch.zeros(8, 10, dtype=torch.bool)
        for h in range(-reach[0], reach[0] + 1):
            for w in range(-reach[1], reach[1] + 1):
                low[h, w] = True
        assert_close(m.abs()[low], t.abs()[low])
        assert_close(m.abs()[~low], s.abs()[~low])
        assert_close(torch.cos(m.angle() - s.angle()), torch.ones(8, 10).double())

    @given(SEEDS, st.floats(0, 0.5))
    def test_an_image_mixed_with_itself_stays(self, seed, share):
        images = pictures(1, seed=seed)
        assert_close(fourier_mix(images, images, share=share, generator=generator()), images)

    def test_target_images_are_drawn(self):
        source, target = smooth(300), torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64)
        target = target.view(3, 1, 1, 1).expand(3, 1, 8, 10)
        mixed = fourier_mix(source, target, share=0, generator=generator())
        means = mixed.mean((1, 2, 3))
        counts = [int(((means - mean).abs() < 1e-9).sum()) for mean in (0.3, 0.5, 0.7)]
        assert sum(counts) == 300
        assert min(counts) > 70

    def test_channels_are_kept_apart(self):
        source = smooth(3).view(1, 3, 8, 10)
        target = smooth(3, seed=1).view(1, 3, 8, 10)
        mixed = fourier_mix(source, target, share=0.2, generator=generator())
        for c in range(3):
            one = fourier_mix(source[:, [c]], target[:, [c]], share=0.2, generator=generator())
            assert_close(mixed[:, [c]], one)

    def test_stays_in_the_range(self):
        mixed = fourier_mix(pictures(), pictures(2, seed=1), share=0.5, generator=generator())
        assert mixed.min() == 0
        assert mixed.max() == 1

    def test_gradients(self):
        source, target = smooth(1, 3, 4), smooth(1, 3, 4, seed=1)
        mix = lambda s, t: fourier_mix(s, t, share=0.3, generator=generator())  # noqa: E731
        assert torch.autograd.gradcheck(mix, (source.requires_grad_(), target.requires_grad_()))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
    def test_dtype(self, dtype):
        source, target = smooth().to(dtype), smooth(seed=1).to(dtype)
        assert fourier_mix(source, target, share=0.1, generator=generator()).dtype == dtype

    @pytest.mark.parametrize(
        ("source", "target", "settings", "error", "words"),
        [
            (pictures() - 0.5, pictures(), {}, ValueError, r"source must lie in \[0, 1\], got -0"),
            (pictures(), 2 * pictures(), {}, ValueError, r"target must lie in \[0, 1\]"),
            (pictures(), pictures(width=9), {}, ValueError, "must have one size.*resize them"),
            (pictures(), pictures(channels=1), {}, ValueError, "must have one size"),
            (pictures(), pictures().float(), {}, TypeError, "one dtype"),
            (pictures()[0], pictures(), {}, ValueError, "source must have the shape"),
            (pictures(), pictures(), {"share": 0.6}, ValueError, r"share must lie in \[0, 0.5\]"),
            (pictures(), pictures(), {"weight": 1.5}, ValueError, r"weight must lie in \[0, 1\]"),
        ],
    )
    def test_bad_input(self, source, target, settings, error, words):
        with pytest.raises(error, match=words):
            fourier_mix(source, target, generator=generator(), **({"share": 0.1} | settings))


class TestPseudoLabels:
    logits = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 2.0]])

    def test_by_hand(self):
        sure = math.exp(2) / (math.exp(2) + 1)
        found = pseudo_labels(self.logits, threshold=sure - 1e-6)
        assert found.labels.tolist() == [0, 0, 1]
        assert found.mask.tolist() == [False, True, True]
        assert pseudo_labels(self.logits, threshold=sure + 1e-6).mask.tolist() == [0, 1, 0]

    def test_at_the_threshold_a_row_counts(self):
        assert pseudo_labels(self.logits[:1], threshold=0.5).mask.tolist() == [True]

    @given(SEEDS)
    def test_a_higher_threshold_keeps_fewer_and_a_shift_changes_nothing(self, seed):
        logits = 3 * torch.randn(20, 4, generator=generator(seed), dtype=torch.float64)
        low, high = (pseudo_labels(logits, threshold=t) for t in (0.6, 0.9))
        assert (low.mask | ~high.mask).all()
        assert pseudo_labels(logits, threshold=0).mask.all()
        moved = pseudo_labels(logits + 5, threshold=0.6)
        assert torch.equal(moved.mask, low.mask)
        assert torch.equal(moved.labels, logits.argmax(1))

    @pytest.mark.parametrize(
        ("logits", "threshold", "error", "words"),
        [
            (torch.zeros(3, 1), 0.5, ValueError, "one class only"),
            (torch.zeros(3), 0.5, ValueError, "must be a matrix"),
            (torch.full((2, 2), math.nan), 0.5, ValueError, "contains NaN"),
            (torch.full((2, 2), math.inf), 0.5, ValueError, "must be finite"),
            (torch.zeros(2, 2).long(), 0.5, TypeError, "floating-point"),
            (torch.zeros(2, 2), 1.2, ValueError, r"threshold must lie in \[0, 1\]"),
            (torch.zeros(2, 2), None, TypeError, "threshold must be a number"),
        ],
    )
    def test_bad_input(self, logits, threshold, error, words):
        with pytest.raises(error, match=words):
            pseudo_labels(logits, threshold=threshold)

    def test_warns_of_probabilities(self):
        with pytest.warns(UserWarning, match="logits are due"):
            pseudo_labels(torch.tensor([[0.9, 0.1], [0.5, 0.5]]), threshold=0.7)
