"""MiniLM read off: its attention, recomputed from its own weights by the book's functions.

Everything between a text's word pieces and its embedding is written out here in terms of
:mod:`mapping_lib.sequences`, so that the weights can be looked at, and changed, on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, normalize

from mapping_lib.lab.data import docstrings
from mapping_lib.lab.language import Encoder
from mapping_lib.mappings import Layer, linear
from mapping_lib.sequences import AttentionLayers, attention_weights, split_heads

Change = Callable[[int, Tensor], Tensor]


class Reading(NamedTuple):
    """What one text becomes on its way through an encoder.

    Attributes
    ----------
    pieces
        Its word pieces, from ``[CLS]`` to ``[SEP]``.
    ids
        Their numbers in the vocabulary, shape (time,).
    inputs
        What goes into each layer, and what comes out of the last: (layers + 1, time, width).
    weights
        Attention, after any change, (layers, heads, time, time).
    embedding
        Of the text, of length 1, shape (width,).
    """

    pieces: tuple[str, ...]
    ids: Tensor
    inputs: Tensor
    weights: Tensor
    embedding: Tensor


def attention_layers(encoder: Encoder, layer: int) -> AttentionLayers:
    """Return the four linear maps of one layer's attention.

    Parameters
    ----------
    encoder
        :func:`mapping_lib.lab.language.minilm`.
    layer
        Counted from 0.
    """
    attention: Any = encoder.network.encoder.layer[layer].attention
    inner = attention.self
    maps = (inner.query, inner.key, inner.value, attention.output.dense)
    return AttentionLayers(*(_layer(module) for module in maps))


def heads_of(encoder: Encoder) -> int:
    """Return the number of heads of each layer.

    Parameters
    ----------
    encoder
        :func:`mapping_lib.lab.language.minilm`.
    """
    return int(encoder.network.config.num_attention_heads)


@torch.no_grad()
def read(encoder: Encoder, text: str, *, change: Change | None = None) -> Reading:
    """Map a text to its embedding, step by step, with the book's attention.

    Without a change the result is that of ``encoder.sentences``, up to rounding.

    Parameters
    ----------
    encoder
        :func:`mapping_lib.lab.language.minilm`.
    text
        Not longer than ``encoder.limit`` word pieces.
    change
        Takes the number of a layer, from 0, and its weights (heads, time, time), and returns
        those to use instead.

    Raises
    ------
    ValueError
        The text is too long.
    """
    pieces = encoder.pieces(text)
    if len(pieces) > encoder.limit:
        raise ValueError(f"the text has {len(pieces)} word pieces, more than {encoder.limit}")
    ids = _ids(encoder, pieces)
    network: Any = encoder.network
    heads = heads_of(encoder)
    x = network.embeddings(ids[None])[0]
    inputs, seen = [x], []
    for number, block in enumerate(network.encoder.layer):
        layers = attention_layers(encoder, number)
        query, key, value = (split_heads(linear(x, *m), heads=heads) for m in layers[:3])
        weights = attention_weights(query, key)
        if change is not None:
            weights = change(number, weights)
        mixed = (weights @ value).transpose(-3, -2).flatten(-2)
        x = _normed(block.attention.output.LayerNorm, x + linear(mixed, *layers.output))
        wide = gelu(linear(x, *_layer(block.intermediate.dense)))
        x = _normed(block.output.LayerNorm, x + linear(wide, *_layer(block.output.dense)))
        inputs.append(x)
        seen.append(weights)
    embedding = normalize(x.mean(0), dim=0)
    return Reading(pieces, ids, torch.stack(inputs), torch.stack(seen), embedding)


@torch.no_grad()
def leave_one_out(encoder: Encoder, text: str) -> Tensor:
    """Measure what leaving out each word piece does to the embedding: one minus the cosine.

    Parameters
    ----------
    encoder
        :func:`mapping_lib.lab.language.minilm`.
    text
        At least one word.

    Returns
    -------
    Tensor
        Shape (time − 2,): ``[CLS]`` and ``[SEP]`` always stay.
    """
    ids = _ids(encoder, encoder.pieces(text))
    inner = range(1, len(ids) - 1)
    without = torch.stack([torch.cat([ids[:k], ids[k + 1 :]]) for k in inner])
    network: Any = encoder.network
    whole = network(ids[None]).last_hidden_state.mean(1)
    parts = network(without).last_hidden_state.mean(1)
    return 1 - (normalize(parts) @ normalize(whole).T).squeeze(1)


def received(weights: Tensor) -> dict[str, Tensor]:
    """Sum up how much attention each word piece receives, in four ways, without the two ends.

    Parameters
    ----------
    weights
        Shape (layers, heads, time, time), as :func:`read` gives them.

    Returns
    -------
    dict of str to Tensor
        ``"heads"``, (layers, heads, time − 2), the mean over the places that attend;
        ``"last layer"`` and ``"all layers"``, its means over heads and layers; and ``"rollout"``,
        the layers' mean attention, half of it the identity for the residual connection, multiplied
        through :cite:p:`abnar2020quantifying`; each (time − 2,).
    """
    each = weights.mean(-2)[..., 1:-1]
    time = weights.shape[-1]
    through = torch.eye(time, dtype=weights.dtype)
    for layer in weights.mean(1):
        through = (layer + torch.eye(time, dtype=weights.dtype)) / 2 @ through
    return {
        "heads": each,
        "last layer": each[-1].mean(0),
        "all layers": each.mean((0, 1)),
        "rollout": through.mean(0)[1:-1],
    }


def sample_texts(
    encoder: Encoder, count: int, *, seed: int, least: int = 8, most: int = 24
) -> list[str]:
    """Draw short texts about code: first sentences of docstrings of NumPy and SciPy.

    Samples of different seeds below the number of texts share none.

    Parameters
    ----------
    encoder
        Counts the word pieces.
    count
        Texts to draw.
    seed
        Which sample, from 0.
    least, most
        Word pieces of a text, ``[CLS]`` and ``[SEP]`` among them.

    Raises
    ------
    ValueError
        There aren't so many texts.
    """
    texts = _short_texts(encoder, least, most)
    chosen = texts[seed * count : (seed + 1) * count]
    if len(chosen) < count or count < 1:
        raise ValueError(f"sample {seed} of {count} texts is not there: there are {len(texts)}")
    return list(chosen)


@cache
def _short_texts(encoder: Encoder, least: int, most: int) -> tuple[str, ...]:
    """Return all first sentences of the right length, in one random order."""
    firsts = [text.split(". ")[0].rstrip(".") + "." for text in docstrings("scientific").texts]
    unique = list(dict.fromkeys(firsts))
    fitting = [text for text in unique if least <= len(encoder.pieces(text)) <= most]
    order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(0))
    return tuple(fitting[k] for k in order.tolist())


def _ids(encoder: Encoder, pieces: tuple[str, ...]) -> Tensor:
    numbers = vocabulary()
    return torch.tensor([numbers[piece] for piece in pieces])


@cache
def vocabulary() -> dict[str, int]:
    """Return the number of each word piece of MiniLM; common ones have small numbers."""
    import json

    from mapping_lib.lab.registry import locate

    file = json.loads(locate("minilm", "model/tokenizer.json").read_text(encoding="utf-8"))
    return dict(file["model"]["vocab"])


def _layer(module: Any) -> Layer:
    return module.weight, module.bias


def _normed(module: Any, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)
