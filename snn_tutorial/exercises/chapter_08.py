"""Answers of chapter 08; those about the runs are computed from the committed results."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from snn_tutorial.exercises import Exercise

__all__ = ["EXERCISES"]

#: Beside the notebooks, where a chapter runs, or beside the package.
_FOLDERS = (Path("../results"), Path(__file__).resolve().parents[2] / "results")


@cache
def _groups() -> dict[str, Any]:
    found = next(folder for folder in _FOLDERS if (folder / "long.json").exists())
    return json.loads((found / "long.json").read_text())["groups"]


def _means(name: str, at: int = 100) -> dict[str, float]:
    return {c["kind"]: c["accuracy"]["mean"] for c in _groups()[f"long-{name}"] if c["at"] == at}


def _ended_by_noise(by: float = 0.5) -> set[str]:
    noisy = _means("noisy-recall")
    return {kind for kind, mean in _means("recall").items() if mean - noisy[kind] > by}


def _tau(left: float) -> float:
    return float(1 / (1 - left ** (1 / 784)))


EXERCISES = {
    "08.1": Exercise(
        right=_tau(0.1),
        tolerance=1e-2,
        hint="solve (1 - 1/tau)^784 = 0.1 for tau.",
        mistakes=[
            (_tau(0.9), "that leaves nine tenths; a tenth is to be left."),
            (784, "after tau steps 37 % are left, not 10."),
            (784 / 10, "a tenth of the steps is not a tenth of the current."),
        ],
        because="784 / ln 10 is 340.5, and half a step more since time goes in steps.",
    ),
    "08.2": Exercise(
        right=1 / 12,
        hint="the best guess of an unknown number is its mean; the error is then its variance.",
        mistakes=[
            (1 / 6, "that is without knowing either of the two."),
            (1 / 3, "have you answered with the first number alone? Add the mean of the second."),
        ],
        because="the variance of a number between 0 and 1 is 1/12, and that of the other is no longer in doubt.",
    ),
    "08.3": Exercise(
        right=lambda answer: set(answer) == _ended_by_noise() and not isinstance(answer, str),
        hint="take the means of both groups at 100 steps by network, and subtract.",
        mistakes=[
            (
                lambda answer: set(answer) == {k for k, mean in _means("noisy-recall").items() if mean < 0.5},
                "those fail with noise; some of them fail without it too.",
            ),
        ],
        because="what they had was a phase.",
    ),
    "08.4": Exercise(
        right=lambda a: len(a) == 2 and float(a[0]) < 0.5 < 0.9 < float(a[1]) <= 1,
        hint="spec_of gives a run with the chosen recipe; dataclasses.replace changes its network's tau.",
        mistakes=[
            (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
            (lambda a: float(a[0]) > float(a[1]), "the one that starts at 10 steps comes first."),
        ],
        because="after 200 steps a current of 10 steps is gone, and a gradient to it, too.",
    ),
}
