"""Digit strings recognised by CTC: making strings, training with and without labels, errors.

A label is a digit and one; 0 is the blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss, interpolate

from mapping_lib.ctc import frames_needed, greedy_decode
from mapping_lib.lab.checkpoints import read
from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.hearing import (
    RATE,
    SpeechBatch,
    SpeechEncoder,
    pad_features,
    speech_features,
)
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.registry import locate
from mapping_lib.lab.schedules import warm_up

__all__ = [
    "Recogniser",
    "Strings",
    "alignment",
    "digit_strings",
    "hear",
    "pretrain_encoder",
    "roughen",
    "some_clips",
    "some_seconds",
    "speech_recogniser",
    "train_recogniser",
    "word_errors",
]

BLANK = 0
GROUPS = 64  # sound classes of the task without labels


@dataclass(frozen=True)
class Strings:
    """Waves in which one voice says several digits.

    Attributes
    ----------
    waves
        One tensor a string, shape (samples,).
    targets
        The labels of each string: its digits, each plus 1.
    voices
        The name of each string's voice.
    """

    waves: tuple[Tensor, ...]
    targets: tuple[list[int], ...]
    voices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.waves)

    @property
    def texts(self) -> list[str]:
        """What is said, as digits with spaces between them."""
        return [as_text(target) for target in self.targets]


def as_text(labels: Sequence[int]) -> str:
    """Return labels as digits with spaces between them, as error rates of words want it.

    Examples
    --------
    >>> as_text([8, 1])
    '7 0'
    """
    return " ".join(str(label - 1) for label in labels)


def some_clips(clips: Clips, wanted: Sequence[str] | Tensor) -> Clips:
    """Return the clips of some voices, or those at some places.

    Parameters
    ----------
    clips
        Any.
    wanted
        Names of voices, or a tensor of places in the order wanted.
    """
    if isinstance(wanted, Tensor):
        places = wanted.tolist()
    else:
        names = [clips.voices[k] for k in clips.speakers]
        places = [i for i, name in enumerate(names) if name in wanted]
    if not places:
        raise ValueError(f"no clip is of {wanted}; there are {', '.join(clips.voices)}")
    chosen = torch.tensor(places)
    return replace(
        clips,
        waves=tuple(clips.waves[i] for i in places),
        labels=clips.labels[chosen],
        speakers=clips.speakers[chosen],
    )


def some_seconds(clips: Clips, seconds: float, *, seed: int) -> Clips:
    """Draw clips until they last some seconds, classes in turn; more seconds hold the fewer.

    Parameters
    ----------
    clips
        Where to draw from.
    seconds
        How much is wanted; all is returned where there isn't more.
    seed
        For the draw.
    """
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed)).tolist()
    queues = [[i for i in order if clips.labels[i] == k] for k in range(len(clips.classes))]
    turns = [queue[n] for n in range(max(map(len, queues))) for queue in queues if n < len(queue)]
    chosen, total = [], 0.0
    for i in turns:
        if total >= seconds:
            break
        chosen.append(i)
        total += len(clips.waves[i]) / clips.rate
    return some_clips(clips, torch.tensor(chosen))


def digit_strings(
    clips: Clips,
    count: int,
    *,
    seed: int,
    lengths: tuple[int, int] = (2, 5),
    pause: tuple[float, float] = (0.02, 0.25),
) -> Strings:
    """Put clips of one voice each behind one another, with pauses.

    Parameters
    ----------
    clips
        Single digits at 8 kHz.
    count
        Number of strings.
    seed
        For voices, digits and pauses.
    lengths
        Fewest and most digits of a string.
    pause
        Shortest and longest silence before, between and after digits, in seconds.
    """
    if clips.rate != RATE or len(clips.classes) != 10:
        raise ValueError(f"ten digits at {RATE} samples a second are due, got {clips}")
    draw = torch.Generator().manual_seed(seed)

    def pick(n: int) -> int:
        return int(torch.randint(n, (), generator=draw))

    def silence() -> Tensor:
        low, high = (round(second * RATE) for second in pause)
        return torch.zeros(low + pick(high - low + 1))

    by_voice = [(clips.speakers == k).nonzero()[:, 0] for k in range(len(clips.voices))]
    known = [k for k, members in enumerate(by_voice) if len(members)]
    waves, targets, voices = [], [], []
    for _ in range(count):
        voice = known[pick(len(known))]
        members = by_voice[voice]
        length = lengths[0] + pick(1 + lengths[1] - lengths[0])
        chosen = [int(members[pick(len(members))]) for _ in range(length)]
        parts = [silence()]
        for i in chosen:
            parts += [clips.waves[i], silence()]
        waves.append(torch.cat(parts))
        targets.append([int(clips.labels[i]) + 1 for i in chosen])
        voices.append(clips.voices[voice])
    return Strings(tuple(waves), tuple(targets), tuple(voices))


def roughen(wave: Tensor, *, generator: torch.Generator) -> Tensor:
    """Change a clean wave as rooms, microphones and speakers do: speed, tilt, echo, noise.

    Parameters
    ----------
    wave
        Shape (samples,).
    generator
        For the draw: speed by up to 15 % either way (which shifts all frequencies, too), more or
        less of the high tones, one echo of 5 to 40 ms, noise 8 to 40 dB below the wave.
    """
    speed, tilt, echo, noise, delay = torch.rand(5, generator=generator).tolist()
    factor = 0.85 + 0.3 * speed
    wave = interpolate(wave[None, None], scale_factor=factor, mode="linear")[0, 0]
    slope = 1.4 * tilt - 0.5  # -0.5 to 0.9 of the sample before
    wave = wave - slope * torch.cat([wave.new_zeros(1), wave[:-1]])
    late = round((0.005 + 0.035 * delay) * RATE)
    if late < len(wave):
        wave = wave + 0.5 * echo * torch.cat([wave.new_zeros(late), wave[:-late]])
    level = wave.square().mean().sqrt() * 10 ** (-(8 + 32 * noise) / 20)
    wave = wave + level * torch.randn(len(wave), generator=generator)
    return wave / wave.abs().max().clamp(min=1e-3)


class Recogniser(nn.Module):
    """An encoder and a linear head with one logit for each label and the blank.

    Parameters
    ----------
    encoder
        Where the vectors come from; None makes a new one.
    labels
        Number of labels with the blank.
    """

    def __init__(self, encoder: SpeechEncoder | None = None, labels: int = 11) -> None:
        super().__init__()
        self.encoder = SpeechEncoder() if encoder is None else encoder
        self.head = nn.Linear(self.encoder.width, labels)

    def forward(self, batch: SpeechBatch) -> tuple[Tensor, Tensor]:
        """Return logits (n, steps, labels) and the steps of each clip."""
        vectors, steps = self.encoder(batch)
        return self.head(vectors), steps


def _batches(
    features: Sequence[Tensor], size: int, steps: int, generator: torch.Generator
) -> list[list[int]]:
    """Draw batches, epoch after epoch."""
    order: list[int] = []
    while len(order) < size * steps:
        order += torch.randperm(len(features), generator=generator).tolist()
    return [order[size * k : size * (k + 1)] for k in range(steps)]


def train_recogniser(
    strings: Strings,
    *,
    seed: int,
    encoder: SpeechEncoder | None = None,
    steps: int = 300,
    rate: float = 3e-3,
    encoder_rate: float | None = None,
    rough: bool = True,
    batch_size: int = 16,
    place: torch.device | str = "cpu",
) -> tuple[Recogniser, list[float]]:
    """Train a recogniser with CTC, and return it with the loss of every step.

    Adam, with a rate that rises for a tenth of the steps and then falls to zero.

    Parameters
    ----------
    strings
        What is said and by which labels.
    seed
        For the head, the order, and how strings are roughened.
    encoder
        To start from; it is changed. None starts anew.
    steps
        Batches.
    rate, encoder_rate
        Largest rate of the head and, where it is another, of the encoder.
    rough
        Whether each string is roughened once before training.
    batch_size
        Strings a batch.
    place
        Where to train.

    Raises
    ------
    ValueError
        A target needs more steps than its string has: the message says which.
    """
    generator = torch.Generator().manual_seed(seed)
    waves = [roughen(w, generator=generator) if rough else w for w in strings.waves]
    features = [speech_features(wave).to(place) for wave in waves]
    for i, (own, target) in enumerate(zip(features, strings.targets, strict=True)):
        there = int(SpeechEncoder.steps_of(torch.tensor(len(own))))
        if there < frames_needed(target):
            raise ValueError(
                f"string {i} ({as_text(target)}) needs {frames_needed(target)} steps, and the "
                f"encoder gives {there}: it is cut off, or labelled wrongly"
            )
    with seeded(seed):
        model = Recogniser(encoder).to(place)
    groups = [
        {"params": list(model.head.parameters()), "lr": rate},
        {"params": list(model.encoder.parameters()), "lr": encoder_rate or rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up(steps))
    losses = []
    model.train()
    for rows in _batches(features, batch_size, steps, generator):
        batch = pad_features([features[i] for i in rows])
        logits, lengths = model(SpeechBatch(batch.features, batch.frames.to(place)))
        wanted = [strings.targets[i] for i in rows]
        loss = ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            torch.tensor([label for target in wanted for label in target]),
            lengths.cpu(),
            torch.tensor([len(target) for target in wanted]),
            BLANK,
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), losses


def pretrain_encoder(
    waves: Sequence[Tensor],
    *,
    seed: int,
    steps: int = 600,
    rate: float = 3e-3,
    batch_size: int = 32,
    place: torch.device | str = "cpu",
) -> tuple[SpeechEncoder, list[float]]:
    """Train an encoder without labels: to guess from its surroundings what is hidden.

    Four frames at a time are sorted into 64 groups of like sounds by k-means; spans of 80 to
    240 ms, about 40 % of a clip, are replaced by zeros; and the encoder with a linear head
    predicts the groups of what was hidden.

    Parameters
    ----------
    waves
        Clips of anyone saying anything, at 8 kHz.
    seed
        For groups, spans, order and first weights.
    steps, rate, batch_size
        As in :func:`train_recogniser`.
    place
        Where to train.

    Returns
    -------
    SpeechEncoder, list of float
        The encoder, and its cross-entropy in every step; log 64 is 4.16.
    """
    from sklearn.cluster import MiniBatchKMeans

    generator = torch.Generator().manual_seed(seed)
    features = [speech_features(wave) for wave in waves]
    stacks = [_stacked(own) for own in features]
    sorter = MiniBatchKMeans(GROUPS, random_state=seed, n_init=1, batch_size=2048)
    sorter.fit(torch.cat(stacks).numpy())
    groups = [torch.from_numpy(sorter.predict(stack.numpy())).long() for stack in stacks]
    with seeded(seed):
        encoder = SpeechEncoder().to(place)
        head = nn.Linear(encoder.width, GROUPS).to(place)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up(steps))
    losses = []
    for rows in _batches(features, batch_size, steps, generator):
        hidden = [_spans(len(groups[i]), generator) for i in rows]
        shown = [
            features[i] * (~mask).repeat_interleave(4)[: len(features[i]), None]
            for i, mask in zip(rows, hidden, strict=True)
        ]
        vectors, _ = encoder(pad_features(shown).to(place))
        masks = nn.utils.rnn.pad_sequence(hidden, batch_first=True)
        wanted = nn.utils.rnn.pad_sequence([groups[i] for i in rows], batch_first=True)
        loss = cross_entropy(head(vectors[masks.to(place)]), wanted[masks].to(place))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return encoder, losses


def hear(model: Recogniser, waves: Sequence[Tensor], *, batch_size: int = 64) -> list[str]:
    """Return what a recogniser hears in each wave, as digits with spaces between them.

    Parameters
    ----------
    model
        Trained; put into eval mode.
    waves
        At 8 kHz, any lengths.
    batch_size
        Waves at a time.
    """
    place = next(model.parameters()).device
    model.eval()
    heard = []
    with torch.no_grad():
        for start in range(0, len(waves), batch_size):
            batch = pad_features([speech_features(w) for w in waves[start : start + batch_size]])
            logits, steps = model(batch.to(place))
            heard += [as_text(labels) for labels in greedy_decode(logits, frames=steps)]
    return heard


def alignment(said: str, heard: str) -> list[tuple[str | None, str | None]]:
    """Return the fewest changes that turn what was said into what was heard.

    Parameters
    ----------
    said, heard
        Words with spaces between them.

    Returns
    -------
    list of pairs
        A word said and the word heard in its place; None where nothing was said (an insertion) or
        heard (a deletion).

    Examples
    --------
    >>> alignment("7 0 3", "7 3 3 1")
    [('7', '7'), ('0', '3'), ('3', '3'), (None, '1')]
    """
    rows, columns = said.split(), heard.split()
    cost = [[i + j for j in range(len(columns) + 1)] for i in range(len(rows) + 1)]
    for i, word in enumerate(rows, 1):
        for j, other in enumerate(columns, 1):
            cost[i][j] = min(
                cost[i - 1][j - 1] + (word != other), cost[i - 1][j] + 1, cost[i][j - 1] + 1
            )
    pairs: list[tuple[str | None, str | None]] = []
    i, j = len(rows), len(columns)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (rows[i - 1] != columns[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((rows[i], columns[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((rows[i], None))
        else:
            j -= 1
            pairs.append((None, columns[j]))
    return pairs[::-1]


def word_errors(said: Sequence[str], heard: Sequence[str]) -> dict[str, float]:
    """Return the word error rate of some strings, and the kinds of errors.

    Parameters
    ----------
    said, heard
        One text a string, words with spaces between them.

    Returns
    -------
    dict
        "wer": all errors; "substitutions", "deletions" and "insertions", each a share of the words
        that were said; "strings": the share of strings with an error.
    """
    pairs = [alignment(a, b) for a, b in zip(said, heard, strict=True)]
    words = sum(len(text.split()) for text in said)
    if not words:
        raise ValueError("nothing was said: there is no word to divide by")
    flat = [pair for own in pairs for pair in own]
    kinds = {
        "substitutions": sum(a is not None and b is not None and a != b for a, b in flat) / words,
        "deletions": sum(b is None for _, b in flat) / words,
        "insertions": sum(a is None for a, _ in flat) / words,
    }
    wrong = sum(any(a != b for a, b in own) for own in pairs) / len(pairs)
    return {"wer": sum(kinds.values()), **kinds, "strings": wrong}


def speech_recogniser() -> Recogniser:
    """Return the recogniser that comes with the package, trained on synthetic English digits.

    ``scripts/results_6_3_1.py checkpoint`` made it: 18 voices, roughened strings, seed 0. Its
    ``encoder`` is what other tasks may start from.

    Raises
    ------
    CorruptKnowledge
        The file isn't the one that the registry knows.
    """
    state = read(locate("speech-recogniser"))
    model = Recogniser()
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def _stacked(features: Tensor) -> Tensor:
    """Put four frames side by side, the last ones filled up with zeros."""
    missing = -len(features) % 4
    filled = torch.cat([features, features.new_zeros(missing, features.shape[1])])
    return filled.reshape(len(filled) // 4, -1)


def _spans(steps: int, generator: torch.Generator) -> Tensor:
    """Hide spans of two to six steps until 40 % are hidden."""
    hidden = torch.zeros(steps, dtype=torch.bool)
    while hidden.sum() < 0.4 * steps:
        length = 2 + int(torch.randint(5, (), generator=generator))
        start = int(torch.randint(steps, (), generator=generator))
        hidden[start : start + length] = True
    return hidden
