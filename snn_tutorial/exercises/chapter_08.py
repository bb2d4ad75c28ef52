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
def _recall() -> dict[tuple[str, int, str], dict[str, Any]]:
    """Return the cases of recall by start, distance and network."""
    found = next(folder for folder in _FOLDERS if (folder / "fair.json").exists())
    cases = json.loads((found / "fair.json").read_text())["groups"]["fair-recall"]
    return {(case["name"], case["at"], case["kind"]): case for case in cases}


def _needs_to_be_told(level: float = 0.5) -> set[str]:
    """Return the networks that mostly reach 95 % over 200 steps informed, and mostly do not blind."""
    kinds = {kind for _, _, kind in _recall()}
    share = {(s, k): _recall()[s, 200, k]["reached"]["mean"] for s in ("blind", "informed") for k in kinds}
    return {kind for kind in kinds if share["informed", kind] > level >= share["blind", kind]}


def _tau(left: float) -> float:
    return float(1 / (1 - left ** (1 / 500)))


EXERCISES = {
    "08.1": Exercise(
        right=_tau(0.1),
        tolerance=1e-2,
        hint="solve (1 - 1/tau)^500 = 0.1 for tau.",
        mistakes=[
            (_tau(0.9), "that leaves nine tenths; a tenth is to be left."),
            (500, "after tau steps 37 % are left, not 10."),
            (500 / 10, "a tenth of the steps is not a tenth of the current."),
        ],
        because="500 / ln 10 is 217.1, and half a step more since time goes in steps.",
    ),
    "08.2": Exercise(
        right=lambda answer: not isinstance(answer, str) and set(answer) == _needs_to_be_told(),
        hint="take the share of runs that reach 95 % for both starts at 200 steps, by network.",
        mistakes=[
            (
                lambda a: (
                    set(a)
                    == {k for _, _, k in _recall() if _recall()["blind", 200, k]["reached"]["mean"] <= 0.5}
                ),
                "those fail blind; some of them fail informed too.",
            ),
            (lambda a: "plain" in a and len(a) == 1, "look at every network, the loops too."),
        ],
        because="These can hold the cue, and do not find out by themselves how.",
    ),
    "08.3": Exercise(
        right=lambda a: len(a) == 2 and float(a[0]) < 0.5 < 0.9 < float(a[1]) <= 1,
        hint="final gives a run; dataclasses.replace changes the start, tau and learned of its network.",
        mistakes=[
            (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
            (lambda a: float(a[0]) > float(a[1]), "the one that starts at 10 steps comes first."),
        ],
        because="After 200 steps nothing is left of a current of 10 steps, nor of a gradient through it.",
    ),
}
