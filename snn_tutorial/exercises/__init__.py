"""Exercises that answer back: ``check("01.2", answer)`` says whether an answer is right, or what may have gone wrong.

Where the answer is a number, a word or a list of them, there is also a field, which the page checks without a kernel.
Each chapter's answers are in a module of their own, ``chapter_01`` and so on, as a dict ``EXERCISES``.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from IPython.display import display

from snn_tutorial.live import started

__all__ = ["Between", "Exercise", "check", "exercise", "like"]


@dataclass(frozen=True)
class Between:
    """Any number between two others, which themselves do not count."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Exercise:
    """What an answer is compared with.

    Args:
        right: the answer, which may be :class:`Between`, also within a list; or a function from an answer to whether
            it is right, for which there is no field.
        hint: shown with any other answer, from the second attempt on.
        mistakes: usual wrong answers, given like ``right``, each with what leads to it. The first that fits is named.
        because: shown with the right answer.
        tolerance: largest relative difference of numbers; a thousandth of it is the largest absolute one near 0.
    """

    right: Any
    hint: str
    mistakes: Sequence[tuple[Any, str]] = ()
    because: str = ""
    tolerance: float = 1e-6

    def reply(self, answer: Any, attempt: int = 2) -> tuple[bool, str]:
        """Return whether an answer is right, and what to say of it at the first, second, ... attempt."""
        hint = f" Hint: {self.hint}" if attempt > 1 else " Try again for a hint."
        if answer is None or answer is ...:
            return False, f"no answer yet.{hint}"
        if self._is(self.right, answer):
            return True, f"right. {self.because}".rstrip()
        for wrong, why in self.mistakes:
            if self._is(wrong, answer):
                return False, f"not yet: {why}"
        return False, f"not yet.{hint}"

    def typed(self) -> dict[str, Any] | None:
        """Return what a page needs to check an answer that is typed, None where the answer is something else."""
        try:
            mistakes = [[_as_typed(wrong), why] for wrong, why in self.mistakes]
            known = {"right": _as_typed(self.right), "mistakes": mistakes, "tolerance": self.tolerance}
        except (TypeError, ValueError):
            return None
        return known | {"hint": self.hint, "because": self.because}

    def _is(self, expected: Any, answer: Any) -> bool:
        """Say whether ``answer`` is ``expected``; one that cannot be compared is another."""
        if isinstance(answer, torch.Tensor):
            answer = answer.detach()
        try:
            if callable(expected):
                return bool(expected(answer))
            if isinstance(expected, (str, bool)) or isinstance(answer, (str, bool)):
                return str(expected).lower() == str(answer).strip().lower()
            if isinstance(expected, Between):
                return expected.low < float(answer) < expected.high
            if isinstance(expected, list) and any(isinstance(one, Between) for one in expected):
                return len(expected) == len(answer) and all(map(self._is, expected, answer))
            ours, theirs = np.asarray(expected, float), np.asarray(answer, float)
            return ours.shape == theirs.shape and np.allclose(
                theirs, ours, self.tolerance, 1e-3 * self.tolerance
            )
        except Exception:  # whatever an answer may be, its reader gets a hint and no traceback
            return False


def _as_typed(expected: Any) -> Any:
    """Return an answer as JSON has it: a number, its ends, a word, or a list of these."""
    if isinstance(expected, str):
        return expected
    if isinstance(expected, Between):
        return {name: value if math.isfinite(value) else None for name, value in vars(expected).items()}
    return [_as_typed(one) for one in expected] if isinstance(expected, (list, tuple)) else float(expected)


def like(formula: Callable[..., float], cases: Sequence[tuple]) -> Callable[[Any], bool]:
    """Return what says whether an answer, itself a function, gives for each case what ``formula`` gives."""
    return lambda answer: all(math.isclose(answer(*case), formula(*case), rel_tol=1e-5) for case in cases)


#: How often each exercise was tried in this session.
_attempts: Counter[str] = Counter()


def check(number: str, answer: Any) -> None:
    """Print whether ``answer`` is right, else the usual mistake that it shows or, from the second attempt on, a hint.

    While there is no answer, ``...``, show a field for it, if it can be typed.

    Args:
        number: chapter and exercise, as in "01.2".
        answer: a number, a word, a list of numbers, a tensor, or whatever the exercise asks for.
    """
    asked = exercise(number)
    if answer is ... and (typed := asked.typed()):
        empty = f'<span class="snn-static">Exercise {number}: no answer yet.</span>'
        display(started("field", {"number": number, **typed}, empty))
        return
    _attempts[number] += 1
    print(f"Exercise {number}: {asked.reply(answer, _attempts[number])[1]}")


def exercise(number: str) -> Exercise:
    """Return an exercise by its number.

    Raises:
        ValueError: there is no such exercise.
    """
    chapter, _, _ = str(number).partition(".")
    try:
        return importlib.import_module(f"{__name__}.chapter_{chapter}").EXERCISES[number]
    except (ModuleNotFoundError, KeyError):
        raise ValueError(f'number must be that of an exercise, as in "01.2", got {number!r}') from None
