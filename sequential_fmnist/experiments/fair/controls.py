"""The second study of chapter 08: controls that were asked for after the first.

``CONTROLS.md`` was committed before their runs and says what is concluded from what. Recipes are those that the search
of the first study chose; for the starts of ``start`` a smaller search chose them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from sequential_fmnist.experiments.fair.plan import (
    FAIR,
    FIRST,
    RATIOS_AT,
    chosen,
    final,
    recipes_of,
    spec_of,
)
from sequential_fmnist.experiments.frame import Case, Group, Records, Study

__all__ = ["CONTROLS", "RATIOS", "READ_OUT", "SPREAD", "SUMMING", "THRESHOLD"]

#: Networks with a slow state elsewhere.
READ_OUT, THRESHOLD, SUMMING = "plain, leaky read-out", "adaptive threshold", "plain, summing read-out"
_PLAIN, _SYNAPSE = "plain", "stateful synapse"
#: What makes the blind synapse of the first study recall: changes of its network, each alone.
SPREAD: dict[str, dict[str, Any]] = {
    "spread, fixed": {"learned": False},
    "one tau, learned": {"start": "blind, one tau"},
    "one tau, fixed": {"start": "blind, one tau", "learned": False},
    "hard reset": {"start": "blind, hard reset"},
}
#: D over the time constant at the start, and the number of the recipe that a search of its own chose for it: of six
#: recipes the one with the highest accuracy on validation sequences, with one seed. Commit 2678aea, in git's history,
#: has the search and its runs.
RATIOS: dict[str, dict[float, int]] = {
    _PLAIN: {30: 11, 10: 11, 3: 3, 1: 3, 0.3: 3},
    _SYNAPSE: {30: 1, 10: 3, 3: 1, 1: 1, 0.3: 1},
}


def _with_its_recipe(
    question: str, task: str, searched: str, kind: str, places: Iterable[tuple[str, int]], seeds: int
) -> Group:
    """Return a group of ``kind`` at places (start, D), each with the recipe that was chosen for ``searched``."""
    placed = tuple(places)

    def group(records: Records) -> Iterable[Case]:
        for start, at in placed:
            number = chosen(records, task, searched, start)
            if number is not None:
                spec = spec_of(task, kind, start, recipes_of(kind, start)[number], at)
                yield Case(start, kind, spec, seeds, at, FIRST)

    group.__doc__ = f"{question} {kind.capitalize()}."
    return group


def _slow(kind: str, *starts: str) -> Group:
    places = ((start, at) for at in (500, 200) for start in starts)
    return _with_its_recipe("Recall: where may the slow state sit?", "recall", _PLAIN, kind, places, 5)


def _delays(kind: str) -> Group:
    places = (("blind", 50), ("blind", 100), ("informed", 50))
    question = "Copying: must delays be learned?"
    return _with_its_recipe(question, "copying", "feedback, learned delays", kind, places, 3)


def spread(records: Records) -> Iterable[Case]:
    """Recall, blind, over 500 steps: must the synapse's time constants be spread, learned, and the reset be soft?"""
    for name, changes in SPREAD.items():
        if spec := final(records, "recall", _SYNAPSE, "blind", 500, changes):
            yield Case(name, _SYNAPSE, spec, 3, 500, FIRST)


def longer(records: Records) -> Iterable[Case]:
    """Copying, blind, over 20 steps: do loops without delays keep the order if they train five times as long?"""
    for kind in ("feedback", "feedback through LINode", "feedback through SynapseFilter"):
        if spec := final(records, "copying", kind, "blind", 20):
            training = dataclasses.replace(spec.training, epochs=5 * spec.training.epochs)
            yield Case("blind, 7,500 steps", kind, dataclasses.replace(spec, training=training), 2, 20, FIRST)


def start(_: Records) -> Iterable[Case]:
    """Is it the start or the kind, if each time constant at the start has a search of its own?"""
    for kind, numbers in RATIOS.items():
        for ratio, number in numbers.items():
            given = {"start": "given", "tau": RATIOS_AT / ratio, "membrane": None, "distance": 50}
            recipe = recipes_of(kind, "informed")[number]
            spec = spec_of("recall", kind, "informed", recipe, RATIOS_AT, changes=given)
            yield Case(f"D / tau = {ratio}", kind, spec, 5, RATIOS_AT, FIRST)


_GROUPS: dict[str, Callable[[Records], Iterable[Case]]] = {
    "read-out": _slow(READ_OUT, "informed", "blind", "tutorial"),
    "fixed-delays": _delays("feedback, fixed delays"),
    "spread": spread,
    "longer": longer,
    "paced-delays": _delays("feedback, delays at a rate of their own"),
    "threshold": _slow(THRESHOLD, "informed", "blind", "tutorial"),
    "start": start,
    "summing-read-out": _slow(SUMMING, "informed", "blind"),
}

CONTROLS = Study("controls", _GROUPS, pending=("summing-read-out",), after=FAIR)
