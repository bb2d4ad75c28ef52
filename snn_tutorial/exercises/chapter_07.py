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
    stable = {c["name"]: c for c in summary["groups"]["size"] if c["kind"] == "plain"}
    loop = next(c for c in summary["groups"]["size"] if (c["name"], c["kind"]) == ("stable", "feedback"))
    pair = [np.array(c["values"]) for c in (loop, stable["stable, 86 hidden"])]
    apart = float(pair[0].mean() - pair[1].mean())
    first, variance = float(pair[0].var(ddof=1)), float(sum(each.var(ddof=1) for each in pair))
    seeds = (1.96 + 0.84) ** 2 * variance / apart**2
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
            right=seeds,
            tolerance=0.05,
            hint="the difference must be 1.96 + 0.84 = 2.8 times its standard error, the root of (s1^2 + s2^2) / n.",
            mistakes=[
                (
                    1.96**2 * variance / apart**2,
                    "that many find it in every second study only: add the 0.84.",
                ),
                (2 * seeds, "that is both networks together."),
                (seeds * first / variance, "both networks scatter: add their variances."),
            ],
            because="Ten seeds leave a difference of this size undecided in most studies.",
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
            because="At the 56 to 61 steps that training finds, the first column weighs 0.61 to 0.64 of the last.",
        ),
    }


def __getattr__(name: str) -> dict[str, Exercise]:
    if name == "EXERCISES":
        return _exercises()
    raise AttributeError(f"module {__name__} has no attribute {name}")
