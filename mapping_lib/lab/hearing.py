"""Recordings in, features out: WAV files, batches of unequal lengths, and a small encoder."""

import wave as wave_format
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn

from mapping_lib.speech import log_mel

__all__ = [
    "RecordingError",
    "SpeechBatch",
    "SpeechEncoder",
    "pad_features",
    "player",
    "read_recording",
    "speech_features",
    "write_recording",
]

RATE = 8000  # samples a second, of everything that the book listens to
FILTERS = 40
SILENT = 1e-3  # 60 dB below the loudest that a file can hold
CLIPPED = 0.005  # share of samples at the limit that no clean recording reaches
SHORTEST = 0.05  # seconds


class RecordingError(ValueError):
    """A file isn't a recording that can be used; the message says why, and what to do."""


def read_recording(path: str | Path, *, rate: int = RATE, mix: bool = False) -> Tensor:
    """Read a WAV file, and refuse what would silently spoil a result.

    A file with more samples a second is brought down to `rate` (filtered first, so that no tone
    turns into another one); one with fewer is refused, because the upper half of its spectrum is
    missing and nothing can bring it back.

    Parameters
    ----------
    path
        Uncompressed (PCM) with 8, 16, 24 or 32 bits a sample.
    rate
        Samples a second that are wanted.
    mix
        Average several channels, which are refused otherwise: two microphones may cancel each
        other.

    Returns
    -------
    Tensor
        Shape (samples,), in [-1, 1].

    Raises
    ------
    FileNotFoundError
        There is no such file.
    RecordingError
        Not a WAV file or a compressed one, cut off, empty, too short, silent, clipped, stereo, or
        with too few samples a second.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no recording {path}")
    try:
        with wave_format.open(str(path)) as stream:
            channels, width = stream.getnchannels(), stream.getsampwidth()
            own_rate, frames = stream.getframerate(), stream.getnframes()
            content = stream.readframes(frames)
    except (wave_format.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise RecordingError(
            f"{path.name} can't be read as a WAV file ({reason}): save it as uncompressed WAV "
            "(PCM, 16 bit, mono)"
        ) from error
    if frames == 0:
        raise RecordingError(f"{path.name} holds no samples: record again")
    if len(content) < frames * channels * width:
        raise RecordingError(
            f"{path.name} is cut off: it announces {frames} samples and holds "
            f"{len(content) // (channels * width)}; copy it again"
        )
    if channels > 1 and not mix:
        raise RecordingError(
            f"{path.name} has {channels} channels, and one is due: save it as mono, or average "
            "them with mix=True"
        )
    samples = _numbers(content, width).reshape(-1, channels)
    _check_sound(path.name, samples, own_rate, rate)
    mono = samples.mean(1)
    if own_rate != rate:
        common = gcd(rate, own_rate)
        mono = resample_poly(mono, rate // common, own_rate // common).clip(-1, 1)
    return torch.from_numpy(mono.astype(np.float32))


def write_recording(path: str | Path, wave: Tensor, *, rate: int = RATE) -> Path:
    """Write a wave in [-1, 1] as a WAV file of one channel and 16 bits.

    Parameters
    ----------
    path
        Where to.
    wave
        Shape (samples,).
    rate
        Samples a second.
    """
    path = Path(path)
    with wave_format.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(_sixteen_bits(wave).tobytes())
    return path


def player(wave: Tensor, *, rate: int = RATE) -> object:
    """Return a player for the notebook, with the wave inside it as it is: not made louder.

    Parameters
    ----------
    wave
        Shape (samples,), in [-1, 1]. Two bytes a sample go into the notebook's file, so that only
        short clips belong there, and only those that may be published.
    rate
        Samples a second.
    """
    from IPython.display import Audio

    return Audio(_sixteen_bits(wave) / 32767, rate=rate, normalize=False)  # type: ignore[no-untyped-call]


def speech_features(wave: Tensor, *, rate: int = RATE, normalise: str = "bands") -> Tensor:
    """Return log-mel features of a wave, 100 frames a second, about standardised.

    Parameters
    ----------
    wave
        Shape (samples,).
    rate
        Samples a second.
    normalise
        ``"bands"``: each filter's mean over the clip is subtracted, which takes out the microphone
        and much of the voice. ``"loudness"``: one mean over everything is, which keeps the voice.
        ``"none"``: a constant is, which keeps loudness too. All are divided by one constant.

    Returns
    -------
    Tensor
        Shape (frames, 40).
    """
    features = log_mel(wave, rate=rate, filters=FILTERS)
    if normalise == "bands":
        features = features - features.mean(0)
    elif normalise == "loudness":
        features = features - features.mean()
    elif normalise == "none":
        features = features + 5  # about the mean of speech
    else:
        raise ValueError(f"normalise must be bands, loudness or none, got {normalise!r}")
    return features / 3


@dataclass(frozen=True)
class SpeechBatch:
    """Features of several clips in one tensor.

    Attributes
    ----------
    features
        Shape (n, frames, filters), zero after the end of a clip.
    frames
        Shape (n,): how many belong to each clip.
    """

    features: Tensor
    frames: Tensor

    def to(self, place: torch.device | str) -> "SpeechBatch":
        """Return the batch on a device."""
        return SpeechBatch(self.features.to(place), self.frames.to(place))

    def __len__(self) -> int:
        return len(self.frames)


def pad_features(clips: Sequence[Tensor]) -> SpeechBatch:
    """Put features of unequal lengths into one batch.

    Parameters
    ----------
    clips
        Each of shape (frames, filters).

    Examples
    --------
    >>> batch = pad_features([torch.ones(2, 1), torch.ones(3, 1)])
    >>> batch.features[..., 0], batch.frames
    (tensor([[1., 1., 0.],
            [1., 1., 1.]]), tensor([2, 3]))
    """
    if not clips:
        raise ValueError("there are no clips to put into a batch")
    frames = torch.tensor([len(clip) for clip in clips])
    return SpeechBatch(nn.utils.rnn.pad_sequence(list(clips), batch_first=True), frames)


class _Block(nn.Module):
    """A residual step in time: normalise, look around, mix."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.around = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (n, width, frames) to the same shape; what the mask rules out stays zero."""
        inner = self.norm(x.mT).mT * mask
        found: Tensor = self.mix(torch.relu(self.around(inner)))
        return (x + found) * mask


class SpeechEncoder(nn.Module):
    """Convolutions in time: log-mel features in, one vector for every fourth frame (40 ms) out.

    About 140,000 numbers, all of them in convolutions, which a CPU runs fast. A vector sees 0.6 s
    to either side. Padding changes nothing: a clip gives the same alone as in a batch.

    Parameters
    ----------
    filters
        Features of a frame.
    width
        Length of the vectors.
    """

    STRIDE = 4

    def __init__(self, filters: int = FILTERS, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Conv1d(filters, width, 5, stride=2, padding=2)
        self.second = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in (1, 2, 1, 2))
        self.norm = nn.LayerNorm(width)

    def forward(self, batch: SpeechBatch) -> tuple[Tensor, Tensor]:
        """Return vectors (n, steps, width), zero after the end of a clip, and each clip's steps."""
        steps = batch.frames
        x = batch.features.mT  # (n, filters, frames)
        for layer in (self.first, self.second):
            steps = self.steps_of(steps, 2)
            x = torch.relu(layer(x))
            x = x * self._mask(steps, x)
        mask = self._mask(steps, x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x.mT) * mask.mT, steps

    def pooled(self, batch: SpeechBatch) -> Tensor:
        """Return one vector a clip, ``(n, 2 * width)``: mean and deviation over its steps."""
        vectors, steps = self(batch)
        count = steps[:, None].to(vectors.dtype)
        mean = vectors.sum(1) / count
        inside = self._mask(steps, vectors.mT).mT
        spread = (((vectors - mean[:, None]) * inside).square().sum(1) / count + 1e-5).sqrt()
        return torch.cat([mean, spread], 1)

    @staticmethod
    def steps_of(frames: Tensor, stride: int = STRIDE) -> Tensor:
        """Return how many vectors a clip of so many frames gets."""
        return (frames + stride - 1) // stride

    @staticmethod
    def _mask(steps: Tensor, x: Tensor) -> Tensor:
        """Return 1 within the clips and 0 after them, shape (n, 1, steps)."""
        inside = torch.arange(x.shape[2], device=x.device) < steps[:, None]
        return inside[:, None].to(x.dtype)


def _sixteen_bits(wave: Tensor) -> npt.NDArray[np.int16]:
    """Return a wave in [-1, 1] as 16-bit integers."""
    if wave.ndim != 1 or len(wave) == 0 or not wave.abs().max() <= 1:
        raise ValueError(
            f"a wave of shape (samples,) in [-1, 1] is due, got shape {tuple(wave.shape)}"
        )
    return (wave.detach().cpu().numpy() * 32767).round().astype("<i2")


def _numbers(content: bytes, width: int) -> npt.NDArray[np.float64]:
    """Decode little-endian PCM to [-1, 1)."""
    if width == 1:  # the only format without a sign
        return (np.frombuffer(content, np.uint8) - 128.0) / 128
    if width == 3:
        bytes_of = np.frombuffer(content, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(bytes_of), 4), np.uint8)
        wide[:, 1:] = bytes_of
        return wide.view("<i4")[:, 0] / 2.0**31
    return np.frombuffer(content, f"<i{width}") / 2.0 ** (8 * width - 1)


def _check_sound(
    name: str,
    samples: npt.NDArray[np.float64],
    own_rate: int,
    rate: int,
) -> None:
    """Refuse what is too coarse, too short, silent or clipped."""
    if own_rate < rate:
        raise RecordingError(
            f"{name} has {own_rate} samples a second, and {rate} are due: the tones above "
            f"{own_rate // 2} Hz are missing; record again with a higher rate"
        )
    if len(samples) < SHORTEST * own_rate:
        raise RecordingError(
            f"{name} lasts {len(samples) / own_rate:.3f} s, which no word does: record again"
        )
    loudest = np.abs(samples).max()
    if loudest < SILENT:
        raise RecordingError(
            f"{name} is silent (nothing louder than {loudest:.5f} of the range): "
            "is the microphone on?"
        )
    share = (np.abs(samples) > 0.999).mean()
    if share > CLIPPED:
        raise RecordingError(
            f"{name} is clipped: {share:.1%} of its samples are at the limit of the range; "
            "record again more quietly"
        )
