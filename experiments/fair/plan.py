"""What is run: a search for each network and start, the runs that count, and their controls. README.md says why."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.fair.networks import GATED, SPIKING, MemorySpec, hidden_for
from experiments.fair.runs import FairRun, TaskSpec, TrainingSpec
from experiments.fair.tasks import TASKS
from experiments.runs import Case, Record

__all__ = ["GROUPS", "LEARNED", "RECIPES", "chosen", "final", "recipes_of"]

Records = Mapping[str, Record]

#: Most parameters of a network: as many as the tutorial's feedback network has.
PARAMETERS = 3_338
#: Networks of recall, and of copying.
RECALL = (*SPIKING[:5], *GATED)
COPYING = (*SPIKING, *GATED)
STARTS = {"recall": ("tutorial", "blind", "informed"), "copying": ("blind", "informed")}
NETWORKS = {"recall": RECALL, "copying": COPYING}
#: Distances of the search, and of the runs that count.
SEARCHED = {"recall": (50, 200), "copying": (20, 50)}
DISTANCES = {"recall": (50, 200, 500), "copying": (20, 50, 100)}
TRAINING = {"recall": (1_000, 32), "copying": (1_500, 64)}  # steps, batch size
#: Seeds of the search, and the first one of the runs that count.
SEARCH_SEEDS, FIRST = (10, 11), 100
#: Hidden neurons of the controls of width: each network as wide as the other with as many parameters.
WIDTHS = {"plain": 36, "stateful synapse": 36, "feedback": 185}
#: Longest delay of a loop that is not told the distance, in time steps; a sequence may be shorter.
MAX_DELAY = 128
#: D over the time constant at the start, of the runs that ask whether it is the start or the kind.
RATIOS, RATIOS_AT = (100, 30, 10, 3, 1, 0.3, 0.1), 200
LEARNED = {True: "tau learned", False: "tau fixed"}

_DRAWS = 12
_SPACE: dict[str, tuple[Any, ...]] = {
    "lr": tuple(float(f"{0.001 * 30 ** (k / (_DRAWS - 1)):.2g}") for k in range(_DRAWS)),
    "alpha": (1.0, 2.0),
    "detach_reset": (True, False),
    "gain": (1.0, 3.0),
    "recurrent_gain": (0.1, 1.0),
    "readout_gain": (0.1, 1.0, 10.0),
    "membrane": (1.0, 4.0, None),
}


def _draw() -> list[dict[str, Any]]:
    """Return recipes drawn at random, each value of an option as often as any other: a Latin hypercube."""
    rng = random.Random(2027)  # noqa: S311
    columns = {}
    for name, values in _SPACE.items():
        columns[name] = [values[k % len(values)] for k in range(_DRAWS)]
        rng.shuffle(columns[name])
    return [{name: column[k] for name, column in columns.items()} for k in range(_DRAWS)]


#: The twelve recipes, the same ones for every network; of each a network takes the options that it has.
RECIPES = _draw()


def recipes_of(kind: str, start: str) -> list[dict[str, Any]]:
    """Return the twelve recipes with the options that a network has: distinct, since each has its own learning rate."""
    names = {"lr"}
    if start != "tutorial":
        names |= {"readout_gain"}
    if kind in SPIKING:
        names |= {"alpha", "detach_reset"}
        if start != "tutorial":
            names |= {"gain"} | ({"recurrent_gain"} if "feedback" in kind else set())
        if start == "informed":
            names |= {"membrane"}
    return [{name: value for name, value in recipe.items() if name in names} for recipe in RECIPES]


def _run(
    task: str,
    kind: str,
    start: str,
    recipe: Mapping[str, Any],
    distance: int,
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
) -> FairRun:
    cls, (steps, batch_size) = TASKS[task], TRAINING[task]
    options = dict(recipe)
    training = TrainingSpec(steps, batch_size, options.pop("lr"))
    # A network that is not told the distance does not know it.
    told: dict[str, Any] = {"distance": distance} if start == "informed" else {}
    if "delays" in kind:
        told["max_delay"] = distance + 8 if start == "informed" else min(MAX_DELAY, distance + 16)
    hidden = hidden_for(kind, start, cls.inputs, cls.outputs, PARAMETERS)
    network = MemorySpec(
        **{"kind": kind, "start": start, "hidden": hidden} | told | options | dict(changes or {})
    )
    return FairRun(network, training, TaskSpec(task, distance, split))


def _searched(task: str, kind: str, start: str) -> list[list[FairRun]]:
    """Return the runs of each recipe on the validation sequences."""
    return [
        [
            _run(task, kind, start, recipe, distance, "validation").with_seed(seed)
            for distance in SEARCHED[task]
            for seed in SEARCH_SEEDS
        ]
        for recipe in recipes_of(kind, start)
    ]


def scores(records: Records, task: str, kind: str, start: str) -> list[tuple[float, float]] | None:
    """Return for each recipe the mean accuracy of the search, and the steps that it took, as a negative number.

    A run that is not finite counts as guessing. None where runs of the search are missing.
    """
    runs = _searched(task, kind, start)
    if any(spec.key() not in records for specs in runs for spec in specs):
        return None
    merits = []
    for specs in runs:
        found = [records[spec.key()] for spec in specs]
        right = [specs[0].chance if one["accuracy"] is None else one["accuracy"] for one in found]
        merits.append((sum(right) / len(right), -sum(one.get("steps", math.inf) for one in found)))
    return merits


def chosen(records: Records, task: str, kind: str, start: str) -> int | None:
    """Return the number of the recipe with the highest score, of equal ones the one that took fewer steps.

    None where runs of the search are missing.
    """
    merits = scores(records, task, kind, start)
    return None if merits is None else max(range(len(merits)), key=lambda number: merits[number])


def final(
    records: Records,
    task: str,
    kind: str,
    start: str,
    distance: int,
    changes: Mapping[str, Any] | None = None,
) -> FairRun | None:
    """Return the first run that counts, by the recipe of the search, with ``changes`` of the network."""
    number = chosen(records, task, kind, start)
    if number is None:
        return None
    return _run(task, kind, start, recipes_of(kind, start)[number], distance, changes=changes)


def _search(task: str) -> Callable[[Records], Iterable[Case]]:
    def group(_: Records) -> Iterable[Case]:
        for start in STARTS[task]:
            for kind in NETWORKS[task]:
                for number, specs in enumerate(_searched(task, kind, start)):
                    for spec in specs:
                        yield Case(
                            f"{start}, recipe {number}", kind, spec, 1, spec.task.distance, spec.training.seed
                        )

    return group


def _finals(task: str) -> Callable[[Records], Iterable[Case]]:
    def group(records: Records) -> Iterable[Case]:
        for distance in DISTANCES[task]:
            for start in STARTS[task]:
                for kind in NETWORKS[task]:
                    seeds = 20 if task == "recall" and kind in SPIKING else 10
                    if spec := final(records, task, kind, start, distance):
                        yield Case(start, kind, spec, seeds, distance, FIRST)

    return group


def _width(records: Records) -> Iterable[Case]:
    """Is it the memory, or the width? Feedback with as many neurons as the others have, and the other way round."""
    for distance in DISTANCES["recall"]:
        for start in STARTS["recall"]:
            for kind, hidden in WIDTHS.items():
                if spec := final(records, "recall", kind, start, distance, {"hidden": hidden}):
                    yield Case(start, kind, spec, 10, distance, FIRST)


def _ratios(records: Records) -> Iterable[Case]:
    """Is it the start or the kind? One memory, begun far below the distance up to far above it."""
    for kind in ("plain", "stateful synapse", "feedback through SynapseFilter"):
        for ratio in RATIOS:
            for learned, name in LEARNED.items():
                given = {
                    "start": "given",
                    "tau": RATIOS_AT / ratio,
                    "learned": learned,
                    "membrane": None,
                    "distance": 50,
                }
                if spec := final(records, "recall", kind, "informed", RATIOS_AT, given):
                    yield Case(f"{name}, D / tau = {ratio}", kind, spec, 5, RATIOS_AT, FIRST)


#: Every group by its name, in the order in which they run.
GROUPS: dict[str, Callable[[Records], Iterable[Case]]] = {
    "fair-recall-search": _search("recall"),
    "fair-recall": _finals("recall"),
    "fair-ratios": _ratios,
    "fair-width": _width,
    "fair-copying-search": _search("copying"),
    "fair-copying": _finals("copying"),
}
