"""A pretrained sentence encoder: from text to word pieces, embeddings and attentions.

transformers takes seconds to import, so that happens when an encoder is loaded, not before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from mapping_lib.lab.machine import shows_progress
from mapping_lib.lab.registry import locate

if TYPE_CHECKING:
    import tokenizers
    import transformers


@dataclass(frozen=True)
class Tokens:
    """The word pieces of one text and what the encoder makes of each.

    Attributes
    ----------
    pieces
        From ``[CLS]`` to ``[SEP]``; one that goes on with a word starts with ``##``.
    embeddings
        Shape (time, width), each piece in the context of the others.
    """

    pieces: tuple[str, ...]
    embeddings: Tensor

    def __repr__(self) -> str:
        return f"Tokens({len(self.pieces)} pieces, {self.embeddings.shape[1]} features)"


@dataclass(frozen=True)
class Attentions:
    """The word pieces of one text and how much each attends to each.

    Attributes
    ----------
    pieces
        As those of :class:`Tokens`.
    weights
        Shape (layers, heads, time, time). A row belongs to the piece that attends, a column to the
        one attended to; each row has the sum 1.
    """

    pieces: tuple[str, ...]
    weights: Tensor

    def __repr__(self) -> str:
        layers, heads, *_ = self.weights.shape
        return f"Attentions({len(self.pieces)} pieces, {layers} layers of {heads} heads)"


class Encoder:
    """A mapping from English text to unit vectors, and from its word pieces to vectors.

    A text of more than ``limit`` word pieces is cut off, not refused: the rest isn't read.
    ``len(encoder.pieces(text)) > encoder.limit`` says whether that happens.

    Attributes
    ----------
    network
        The transformer. ``network.to(…)`` moves the encoder to another device.
    limit
        The most word pieces that are read, ``[CLS]`` and ``[SEP]`` among them.
    """

    limit = 256  # what its authors chose; the network has positions for 512

    def __init__(self, network: transformers.BertModel, tokenizer: tokenizers.Tokenizer) -> None:
        self.network = network
        self._tokenizer = tokenizer

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.network.config.hidden_size)

    def pieces(self, text: str) -> tuple[str, ...]:
        """Split a text into word pieces: all of them, also those beyond the limit.

        Parameters
        ----------
        text
            Capitals and accents make no difference.

        Raises
        ------
        TypeError, ValueError
            Not a string, or one without words.
        """
        _check_text("text", text)
        return tuple(self._tokenizer.encode(text).tokens)

    def sentences(
        self, texts: Sequence[str], *, batch_size: int = 32, progress: bool | None = None
    ) -> Tensor:
        """Map texts to embeddings of length 1, shape (n, width).

        The embedding of a text is the mean of those of its word pieces, scaled to length 1, so
        that the product of two is the cosine of their angle :cite:p:`reimers2019sentence`.

        Parameters
        ----------
        texts
            At least one; each is cut off after ``limit`` word pieces.
        batch_size
            Texts at a time; doesn't change the result beyond rounding.
        progress
            Whether to show a bar; by default as :func:`mapping_lib.lab.training.fit` does.

        Raises
        ------
        TypeError, ValueError
            Not a list of strings, an empty list, or a text without words.
        """
        _check_texts(texts)
        means = torch.empty(len(texts), self.width)
        for place, tokens in self._read(texts, batch_size, progress):
            means[place] = tokens.embeddings.mean(0)
        return torch.nn.functional.normalize(means)

    def tokens(
        self, texts: Sequence[str], *, batch_size: int = 32, progress: bool | None = None
    ) -> list[Tokens]:
        """Map texts to their word pieces and the embedding of each.

        Parameters
        ----------
        texts, batch_size, progress
            As :meth:`sentences` takes them.

        Raises
        ------
        TypeError, ValueError
            As :meth:`sentences` raises them.
        """
        _check_texts(texts)
        found = dict(self._read(texts, batch_size, progress))
        return [found[place] for place in range(len(texts))]

    def attentions(self, text: str) -> Attentions:
        """Map a text to its word pieces and their attention to each other, in every head.

        Parameters
        ----------
        text
            Cut off after ``limit`` word pieces.

        Raises
        ------
        TypeError, ValueError
            Not a string, or one without words.
        """
        _check_text("text", text)
        pieces, ids = self._encode(text)
        weights = self._run([ids], output_attentions=True).attentions
        return Attentions(pieces, torch.cat(weights).cpu())  # one (1, heads, time, time) a layer

    def _encode(self, text: str) -> tuple[tuple[str, ...], Tensor]:
        """Return the word pieces that are read, and their numbers."""
        encoded = self._tokenizer.encode(text)
        read = [*range(len(encoded))]
        if len(encoded) > self.limit:  # the last is [SEP]
            read = [*read[: self.limit - 1], read[-1]]
        return tuple(encoded.tokens[k] for k in read), torch.tensor(encoded.ids)[read]

    def _read(
        self, texts: Sequence[str], batch_size: int, progress: bool | None
    ) -> Iterator[tuple[int, Tokens]]:
        """Yield each text's place and tokens, the longest text first.

        Texts of about the same length share a batch, so that little is padded.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        encoded = [self._encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: -len(encoded[place][1]))
        starts = range(0, len(order), batch_size)
        for start in tqdm(starts, desc="texts", leave=False, disable=not shows_progress(progress)):
            batch = order[start : start + batch_size]
            outputs = self._run([encoded[place][1] for place in batch]).last_hidden_state.cpu()
            for place, output in zip(batch, outputs, strict=True):
                pieces = encoded[place][0]
                yield place, Tokens(pieces, output[: len(pieces)].clone())  # without the padding

    @torch.no_grad()
    def _run(self, batch: list[Tensor], *, output_attentions: bool = False) -> Any:
        """Give padded texts to the network in eval mode; leave it in the mode it was in."""
        ids = pad_sequence(batch, batch_first=True)  # with 0, which is [PAD]
        mask = pad_sequence([torch.ones_like(row) for row in batch], batch_first=True)
        device = self.network.device
        was_training = self.network.training
        self.network.train(False)
        try:
            return self.network(
                ids.to(device), attention_mask=mask.to(device), output_attentions=output_attentions
            )
        finally:
            self.network.train(was_training)


def minilm() -> Encoder:
    """Return all-MiniLM-L6-v2 :cite:p:`wang2020minilm`, a sentence encoder for English.

    Six layers of twelve heads, 384 features, 30,522 word pieces. They are those of English without
    capitals and accents, so it is weak on names and on other languages. Each call reads the files
    anew: training one encoder changes no other.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge
        The package with its files isn't installed, or a file isn't the right one.

    Examples
    --------
    >>> encoder = minilm()
    >>> encoder.pieces("Transfer of embeddings")
    ('[CLS]', 'transfer', 'of', 'em', '##bed', '##ding', '##s', '[SEP]')
    >>> a, b, c = encoder.sentences(["A cat sleeps.", "The kitten naps.", "Stocks fell."])
    >>> bool(a @ b > 0.5 > a @ c)
    True
    """
    config, weights, vocabulary = (
        locate("minilm", f"model/{name}")
        for name in ("config.json", "model.safetensors", "tokenizer.json")
    )
    # Each file is read by itself: from_pretrained would read any others beside them, unchecked.
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    settings = json.loads(config.read_text(encoding="utf-8"))
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, then replaced
        # eager: the faster ways of attending don't give their weights
        network = BertModel(BertConfig.from_dict(settings, attn_implementation="eager"))
    state = load_file(weights)
    del state["embeddings.position_ids"]  # 0, 1, 2, …: the network makes them itself
    network.load_state_dict(state, strict=True)
    tokenizer = Tokenizer.from_file(str(vocabulary))
    tokenizer.no_truncation()  # the file says 128
    tokenizer.no_padding()
    return Encoder(network.train(False), tokenizer)


def _check_texts(texts: Sequence[str]) -> None:
    """Require a list of strings with words in them."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise TypeError(
            f"texts must be a list of strings, got {type(texts).__name__}; "
            "write [text] for a single one, list(texts) for a column of a table"
        )
    if len(texts) == 0:
        raise ValueError("there are no texts to encode")
    for place, text in enumerate(texts):
        _check_text(f"texts[{place}]", text)


def _check_text(name: str, text: str) -> None:
    """Require a string with a word in it."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {text!r}")
    if not text.strip():
        raise ValueError(f"{name} is empty: {text!r}; leave it out")
