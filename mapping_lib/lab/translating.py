"""A small translator: vocabulary, Transformer built from the book's attention, training, decoding.

Sources and targets share one vocabulary and one table of embeddings, so that everything learned
from one pair of languages can be carried over to another::

    vocabulary = characters(names.sources, names.targets)
    translator = Translator(len(vocabulary), seed=0)
    teach(translator, vocabulary, names.sources, names.targets, Course(steps=300))
    translate(translator, vocabulary, ["Iceland"])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as torch_linear
from torch.nn.functional import scaled_dot_product_attention
from tqdm import tqdm

from mapping_lib.lab import machine
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.machine import seeded, shows_progress
from mapping_lib.sequences import (
    AttentionLayers,
    attention_weights,
    multi_head_attention,
    sinusoidal_positions,
    smoothed_cross_entropy,
    split_heads,
)

PAD, START, END, UNKNOWN = range(4)
"""Numbers of the four symbols that are no text."""

SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
"""Names of these symbols."""

LONGEST = 512
"""Symbols of the longest text that a translator takes."""

Rows = Literal["equal", "random", "new"]


@dataclass(frozen=True)
class Vocabulary:
    """Symbols, and how a text is cut into them.

    Attributes
    ----------
    symbols
        The four special ones first.
    cut
        From a text to its symbols; by default to its characters.
    joined
        From symbols back to a text.
    """

    symbols: tuple[str, ...]
    cut: Callable[[str], list[str]] = field(default_factory=lambda: list)
    joined: Callable[[Sequence[str]], str] = field(default_factory=lambda: "".join)
    numbers: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.symbols[:4] != SPECIAL or len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols must begin with {', '.join(SPECIAL)}, each standing once")
        object.__setattr__(self, "numbers", {s: k for k, s in enumerate(self.symbols)})

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the numbers of each text's symbols, ``<end>`` behind them, padded, (n, time).

        Parameters
        ----------
        texts
            At least one; what isn't in the vocabulary becomes ``<unknown>``.

        Raises
        ------
        ValueError
            There is no text, one is empty, or one is too long.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError("texts must be a list of at least one string")
        rows = [[self.numbers.get(s, UNKNOWN) for s in self.cut(text)] + [END] for text in texts]
        for number, row in enumerate(rows):
            if len(row) == 1:
                raise ValueError(f"text {number} is empty: leave it out")
            if len(row) > LONGEST:
                raise ValueError(
                    f"text {number} has {len(row)} symbols, more than {LONGEST}: cut it into "
                    "sentences"
                )
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    def decode(self, ids: Tensor) -> list[str]:
        """Return the texts of rows of numbers, each up to its first ``<end>``.

        Parameters
        ----------
        ids
            Shape (n, time).
        """
        texts = []
        for row in ids.tolist():
            row = row[: row.index(END)] if END in row else row
            texts.append(self.joined([self.symbols[k] for k in row if k > UNKNOWN]))
        return texts

    def unknown(self, texts: Sequence[str]) -> set[str]:
        """Return the symbols of texts that aren't in the vocabulary.

        Parameters
        ----------
        texts
            Any number.
        """
        return {symbol for text in texts for symbol in self.cut(text)} - set(self.numbers)


def characters(*texts: Sequence[str]) -> Vocabulary:
    """Return the vocabulary of all characters of some texts, in order of their code.

    Parameters
    ----------
    texts
        Lists of texts, such as sources and targets.

    Examples
    --------
    >>> characters(["Fiji"], ["Fidji"]).symbols[4:]
    ('F', 'd', 'i', 'j')
    """
    return Vocabulary(SPECIAL + tuple(sorted({c for some in texts for text in some for c in text})))


def word_pieces(*texts: Sequence[str], size: int) -> Vocabulary:
    """Learn a vocabulary of pieces of words by byte-pair encoding.

    Begins with characters, and joins again and again the two neighbours that are most often side
    by side within words :cite:p:`sennrich2016neural`.

    Parameters
    ----------
    texts
        Lists of texts to learn from: training texts only.
    size
        Symbols to stop at, the special ones among them.

    Raises
    ------
    ValueError
        There is nothing to learn from.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    flat = [text for some in texts for text in some]
    if not any(map(str.strip, flat)):
        raise ValueError("there are no texts to learn pieces from")
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(flat, trainer)
    numbers = tokenizer.get_vocab()
    return Vocabulary(
        tuple(sorted(numbers, key=lambda piece: numbers[piece])),
        cut=lambda text: list(tokenizer.encode(text).tokens),
        joined=lambda pieces: "".join(pieces).replace("▁", " ").strip(),
    )


class Attend(nn.Module):
    """Multi-head attention of the book, with weights to train.

    Parameters
    ----------
    width
        Features of both sequences.
    heads
        A divisor of them.
    fused
        Whether torch computes it in one kernel: the same map, faster on a GPU, without checks.
    """

    def __init__(self, width: int, heads: int, *, fused: bool = False) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.heads, self.fused = heads, fused

    @property
    def layers(self) -> AttentionLayers:
        """The four linear maps."""
        modules = (self.query, self.key, self.value, self.output)
        return AttentionLayers(*((module.weight, module.bias) for module in modules))

    def forward(self, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Let the target (n, t, width) attend to the source (n, m, width)."""
        if not self.fused:
            return multi_head_attention(source, target, self.layers, heads=self.heads, mask=mask)
        query = self._split(self.query(target))
        key, value = (self._split(module(source)) for module in (self.key, self.value))
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return mixed

    def weights(self, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return how much each place of the target attends to each of the source, by head."""
        query, key = self.query(target), self.key(source)
        split = (split_heads(sequence, heads=self.heads) for sequence in (query, key))
        return attention_weights(*split, mask=mask)

    def _split(self, sequence: Tensor) -> Tensor:
        n, time, width = sequence.shape
        return sequence.view(n, time, self.heads, width // self.heads).transpose(1, 2)


class Block(nn.Module):
    """Self-attention, attention to the memory in a decoder, and two layers at each place.

    Each part sees its input normalised and is added to it.

    Parameters
    ----------
    width, heads, fused
        Of the attention.
    dropout
        Share of features dropped before each addition.
    decoder
        Whether it attends to a memory as well.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float, decoder: bool, fused: bool = False
    ) -> None:
        super().__init__()
        self.itself = Attend(width, heads, fused=fused)
        self.memory = Attend(width, heads, fused=fused) if decoder else None
        self.places = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if decoder else 2))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        watch: list[Tensor] | None = None,
    ) -> Tensor:
        """Map (n, time, width) to the same shape; `watch` collects attention to the memory."""
        normed = self.norms[0](x)
        x = x + self.dropout(self.itself(normed, normed, mask))
        if self.memory is not None:
            assert memory is not None
            assert memory_mask is not None
            normed = self.norms[1](x)
            if watch is not None:
                watch.append(self.memory.weights(memory, normed, memory_mask))
            x = x + self.dropout(self.memory(memory, normed, memory_mask))
        added: Tensor = x + self.dropout(self.places(self.norms[-1](x)))
        return added


class Translator(nn.Module):
    """Encoder and decoder of a Transformer, one table of embeddings for all that it reads and says.

    Parameters
    ----------
    symbols
        Size of the vocabulary.
    width, heads, layers
        Features of each place, heads of each attention, blocks in the encoder and in the decoder.
    dropout
        In training.
    fused
        As :class:`Attend` takes it.
    seed
        Draws the first weights, and nothing else.
    """

    positions: Tensor

    def __init__(
        self,
        symbols: int,
        *,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.1,
        fused: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {
            "width": width,
            "heads": heads,
            "layers": layers,
            "dropout": dropout,
            "fused": fused,
        }
        with seeded(seed):
            self.table = nn.Embedding(symbols, width)
            nn.init.normal_(self.table.weight, std=width**-0.5)
            self.encoder, self.decoder = (
                nn.ModuleList(
                    Block(width, heads, dropout=dropout, decoder=decoder, fused=fused)
                    for _ in range(layers)
                )
                for decoder in (False, True)
            )
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("positions", sinusoidal_positions(LONGEST, width), persistent=False)

    def encode(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Map numbers (n, m) to a memory (n, m, width) and the mask of what isn't padding."""
        mask = (sources != PAD)[:, None, None, :]
        x = self._embedded(sources)
        for block in self.encoder:
            x = block(x, mask)
        return self.norms[0](x), mask

    def decode(
        self,
        memory: Tensor,
        mask: Tensor,
        targets: Tensor,
        watch: list[Tensor] | None = None,
    ) -> Tensor:
        """Map the numbers said so far (n, t) to logits of what comes next at each, (n, t, K)."""
        time = targets.shape[1]
        past = torch.ones(time, time, dtype=torch.bool, device=targets.device).tril()
        x = self._embedded(targets)
        for block in self.decoder:
            x = block(x, past, memory, mask, watch)
        return torch_linear(self.norms[1](x), self.table.weight)

    def forward(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Map sources (n, m) and what precedes each symbol of the targets (n, t) to logits."""
        return self.decode(*self.encode(sources), targets)

    def _embedded(self, ids: Tensor) -> Tensor:
        width = self.table.embedding_dim
        x = math.sqrt(width) * self.table(ids) + self.positions[: ids.shape[1]]
        dropped: Tensor = self.dropout(x)
        return dropped


def carried(
    parent: Translator,
    known: Vocabulary,
    vocabulary: Vocabulary,
    *,
    rows: Rows = "equal",
    seed: int = 0,
) -> Translator:
    """Return a child for another vocabulary that begins with all weights of its parent.

    Parameters
    ----------
    parent
        Is left as it is.
    known, vocabulary
        The parent's, and the child's.
    rows
        Where the child's embeddings come from: ``"equal"``, the parent's row of the same symbol,
        and a new one where there is none; ``"random"``, one of the parent's rows each, drawn;
        ``"new"``, none. Special symbols always keep theirs.
    seed
        Draws rows.

    Raises
    ------
    ValueError
        An unknown kind of rows, or a vocabulary that isn't the parent's.
    """
    one_of(("equal", "random", "new"), rows=rows)
    if len(known) != parent.table.num_embeddings:
        raise ValueError(
            f"known has {len(known)} symbols, but the parent has {parent.table.num_embeddings}: "
            "pass the vocabulary that the parent learned with"
        )
    child = Translator(len(vocabulary), **parent.sizes, seed=seed)
    state = parent.state_dict()
    table = child.table.weight.detach().clone()
    table[:4] = state["table.weight"][:4]
    drawn = torch.randint(4, len(known), (len(vocabulary),), generator=_generator(seed))
    for number, symbol in enumerate(vocabulary.symbols):
        if number < 4 or rows == "new":
            continue
        row = int(drawn[number]) if rows == "random" else known.numbers.get(symbol)
        if row is not None:
            table[number] = state["table.weight"][row]
    child.load_state_dict(state | {"table.weight": table})
    return child


@dataclass(frozen=True)
class Course:
    """How a translator is taught.

    Attributes
    ----------
    steps, batch
        Steps of the optimiser, Adam, and pairs in each.
    rate
        Its highest value: it rises over the first tenth and falls to 0 along a cosine.
    smoothing
        Of the labels.
    losses
        Grows by the mean loss of each hundredth of the steps.
    """

    steps: int
    batch: int = 64
    rate: float = 2e-3
    smoothing: float = 0.1
    losses: list[float] = field(default_factory=list, compare=False)


def teach(
    translator: Translator,
    vocabulary: Vocabulary,
    sources: Sequence[str],
    targets: Sequence[str],
    course: Course,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: bool | None = None,
) -> Translator:
    """Train a translator in place on pairs of texts, and return it.

    Parameters
    ----------
    translator, vocabulary
        What learns, and how texts are cut.
    sources, targets
        One target for each source.
    course
        Steps, rate, smoothing.
    seed
        Draws the order and dropout.
    device
        Where to train, as :func:`mapping_lib.lab.machine.device` takes it; the translator stays
        there.
    progress
        Whether to show a bar.

    Raises
    ------
    ValueError
        The numbers of texts differ, one is empty, or the vocabulary isn't the translator's.
    FloatingPointError
        The loss isn't finite.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources but {len(targets)} targets: one for each is due")
    if len(vocabulary) != translator.table.num_embeddings:
        raise ValueError(
            f"the vocabulary has {len(vocabulary)} symbols, the translator "
            f"{translator.table.num_embeddings}: use carried to give it another vocabulary"
        )
    place = machine.device(device)
    translator.to(place).train()
    read, say = (vocabulary.encode(texts).to(place) for texts in (sources, targets))
    said = torch.cat([torch.full_like(say[:, :1], START), say[:, :-1]], 1)
    optimiser = torch.optim.Adam(
        translator.parameters(), lr=course.rate, betas=(0.9, 0.98), fused=True
    )
    rise = max(1, course.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _pace(k, rise, course.steps))
    every, waiting = max(1, course.steps // 100), torch.zeros((), device=place)
    order = _orders(len(sources), course.batch, seed, place)
    on_gpu = place.type == "cuda"
    with (
        torch.random.fork_rng(devices=range(torch.cuda.device_count() if on_gpu else 0)),
        tqdm(total=course.steps, leave=False, disable=not shows_progress(progress)) as bar,
    ):
        (torch if on_gpu else torch.default_generator).manual_seed(seed)
        for step in range(1, course.steps + 1):
            chosen = next(order)
            source, target, before = _trimmed(read[chosen]), _trimmed(say[chosen]), said[chosen]
            logits = translator(source, before[:, : target.shape[1]])
            loss = smoothed_cross_entropy(
                logits.flatten(0, 1), target.flatten(), smoothing=course.smoothing, ignore=PAD
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(translator.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            waiting += loss.detach()
            if step % every == 0:
                course.losses.append(_finite(float(waiting) / every, step, course.rate))
                waiting.zero_()
                bar.set_postfix_str(f"loss {course.losses[-1]:.3g}")
            bar.update()
    return translator.eval()


@torch.no_grad()
def translate(
    translator: Translator,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    *,
    beams: int = 1,
    penalty: float = 1.0,
    longest: int = 60,
    batch: int = 256,
) -> list[str]:
    """Translate texts, symbol by symbol.

    Parameters
    ----------
    translator, vocabulary
        What has learned, and how texts are cut.
    texts
        At least one.
    beams
        Unfinished translations that are kept: 1 takes the most probable symbol each time.
    penalty
        The log-probability of a whole translation is divided by its length to this power.
    longest
        Symbols after which a translation is cut off.
    batch
        Texts at a time, sorted by length.
    """
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    found = [""] * len(texts)
    translator.eval()
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        ids = vocabulary.encode([texts[k] for k in part]).to(translator.positions.device)
        ends = _searched(translator, ids, beams, penalty, longest)
        for k, text in zip(part, vocabulary.decode(ends), strict=True):
            found[k] = text
    return found


def _searched(
    translator: Translator, ids: Tensor, beams: int, penalty: float, longest: int
) -> Tensor:
    """Return the best translation found of each row of numbers, (n, time)."""
    n, place = len(ids), ids.device
    memory, mask = (part.repeat_interleave(beams, 0) for part in translator.encode(ids))
    said = torch.full((n * beams, 1), START, device=place)
    scores = torch.full((n, beams), -math.inf, device=place)
    scores[:, 0] = 0  # else all beams would begin alike
    lengths = torch.zeros(n, beams, device=place)
    done = torch.zeros(n, beams, dtype=torch.bool, device=place)
    first = beams * torch.arange(n, device=place)[:, None]
    for _ in range(longest):
        logits = translator.decode(memory, mask, said)[:, -1]
        logits[:, [PAD, START, UNKNOWN]] = -math.inf
        gains = logits.log_softmax(-1).view(n, beams, -1)
        symbols = gains.shape[-1]
        gains = gains.masked_fill(done[..., None], -math.inf)
        gains[..., PAD] = torch.where(done, 0.0, gains[..., PAD])  # a finished one stays
        scores, best = (scores[..., None] + gains).flatten(1).topk(beams)
        origin, symbol = best // symbols, best % symbols
        said = torch.cat([said[(first + origin).flatten()], symbol.view(-1, 1)], 1)
        lengths = lengths.gather(1, origin) + (symbol != PAD)
        done = done.gather(1, origin) | (symbol == END)
        if done.all():
            break
    winner = (scores / lengths**penalty).argmax(1)
    return said.view(n, beams, -1)[torch.arange(n, device=place), winner, 1:]


@torch.no_grad()
def alignment(
    translator: Translator, vocabulary: Vocabulary, source: str, target: str
) -> tuple[list[str], list[str], Tensor]:
    """Return how much each symbol of a translation attends to each of its source.

    Parameters
    ----------
    translator, vocabulary
        What has learned, and how texts are cut.
    source, target
        One text, and its translation, which need not be the translator's own.

    Returns
    -------
    tuple
        The source's symbols and the target's, ``<end>`` behind both, and the attention from where
        each symbol of the target is said, (layers, heads, target, source).
    """
    translator.eval()
    place = translator.positions.device
    read, say = (vocabulary.encode([text]).to(place) for text in (source, target))
    said = torch.cat([torch.full_like(say[:, :1], START), say[:, :-1]], 1)
    watch: list[Tensor] = []
    translator.decode(*translator.encode(read), said, watch)
    asked, answered = ([vocabulary.symbols[k] for k in ids[0].tolist()] for ids in (read, say))
    return asked, answered, torch.cat(watch).cpu()


def scored(found: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """Measure translations: share of exact ones, chrF and BLEU of sacrebleu, from 0 to 1.

    Parameters
    ----------
    found, wanted
        A translation and its reference for each text.

    Raises
    ------
    ValueError
        The numbers differ, or are 0.

    Examples
    --------
    >>> scored(["Islandia", "Fidji"], ["Islandia", "Fiyi"])["exact"]
    0.5
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    if len(found) != len(wanted) or not found:
        raise ValueError(f"{len(found)} translations for {len(wanted)} references: none may lack")
    exact = sum(a == b for a, b in zip(found, wanted, strict=True)) / len(found)
    chrf = CHRF().corpus_score(list(found), [list(wanted)]).score / 100
    bleu = BLEU().corpus_score(list(found), [list(wanted)]).score / 100
    return {"exact": exact, "chrf": chrf, "bleu": bleu}


def _pace(step: int, rise: int, steps: int) -> float:
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, steps - rise))


def _orders(n: int, batch: int, seed: int, place: torch.device) -> Iterator[Tensor]:
    """Yield batches of numbers below n for ever, each once before any comes again."""
    generator = _generator(seed)
    while True:
        yield from torch.split(torch.randperm(n, generator=generator).to(place), batch)


def _trimmed(ids: Tensor) -> Tensor:
    """Cut off the columns that are padding in all rows."""
    return ids[:, : int((ids != PAD).sum(1).max())]


def _finite(loss: float, step: int, rate: float) -> float:
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} in step {step}: try a rate below {rate:g}")
    return loss


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
