"""Moods from recordings: hand-made features, folds that keep voices apart, a small network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, cross_entropy

from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.hearing import SpeechEncoder, pad_features, read_recording, speech_features
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.schedules import warm_up
from mapping_lib.prosody import pitch

__all__ = [
    "FUNCTIONALS",
    "GROUPS",
    "MoodNetwork",
    "by_voice",
    "functionals",
    "learn",
    "logistic",
    "look",
    "pooled",
    "read_moods",
    "recall_interval",
    "spectrum_statistics",
    "uar",
]

GROUPS = {
    "pitch": ("pitch", "pitch range"),
    "loudness": ("loudness", "loudness range"),
    "rate": ("syllable rate", "voiced stretch"),
    "timbre": ("brightness", "periodicity"),
}
"""The hand-made features by what they listen to."""

FUNCTIONALS = tuple(name for names in GROUPS.values() for name in names)
"""The hand-made features in their order."""

# With looser limits, down to 0.5 and 30, tracks jump more between frames (no label needed).
VOICED = 0.7  # least autocorrelation of a frame with a pitch
BACKGROUND = 20  # dB below a clip's loudest frame: what is weaker counts as a pause
HOP = 0.01  # seconds


def functionals(wave: Tensor, *, rate: int) -> Tensor:
    """Return eight numbers that say how something was said, named by :data:`FUNCTIONALS`.

    Median pitch in semitones above 100 Hz, and the distance of its tenth from its ninetieth
    percentile; mean level of what isn't a pause in dB, and its standard deviation; bumps of the
    level a second (about syllables), and the mean length of a stretch of voice in s; energy above
    1 kHz over that below, in dB, and the mean autocorrelation of frames with a voice.

    Parameters
    ----------
    wave
        Shape (samples,).
    rate
        Samples a second.

    Raises
    ------
    ValueError
        The wave is too short for a frame, silent, or has no voice in it.
    """
    if wave.ndim != 1 or not wave.any():
        raise ValueError(f"a wave with sound in it is due, got shape {tuple(wave.shape)}")
    track = pitch(wave, rate=rate, hop=HOP)
    frames = wave.unfold(0, round(0.05 * rate), round(HOP * rate))[: len(track.hertz)]
    level = 10 * (frames.square().mean(1) + 1e-10).log10()
    sounds = level > level.max() - BACKGROUND
    voiced = sounds & (track.strength > VOICED)
    if int(voiced.sum()) < 5:
        raise ValueError("no voice is heard in it: fewer than five frames have a pitch")
    semitones = 12 * (track.hertz[voiced] / 100).log2()
    low, median, high = torch.quantile(semitones, torch.tensor([0.1, 0.5, 0.9]))
    smooth = avg_pool1d(level[None], 5, 1, 2, count_include_pad=False)[0]
    inner = smooth[1:-1]
    bumps = (inner > smooth[:-2]) & (inner >= smooth[2:]) & sounds[1:-1]
    starts = 1 + int((voiced[1:] & ~voiced[:-1]).sum()) - int(not voiced[0])
    power = torch.fft.rfft(wave).abs().square()
    edge = round(1000 * len(wave) / rate)
    bright = 10 * (power[edge:].sum() / power[:edge].sum().clamp(min=1e-10) + 1e-10).log10()
    return torch.stack(
        [
            median,
            high - low,
            level[sounds].mean(),
            level[sounds].std(),
            bumps.sum() / (HOP * sounds.sum()),
            voiced.sum() * HOP / max(starts, 1),
            bright,
            track.strength[voiced].mean(),
        ]
    )


def spectrum_statistics(wave: Tensor, *, rate: int) -> Tensor:
    """Return mean and standard deviation over time of each of 40 log-mel features.

    Parameters
    ----------
    wave
        Shape (samples,).
    rate
        Samples a second.
    """
    features = speech_features(wave, rate=rate, normalise="none")
    return torch.cat([features.mean(0), features.std(0)])


def by_voice(features: Tensor, speakers: Tensor) -> Tensor:
    """Give each speaker's clips mean 0 and standard deviation 1 in every feature.

    It uses all clips of a speaker, also those to be classified, but no label. So it needs several
    clips of each, and moods that come about equally often with each.

    Parameters
    ----------
    features
        Shape (n, d).
    speakers
        Shape (n,).

    Examples
    --------
    >>> by_voice(torch.tensor([[1.0], [3.0], [50.0], [52.0]]), torch.tensor([0, 0, 1, 1])).flatten()
    tensor([-1.,  1., -1.,  1.])
    """
    found = features.clone()
    for speaker in sorted(set(speakers.tolist())):
        own = speakers == speaker
        if int(own.sum()) < 2:
            raise ValueError(f"speaker {speaker} has one clip: two are the least")
        spread = features[own].std(0, correction=0).clamp(min=1e-6)
        found[own] = (features[own] - features[own].mean(0)) / spread
    return found


def uar(labels: Tensor, predicted: Tensor) -> float:
    """Return the mean of the recalls of all classes that occur.

    Parameters
    ----------
    labels, predicted
        Shape (n,) each.
    """
    sizes = torch.bincount(labels)
    hits = torch.bincount(labels, weights=(labels == predicted).double(), minlength=len(sizes))
    occurs = sizes > 0
    return float((hits[occurs] / sizes[occurs]).mean())


def recall_interval(
    labels: Tensor, predicted: Tensor, speakers: Tensor, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % interval of the unweighted average recall, with speakers drawn anew.

    Clips of one speaker rise and fall together; so whole speakers are drawn, with replacement, as
    many as there are, and the recall is taken anew. The interval runs from the 2.5th to the 97.5th
    percentile.

    Parameters
    ----------
    labels, predicted, speakers
        Shape (n,) each.
    draws
        How often.
    seed
        Draws them.
    """
    names = sorted(set(speakers.tolist()))
    rows = [(speakers == name).nonzero().flatten() for name in names]
    if len(rows) < 3:
        raise ValueError(f"an interval over speakers needs at least three, got {len(rows)}")
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        chosen = torch.cat([rows[i] for i in draw.integers(0, len(rows), len(rows))])
        found.append(uar(labels[chosen], predicted[chosen]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def logistic(penalty: float = 1.0) -> Any:
    """Return a logistic regression on standardised features, not yet fitted.

    Parameters
    ----------
    penalty
        scikit-learn's C, the inverse of the penalty's weight.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))


class MoodNetwork(nn.Module):
    """An encoder, the mean and deviation of its vectors over time, and a linear head.

    Parameters
    ----------
    encoder
        Taken as it is, not copied.
    classes
        How many.
    """

    def __init__(self, encoder: SpeechEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(2 * encoder.width, classes)

    def forward(self, clips: Sequence[Tensor]) -> Tensor:
        """Map features of n clips, each (frames, filters), to logits (n, classes)."""
        place = next(self.parameters()).device
        logits: Tensor = self.head(self.dropout(self.encoder.pooled(pad_features(clips).to(place))))
        return logits


def learn(
    model: MoodNetwork,
    clips: Sequence[Tensor],
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    rate: float = 1e-3,
    encoder_rate: float | None = None,
    batch_size: int = 32,
) -> MoodNetwork:
    """Train a network with AdamW; its rate rises for a tenth of the steps and then falls to zero.

    Parameters
    ----------
    model
        Trained in place.
    clips
        Features, each of shape (frames, filters).
    labels
        Shape (n,).
    steps
        Number of batches.
    seed
        Draws the batches and the dropout.
    rate
        Of the head.
    encoder_rate
        Of the encoder; as the head's unless given.
    batch_size
        Clips a step.
    """
    place = next(model.parameters()).device
    groups = [
        {"params": model.head.parameters(), "lr": rate},
        {"params": model.encoder.parameters(), "lr": encoder_rate or rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up(steps))
    model.train()
    with seeded(seed):
        order: list[int] = []
        for _ in range(steps):
            if len(order) < min(batch_size, len(clips)):
                order = [*order, *torch.randperm(len(clips)).tolist()]
            rows, order = order[:batch_size], order[batch_size:]
            loss = cross_entropy(model([clips[i] for i in rows]), labels[rows].to(place))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def look(model: MoodNetwork, clips: Sequence[Tensor]) -> Tensor:
    """Return a network's logits of clips, on the CPU.

    Parameters
    ----------
    model
        Whose logits.
    clips
        Features, each of shape (frames, filters).
    """
    model.eval()
    parts = [model(clips[i : i + 64]).cpu() for i in range(0, len(clips), 64)]
    return torch.cat(parts)


@torch.no_grad()
def pooled(encoder: SpeechEncoder, clips: Sequence[Tensor]) -> Tensor:
    """Return one vector a clip: what a frozen encoder says of it.

    Parameters
    ----------
    encoder
        Left as it is.
    clips
        Features, each of shape (frames, filters).
    """
    place = next(encoder.parameters()).device
    encoder.eval()
    parts = [
        encoder.pooled(pad_features(clips[i : i + 64]).to(place)).cpu()
        for i in range(0, len(clips), 64)
    ]
    return torch.cat(parts)


def read_moods(folder: str | Path, *, rate: int = 8000) -> Clips:
    """Read your own recordings: a sub-folder for each mood, in it WAV files ``speaker_….wav``.

    Parameters
    ----------
    folder
        The folder of the folders. The speaker is what a file's name holds before the first ``_``.
    rate
        Samples a second that are wanted.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        Fewer than two moods, a mood without recordings, fewer than three speakers, a name without
        speaker, or a recording that :func:`mapping_lib.lab.hearing.read_recording` refuses.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.absolute()}")
    kinds = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if len(kinds) < 2:
        found = f"only {kinds[0].name!r}" if kinds else "none"
        raise ValueError(
            f"{folder} must have a sub-folder for each of at least two moods, it has {found}; "
            "who knows one mood always says it"
        )
    waves, labels, names = [], [], []
    for label, kind in enumerate(kinds):
        files = sorted(path for path in kind.iterdir() if path.suffix.lower() == ".wav")
        if not files:
            raise ValueError(f"the mood {kind.name!r} has no recordings (.wav)")
        for path in files:
            if "_" not in path.stem:
                raise ValueError(
                    f"{path.name} doesn't say who speaks; call it speaker_{path.name}, so that "
                    "speakers can be left out"
                )
            waves.append(read_recording(path, rate=rate))
            labels.append(label)
            names.append(path.stem.split("_")[0])
    voices = tuple(sorted(set(names)))
    if len(voices) < 3:
        raise ValueError(
            f"nobody but {' and '.join(voices)} speaks: nothing would tell the mood from "
            "the voice; three speakers are the least, ten are better"
        )
    return Clips(
        tuple(waves),
        rate,
        torch.tensor(labels),
        tuple(kind.name for kind in kinds),
        torch.tensor([voices.index(name) for name in names]),
        voices,
        entry="own recordings",
        domain=folder.name,
        split="all",
    )
