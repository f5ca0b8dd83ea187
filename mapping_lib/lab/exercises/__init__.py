"""Exercises that tell the reader at once whether an answer is right, and what is wrong with it.

A reader uses one function::

    from mapping_lib.lab.exercises import check

    check("4.2-b", answer)

A section's checks stand in ``section_4_2.py`` in this folder; every ``section_*.py`` is found by
itself. A check takes the answer and returns None when it is right, else what is wrong::

    @exercise("4.2-b")
    def mse_gradient(answer):
        prediction = torch.randn(5, 3, dtype=torch.float64)  # seeded before every check
        target = torch.randn(5, 3, dtype=torch.float64)
        expected = 2 * (prediction - target) / 15
        return compare(
            answer(prediction, target),
            expected,
            what="the gradient",
            factors={"n": 5, "nd": 15},
            hints={"this is the loss, not its gradient": (prediction - target).square().mean()},
        )

An answer that is None or a function that returns None is "nothing yet"; what a learner's function
raises becomes a message. Neither concerns the check: it calls ``answer(…)`` and compares. When the
answer is an :class:`torch.nn.Module`, or a list or dictionary of functions, wrap what you call with
:func:`guard` to have the same.

Each exercise has a case in ``tests/lab/exercises/test_section_4_2.py``: its solution, and at least
two plausible wrong answers, each under words that its message must contain and that no other
wrong answer's message may equal::

    from mapping_lib.lab.exercises import Case

    CASES = {
        "4.2-b": Case(
            solution=lambda p, t: 2 * (p - t) / p.numel(),
            wrong={
                "wrong sign": lambda p, t: 2 * (t - p) / p.numel(),
                "factor 1/2": lambda p, t: (p - t) / p.numel(),
            },
        ),
    }

``tests/lab/exercises/test_every_check.py`` collects the ``CASES`` and tries them all.
"""

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import (
    Case,
    Verdict,
    check,
    describe,
    exercise,
    guard,
    registered,
)

__all__ = [
    "Case",
    "Verdict",
    "check",
    "compare",
    "describe",
    "exercise",
    "guard",
    "registered",
]
