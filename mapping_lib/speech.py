r"""Features of speech (section 6.3.1), and how voices are told apart (section 6.3.2).

A wave is a vector of samples ``(..., samples)``; its log-mel features are a matrix
``(..., frames, filters)``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import require_finite, require_float, require_number, require_tensor, shape

__all__ = [
    "DetectionErrors",
    "detection_errors",
    "equal_error_rate",
    "ge2e_loss",
    "hertz_to_mel",
    "log_mel",
    "mel_filter_bank",
    "mel_to_hertz",
]


class DetectionErrors(NamedTuple):
    """Both kinds of errors at every threshold, as :func:`detection_errors` returns them.

    Attributes
    ----------
    thresholds
        In rising order, shape ``(m,)``: every score, and infinity.
    false_accepts
        Share of the pairs of different voices that score at least the threshold, ``(m,)``.
    false_rejects
        Share of the pairs of one voice that score less, ``(m,)``.
    """

    thresholds: Tensor
    false_accepts: Tensor
    false_rejects: Tensor


def hertz_to_mel(frequency: Tensor) -> Tensor:
    r"""Map frequencies to the mel scale, on which equal steps sound about equally large.

    .. math:: m(f) = 2595 \log_{10} (1 + f / 700)

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`oshaughnessy1987speech`.

    Parameters
    ----------
    frequency
        In Hz, not negative, any shape.

    Returns
    -------
    Tensor
        In mels, of the same shape.

    Raises
    ------
    TypeError
        The tensor isn't floating point.
    ValueError
        NaN, or a negative frequency.

    Examples
    --------
    >>> hertz_to_mel(torch.tensor([0.0, 700.0, 6300.0]))
    tensor([   0.0000,  781.1729, 2595.0000])
    """
    require_float(frequency=frequency)
    if (frequency < 0).any():
        raise ValueError(f"frequencies must not be negative, got {float(frequency.min()):g} Hz")
    return 2595 * torch.log10(1 + frequency / 700)


def mel_to_hertz(mel: Tensor) -> Tensor:
    r"""Map the mel scale back to frequencies: the inverse of :func:`hertz_to_mel`.

    .. math:: f(m) = 700 \, (10^{m / 2595} - 1)

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`oshaughnessy1987speech`.

    Parameters
    ----------
    mel
        Any shape.

    Returns
    -------
    Tensor
        In Hz, of the same shape.

    Raises
    ------
    TypeError
        The tensor isn't floating point.
    ValueError
        NaN.

    Examples
    --------
    >>> mel_to_hertz(torch.tensor([0.0, 2595.0]))
    tensor([   0., 6300.])
    """
    require_float(mel=mel)
    return 700 * (10 ** (mel / 2595) - 1)


def mel_filter_bank(
    bins: int,
    filters: int,
    *,
    rate: int,
    low: float = 0.0,
    high: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Triangular filters whose centres are evenly spaced on the mel scale.

    With :math:`c_0 < \dots < c_{M+1}` evenly spaced in mels from `low` to `high`, and read as
    frequencies,

    .. math::

        H_{km} = \max\Bigl(0, \min\Bigl( \frac{f_k - c_{m-1}}{c_m - c_{m-1}},
        \frac{c_{m+1} - f_k}{c_{m+1} - c_m} \Bigr)\Bigr)

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`davis1980comparison`.

    Parameters
    ----------
    bins
        Frequencies of the spectrum, evenly spaced from 0 to half the rate, both included.
    filters
        Number of filters :math:`M`.
    rate
        Samples a second.
    low, high
        The band in Hz; `high` is half the rate if None.
    dtype
        Of the returned tensor, which is on the CPU.

    Returns
    -------
    Tensor
        Weights ``(bins, filters)`` in [0, 1].

    Raises
    ------
    ValueError
        A count below its least, or a band that isn't one; or a filter so narrow that no frequency
        of the spectrum falls into it.

    Examples
    --------
    >>> bank = mel_filter_bank(5, 1, rate=8000)  # 0, 1000, … 4000 Hz; the centre: 1,113 Hz
    >>> bank.mT.round(decimals=2)
    tensor([[0.0000, 0.9000, 0.6900, 0.3500, 0.0000]])
    """
    require_number("bins", bins, least=2)
    require_number("filters", filters, least=1)
    require_number("rate", rate, least=1)
    high = rate / 2 if high is None else high
    require_number("high", high, most=rate / 2)
    require_number("low", low, below=high)
    band = torch.tensor([low, high], dtype=torch.float64, device="cpu")
    first, last = hertz_to_mel(band)
    steps = torch.arange(filters + 2, dtype=torch.float64, device="cpu") / (filters + 1)
    edges = mel_to_hertz(first + (last - first) * steps)
    places = torch.arange(bins, dtype=torch.float64, device="cpu") / (bins - 1)
    frequency = places[:, None] * rate / 2
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequency - left) / (centre - left)
    falling = (right - frequency) / (right - centre)
    bank = torch.minimum(rising, falling).clamp(min=0)
    if (empty := (bank.sum(0) == 0).sum()) > 0:
        raise ValueError(
            f"{int(empty)} of {filters} filters are so narrow that none of the {bins} frequencies "
            "falls into them; take fewer filters or a longer transform"
        )
    return bank.to(dtype)


def log_mel(
    wave: Tensor,
    *,
    rate: int,
    filters: int = 40,
    window: float = 0.025,
    hop: float = 0.01,
    floor: float = 1e-6,
) -> Tensor:
    r"""Logarithm of the energy in each filter of the mel bank, frame by frame.

    With the Hann window :math:`w`, frames centred on multiples of the hop :math:`h`, silence
    before the first sample and after the last, and the bank :math:`H`,

    .. math::

        x_{tm} = \log \max\Bigl( \varepsilon, \sum_k H_{km} \Bigl|
        \sum_j w_j s_{th + j} e^{-2 \pi i j k / N} \Bigr|^2 \Bigr)

    where :math:`N` is the least power of two that holds a window.

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`davis1980comparison`, whose cosine transform is left out.

    Parameters
    ----------
    wave
        Samples ``(..., samples)`` in [-1, 1], at least one.
    rate
        Samples a second.
    filters
        Number of filters, the features of a frame.
    window, hop
        Length of a frame and distance between two, in seconds.
    floor
        Least energy :math:`\varepsilon`, so that silence has a logarithm.

    Returns
    -------
    Tensor
        Features ``(..., frames, filters)`` with ``1 + samples // hop`` frames, in nats.

    Raises
    ------
    TypeError
        The wave isn't floating point.
    ValueError
        NaN or infinity, no samples, samples beyond [-1, 1] (integers that weren't divided by
        32768?), or a window, hop or number of filters that makes no frame.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)
    >>> features = log_mel(tone, rate=8000)
    >>> features.shape, features[50].argmax()
    (torch.Size([101, 40]), tensor(18))
    """
    require_float(wave=wave)
    require_finite(wave=wave)
    if wave.ndim == 0:
        raise ValueError("wave must have an axis of samples, got a single number")
    if (loudest := wave.abs().max()) > 1:
        raise ValueError(
            f"samples must lie in [-1, 1], got {float(loudest):g}; divide 16-bit integers by 32768"
        )
    require_number("floor", floor, least=torch.finfo(wave.dtype).tiny)
    length, step = round(window * rate), round(hop * rate)
    require_number("window in samples", length, least=2)
    require_number("hop in samples", step, least=1, most=length)
    size = 1 << (length - 1).bit_length()
    flat = wave.reshape(-1, wave.shape[-1])
    spectrum = torch.stft(
        flat,
        size,
        hop_length=step,
        win_length=length,
        window=torch.hann_window(length, dtype=wave.dtype, device=wave.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()  # (clips, bins, frames)
    bank = mel_filter_bank(size // 2 + 1, filters, rate=rate, dtype=wave.dtype)
    bank = bank.to(wave.device)
    found = (power.mT @ bank).clamp(min=floor).log()
    return found.reshape(*wave.shape[:-1], *found.shape[1:])


def detection_errors(scores: Tensor, same: Tensor) -> DetectionErrors:
    r"""Shares of wrongly accepted and wrongly rejected pairs at every threshold.

    .. math::

        P_{\mathrm{fa}}(\tau) =
        \frac{|\{ i : s_i \ge \tau, y_i = 0 \}|}{|\{ i : y_i = 0 \}|}, \qquad
        P_{\mathrm{fr}}(\tau) = \frac{|\{ i : s_i < \tau, y_i = 1 \}|}{|\{ i : y_i = 1 \}|}

    Taught in :ref:`speaker-recognition` (section 6.3.2).
    Source: :cite:t:`martin1997det`.

    Parameters
    ----------
    scores
        One number a pair of recordings, larger where they sound more alike, ``(n,)``.
    same
        Whether both are of one voice, booleans ``(n,)``.

    Returns
    -------
    DetectionErrors
        Thresholds, false accepts and false rejects.

    Raises
    ------
    TypeError
        The scores aren't floating point, or `same` isn't boolean.
    ValueError
        Shapes that differ, NaN or infinity, or only one kind of pairs.

    Examples
    --------
    >>> errors = detection_errors(torch.tensor([0.1, 0.4, 0.8]), torch.tensor([False, True, True]))
    >>> errors.false_accepts, errors.false_rejects
    (tensor([1., 0., 0., 0.]), tensor([0.0000, 0.0000, 0.5000, 1.0000]))
    """
    require_float(scores=scores)
    require_finite(scores=scores)
    require_tensor(same=same)
    if same.dtype != torch.bool:
        raise TypeError(f"same must hold booleans, got {same.dtype}; use labels == 1")
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(
            f"scores and same must have one axis and one length, got {shape(scores)} and "
            f"{shape(same)}"
        )
    if same.all() or not same.any():
        raise ValueError(
            "pairs of one voice and pairs of two are needed, "
            f"got {int(same.sum())} of one and {int((~same).sum())} of two"
        )
    endless = scores.new_full((1,), torch.inf)
    thresholds = torch.cat([torch.unique(scores), endless])
    alike, different = scores[same].sort().values, scores[~same].sort().values
    rejects = torch.searchsorted(alike, thresholds).to(scores.dtype) / len(alike)
    accepts = 1 - torch.searchsorted(different, thresholds).to(scores.dtype) / len(different)
    return DetectionErrors(thresholds, accepts, rejects)


def equal_error_rate(scores: Tensor, same: Tensor) -> Tensor:
    r"""The rate at which as many pairs are wrongly accepted as wrongly rejected.

    .. math:: \mathrm{EER} = P_{\mathrm{fa}}(\tau^*) = P_{\mathrm{fr}}(\tau^*)

    The two step as the threshold rises, so that they seldom meet: between the last step before
    and the first after the crossing both are taken as straight lines.

    Taught in :ref:`speaker-recognition` (section 6.3.2).
    Source: :cite:t:`martin1997det`.

    Parameters
    ----------
    scores, same
        As :func:`detection_errors` takes them.

    Returns
    -------
    Tensor
        A scalar: 0 for a perfect score, 0.5 for one that says nothing, 1 for one turned round.

    Raises
    ------
    TypeError, ValueError
        As :func:`detection_errors` raises them.

    Examples
    --------
    >>> same = torch.tensor([True, True, False, False])
    >>> equal_error_rate(torch.tensor([0.9, 0.3, 0.5, 0.1]), same)
    tensor(0.5000)
    """
    _, accepts, rejects = detection_errors(scores, same)
    gap = accepts - rejects  # falls from 1 to -1
    after = int((gap <= 0).nonzero()[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return accepts[after - 1] + share * (accepts[after] - accepts[after - 1])


def ge2e_loss(embeddings: Tensor, *, scale: float | Tensor = 10.0) -> Tensor:
    r"""Generalised end-to-end loss: each utterance is to find its speaker among the batch's.

    With unit embeddings :math:`e_{ji}` of utterance :math:`i` of speaker :math:`j`, centroids
    :math:`c_k`, the mean over speaker :math:`k`'s utterances, and :math:`c_j^{(-i)}`, that mean
    without :math:`e_{ji}`,

    .. math::

        S_{ji,k} = w \cos(e_{ji}, c_k) \;\; (k \ne j), \qquad S_{ji,j} = w \cos(e_{ji}, c_j^{(-i)})

    .. math::

        \frac{1}{NM} \sum_{j,i} \Bigl( \log \sum_k e^{S_{ji,k}} - S_{ji,j} \Bigr)

    The paper's softmax form, as a mean. Its offset :math:`b` is left out: added to all scores, it
    cancels.

    Taught in :ref:`speaker-recognition` (section 6.3.2).
    Source: :cite:t:`wan2018generalized`, eq. 5, 6, 8 and 9.

    Parameters
    ----------
    embeddings
        Shape ``(speakers, utterances, d)``, at least two of each; any length, none zero.
    scale
        The factor :math:`w`, positive; may be a parameter that is learned.

    Returns
    -------
    Tensor
        A scalar in nats, at least 0.

    Raises
    ------
    TypeError
        The embeddings aren't floating point.
    ValueError
        Another shape, too few speakers or utterances, NaN or infinity, a zero embedding, or a
        scale that isn't positive.

    Examples
    --------
    >>> apart = torch.eye(2)[:, None].expand(2, 3, 2)  # each speaker at a corner of its own
    >>> ge2e_loss(apart, scale=torch.tensor(9.0).log())  # -log (9 / (9 + 1))
    tensor(0.1054)
    """
    require_float(embeddings=embeddings)
    require_finite(embeddings=embeddings)
    if embeddings.ndim != 3 or min(embeddings.shape[:2]) < 2:
        raise ValueError(
            "embeddings must have the shape (speakers, utterances, d) with at least two speakers "
            f"and two utterances each, got {shape(embeddings)}; group the batch by speaker"
        )
    norms = embeddings.norm(dim=2, keepdim=True)
    if (norms == 0).any():
        raise ValueError("an embedding is zero and has no direction; has the network died?")
    if not (factor := float(scale.detach() if isinstance(scale, Tensor) else scale)) > 0:
        raise ValueError(f"scale must be positive, got {factor:g}")
    unit = embeddings / norms
    speakers, utterances, _ = unit.shape
    total = unit.sum(1)  # (speakers, d): a centroid's direction is that of the sum
    others = total[:, None] - unit
    cosine = torch.nn.functional.cosine_similarity
    scores = cosine(unit[:, :, None], total, dim=-1)  # (speakers, utterances, speakers)
    own = cosine(unit, others, dim=-1)
    mine = torch.eye(speakers, dtype=torch.bool, device=unit.device)[:, None]
    scores = scale * torch.where(mine, own[..., None], scores)
    wanted = torch.arange(speakers, device=unit.device).repeat_interleave(utterances)
    return torch.nn.functional.cross_entropy(scores.flatten(0, 1), wanted)
