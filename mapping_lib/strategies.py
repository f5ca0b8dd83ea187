r"""Choosing by few labels (section 8.3.1): a source, a strategy, and what to change on the way.

A *source* is a pretrained model that a target could start from, a *strategy* is what becomes of
it: its features frozen, fine-tuned, or not used at all. Every choice comes with its reason in
words, and :func:`regret` measures afterwards what it has cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, sqrt
from typing import Any

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_finite,
    require_float,
    require_labels,
    require_matrix,
    require_number,
    require_tensor,
    seen,
    shape,
)

__all__ = [
    "Controller",
    "Decision",
    "Ranking",
    "Strategy",
    "choose_strategy",
    "disagree",
    "rank_sources",
    "regret",
    "stalled",
]


def regret(chosen: int | Tensor, scores: Tensor) -> Tensor:
    r"""How much worse the chosen candidate is than the best one.

    .. math:: r = \max_{m} a_m - a_c

    Taught in :ref:`adaptive-transfer` (section 8.3.1).
    Source: :cite:t:`renggli2022which`, who search for several models at once; here it is one.

    Parameters
    ----------
    chosen
        :math:`c`, counted from 0: a number, or integers of the shape ``(…)``.
    scores
        :math:`a`, what each candidate turned out to be worth, ``(…, m)``, the higher the better.

    Returns
    -------
    Tensor
        ``(…)``, in the unit of the scores; 0 where a best one was chosen.

    Raises
    ------
    TypeError
        The scores aren't floating point, or the choice isn't whole numbers.
    ValueError
        A score is NaN or infinite, there is no such candidate, or the shapes don't fit.

    Examples
    --------
    >>> regret(0, torch.tensor([0.5, 0.75, 0.25]))
    tensor(0.2500)
    >>> regret(torch.tensor([1, 0]), torch.tensor([[0.5, 0.75], [0.5, 0.75]]))
    tensor([0.0000, 0.2500])
    """
    require_float(scores=scores)
    require_finite(scores=scores)
    if scores.ndim == 0:
        raise ValueError("scores is a single number; give one score for each candidate")
    if isinstance(chosen, Tensor):
        picked = chosen
        if picked.is_floating_point() or picked.is_complex() or picked.dtype == torch.bool:
            raise TypeError(f"chosen must be integers, got {picked.dtype}; use chosen.long()")
    elif isinstance(chosen, int) and not isinstance(chosen, bool):
        picked = torch.full(scores.shape[:-1], chosen, device=scores.device)
    else:
        raise TypeError(f"chosen must be a whole number or a tensor of them, got {chosen!r}")
    if picked.shape != scores.shape[:-1]:
        raise ValueError(
            f"chosen must have the shape {shape(scores)[:-1]}, one choice for each row of scores "
            f"{shape(scores)}, got {shape(picked)}"
        )
    most = scores.shape[-1] - 1
    if seen(((picked < 0) | (picked > most)).any()):
        raise ValueError(
            f"chosen must lie between 0 and {most}, got {int(picked.min())} to "
            f"{int(picked.max())}; count candidates from 0"
        )
    taken = scores.gather(-1, picked.long().unsqueeze(-1)).squeeze(-1)
    return scores.amax(-1) - taken


@dataclass(frozen=True)
class Ranking:
    """The order in which :func:`rank_sources` puts sources.

    Attributes
    ----------
    order
        Names, the best first.
    scores
        The score of each, in this order.
    firsts
        The share of resamples in which each came first, in this order.
    reason
        A sentence that says why the first is first, and how sure that is.
    """

    order: tuple[str, ...]
    scores: tuple[float, ...]
    firsts: tuple[float, ...]
    reason: str


def rank_sources(
    sources: Mapping[str, Tensor],
    labels: Tensor,
    *,
    score: Callable[[Tensor, Tensor], Tensor],
    resamples: int = 100,
    replacement: bool = True,
    generator: torch.Generator | None = None,
) -> Ranking:
    r"""Put source models in order by what they make of a target's few labelled rows.

    .. math::

        s_m = S(\Phi_m, y), \qquad
        \pi_m = \frac1B \sum_{b=1}^{B} \frac{[m \in M_b]}{|M_b|}, \qquad
        M_b = \operatorname*{arg\,max}_{m'} S\bigl(\Phi_{m'}[I_b], y[I_b]\bigr)

    :math:`\Phi_m` is what model m makes of the rows: features, or its own classes' probabilities,
    whichever the score S takes. The bootstrap draws rows :math:`I_b` with replacement, from each
    class as many as it has, the same for all models; :math:`\pi_m` is the share of first places,
    and ties share theirs. Without replacement, half of each class's rows are drawn, which makes a
    mean vary as much, and less where an odd number was rounded up. That is the way for scores that
    a row can't be given to twice: LogME has no bound where fewer rows than features are left, some
    of them twice, and in cross-validation one copy would train and the other test.

    Taught in :ref:`adaptive-transfer` (section 8.3.1).
    Source: the bootstrap is that of :cite:t:`efron1993introduction`, chapter 6, half-samples are
    those of :cite:t:`efron1982jackknife`, chapter 8, here for a rank.

    Parameters
    ----------
    sources
        :math:`\Phi_m` by name, each ``(n, d_m)``.
    labels
        :math:`y`, ``(n,)``, integers.
    score
        Called as ``score(rows, labels)``; returns a scalar, the higher the better.
    resamples
        :math:`B`; 0 leaves the shares NaN.
    replacement
        False draws half-samples, rounded up.
    generator
        Draws the resamples; None uses PyTorch's own.

    Returns
    -------
    Ranking
        Sources of equal score keep the order in which they were given.

    Raises
    ------
    TypeError
        A source isn't a floating-point tensor, or labels aren't integers.
    ValueError
        There is no source, a source isn't a matrix with a row for each label, holds NaN or infinite
        values, or a score isn't a finite number.

    Examples
    --------
    >>> apart = torch.tensor([[0.], [0.], [2.]])
    >>> sources = {"flat": torch.ones(3, 1), "apart": apart}
    >>> spread = lambda rows, labels: rows.amax() - rows.amin()
    >>> found = rank_sources(sources, torch.tensor([0, 0, 1]), score=spread, resamples=4)
    >>> found.order, found.firsts
    (('apart', 'flat'), (1.0, 0.0))
    >>> print(found.reason)
    apart: score 2, ahead of flat by 2; first in 100 % of 4 resamples of 3 rows: sure
    """
    if not sources:
        raise ValueError("there is no source to rank; give one at least, by its name")
    require_tensor(labels=labels)
    require_labels("labels", labels, len(labels))
    for name, rows in sources.items():
        require_float(**{name: rows})
        require_matrix(**{name: rows})
        require_finite(**{name: rows})
        if len(rows) != len(labels):
            raise ValueError(
                f"{name} has {len(rows)} rows for {len(labels)} labels; give the rows that have one"
            )
    require_number("resamples", resamples)
    names = list(sources)
    found = _scored(sources, labels, score)
    order = sorted(range(len(names)), key=lambda m: -found[m])
    firsts = torch.zeros(len(names), dtype=torch.float64, device="cpu")
    classes = [(labels == k).nonzero().flatten() for k in labels.unique()]  # type: ignore[no-untyped-call]
    for _ in range(resamples):
        rows = torch.cat(
            [mine[_draw(len(mine), labels, replacement, generator)] for mine in classes]
        )
        again = _scored({name: part[rows] for name, part in sources.items()}, labels[rows], score)
        best = [m for m, value in enumerate(again) if value == max(again)]
        firsts[best] += 1 / len(best)
    shares = (firsts / resamples).tolist() if resamples else [float("nan")] * len(names)
    return Ranking(
        order=tuple(names[m] for m in order),
        scores=tuple(found[m] for m in order),
        firsts=tuple(shares[m] for m in order),
        reason=_why([(names[m], found[m], shares[m]) for m in order], resamples, len(labels)),
    )


def _draw(n: int, labels: Tensor, replacement: bool, generator: torch.Generator | None) -> Tensor:
    device = place_of(generator, labels.device)
    if replacement:
        rows = torch.randint(n, (n,), generator=generator, device=device)
    else:
        rows = torch.randperm(n, generator=generator, device=device)[: (n + 1) // 2]
    return rows.to(labels.device)


def _scored(
    sources: Mapping[str, Tensor], labels: Tensor, score: Callable[[Tensor, Tensor], Tensor]
) -> list[float]:
    found = {name: float(score(rows, labels)) for name, rows in sources.items()}
    for name, value in found.items():
        if not isfinite(value):
            raise ValueError(
                f"the score of {name} is {value}: look at its rows with this score alone, or leave "
                "the source out"
            )
    return list(found.values())


def _why(ranked: Sequence[tuple[str, float, float]], resamples: int, n: int) -> str:
    """Say why the first is first: sure from 90 % of the first places on, likely from 50 %."""
    (name, value, share), *others = ranked
    text = f"{name}: score {value:.3g}"
    if not others:
        return f"{text}; there is no other source"
    text += f", ahead of {others[0][0]} by {value - others[0][1]:.2g}"
    if not resamples:
        return text
    text += f"; first in {100 * share:.0f} % of {resamples} resamples of {n} rows: "
    if share >= 0.9:
        return f"{text}sure"
    rival, _, often = max(others, key=lambda other: other[2])
    sure = "likely" if share >= 0.5 else "open"
    return f"{text}{sure}, as {rival} is first in {100 * often:.0f} %"


@dataclass(frozen=True)
class Strategy:
    """What :func:`choose_strategy` returns: what is to be done with a source, and why.

    Attributes
    ----------
    name
        ``"frozen head"``, ``"fine-tuning"`` or ``"from scratch"``.
    head_rate, body_rate
        Learning rates of the new head and of the rest; a body rate of 0 means frozen.
    reason
        The rule that decided, with the numbers it looked at.
    """

    name: str
    head_rate: float
    body_rate: float
    reason: str


def choose_strategy(
    *,
    labels: int,
    classes: int,
    frozen_score: float,
    tuned_score: float | None = None,
    scratch_score: float | None = None,
    parameters: int | None = None,
    distance: float | None = None,
    margin: float = 1.0,
    few: float = 10.0,
    useless: float = 0.1,
    per_label: float = 1e4,
    far: float = 1.0,
    rate: float = 1e-2,
) -> Strategy:
    r"""Freeze, fine-tune or start from scratch, by rules that can be read.

    .. math::

        \text{prefer } b \text{ to } a
        \iff s_b - s_a > \mu \sqrt{\frac{\bar s (1 - \bar s)}{n}}, \qquad
        \bar s = \frac{s_a + s_b}{2}, \qquad
        \kappa = \frac{s_a - 1/K}{1 - 1/K}

    The scores are accuracies that were cross-validated on the n labels. The first rule whose
    condition holds decides:

    1. With `tuned_score` or `scratch_score` the candidates are compared, the cheapest first: frozen
       head, fine-tuning, from scratch. A dearer one must be better by :math:`\mu` standard errors.
    2. Without them, frozen features hardly better than guessing, :math:`\kappa <` `useless`, are
       given up: from scratch, if there is a label for every `per_label` parameters; else
       fine-tuning.
    3. With fewer than `few` labels a class, the frozen head.
    4. Else fine-tuning.

    Fine-tuning moves the body at a tenth of the head's rate, or at 0.3 of it where the domains'
    `distance` exceeds `far`; from scratch, both move at 0.3 of it.

    Taught in :ref:`adaptive-transfer` (section 8.3.1).
    Source: rule 1 is the one-standard-error rule of :cite:t:`breiman1984classification`,
    with the standard error of a share; the other rules and all thresholds are ours.

    Parameters
    ----------
    labels, classes
        :math:`n` and :math:`K`.
    frozen_score, tuned_score, scratch_score
        Accuracies in [0, 1]; None where a candidate wasn't tried.
    parameters
        Of the network; None doesn't forbid to start from scratch.
    distance
        Proxy A-distance of source and target, in [0, 2]; None counts as near.
    margin
        :math:`\mu`, in standard errors; 0 takes the higher score, and of equal ones the cheaper.
    few, useless, per_label, far
        The thresholds.
    rate
        Of the head.

    Returns
    -------
    Strategy
        With rates and the reason.

    Raises
    ------
    TypeError
        An argument isn't a number.
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> chosen = choose_strategy(labels=25, classes=5, frozen_score=0.4, tuned_score=0.6)
    >>> chosen.name, chosen.head_rate, chosen.body_rate
    ('fine-tuning', 0.01, 0.001)
    >>> print(chosen.reason)
    fine-tuning 0.60 against frozen head 0.40, more than 1 standard error (0.10) better
    >>> print(choose_strategy(labels=25, classes=5, frozen_score=0.4).reason)
    5 labels a class, fewer than 10: frozen head
    """
    scores = {
        "frozen head": frozen_score,
        "fine-tuning": tuned_score,
        "from scratch": scratch_score,
    }
    _check_choice(labels, classes, scores, parameters, distance)
    require_number("rate", rate, below=inf)
    thresholds = {"margin": margin, "few": few, "useless": useless, "per_label": per_label}
    for name, value in (thresholds | {"far": far}).items():
        require_number(name, value)
    if tuned_score is not None or scratch_score is not None:
        name, reason = _compared({k: s for k, s in scores.items() if s is not None}, labels, margin)
    else:
        above = (frozen_score - 1 / classes) / (1 - 1 / classes)
        enough = parameters is None or labels * per_label >= parameters
        if above < useless:
            name = "from scratch" if enough else "fine-tuning"
            reason = f"frozen features reach {above:.2f} of the way from guessing to certainty, "
            reason += f"less than {useless:g}: {name}"
            reason += "" if enough else f", as {labels} labels are few for {parameters} parameters"
        elif labels / classes < few:
            name = "frozen head"
            reason = f"{labels / classes:g} labels a class, fewer than {few:g}: {name}"
        else:
            name = "fine-tuning"
            reason = f"{labels / classes:g} labels a class, {few:g} or more: {name}"
    share = 0.3 if name == "from scratch" or (distance is not None and distance > far) else 0.1
    if name == "frozen head":
        return Strategy(name, rate, 0.0, reason)
    if name == "fine-tuning" and distance is not None:
        word = "beyond" if distance > far else "within"
        reason += f"; distance {distance:.2f}, {word} {far:g}: body at {share:g} of the head's rate"
    return Strategy(name, rate * (0.3 if name == "from scratch" else 1), rate * share, reason)


def _check_choice(
    labels: int,
    classes: int,
    scores: Mapping[str, float | None],
    parameters: int | None,
    distance: float | None,
) -> None:
    require_number("labels", labels, least=1, below=inf)
    require_number("classes", classes, least=2, below=inf)
    for name, score in scores.items():
        if score is not None or name == "frozen head":
            require_number(f"the score of the {name}", score, most=1)  # type: ignore[arg-type]
    if parameters is not None:
        require_number("parameters", parameters, least=1)
    if distance is not None:
        require_number("distance", distance, most=2)


def _compared(scores: Mapping[str, float], labels: int, margin: float) -> tuple[str, str]:
    """Go from the cheapest to the dearest candidate; say what decided."""
    (chosen, best), *others = scores.items()
    reasons = []
    for name, score in others:
        middle = (best + score) / 2
        error = sqrt(middle * (1 - middle) / labels)
        better = score - best > margin * error
        by = f"{'' if better else 'not '}more than {margin:g} standard error ({error:.2f}) better"
        reasons.append(f"{name} {score:.2f} against {chosen} {best:.2f}, {by}")
        if better:
            chosen, best = name, score
    return chosen, "; ".join(reasons)


def stalled(losses: Sequence[float], *, patience: int, factor: float = 1.0) -> bool:
    r"""Whether the last held-out losses are all too high beside the best one before them.

    .. math:: \min_{t - p < i \le t} L_i \;>\; f \min_{i \le t - p} L_i

    With a factor f below 1 that is a plateau: in the last p looks nothing fell below :math:`f`
    times the best. Above 1 it is a rise: all of them are that much worse than the best. A best loss
    of 0 that is reached again isn't stalled: there is nothing left to gain.

    Taught in :ref:`adaptive-transfer` (section 8.3.1).
    Source: :cite:t:`prechelt1998early`, whose generalisation loss compares with the best so far.

    Parameters
    ----------
    losses
        :math:`L_1, \dots, L_t`, not negative, in the order in which they were measured.
    patience
        :math:`p`, at least 1.
    factor
        :math:`f`, positive.

    Returns
    -------
    bool
        False as long as there are no more than p losses.

    Raises
    ------
    TypeError
        A number isn't one.
    ValueError
        A loss is negative, NaN or infinite, or a number is out of range.

    Examples
    --------
    >>> stalled([1.0, 0.5, 0.75, 0.625], patience=2)
    True
    >>> stalled([1.0, 0.5, 0.75, 0.625], patience=2, factor=1.5)
    False
    """
    require_number("patience", patience, least=1)
    require_number("factor", factor, below=inf)
    for loss in losses:
        require_number("each loss", loss, below=inf)
    before, last = losses[:-patience], losses[-patience:]
    return bool(before) and min(last) > factor * min(before)


def disagree(cosines: Sequence[float], *, window: int) -> bool:
    r"""Whether the gradients of source and target have pointed apart for a while.

    .. math::

        \frac1w \sum_{i = t - w + 1}^{t} c_i < 0, \qquad
        c = \frac{\langle \nabla L_t, \nabla L_s \rangle}
                 {\lVert \nabla L_t \rVert \, \lVert \nabla L_s \rVert}

    Where :math:`c < 0`, a small step for the source's loss raises the target's.

    Taught in :ref:`adaptive-transfer` (section 8.3.1).
    Source: :cite:t:`du2018adapting`, who leave the auxiliary loss out of each step with
    :math:`c < 0`; here a mean over w steps leaves it out for good.

    Parameters
    ----------
    cosines
        :math:`c_1, \dots, c_t`, each in [-1, 1].
    window
        :math:`w`, at least 1.

    Returns
    -------
    bool
        False as long as there are fewer than w cosines.

    Raises
    ------
    TypeError
        A number isn't one.
    ValueError
        A cosine is NaN or beyond 1, or the window is out of range.

    Examples
    --------
    >>> disagree([0.5, -0.25, 0.125], window=2), disagree([0.5, -0.25, 0.125], window=3)
    (True, False)
    """
    require_number("window", window, least=1)
    for cosine in cosines:
        require_number("each cosine", cosine, least=-1, most=1)
    return len(cosines) >= window and sum(cosines[-window:]) < 0


@dataclass(frozen=True)
class Decision:
    """One decision of a :class:`Controller`, taken by :func:`stalled` or :func:`disagree`.

    Attributes
    ----------
    step
        After which step.
    action
        ``"unfreeze"`` or ``"drop source"``.
    reason
        The numbers that decided.
    """

    step: int
    action: str
    reason: str


class Controller:
    """Adjusts a strategy while a network learns, by :func:`stalled` and :func:`disagree`.

    Nothing is drawn at random: the same numbers give the same decisions.

    Parameters
    ----------
    groups
        Groups of layers; the head's is open from the start, the others open one after the other.
    source
        Whether the source's loss is part of what is minimised.
    patience
        Looks without improvement before the next group opens, or with a rise before the source
        goes.
    plateau
        Factor below which a held-out loss is an improvement.
    rise
        Factor above which it has risen.
    window
        Cosines that are averaged.

    Attributes
    ----------
    unfrozen
        Groups that learn, counted from the head.
    source
        Whether the source's loss still takes part.
    decisions
        All so far, in their order.

    Raises
    ------
    TypeError
        An argument isn't a number.
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> controller = Controller(groups=2, patience=1)
    >>> for step, loss in enumerate([1.0, 0.5, 0.6]):
    ...     made = controller.update(step, loss)
    >>> made
    [Decision(step=2, action='unfreeze', reason='no loss below 0.495 (0.99 × the best) in 1 look')]
    >>> controller.unfrozen
    2
    """

    def __init__(
        self,
        groups: int,
        *,
        source: bool = False,
        patience: int = 3,
        plateau: float = 0.99,
        rise: float = 1.1,
        window: int = 5,
    ) -> None:
        for name, count in (("groups", groups), ("patience", patience), ("window", window)):
            require_number(name, count, least=1, below=inf)
        require_number("plateau", plateau, most=1)
        require_number("rise", rise, least=1, below=inf)
        self.groups, self.patience, self.window = groups, patience, window
        self.plateau, self.rise = plateau, rise
        self.unfrozen, self.source = 1, source
        self.decisions: list[Decision] = []
        self._losses: list[float] = []
        self._cosines: list[float] = []
        self._step = -1

    def update(self, step: int, loss: float, *, cosine: float | None = None) -> list[Decision]:
        """Look at the numbers of one step, decide, and return what was decided.

        Parameters
        ----------
        step
            Larger than the last one.
        loss
            Of the target, on rows that don't train; for accuracies pass 1 − accuracy.
        cosine
            Between the gradients of the target's and the source's loss; None where there is none.

        Raises
        ------
        TypeError
            An argument isn't a number.
        ValueError
            The loss is negative, NaN or infinite, the cosine beyond 1, or the step not larger.
        """
        if not step > self._step:
            raise ValueError(f"steps must increase, got {step} after {self._step}")
        require_number("loss", loss, below=inf)
        if cosine is not None:
            require_number("cosine", cosine, least=-1, most=1)
            self._cosines.append(float(cosine))
        self._step = step
        self._losses.append(float(loss))
        made = [
            Decision(step, action, reason)
            for action, reason in (("drop source", self._drop()), ("unfreeze", self._open()))
            if reason
        ]
        self.decisions += made
        return made

    def _drop(self) -> str:
        """Drop the source where it hurts; return why, or nothing."""
        if not self.source:
            return ""
        if disagree(self._cosines, window=self.window):
            mean = sum(self._cosines[-self.window :]) / self.window
            reason = f"mean cosine {mean:+.2f} over {_looks(self.window)}, below 0"
        elif stalled(self._losses, patience=self.patience, factor=self.rise):
            best = min(self._losses[: -self.patience])
            reason = f"all losses above {self.rise * best:.3g} ({self.rise:g} × the best) in "
            reason += _looks(self.patience)
        else:
            return ""
        self.source = False
        self._losses = self._losses[-1:]  # another objective: the best counts anew
        return reason

    def _open(self) -> str:
        """Open the next group where nothing improves; return why, or nothing."""
        if self.unfrozen == self.groups or not stalled(
            self._losses, patience=self.patience, factor=self.plateau
        ):
            return ""
        best = min(self._losses[: -self.patience])
        self.unfrozen += 1
        self._losses = self._losses[-1:]
        return (
            f"no loss below {self.plateau * best:.3g} ({self.plateau:g} × the best) in "
            f"{_looks(self.patience)}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next decision depends on, as plain numbers, lists and words."""
        return {
            "settings": self._settings(),
            "unfrozen": self.unfrozen,
            "source": self.source,
            "step": self._step,
            "losses": list(self._losses),
            "cosines": list(self._cosines),
            "decisions": [asdict(decision) for decision in self.decisions],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, by a controller of the same settings.

        Raises
        ------
        ValueError
            The state lacks something, or belongs to a controller with other settings.
        """
        if missing := [name for name in self.state_dict() if name not in state]:
            raise ValueError(f"the state lacks {', '.join(missing)}; take one of state_dict()")
        if state["settings"] != self._settings():
            raise ValueError(
                f"the state is of a controller with {state['settings']}, this one has "
                f"{self._settings()}; make it with the same settings"
            )
        self.unfrozen, self.source = state["unfrozen"], state["source"]
        self._step = state["step"]
        self._losses, self._cosines = list(state["losses"]), list(state["cosines"])
        self.decisions = [Decision(**decision) for decision in state["decisions"]]

    def _settings(self) -> dict[str, float]:
        names = ("groups", "patience", "plateau", "rise", "window")
        return {name: getattr(self, name) for name in names}


def _looks(count: int) -> str:
    return f"{count} look{'s' if count > 1 else ''}"
