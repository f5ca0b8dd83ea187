"""Taggers of words: MiniLM's vectors, characters, a head, and a conditional random field on top.

transformers takes seconds to import, so that happens when an encoder is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from mapping_lib._names import suggest
from mapping_lib.lab.data.types import TaggedSentences
from mapping_lib.lab.entities import bio_rules
from mapping_lib.lab.language import Encoder
from mapping_lib.lab.machine import seeded, shows_progress
from mapping_lib.lab.registry import locate
from mapping_lib.tagging import crf_loss, viterbi

NEVER = -10_000.0  # the score of a forbidden step
if TYPE_CHECKING:
    import tokenizers

BUCKETS = 512  # for pieces of words
SHAPES = 8


def character_features(word: str) -> Tensor:
    """Describe a word by its letters alone, shape (520,): what an uncased encoder doesn't see.

    Eight say something of its shape: whether it begins with a capital, is all capitals, has a
    capital inside, a digit, a hyphen, a sign before it (@ or #), no letters at all, or one letter
    only. The others count the pieces of two and three characters and the whole word, in lower
    case and with marks at both ends, each in a bucket by its hash.

    Parameters
    ----------
    word
        Not empty.

    Examples
    --------
    >>> character_features("McKay")[:8].int().tolist()
    [1, 0, 1, 0, 0, 0, 0, 0]
    >>> bool((character_features("US")[8:] == character_features("us")[8:]).all())
    True
    """
    shape = [
        word[0].isupper(),
        word.isupper() and len(word) > 1,
        any(letter.isupper() for letter in word[1:]) and not word.isupper(),
        any(letter.isdigit() for letter in word),
        "-" in word[1:],
        word[0] in "@#" and len(word) > 1,
        not any(letter.isalnum() for letter in word),
        len(word) == 1,
    ]
    marked = f"<{word.lower()}>"
    pieces = [marked[k : k + size] for size in (2, 3) for k in range(len(marked) - size + 1)]
    buckets = torch.tensor([crc32(piece.encode()) % BUCKETS for piece in {*pieces, marked}])
    return torch.cat([torch.tensor(shape).float(), buckets.bincount(minlength=BUCKETS).float()])


@dataclass(frozen=True)
class Batch:
    """Padded sentences.

    Attributes
    ----------
    mask
        Where there is a word, booleans ``(n, time)``.
    tags
        Numbers of the tags ``(n, time)``; 0 in the padding.
    ids, first
        The encoder's word pieces ``(n, pieces)``, 0 in the padding, and the place of the first
        piece of each word ``(n, time)``; of a word that isn't read, that of ``[CLS]``.
    vectors
        The encoder's vectors of the words, if they are frozen.
    characters
        :func:`character_features` of the words, if they are used.
    """

    mask: Tensor
    tags: Tensor
    ids: Tensor
    first: Tensor
    vectors: Tensor | None
    characters: Tensor | None


class Words:
    """Sentences in the form that a tagger takes: everything that needs computing only once.

    Parameters
    ----------
    data
        Sentences with tags.
    labels
        All tags; those of the data are among them.
    encoder
        Whose frozen vectors to compute; None for a tagger without, or with an encoder of its own.
    device
        Where to keep it.

    Raises
    ------
    ValueError
        The data have a tag that isn't among the labels.
    """

    limit = 256  # word pieces of a sentence that are read, as language.Encoder reads them

    def __init__(
        self,
        data: TaggedSentences,
        labels: Sequence[str],
        *,
        encoder: Encoder | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        known = {tag for row in data.tags for tag in row}
        if unknown := sorted(known - set(labels)):
            raise ValueError(f"unknown tag {unknown[0]!r}{suggest(unknown[0], list(labels))}")
        self.data, self.labels, self.device = data, tuple(labels), torch.device(device)
        number = {label: k for k, label in enumerate(labels)}
        self._tags = [torch.tensor([number[tag] for tag in row]) for row in data.tags]
        self._pieces = [_pieces(sentence, self.limit) for sentence in data.sentences]
        vocabulary = sorted({word for sentence in data.sentences for word in sentence})
        place = {word: k for k, word in enumerate(vocabulary)}
        self._words = [torch.tensor([place[word] for word in row]) for row in data.sentences]
        self._table = torch.stack([character_features(word) for word in vocabulary]).to(device)
        self._vectors: list[Tensor] | None = None
        if encoder is not None:
            self._vectors = self._frozen(encoder)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Words({self.data!r})"

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return some of the sentences, padded.

        Parameters
        ----------
        rows
            Their numbers.
        """
        tags, words, first = (
            pad_sequence([column[row] for row in rows], batch_first=True).to(self.device)
            for column in (self._tags, self._words, [found[1] for found in self._pieces])
        )
        lengths = torch.tensor([len(self._tags[row]) for row in rows], device=self.device)
        ids = pad_sequence([self._pieces[row][0] for row in rows], batch_first=True)
        vectors = None
        if self._vectors is not None:
            vectors = pad_sequence([self._vectors[row] for row in rows], batch_first=True)
        mask = torch.arange(tags.shape[1], device=self.device) < lengths[:, None]
        characters = self._table[words] * mask[..., None]
        return Batch(mask, tags, ids.to(self.device), first, vectors, characters)

    @torch.no_grad()
    def _frozen(self, encoder: Encoder) -> list[Tensor]:
        """Compute the vectors of all words, sentences of about the same length together."""
        order = sorted(range(len(self)), key=lambda row: len(self._pieces[row][0]))
        found: dict[int, Tensor] = {}
        network = encoder.network.train(False)
        nn.Module.to(network, self.device)
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            batch = self.batch(rows)
            for row, vectors, mask in zip(rows, _read(network, batch), batch.mask, strict=True):
                found[row] = vectors[mask].clone()
        return [found[row] for row in range(len(self))]


class Tagger(nn.Module):
    """A head on what is known of each word, with a conditional random field or without.

    Parameters
    ----------
    labels
        All tags, in BIO.
    width
        Of the encoder's vectors; 0 for a tagger without an encoder.
    characters
        Whether to use :func:`character_features`.
    window
        How many neighbours to either side have their characters used, too.
    crf
        Whether tags are scored together; otherwise each word is classified by itself.
    hidden
        Width of the hidden layer.
    encoder
        A network of its own, to be trained with the head; None for frozen vectors.
    seed
        Of the first weights.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        width: int = 384,
        characters: bool = False,
        window: int = 0,
        crf: bool = True,
        hidden: int = 128,
        encoder: nn.Module | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.labels, self.width, self.crf = tuple(labels), width, crf
        self.characters, self.window, self.encoder = characters, window, encoder
        inputs = width + (SHAPES + BUCKETS) * (2 * window + 1) * characters
        with seeded(seed):
            self.head = nn.Sequential(
                nn.Linear(inputs, hidden),
                nn.GELU(),
                nn.Dropout(0.2),
                nn.Linear(hidden, len(labels)),
            )
        after, first = bio_rules(labels)
        self.transitions = nn.Parameter(torch.zeros(len(labels), len(labels)))
        self.start = nn.Parameter(torch.zeros(len(labels)))
        self.end = nn.Parameter(torch.zeros(len(labels)))
        self.register_buffer("after", after)
        self.register_buffer("first", first)

    def forward(self, batch: Batch) -> Tensor:
        """Return the scores of each tag at each word, ``(n, time, K)``."""
        parts = []
        if self.encoder is not None:
            parts.append(_read(self.encoder, batch))
        elif self.width:
            if batch.vectors is None:
                raise ValueError("the words have no vectors: make them with Words(…, encoder=…)")
            parts.append(batch.vectors)
        if self.characters:
            assert batch.characters is not None
            parts += [_shifted(batch.characters, k) for k in range(-self.window, self.window + 1)]
        scores: Tensor = self.head(torch.cat(parts, 2))
        return scores

    def rules(self) -> dict[str, Tensor]:
        """Return transitions, start and end of the field; steps that BIO forbids cost too much."""
        assert isinstance(self.after, Tensor)
        assert isinstance(self.first, Tensor)
        return {
            "transitions": self.transitions.masked_fill(~self.after, NEVER),
            "start": self.start.masked_fill(~self.first, NEVER),
            "end": self.end,
        }

    def loss(self, batch: Batch) -> Tensor:
        """Return the negative log-likelihood a sentence (with a field) or a word (without)."""
        scores = self(batch)
        if self.crf:
            return crf_loss(scores, batch.tags, mask=batch.mask, **self.rules())
        return cross_entropy(scores[batch.mask], batch.tags[batch.mask])

    @torch.no_grad()
    def tag(self, words: Words, *, batch_size: int = 64) -> list[list[str]]:
        """Predict the tags of sentences, without dropout.

        Parameters
        ----------
        words
            The sentences; their own tags aren't looked at.
        batch_size
            Sentences at a time.
        """
        training = self.training
        self.train(False)
        order = sorted(range(len(words)), key=lambda row: len(words.data.sentences[row]))
        found: dict[int, list[str]] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = words.batch(rows)
            scores = self(batch)
            if self.crf:
                best = viterbi(scores, mask=batch.mask, **self.rules())
            else:
                best = scores.argmax(2)
            for row, tags, mask in zip(rows, best.cpu(), batch.mask.cpu(), strict=True):
                found[row] = [self.labels[k] for k in tags[mask].tolist()]
        self.train(training)
        return [found[row] for row in range(len(words))]


def train_tagger(
    tagger: Tagger,
    words: Words,
    *,
    steps: int,
    rate: float = 0.002,
    encoder_rate: float = 0.0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> Tagger:
    """Train a tagger with Adam, the rate falling in a line to 0.

    Parameters
    ----------
    tagger
        Changed in place, and returned.
    words
        What to learn from.
    steps
        Number of steps, each on a batch; the sentences come in a new order each time round.
    rate, encoder_rate
        Of the head and the field, and of the encoder's parameters that require a gradient.
    batch_size
        Sentences a step.
    seed
        Of the order and of dropout.
    progress
        Whether to show a bar; by default as :func:`mapping_lib.lab.training.fit` does.

    Raises
    ------
    ValueError
        The words have other labels than the tagger.
    """
    if words.labels != tagger.labels:
        raise ValueError(f"the tagger knows {tagger.labels}, the words {words.labels}")
    inner = [p for p in tagger.encoder.parameters() if p.requires_grad] if tagger.encoder else []
    outer = [p for p in tagger.parameters() if all(p is not q for q in inner) and p.requires_grad]
    groups = [{"params": outer, "lr": rate}]
    if inner:
        groups.append({"params": inner, "lr": encoder_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    tagger.train()
    with seeded(seed):
        for rows in tqdm(
            islice(_rows([len(row) for row in words.data.tags], batch_size), steps),
            total=steps,
            leave=False,
            disable=not shows_progress(progress),
        ):
            optimiser.zero_grad()
            loss = tagger.loss(words.batch(rows))
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(tagger.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    return tagger.eval()


def _rows(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the numbers of sentences, in a new order each time round.

    Sentences of about the same length share a batch, so that little is padded: eight batches are
    drawn at a time, sorted, cut, and given in any order.
    """
    while True:
        order = torch.randperm(len(lengths)).tolist()
        for start in range(0, len(order), 8 * size):
            drawn = sorted(order[start : start + 8 * size], key=lengths.__getitem__)
            cut = [drawn[k : k + size] for k in range(0, len(drawn), size)]
            yield from (cut[k] for k in torch.randperm(len(cut)).tolist())


def _shifted(features: Tensor, by: int) -> Tensor:
    """Return the features of a neighbour, 0 beyond the ends."""
    if by == 0:
        return features
    shifted = features.roll(by, 1)
    shifted[:, slice(0, by) if by > 0 else slice(by, None)] = 0
    return shifted


def _read(network: nn.Module, batch: Batch) -> Tensor:
    """Return the encoder's vector of each word: that of its first piece."""
    mask = (batch.ids != 0).long()
    hidden: Tensor = network(batch.ids, attention_mask=mask).last_hidden_state
    place = batch.first[..., None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, place) * batch.mask[..., None]


@cache
def _tokenizer() -> tokenizers.Tokenizer:
    """Return MiniLM's tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(locate("minilm", "model/tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _pieces(sentence: Sequence[str], limit: int) -> tuple[Tensor, Tensor]:
    """Return numbers of a sentence's word pieces, and the place of each word's first one."""
    encoded = _tokenizer().encode(list(sentence), is_pretokenized=True)
    read = encoded.ids if len(encoded) <= limit else [*encoded.ids[: limit - 1], encoded.ids[-1]]
    first = torch.zeros(len(sentence), dtype=torch.long)
    for place in range(min(len(encoded), limit - 1) - 1, 0, -1):
        if encoded.word_ids[place] is not None:
            first[encoded.word_ids[place]] = place
    return torch.tensor(read), first
