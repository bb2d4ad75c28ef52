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
    # How far feedback is above the plain network, both as the tutorial lists them, for each seed.
    apart = np.subtract(last["feedback"], last["plain"])
    above = np.mean([apart[list(trio)].mean() > 0 for trio in combinations(range(10), 3)])
    return {
        "07.1": Exercise(
            right=above,
            hint="take the mean difference of every trio of seeds, and count how many means are above 0.",
            mistakes=[
                (lambda a: a > 1, "a fraction between 0 and 1, not a count or a percentage."),
                (np.mean(apart > 0), "those are single seeds; take the mean of three at a time."),
                (1 - above, "those trios put feedback below; have you subtracted the other way round?"),
            ],
            because="Three seeds could have told either story.",
        ),
        "07.2": Exercise(
            right=6,
            hint="the smallest p of n against n runs is 2 / C(2n, n); times 14 it must be below 0.05.",
            mistakes=[
                (4, "that is for one question: Holm's method multiplies the smallest p by 14."),
                (5, "2 of the 252 ways to share out the ranks, times 14, are 0.11."),
                (924, "that is the number of ways; the answer is the number of runs."),
            ],
            because="This can be known before a study, from the number of its questions alone.",
        ),
        "07.3": Exercise(
            right=1 / (1 - 0.5 ** (1 / 27)),
            tolerance=0.02,
            hint="the first column is 27 steps older than the last, in each of the seven last steps.",
            mistakes=[
                (1 / (1 - 0.5 ** (1 / 83)), "the blank columns make both older; only their distance counts."),
                (1 / (1 - 0.5 ** (1 / 28)), "from the first to the last of 28 columns there are 27 steps."),
                (0.5 ** (1 / 27), "that is what a step leaves; tau is 1 / (1 - q)."),
            ],
            because="With 26 steps the first column weighs 0.35 times as much as the last.",
        ),
    }


def __getattr__(name: str) -> dict[str, Exercise]:
    if name == "EXERCISES":
        return _exercises()
    raise AttributeError(f"module {__name__} has no attribute {name}")
