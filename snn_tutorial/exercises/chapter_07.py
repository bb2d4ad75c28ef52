"""Answers of chapter 07; those about the runs are computed from the committed results."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise


def _summary() -> dict[str, Any]:
    """Return the committed summary of the runs: beside the folder where a chapter runs, or beside the package."""
    places = [Path("../results").resolve(), Path(__file__).resolve().parents[2] / "results"]
    for folder in places:
        if (path := folder / "ablation.json").exists():
            return json.loads(path.read_text())
    raise FileNotFoundError(
        f"ablation.json is neither in {places[0]} nor in {places[1]}: run the chapter in notebooks/"
    )


@cache
def _exercises() -> dict[str, Exercise]:
    """Return the exercises, once they are asked for."""
    summary = _summary()
    last = {c["kind"]: c["values"] for c in summary["groups"]["reproduction"] if c["name"] == "64 epochs"}
    # What feedback gains over the plain network with the tutorial's listing, a number for each seed.
    gain = np.subtract(last["feedback"], last["plain"])
    above = np.mean([gain[list(trio)].mean() > 0 for trio in combinations(range(10), 3)])
    questions = len(summary["comparisons"])
    # The p-values, not corrected, of the questions that Holm's method decides.
    decided = [each["p"] for each in summary["comparisons"].values() if each["decided"]]
    return {
        "07.1": Exercise(
            right=above,
            hint="take the mean gain of every trio of seeds, and count how many means are above 0.",
            mistakes=[
                (lambda a: a > 1, "a fraction between 0 and 1, not a count or a percentage."),
                (np.mean(gain > 0), "those are single seeds; take the mean of three at a time."),
                (1 - above, "those trios put feedback below; have you subtracted the other way round?"),
            ],
            because="Three seeds could have told either story.",
        ),
        "07.2": Exercise(
            right=sum(p * questions >= 0.05 for p in decided),
            hint="multiply each p by the number of questions, and count the decided ones that reach 0.05.",
            mistakes=[
                (
                    len(decided),
                    "Holm's method decides that many; how many of these would Bonferroni's method lose?",
                ),
                (questions - len(decided), "those are undecided by Holm's method already."),
            ],
            because="Holm's method never decides fewer questions, and guards against error equally well.",
        ),
        "07.3": Exercise(
            right=lambda a: len(a) == 2 and 0.15 < float(a[0]) < float(a[1]) < 0.95,
            hint="run the case of 28 blank columns twice, with tau=2 and tau=20 in its network; list both.",
            mistakes=[
                (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
                (lambda a: float(a[0]) > float(a[1]), "the start at 2 comes first."),
                (
                    lambda a: min(map(float, a)) < 0.15,
                    "one is at chance, 0.1: is the read-out that of the case?",
                ),
            ],
            because="With one seed look at the size of the difference, not only at its sign.",
        ),
    }


def __getattr__(name: str) -> dict[str, Exercise]:
    if name == "EXERCISES":
        return _exercises()
    raise AttributeError(f"module {__name__} has no attribute {name}")
