"""Answers of chapter 07; those about the runs are computed from the committed results."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise

#: Beside the notebooks, where a chapter runs, or beside the package.
_FOLDERS = (Path("../results"), Path(__file__).resolve().parents[2] / "results")


@cache
def _summary() -> dict[str, Any]:
    found = next(folder for folder in _FOLDERS if (folder / "ablation.json").exists())
    return json.loads((found / "ablation.json").read_text())


def _gain() -> np.ndarray:
    """Return what feedback gains over the plain network with the tutorial's listing, a number for each seed."""
    last = {c["kind"]: c["values"] for c in _summary()["groups"]["reproduction"] if c["name"] == "64 epochs"}
    return np.subtract(last["feedback"], last["plain"])


def _above(drawn: Any) -> float:
    return float(np.mean([_gain()[list(seeds)].mean() > 0 for seeds in drawn]))


def _is(value: float, answer: Any) -> bool:
    return bool(np.isclose(float(answer), value, atol=1e-6))


def _decided() -> list[float]:
    """Return the p-values, not corrected, of the questions that Holm's method decides."""
    return [each["p"] for each in _summary()["comparisons"].values() if each["decided"]]


def _no_longer_decided() -> int:
    return sum(p * len(_summary()["comparisons"]) >= 0.05 for p in _decided())


EXERCISES = {
    "07.1": Exercise(
        right=44,
        hint="a share of (1 - 1/tau)^k is left after k steps; look for the first k at which it is below 0.01.",
        mistakes=[
            (43, "after 43 steps 1.08 % are left."),
            (47, "exp(-k/tau) is the decay in continuous time; here each step takes 1/tau of what is there."),
            (46, "exp(-k/tau) is the decay in continuous time; here each step takes 1/tau of what is there."),
            (7, "that is tau = 2."),
        ],
        because="0.9^43 is 1.08 %, and 0.9^44 is 0.97 %.",
    ),
    "07.2": Exercise(
        right=lambda a: _is(_above(combinations(range(10), 3)), a),
        hint="take the mean gain of every trio of seeds, and count how many means are above 0.",
        mistakes=[
            (lambda a: a > 1, "a fraction between 0 and 1, not a count or a percentage."),
            (
                lambda a: _is(np.mean(_gain() > 0), a),
                "those are single seeds; take the mean of three at a time.",
            ),
            (
                lambda a: _is(1 - _above(combinations(range(10), 3)), a),
                "those are the trios that put feedback below; have you subtracted the other way round?",
            ),
        ],
        because="Three seeds could have told either story.",
    ),
    "07.3": Exercise(
        right=lambda a: a == _no_longer_decided(),
        hint="multiply each p by the number of questions, and count the decided ones that reach 0.05.",
        mistakes=[
            (
                lambda a: a == len(_decided()),
                "that is how many Holm's method decides; how many of them does Bonferroni's lose?",
            ),
            (
                lambda a: a == len(_summary()["comparisons"]) - len(_decided()),
                "those are undecided by Holm's method already.",
            ),
        ],
        because="Holm's method never decides fewer questions, and guards against error equally well.",
    ),
    "07.4": Exercise(
        right=lambda a: len(a) == 2 and all(0.15 < float(each) < 0.95 for each in a),
        hint="run the case of 28 blank columns twice, with tau=2 and tau=20 in its network, and list both accuracies.",
        mistakes=[
            (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
            (
                lambda a: min(map(float, a)) < 0.15,
                "one of them is at chance, 0.1: is the read-out that of the case?",
            ),
        ],
        because="With one seed look at the size of the difference, not only at its sign.",
    ),
}
