"""The second study of chapter 08: controls that were asked for after the first.

``CONTROLS.md`` was committed before their runs and says what is concluded from what. Recipes are those that the search
of the first study chose; for the starts of ``start`` a smaller search is made here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sequential_fmnist.experiments.fair.plan import (
    FAIR,
    FIRST,
    RATIOS_AT,
    RECIPES,
    SEARCH_SEEDS,
    chosen,
    final,
    recipes_of,
    spec_of,
)
from sequential_fmnist.experiments.frame import Case, Group, Record, Records, Spec, Study

__all__ = ["CONTROLS", "RATIOS", "READ_OUT", "SPREAD", "THRESHOLD"]

#: Networks with a slow state elsewhere.
READ_OUT, THRESHOLD = "plain, leaky read-out", "adaptive threshold"
_PLAIN, _SYNAPSE = "plain", "stateful synapse"
#: What makes the blind synapse of the first study recall: changes of its network, each alone.
SPREAD: dict[str, dict[str, Any]] = {
    "spread, fixed": {"learned": False},
    "one tau, learned": {"start": "blind, one tau"},
    "one tau, fixed": {"start": "blind, one tau", "learned": False},
    "hard reset": {"start": "blind, hard reset"},
}
#: D over the time constant at the start, each with a search of its own for each kind.
RATIOS = (30, 10, 3, 1, 0.3)


def _options(kind: str, start: str, number: int) -> dict[str, Any]:
    return recipes_of(kind, start)[number]


def _best(records: Records, searched: Mapping[int, list[Spec]]) -> int | None:
    """Return the number of the recipe with the highest mean accuracy on validation sequences, the first of equals."""
    merits = {}
    for number, specs in searched.items():
        if any(spec.key() not in records for spec in specs):
            return None
        accuracies = [records[spec.key()]["accuracy"] for spec in specs]
        merits[number] = sum(specs[0].task.chance if each is None else each for each in accuracies)
    return max(merits, key=lambda number: merits[number], default=None)


def _search_cases(kind: str, name: str, searched: Mapping[int, list[Spec]]) -> Iterable[Case]:
    for number, specs in searched.items():
        for spec in specs:
            yield Case(f"{name}, recipe {number}", kind, spec, 1, RATIOS_AT, spec.training.seed)


def _with_its_recipe(
    question: str, task: str, searched: str, kind: str, places: Iterable[tuple[str, int]], seeds: int
) -> Group:
    """Return a group of ``kind`` at places (start, D), each with the recipe that was chosen for ``searched``."""
    placed = tuple(places)

    def group(records: Records) -> Iterable[Case]:
        for start, at in placed:
            number = chosen(records, task, searched, start)
            if number is not None:
                spec = spec_of(task, kind, start, _options(kind, start, number), at)
                yield Case(start, kind, spec, seeds, at, FIRST)

    group.__doc__ = f"{question} {kind.capitalize()}."
    return group


def _slow(kind: str) -> Group:
    places = ((start, at) for at in (500, 200) for start in ("informed", "blind", "tutorial"))
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


def _given(kind: str, ratio: float, number: int, split: str = "test") -> Spec:
    given = {"start": "given", "tau": RATIOS_AT / ratio, "membrane": None, "distance": 50}
    return spec_of("recall", kind, "informed", _options(kind, "informed", number), RATIOS_AT, split, given)


def _start_searched(kind: str, ratio: float) -> dict[int, list[Spec]]:
    return {
        number: [_given(kind, ratio, number, "validation").with_seed(SEARCH_SEEDS[0])]
        for number in range(1, len(RECIPES), 2)
    }


def start_search(_: Records) -> Iterable[Case]:
    """Which of six recipes suits each time constant at the start?"""
    for kind in (_PLAIN, _SYNAPSE):
        for ratio in RATIOS:
            yield from _search_cases(kind, f"D / tau = {ratio}", _start_searched(kind, ratio))


def start(records: Records) -> Iterable[Case]:
    """Is it the start or the kind, if each time constant at the start has a search of its own?"""
    for kind in (_PLAIN, _SYNAPSE):
        for ratio in RATIOS:
            number = _best(records, _start_searched(kind, ratio))
            if number is not None:
                yield Case(f"D / tau = {ratio}", kind, _given(kind, ratio, number), 5, RATIOS_AT, FIRST)


_GROUPS: dict[str, Callable[[Records], Iterable[Case]]] = {
    "read-out": _slow(READ_OUT),
    "fixed-delays": _delays("feedback, fixed delays"),
    "spread": spread,
    "longer": longer,
    "paced-delays": _delays("feedback, delays at a rate of their own"),
    "threshold": _slow(THRESHOLD),
    "start-search": start_search,
    "start": start,
}


def _choices(records: Records, _: Path) -> Record:
    """Return which recipe each search chose."""
    choices = {
        f"{kind}, D / tau = {ratio}": _best(records, _start_searched(kind, ratio))
        for kind in (_PLAIN, _SYNAPSE)
        for ratio in RATIOS
    }
    return {"search": {words: number for words, number in choices.items() if number is not None}}


CONTROLS = Study("controls", _GROUPS, more=_choices, searches=("start-search",), after=FAIR)
