r"""Generating and augmenting instances (section 3.3.3): rows that nobody measured or labelled.

Images are floating point, ``(n, channels, height, width)``. Everything that draws takes a
generator, which must live where it can draw: on the CPU for images of any device.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_distribution,
    require_finite,
    require_float,
    require_logits,
    require_matrix,
    require_number,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
)

__all__ = [
    "Mixed",
    "PseudoLabels",
    "cutmix",
    "fourier_mix",
    "mixup",
    "pseudo_labels",
    "rand_augment",
]


class Mixed(NamedTuple):
    r"""Mixed examples, their labels, and the share :math:`\lambda_i` of the first of each pair.

    Made by :func:`mixup` and :func:`cutmix`.
    """

    inputs: Tensor
    labels: Tensor
    shares: Tensor


class PseudoLabels(NamedTuple):
    """Predicted classes, and which of them are sure enough to train on.

    Made by :func:`pseudo_labels`.
    """

    labels: Tensor
    mask: Tensor


def mixup(inputs: Tensor, labels: Tensor, *, alpha: float, generator: torch.Generator) -> Mixed:
    r"""Mix each example with another one, inputs and labels alike.

    .. math::

        \tilde x_i = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}, \qquad
        \tilde y_i = \lambda_i y_i + (1 - \lambda_i) y_{\pi(i)}, \qquad
        \lambda_i \sim \operatorname{Beta}(\alpha, \alpha)

    The permutation :math:`\pi` is drawn. Near 0, :math:`\alpha` leaves most examples as they are
    (or swaps them); with 1 all shares are equally likely.

    Taught in :ref:`instance-generation` (section 3.3.3).
    Source: :cite:t:`zhang2018mixup`, section 2.

    Parameters
    ----------
    inputs
        :math:`x`, of any shape ``(n, ...)``: images, or features.
    labels
        :math:`y`, rows of probabilities ``(n, K)``, such as one-hot ones.
    alpha
        :math:`\alpha`, positive.
    generator
        Draws shares and partners.

    Returns
    -------
    Mixed
        Inputs and labels in the shapes they came in, and the shares ``(n,)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of rows differ, labels aren't probabilities, there are NaN or infinite values,
        or :math:`\alpha` isn't positive.

    Examples
    --------
    >>> x, y = torch.tensor([[0.], [8.]]), torch.eye(2)
    >>> mixed = mixup(x, y, alpha=1, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(mixed.inputs, 8 * mixed.labels[:, 1:])  # the label says what is in the input
    True
    """
    _require_pairs(inputs, labels)
    shares = _beta(alpha, len(inputs), generator).to(inputs)
    partner = _permutation(inputs, generator)
    first, of_label = (shares.reshape(-1, *[1] * (t.ndim - 1)) for t in (inputs, labels))
    return Mixed(
        first * inputs + (1 - first) * inputs[partner],
        of_label * labels + (1 - of_label) * labels[partner],
        shares,
    )


def cutmix(images: Tensor, labels: Tensor, *, alpha: float, generator: torch.Generator) -> Mixed:
    r"""Paste a rectangle of another image into each image; labels count by area.

    .. math::

        \tilde x_i = M_i \odot x_i + (1 - M_i) \odot x_{\pi(i)}, \qquad
        \tilde y_i = \lambda_i y_i + (1 - \lambda_i) y_{\pi(i)}, \qquad
        \lambda_i = \frac{1}{H W} \sum_{h, w} M_{i, h, w}

    The mask :math:`M_i` is 0 in a rectangle with sides :math:`H \sqrt{1 - \lambda}` and
    :math:`W \sqrt{1 - \lambda}`, :math:`\lambda \sim \operatorname{Beta}(\alpha, \alpha)`, around a
    place drawn evenly. What lies outside the image is cut off, so the label's share is counted
    afterwards.

    Taught in :ref:`instance-generation` (section 3.3.3).
    Source: :cite:t:`yun2019cutmix`, eqs. 1 and 2.

    Parameters
    ----------
    images
        :math:`x`, ``(n, channels, height, width)``.
    labels
        :math:`y`, rows of probabilities ``(n, K)``, such as one-hot ones.
    alpha
        :math:`\alpha`, positive.
    generator
        Draws areas, places and partners.

    Returns
    -------
    Mixed
        Images and labels in the shapes they came in, and the shares ``(n,)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The images don't have four axes, the numbers of rows differ, labels aren't probabilities,
        there are NaN or infinite values, or :math:`\alpha` isn't positive.

    Examples
    --------
    >>> x = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    >>> mixed = cutmix(x, torch.eye(2), alpha=1, generator=torch.Generator().manual_seed(3))
    >>> torch.equal(mixed.inputs.mean((1, 2, 3)), mixed.labels[:, 1])  # the label says how much
    True
    """
    _require_images(images)
    _require_pairs(images, labels)
    n, _, height, width = images.shape
    side = (1 - _beta(alpha, n, generator)).sqrt()
    inside = []
    for length in (height, width):
        half = (side * length).int() // 2  # as in the reference code
        place = torch.randint(length, (n,), generator=generator, device=place_of(generator)).to(
            half
        )
        at = torch.arange(length, device=half.device)
        inside.append((at >= (place - half)[:, None]) & (at < (place + half)[:, None]))
    pasted = (inside[0][:, :, None] & inside[1][:, None, :]).to(images.device)  # (n, H, W)
    shares = 1 - pasted.to(labels).mean((1, 2))
    partner = _permutation(images, generator)
    return Mixed(
        torch.where(pasted[:, None], images[partner], images),
        shares[:, None] * labels + (1 - shares[:, None]) * labels[partner],
        shares,
    )


def rand_augment(
    images: Tensor,
    *,
    generator: torch.Generator,
    operations: int = 2,
    magnitude: float = 3.0,
) -> Tensor:
    r"""Change each image by a few operations drawn at random, all with one strength (RandAugment).

    .. math:: \tilde x = o_{k_N}\bigl( \dots o_{k_1}(x; \pm m) \dots; \pm m \bigr), \qquad
              k_1, \dots, k_N \sim \operatorname{Uniform}\{1, \dots, 14\}

    The operations: none, automatic contrast, equalised histogram, rotation, solarisation, colour,
    posterisation, contrast, brightness, sharpness, shears and shifts along x and y. At
    :math:`m = 10` they turn by 30°, shift by 45 % of the side, shear by 0.3, scale by 0.1 or 1.9,
    leave 4 bits, and invert every value. What comes in from outside is black.

    Taught in :ref:`instance-generation` (section 3.3.3).
    Source: :cite:t:`cubuk2020randaugment`, with the operations of torchvision, whose RandAugment
    counts strength from 0 to 30 and takes no generator.

    Parameters
    ----------
    images
        ``(n, 1 or 3, height, width)``, values in [0, 1], so before any normalisation.
    generator
        Draws operations and signs.
    operations
        N, the number of operations on each image.
    magnitude
        m in [0, 10].

    Returns
    -------
    Tensor
        Images of the same shape, values in [0, 1], without gradient.

    Raises
    ------
    TypeError
        The images aren't floating point, or a setting isn't a number.
    ValueError
        They don't have four axes and one or three channels, values lie outside [0, 1], or a
        setting is out of range.

    Examples
    --------
    >>> images = torch.full((5, 1, 8, 8), 0.5)
    >>> changed = rand_augment(images, generator=torch.Generator().manual_seed(0))
    >>> changed.shape, bool((changed >= 0).all() & (changed <= 1).all())
    (torch.Size([5, 1, 8, 8]), True)
    """
    _require_images(images, unit_range=True)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[1]}")
    require_number("operations", operations, below=math.inf)
    require_number("magnitude", magnitude, most=10)
    n, height, width = len(images), *images.shape[2:]
    changed = images.detach().clone()
    policy = _policy(magnitude / 10, height, width)
    draw = partial(torch.randint, generator=generator, device=place_of(generator))
    for _ in range(int(operations)):
        kinds, signs = draw(len(policy), (n,)), draw(2, (n,))
        for kind, operation in enumerate(policy.values()):
            for positive in (0, 1):
                rows = ((kinds == kind) & (signs == positive)).nonzero().squeeze(1)
                if len(rows):
                    rows = rows.to(images.device)
                    changed[rows] = operation(changed[rows], 2 * positive - 1).clamp(0, 1)
    return changed


def fourier_mix(
    source: Tensor,
    target: Tensor,
    *,
    share: float,
    generator: torch.Generator,
    weight: float = 1.0,
) -> Tensor:
    r"""Give source images the colours and the light of target images, and keep their content.

    .. math::

        \tilde x = \mathcal F^{-1} \Bigl( \bigl[ (1 - \eta L) \odot \lvert \mathcal F x_s \rvert +
        \eta L \odot \lvert \mathcal F x_t \rvert \bigr] \, e^{i \arg \mathcal F x_s} \Bigr), \qquad
        L_{hw} = \begin{cases} 1 & \lvert h \rvert \le q H, \;
        \lvert w \rvert \le q W \\ 0 & \text{otherwise} \end{cases}

    for frequencies h and w, 0 being the mean of the image. Amplitudes of low frequencies come from
    the target, all phases from the source. Each source image gets a target image drawn at random.

    Taught in :ref:`instance-generation` (section 3.3.3).
    Source: :cite:t:`yang2020fda`, eq. 3; the weight :cite:t:`xu2021fourier`.

    Parameters
    ----------
    source
        Images ``(n_s, channels, height, width)``, values in [0, 1]: a negative mean would turn
        round.
    target
        Images ``(n_t, channels, height, width)`` of the same size, values in [0, 1].
    share
        :math:`q` in [0, 0.5]; 0 takes only the mean of each channel from the target.
    generator
        Draws the target images.
    weight
        :math:`\eta` in [0, 1].

    Returns
    -------
    Tensor
        Images ``(n_s, channels, height, width)``; what leaves [0, 1] is clamped.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or a setting isn't a number.
    ValueError
        The sizes differ, values lie outside [0, 1], or a setting is out of range.

    Examples
    --------
    >>> source = torch.tensor([0.2, 0.4]).reshape(1, 1, 1, 2)
    >>> target = torch.tensor([0.6, 0.6]).reshape(1, 1, 1, 2)
    >>> fourier_mix(source, target, share=0, generator=torch.Generator()).flatten()  # its mean
    tensor([0.5000, 0.7000])
    """
    _require_images(source, name="source", unit_range=True)
    _require_images(target, name="target", unit_range=True)
    require_float(source=source, target=target)
    if source.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"the images must have one size, got source {shape(source)} and target "
            f"{shape(target)}; resize them"
        )
    require_number("share", share, most=0.5)
    require_number("weight", weight, most=1)
    drawn = torch.randint(
        len(target), (len(source),), generator=generator, device=place_of(generator)
    )
    height, width = source.shape[2:]
    wide = torch.promote_types(source.dtype, torch.float32)
    of_source, of_target = (torch.fft.fft2(x.to(wide)) for x in (source, target))
    h, w = (
        (torch.fft.fftfreq(side, 1 / side, device=source.device).abs() <= share * side)
        for side in (height, width)
    )
    mask = weight * (h[:, None] & w).to(wide)  # (H, W)
    amplitude = (1 - mask) * of_source.abs() + mask * of_target.abs()[drawn.to(source.device)]
    mixed = torch.fft.ifft2(torch.polar(amplitude, of_source.angle())).real
    clamped: Tensor = mixed.clamp(0, 1).to(source.dtype)
    return clamped


def pseudo_labels(logits: Tensor, *, threshold: float) -> PseudoLabels:
    r"""Take the model's own sure predictions for labels.

    .. math::

        \hat y_i = \arg\max_k p_{ik}, \qquad
        v_i = \begin{cases} 1 & \max_k p_{ik} \ge \tau \\ 0 & \text{otherwise} \end{cases}, \qquad
        p_i = \operatorname{softmax}(z_i)

    Trained on labels that it gave, a model grows surer also where it is wrong: confirmation bias.

    Taught in :ref:`instance-generation` (section 3.3.3).
    Source: :cite:t:`lee2013pseudo`; the threshold :cite:t:`sohn2020fixmatch`.

    Parameters
    ----------
    logits
        :math:`z` of rows without labels, ``(n, K)`` with at least two classes.
    threshold
        :math:`\tau` in [0, 1].

    Returns
    -------
    PseudoLabels
        Classes ``(n,)`` and the mask :math:`v`, ``(n,)``, true where the model is sure.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor, or the threshold isn't a number.
    ValueError
        The threshold is out of range; the logits aren't a matrix, have one class only, or are NaN
        or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> pseudo_labels(torch.tensor([[0., 9.], [1., 0.]]), threshold=0.9)
    PseudoLabels(labels=tensor([1, 0]), mask=tensor([ True, False]))
    """
    require_logits(logits=logits)
    require_number("threshold", threshold, most=1)
    warn_of_distribution(logits=logits)
    sure, labels = logits.detach().softmax(dim=1).max(dim=1)
    return PseudoLabels(labels, sure >= threshold)


def _policy(m: float, height: int, width: int) -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Give the operations of RandAugment, each of images and a sign, at strength m in [0, 1]."""
    from torchvision.transforms.v2 import functional as tv

    def moved(images: Tensor, sign: int, **by: Any) -> Tensor:
        still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        return tv.affine(images, **(still | by))  # type: ignore[no-any-return]

    shear = math.degrees(math.atan(0.3 * m))
    shift_x, shift_y = int(150 / 331 * width * m), int(150 / 331 * height * m)
    return {
        "identity": lambda x, _: x,
        "shear x": lambda x, s: moved(x, s, shear=[s * shear, 0.0], center=[0, 0]),
        "shear y": lambda x, s: moved(x, s, shear=[0.0, s * shear], center=[0, 0]),
        "shift x": lambda x, s: moved(x, s, translate=[s * shift_x, 0]),
        "shift y": lambda x, s: moved(x, s, translate=[0, s * shift_y]),
        "rotate": lambda x, s: tv.rotate(x, s * 30 * m),
        "brightness": lambda x, s: tv.adjust_brightness(x, 1 + s * 0.9 * m),
        "colour": lambda x, s: tv.adjust_saturation(x, 1 + s * 0.9 * m),
        "contrast": lambda x, s: tv.adjust_contrast(x, 1 + s * 0.9 * m),
        "sharpness": lambda x, s: tv.adjust_sharpness(x, 1 + s * 0.9 * m),
        "posterise": lambda x, _: tv.posterize(x, round(8 - 4 * m)),
        "solarise": lambda x, _: tv.solarize(x, 1 - m) if m else x,  # or white turns black
        "automatic contrast": lambda x, _: tv.autocontrast(x),
        "equalise": lambda x, _: tv.equalize(x),
    }


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha) by the inverse of its distribution function."""
    from scipy.special import betaincinv

    require_number("alpha", alpha, below=math.inf)
    if alpha == 0:
        raise ValueError("alpha must be positive, got 0; without mixing leave this step out")
    even = torch.rand(count, generator=generator, device=place_of(generator), dtype=torch.float64)
    return torch.from_numpy(betaincinv(alpha, alpha, even.cpu().numpy()))


def _permutation(rows: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(rows), generator=generator, device=place_of(generator)).to(
        rows.device
    )


def _require_pairs(inputs: Tensor, labels: Tensor) -> None:
    require_float(inputs=inputs)
    require_tensor(labels=labels)
    if not labels.is_floating_point():
        raise TypeError(
            f"labels must be rows of probabilities, got {labels.dtype}; make them with "
            "torch.nn.functional.one_hot(labels).float()"
        )
    require_float(inputs=inputs, labels=labels)
    require_finite(inputs=inputs, labels=labels)
    require_matrix(labels=labels)
    require_distribution("labels", labels)
    if len(inputs) != len(labels):
        raise ValueError(f"one row of labels an input, got {len(labels)} for {len(inputs)}")


def _require_images(images: Tensor, *, name: str = "images", unit_range: bool = False) -> None:
    require_float(**{name: images})
    if images.ndim != 4:
        raise ValueError(
            f"{name} must have the shape (n, channels, height, width), got {shape(images)}"
        )
    if unit_range and seen((images < 0).any() | (images > 1).any()):
        raise ValueError(
            f"{name} must lie in [0, 1], got {float(images.min()):g} to {float(images.max()):g}; "
            "divide bytes by 255, and normalise after augmenting, not before"
        )
