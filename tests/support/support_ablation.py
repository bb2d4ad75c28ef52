"""A made-up ablation: records that nobody ran, with outcomes that tests plant, summarised as real ones are.

Nothing of it is ever written to results/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.grid import Case, cases
from experiments.report import summarise

Accuracy = Callable[[str, Case], float]

LEVELS = {"plain": 0.72, "stateful-synapse": 0.76, "feedback": 0.78, "gru": 0.85, "lstm": 0.84}


def level(group: str, case: Case) -> float:
    """The planted truth: networks at ``LEVELS``, the larger plain network at the feedback network's level, and a plain
    network that forgets during a delay.
    """
    if case.kind == "plain" and case.spec.network.hidden == 86:
        return LEVELS["feedback"]
    if group == "delay" and case.kind == "plain":
        return max(0.1, LEVELS["plain"] - 0.01 * case.at)
    return LEVELS[case.kind]


def records(accuracy: Accuracy = level, spread: float = 0.004) -> dict[str, dict[str, Any]]:
    """Return a record for every run of the ablation: the planted accuracy and seeded noise around it."""
    made = {}
    for group, members in cases().items():
        for case in members:
            for seed, spec in enumerate(case.runs()):
                rng = np.random.default_rng([seed, *case.name.encode(), *case.kind.encode()])
                value = round(accuracy(group, case) + spread * rng.standard_normal(), 4)
                made[spec.key()] = {
                    "accuracy": value,
                    "parameters": 1000 + case.spec.network.hidden,
                    "train_accuracy": value + 0.01,
                    "curve": [value * epoch / spec.training.epochs for epoch in range(spec.training.epochs)],
                    "spikes": None if case.kind in ("gru", "lstm") else 100.0 + seed,
                    "changed": spec.changed(),
                    "provenance": {"torch": "made up"},
                }
    return made


def summary(accuracy: Accuracy = level, spread: float = 0.004) -> dict[str, Any]:
    """Return the summary of :func:`records`."""
    return summarise(records(accuracy, spread))
