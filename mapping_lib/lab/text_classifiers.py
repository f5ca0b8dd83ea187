"""Classify texts with a pretrained encoder: frozen, by low-rank changes, or moved as a whole.

The networks of this module take one tensor, the numbers of word pieces of a text in a row, with 0
where a text has ended; so :func:`mapping_lib.lab.training.fit` trains them as any other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils.rnn import pad_sequence

from mapping_lib._names import suggest
from mapping_lib.lab.language import Encoder
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.schedules import warm_up
from mapping_lib.lab.training import fit
from mapping_lib.parameters import add_lora, freeze, trainable

Way = Literal["head", "LoRA", "all"]

WAYS: dict[str, str] = {
    "head": "the head alone",
    "LoRA": "low-rank changes of the encoder's queries and values, and the head",
    "all": "every parameter of encoder and head",
}
"""What :func:`tune` moves."""

LORA_LAYERS = tuple(f"body.encoder.layer.*.attention.self.{name}" for name in ("query", "value"))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
MANY_UNKNOWN, MANY_PIECES = 0.1, 4.0  # of the pieces; pieces a word


@dataclass(frozen=True)
class Coverage:
    """What an encoder gets to see of some texts.

    Attributes
    ----------
    lengths
        Word pieces of each text, all of them, shape (n,).
    unknown
        The share of each text's pieces that the vocabulary doesn't have, shape (n,).
    per_word
        Pieces for each word of a text, as spaces part them, shape (n,): about 1.3 in English, more
        where words are split into letters.
    limit
        The most word pieces that are read.
    """

    lengths: Tensor
    unknown: Tensor
    per_word: Tensor
    limit: int

    @property
    def cut(self) -> Tensor:
        """Which texts are longer than the limit, shape (n,)."""
        return self.lengths > self.limit

    @property
    def unread(self) -> float:
        """The share of all word pieces that lie beyond the limit."""
        return float((self.lengths - self.limit).clamp(min=0).sum() / self.lengths.sum())

    def __repr__(self) -> str:
        cut = int(self.cut.sum())
        return (
            f"{len(self.lengths)} texts, {cut} cut after {self.limit} word pieces "
            f"({self.unread:.0%} of all pieces unread), {self.unknown.mean():.1%} unknown pieces, "
            f"{self.per_word.mean():.1f} pieces a word"
        )


def require_fitting(encoder: Encoder) -> None:
    """Require that an encoder's tokenizer is the one that its network learned with.

    A wrong one doesn't fail by itself where its numbers happen to exist: each piece then gets the
    vector of another.

    Parameters
    ----------
    encoder
        Network and tokenizer.

    Raises
    ------
    ValueError
        The tokenizer has more or fewer pieces than the network has vectors, lacks a special piece,
        or has another number for the padding.
    """
    known = encoder._tokenizer.get_vocab()
    rows = encoder.network.config.vocab_size
    if len(known) != rows:
        raise ValueError(
            f"the tokenizer has {len(known)} pieces, but the network has vectors for {rows}: they "
            "don't belong together; load both from the same folder"
        )
    if lacking := [piece for piece in SPECIAL if piece not in known]:
        raise ValueError(
            f"the tokenizer has no {', '.join(lacking)}: it isn't that of a BERT such as this one"
        )
    padding = encoder.network.config.pad_token_id
    if known["[PAD]"] != padding:
        raise ValueError(
            f"the tokenizer's [PAD] has the number {known['[PAD]']}, the network's is {padding}: "
            "they don't belong together"
        )


def coverage(encoder: Encoder, texts: Sequence[str], *, limit: int | None = None) -> Coverage:
    """Count what an encoder reads of some texts, and what it doesn't know.

    Taught in :ref:`text-classification` (section 6.2.1).

    Parameters
    ----------
    encoder
        Network and tokenizer.
    texts
        At least one.
    limit
        The most word pieces that are read, ``[CLS]`` and ``[SEP]`` among them; by default the
        encoder's.

    Raises
    ------
    TypeError, ValueError
        Not a list of strings, an empty list, a text without words, a limit that the network can't
        read, or a tokenizer that isn't the network's.

    Warns
    -----
    UserWarning
        More than a tenth of the pieces are unknown, or a word has more than four of them.
    """
    limit = _checked_limit(encoder, limit)
    pieces = _pieces(encoder, texts)
    unknown = torch.tensor([row.count("[UNK]") / max(1, len(row) - 2) for row in pieces])
    per_word = torch.tensor(
        [(len(row) - 2) / len(text.split()) for row, text in zip(pieces, texts, strict=True)]
    )
    share, split = float(unknown.mean()), float(per_word.mean())
    if share > MANY_UNKNOWN or split > MANY_PIECES:
        warnings.warn(
            f"{share:.0%} of the word pieces are unknown to this encoder, and a word has "
            f"{split:.1f} of them: is it another language or script than the encoder learned?",
            UserWarning,
            stacklevel=2,
        )
    return Coverage(torch.tensor([len(row) for row in pieces]), unknown, per_word, limit)


def piece_ids(
    encoder: Encoder, texts: Sequence[str], *, limit: int | None = None, cut: bool = False
) -> Tensor:
    """Map texts to the numbers of their word pieces, shape (n, time), with 0 after the end.

    Parameters
    ----------
    encoder, texts, limit
        As :func:`coverage` takes them.
    cut
        Whether long texts are meant to be cut; the last piece that is read is then ``[SEP]``.

    Raises
    ------
    TypeError, ValueError
        As :func:`coverage` raises them.

    Warns
    -----
    UserWarning
        A text is longer than the limit, and `cut` is false: it is cut all the same.
    """
    limit = _checked_limit(encoder, limit)
    known = encoder._tokenizer.get_vocab()
    pieces = _pieces(encoder, texts)
    long = [place for place, row in enumerate(pieces) if len(row) > limit]
    if long and not cut:
        worst = max(long, key=lambda place: len(pieces[place]))
        warnings.warn(
            f"{len(long)} of {len(texts)} texts have more than {limit} word pieces; what comes "
            f"after isn't read (the longest, texts[{worst}], has {len(pieces[worst])}). Split "
            "them, raise the limit, or pass cut=True if that is meant",
            UserWarning,
            stacklevel=2,
        )
    read = [row if len(row) <= limit else (*row[: limit - 1], row[-1]) for row in pieces]
    rows = [torch.tensor([known[piece] for piece in row]) for row in read]
    return pad_sequence(rows, batch_first=True, padding_value=known["[PAD]"])


class TextNetwork(nn.Module):
    """A pretrained encoder and a linear head on the mean of its word pieces, scaled to length 1.

    Parameters
    ----------
    encoder
        Its network is copied, so that it stays as it is.
    classes
        Number of classes.
    seed
        Draws the head.

    Attributes
    ----------
    body, head
        The encoder's network, and a linear layer.
    """

    def __init__(self, encoder: Encoder, classes: int, *, seed: int = 0) -> None:
        super().__init__()
        require_fitting(encoder)
        self.body = deepcopy(encoder.network)
        with seeded(seed):
            self.head = nn.Linear(encoder.width, classes)

    def features(self, ids: Tensor) -> Tensor:
        """Map word pieces (n, time) to unit vectors (n, width)."""
        mask = ids != 0
        ids, mask = ids[:, : int(mask.sum(1).max())], mask[:, : int(mask.sum(1).max())]
        states = self.body(ids, attention_mask=mask.long()).last_hidden_state
        return normalize((states * mask.unsqueeze(2)).sum(1))  # the sum points as the mean does

    def forward(self, ids: Tensor) -> Tensor:
        """Map word pieces (n, time) to logits (n, classes)."""
        logits: Tensor = self.head(self.features(ids))
        return logits


class BagOfPieces(nn.Module):
    """A small network from scratch: the mean of learned vectors of word pieces, and a head.

    The model of :cite:t:`joulin2017bag`, without its pairs of words.

    Parameters
    ----------
    pieces
        Size of the vocabulary.
    classes
        Number of classes.
    width
        Features of a piece.
    seed
        Draws the first weights.
    """

    def __init__(self, pieces: int, classes: int, *, width: int = 64, seed: int = 0) -> None:
        super().__init__()
        with seeded(seed):
            self.body = nn.EmbeddingBag(pieces, width, mode="mean", padding_idx=0)
            self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Map word pieces (n, time) to logits (n, classes)."""
        logits: Tensor = self.head(self.body(ids))
        return logits


@torch.no_grad()
def embeddings(network: TextNetwork, ids: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return the features of all rows, in eval mode, where the rows are.

    Parameters
    ----------
    network
        Left in the mode it was in.
    ids
        Word pieces (n, time).
    batch_size
        Texts at a time, those of about the same length together.
    """
    place = next(network.parameters()).device
    was_training = network.training
    network.eval()
    order = (ids != 0).sum(1).argsort(descending=True)
    found = [network.features(ids[rows].to(place)).to(ids.device) for rows in
             torch.split(order, batch_size)]  # fmt: skip
    network.train(was_training)
    return torch.cat(found)[order.argsort()]


def solved_head(features: Tensor, labels: Tensor, classes: int, *, strength: float) -> nn.Linear:
    """Return the linear layer that solves a logistic regression.

    Parameters
    ----------
    features
        Shape (n, d).
    labels
        Shape (n,), each class among them.
    classes
        Number of classes.
    strength
        scikit-learn's C: one over the weight of the penalty.

    Raises
    ------
    ValueError
        A class has no example.
    """
    from sklearn.linear_model import LogisticRegression

    if missing := sorted(set(range(classes)) - set(labels.tolist())):
        raise ValueError(f"there is no example of class {missing[0]}; each class needs one")
    solver = LogisticRegression(C=strength, max_iter=5000)
    solver.fit(features.cpu().numpy(), labels.cpu().numpy())
    weight, bias = torch.as_tensor(solver.coef_), torch.as_tensor(solver.intercept_)
    if len(weight) == 1:  # two classes, one logit: half of it for one, half against the other
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = nn.Linear(features.shape[1], classes)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def tune(
    network: TextNetwork,
    ids: Tensor,
    labels: Tensor,
    *,
    way: Way,
    rate: float,
    steps: int,
    batch_size: int = 16,
    rank: int = 8,
    head_rate: float = 1e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> TextNetwork:
    """Train a network in place by AdamW, with a rate that rises for a tenth of the steps and falls.

    Taught in :ref:`text-classification` (section 6.2.1).

    Parameters
    ----------
    network
        What isn't trained is frozen.
    ids, labels
        Word pieces (n, time), and classes (n,).
    way
        ``"head"``, ``"LoRA"`` or ``"all"``, see :data:`WAYS`.
    rate
        The largest rate of what is trained beside the head.
    steps
        How many; the examples are gone through as often as that takes.
    batch_size
        Examples a step.
    rank
        Of the low-rank changes.
    head_rate
        The largest rate of the head.
    seed
        For the low-rank changes, the order of the examples, and dropout.
    device
        Where to train.

    Raises
    ------
    ValueError
        An unknown way, or whatever :func:`mapping_lib.lab.training.fit` refuses.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}, not {way!r}{suggest(way, WAYS)}")
    generator = torch.Generator().manual_seed(seed)
    if way != "all":
        freeze(network, "body")
    if way == "LoRA":
        add_lora(network, LORA_LAYERS, rank=rank, generator=generator)
    network.to(device)
    head = list(network.head.parameters())
    body = [p for p in trainable(network) if all(p is not q for q in head)]
    groups = [{"params": body, "lr": rate}, {"params": head, "lr": head_rate}]
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up(steps))
    optimiser.register_step_post_hook(lambda *_: schedule.step())
    rows: list[Tensor] = []
    while len(rows) < steps:
        rows += torch.split(torch.randperm(len(ids), generator=generator), batch_size)
    batches = [(ids[part], labels[part]) for part in rows[:steps]]
    fit(
        network, cross_entropy, batches, epochs=1, optimiser=optimiser, seed=seed, device=device,
        progress=False,
    )  # fmt: skip
    network.eval()
    return network


def _pieces(encoder: Encoder, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all word pieces of each text; name the text that has none."""
    require_fitting(encoder)
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise TypeError(f"texts must be a list of strings, got {type(texts).__name__}")
    if len(texts) == 0:
        raise ValueError("there are no texts to encode")
    found = []
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{place}] must be a string, got {text!r}")
        if not text.strip():
            raise ValueError(f"texts[{place}] is empty: {text!r}; leave it out")
        found.append(encoder.pieces(text))
    return found


def _checked_limit(encoder: Encoder, limit: int | None) -> int:
    limit = encoder.limit if limit is None else limit
    most = encoder.network.config.max_position_embeddings
    if not isinstance(limit, int) or not 3 <= limit <= most:
        raise ValueError(
            f"limit must be a whole number from 3 to {most}, the positions that the network has, "
            f"got {limit!r}"
        )
    return limit
