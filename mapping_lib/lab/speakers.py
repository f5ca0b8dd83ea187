"""Voices as vectors: training an encoder of speakers, trials of pairs, and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.hearing import FILTERS, SpeechEncoder, pad_features, speech_features
from mapping_lib.lab.machine import seeded
from mapping_lib.speech import equal_error_rate, ge2e_loss

__all__ = [
    "SpeakerEncoder",
    "Trials",
    "Voices",
    "embed",
    "interval_over_speakers",
    "microphones",
    "normalise_scores",
    "statistics",
    "train_speakers",
    "trials_of",
    "voices_of",
]

NATS_OF_A_DECIBEL = 0.23026  # of power; the features are nats divided by 3


@dataclass(frozen=True)
class Voices:
    """Features of clips, who speaks, and what.

    Attributes
    ----------
    features
        One tensor a clip, shape (frames, filters).
    speakers
        Name of the speaker of each clip.
    words
        What each clip says.
    """

    features: tuple[Tensor, ...]
    speakers: tuple[str, ...]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.features)

    def __add__(self, other: "Voices") -> "Voices":
        return Voices(
            self.features + other.features,
            self.speakers + other.speakers,
            self.words + other.words,
        )

    def of(self, names: Sequence[str]) -> "Voices":
        """Return the clips of some speakers."""
        return self.at([i for i, name in enumerate(self.speakers) if name in names])

    def at(self, rows: Sequence[int]) -> "Voices":
        """Return the clips at some places."""
        parts = (self.features, self.speakers, self.words)
        features, speakers, words = (tuple(part[i] for i in rows) for part in parts)
        return Voices(features, speakers, words)  # type: ignore[arg-type]


def voices_of(*clips: Clips, normalise: str = "loudness") -> Voices:
    """Return the features of clips.

    Parameters
    ----------
    *clips
        Any number of sets; the same name in two of them is the same speaker.
    normalise
        As :func:`mapping_lib.lab.hearing.speech_features` takes it.
    """
    features, speakers, words = [], [], []
    for part in clips:
        for wave, speaker, label in zip(part.waves, part.speakers, part.labels, strict=True):
            features.append(speech_features(wave, rate=part.rate, normalise=normalise))
            speakers.append(part.voices[int(speaker)])
            words.append(part.classes[int(label)])
    return Voices(tuple(features), tuple(speakers), tuple(words))


def microphones(
    count: int, *, decibels: float = 6.0, generator: torch.Generator, filters: int = FILTERS
) -> Tensor:
    """Draw what microphones add to the features: a smooth curve over the filters each.

    A microphone multiplies the amplitude at each frequency by a number of its own. The logarithm
    turns that into a number that is added to each filter, the same in all frames.

    Parameters
    ----------
    count
        How many microphones.
    decibels
        Standard deviation of the curve over filters and microphones, about.
    generator
        What draws.
    filters
        Features of a frame.

    Returns
    -------
    Tensor
        Shape (count, filters), in the features' units; each row has mean zero.
    """
    waves = torch.arange(1, 5)[:, None] * (torch.arange(filters) + 0.5) / filters
    weights = torch.randn(count, 4, generator=generator) * 2**-0.5
    return decibels * NATS_OF_A_DECIBEL / 3 * (weights @ (torch.pi * waves).cos())


class SpeakerEncoder(nn.Module):
    """An encoder of speech with a projection: one vector of length one a clip.

    Parameters
    ----------
    width
        Length of the encoder's vectors.
    size
        Length of the embedding.
    """

    def __init__(self, width: int = 64, size: int = 64) -> None:
        super().__init__()
        self.body = SpeechEncoder(width=width)
        self.project = nn.Linear(2 * width, size)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map n clips to their embeddings (n, size), of length one."""
        batch = pad_features(features).to(self.project.weight.device)
        return normalize(self.project(self.body.pooled(batch)), dim=1)


def train_speakers(
    voices: Voices,
    *,
    loss: str = "ge2e",
    steps: int = 300,
    rate: float = 1e-3,
    seed: int = 0,
    speakers: int = 12,
    utterances: int = 6,
    decibels: float = 0.0,
    start: SpeakerEncoder | None = None,
) -> SpeakerEncoder:
    """Train an encoder of speakers with Adam, whose rate falls to zero along a half cosine.

    Each batch holds some clips each of some speakers, both drawn anew. Both losses get the same
    batches.

    Parameters
    ----------
    voices
        Clips to learn from.
    loss
        ``"ge2e"``: :func:`mapping_lib.speech.ge2e_loss` of the embeddings. ``"softmax"``: a linear
        head classifies the speakers, and is thrown away afterwards; its inputs are the embeddings
        times ten, as the other loss takes them.
    steps, rate, seed
        Of the training.
    speakers, utterances
        Size of a batch; all speakers if there are fewer.
    decibels
        Each clip goes through a microphone of its own if this isn't zero: see `microphones`.
    start
        The encoder to train on, which is changed; a fresh one if None.

    Returns
    -------
    SpeakerEncoder
        In evaluation mode.
    """
    if loss not in ("ge2e", "softmax"):
        raise ValueError(f"loss must be ge2e or softmax, got {loss!r}")
    names = sorted(set(voices.speakers))
    if len(names) < 2:
        raise ValueError(f"two speakers at least are needed to tell apart, got {len(names)}")
    clips = [[i for i, who in enumerate(voices.speakers) if who == name] for name in names]
    if (fewest := min(map(len, clips))) < 2:
        raise ValueError(f"two clips of each speaker at least are needed, one has {fewest}")
    with seeded(seed):
        model = SpeakerEncoder() if start is None else start
        head = nn.Linear(model.project.out_features, len(names))
    draw = torch.Generator().manual_seed(seed)
    learned = [*model.parameters(), *(head.parameters() if loss == "softmax" else ())]
    optimiser = torch.optim.Adam(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    few, many = min(speakers, len(names)), min(utterances, fewest)
    model.train()
    for _ in range(steps):
        chosen = torch.randperm(len(names), generator=draw)[:few].tolist()
        rows = [
            clips[who][k]
            for who in chosen
            for k in torch.randperm(len(clips[who]), generator=draw)[:many].tolist()
        ]
        features = [voices.features[i] for i in rows]
        if decibels:
            added = microphones(len(rows), decibels=decibels, generator=draw)
            features = [one + curve for one, curve in zip(features, added, strict=True)]
        found = model(features)
        if loss == "ge2e":
            value = ge2e_loss(found.reshape(few, many, -1))
        else:
            wanted = torch.tensor(chosen).repeat_interleave(many)
            value = cross_entropy(head(10 * found), wanted)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def embed(model: SpeakerEncoder, voices: Voices, *, batch_size: int = 100) -> Tensor:
    """Return the embeddings of clips, ``(n, size)``.

    Parameters
    ----------
    model
        The encoder.
    voices
        The clips.
    batch_size
        How many at a time.
    """
    features = voices.features
    starts = range(0, len(features), batch_size)
    return torch.cat([model(features[k : k + batch_size]) for k in starts]).cpu()


def statistics(voices: Voices, *, spread: bool = False) -> Tensor:
    """Return what needs no learning: each filter's mean over a clip, ``(n, filters)``.

    Parameters
    ----------
    voices
        The clips.
    spread
        Standard deviations over the clip in place of means.
    """
    return torch.stack([f.std(0) if spread else f.mean(0) for f in voices.features])


@dataclass(frozen=True)
class Trials:
    """Pairs of clips: how alike they sound, and whether they have voice and word in common.

    Attributes
    ----------
    scores
        Cosine of the two embeddings, ``(n,)``.
    same_voice, same_word
        Booleans, ``(n,)``.
    speakers
        Of both clips, by number, ``(n, 2)``.
    """

    scores: Tensor
    same_voice: Tensor
    same_word: Tensor
    speakers: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, rows: Tensor) -> "Trials":
        """Return the pairs at some places."""
        fields = (self.scores, self.same_voice, self.same_word, self.speakers)
        return Trials(*(field[rows] for field in fields))

    def words(self, which: str) -> "Trials":
        """Return the pairs of some kind.

        Parameters
        ----------
        which
            ``"any"``: all. ``"same"``: both clips say one word. ``"other"``: two words.
            ``"crossed"``: pairs of one voice with two words, and of two voices with one word.
        """
        kinds = {
            "any": torch.ones_like(self.same_word),
            "same": self.same_word,
            "other": ~self.same_word,
            "crossed": self.same_word != self.same_voice,
        }
        if which not in kinds:
            raise ValueError(f"words must be any, same, other or crossed, got {which!r}")
        return self.at(kinds[which])

    def error(self) -> float:
        """Return the equal error rate."""
        return float(equal_error_rate(self.scores, self.same_voice))


def trials_of(embeddings: Tensor, voices: Voices) -> Trials:
    """Return every pair of two clips once: one is the enrolment, the other the claim.

    Parameters
    ----------
    embeddings
        Shape (n, d), of any length.
    voices
        The n clips.
    """
    unit = normalize(embeddings, dim=1)
    first, second = torch.triu_indices(len(unit), len(unit), offset=1)
    names = sorted(set(voices.speakers))
    who = torch.tensor([names.index(name) for name in voices.speakers])
    vocabulary = sorted(set(voices.words))
    word = torch.tensor([vocabulary.index(one) for one in voices.words])
    return Trials(
        (unit @ unit.T)[first, second],
        who[first] == who[second],
        word[first] == word[second],
        torch.stack([who[first], who[second]], 1),
    )


def normalise_scores(trials: Trials, embeddings: Tensor, cohort: Tensor) -> Trials:
    """Normalise each score by how its two clips score against a cohort.

    The mean over both clips of ``(score - mean) / deviation``, where mean and deviation are those
    of the clip's scores against the cohort: symmetric normalisation.

    Parameters
    ----------
    trials
        What `trials_of` made of `embeddings`.
    embeddings
        Shape (n, d).
    cohort
        Embeddings of clips of the same kind whose speakers needn't be known, ``(m, d)``.
    """
    against = normalize(embeddings, dim=1) @ normalize(cohort, dim=1).T
    mean, spread = against.mean(1), against.std(1)
    first, second = torch.triu_indices(len(mean), len(mean), offset=1)
    scores = sum((trials.scores - mean[k]) / spread[k] for k in (first, second))
    return replace(trials, scores=torch.as_tensor(scores) / 2)


def interval_over_speakers(
    trials: Trials, *, draws: int = 200, seed: int = 0, level: float = 0.9
) -> tuple[float, float]:
    """Return a bootstrap interval of the equal error rate over the speakers.

    Speakers are drawn with replacement, as many as there are. A pair counts as often as its
    speakers were drawn: the number of one, or the product of two. Draws of one speaker only are
    left out.

    Parameters
    ----------
    trials
        The pairs.
    draws
        How often.
    seed
        What draws.
    level
        Share of the draws that lie within.
    """
    generator = torch.Generator().manual_seed(seed)
    count = int(trials.speakers.max()) + 1
    found: list[float] = []
    while len(found) < draws:
        drawn = torch.randint(count, (count,), generator=generator).bincount(minlength=count)
        if (drawn > 0).sum() < 2:
            continue
        first, second = drawn[trials.speakers].unbind(1)
        times = torch.where(trials.same_voice, first, first * second)
        found.append(trials.at(torch.arange(len(trials)).repeat_interleave(times)).error())
    tail = (1 - level) / 2
    low, high = torch.tensor(found).quantile(torch.tensor([tail, 1 - tail])).tolist()
    return low, high
