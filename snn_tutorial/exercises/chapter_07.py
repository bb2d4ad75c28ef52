"""Answers of chapter 07; those about the runs are computed from the committed results."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np

from snn_tutorial.exercises import Exercise

#: Where a chapter runs, or beside the package.
_FOLDERS = (Path("../results"), Path(__file__).resolve().parents[2] / "results")
_SUMMARY = json.loads(
    next(path for folder in _FOLDERS if (path := folder / "ablation.json").exists()).read_text()
)

_LAST = {c["kind"]: c["values"] for c in _SUMMARY["groups"]["reproduction"] if c["name"] == "64 epochs"}
#: What feedback gains over the plain network with the tutorial's listing, a number for each seed.
_GAIN = np.subtract(_LAST["feedback"], _LAST["plain"])
_ABOVE = np.mean([_GAIN[list(trio)].mean() > 0 for trio in combinations(range(10), 3)])

_QUESTIONS = len(_SUMMARY["comparisons"])
#: The p-values, not corrected, of the questions that Holm's method decides.
_DECIDED = [each["p"] for each in _SUMMARY["comparisons"].values() if each["decided"]]

EXERCISES: dict[str, Exercise] = {
    "07.1": Exercise(
        right=_ABOVE,
        hint="take the mean gain of every trio of seeds, and count how many means are above 0.",
        mistakes=[
            (lambda a: a > 1, "a fraction between 0 and 1, not a count or a percentage."),
            (np.mean(_GAIN > 0), "those are single seeds; take the mean of three at a time."),
            (1 - _ABOVE, "those trios put feedback below; have you subtracted the other way round?"),
        ],
        because="Three seeds could have told either story.",
    ),
    "07.2": Exercise(
        right=sum(p * _QUESTIONS >= 0.05 for p in _DECIDED),
        hint="multiply each p by the number of questions, and count the decided ones that reach 0.05.",
        mistakes=[
            (len(_DECIDED), "so many Holm's method decides; how many of them does Bonferroni's lose?"),
            (_QUESTIONS - len(_DECIDED), "those are undecided by Holm's method already."),
        ],
        because="Holm's method never decides fewer questions, and guards against error equally well.",
    ),
    "07.3": Exercise(
        right=lambda a: len(a) == 2 and 0.15 < float(a[0]) < float(a[1]) < 0.95,
        hint="run the case of 28 blank columns twice, with tau=2 and tau=20 in its network, and list both accuracies.",
        mistakes=[
            (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
            (lambda a: float(a[0]) > float(a[1]), "the start at 2 comes first."),
            (lambda a: min(map(float, a)) < 0.15, "one is at chance, 0.1: is the read-out that of the case?"),
        ],
        because="With one seed look at the size of the difference, not only at its sign.",
    ),
}
