"""The study of chapter 08: a search for each network and start, the runs that count, and their controls.

README.md says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sequential_fmnist.experiments.fair.networks import GATED, SPIKING, MemorySpec, hidden_for
from sequential_fmnist.experiments.fair.tasks import TASKS
from sequential_fmnist.experiments.frame import Case, Group, Place, Record, Records, Spec, Study
from sequential_fmnist.train import TrainingConfig

__all__ = [
    "DISTANCES",
    "FAIR",
    "FIRST",
    "LEARNED",
    "RATIOS",
    "RATIOS_AT",
    "RECIPES",
    "STARTS",
    "chosen",
    "final",
    "recipes_of",
    "spec_of",
]

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
#: Longest delay of a loop that is not given the distance, in time steps; a sequence may be shorter.
MAX_DELAY = 128
#: Where does each network fail? Distances and seeds by network, and starts; README.md says what was seen before.
LIMITS: dict[str, tuple[tuple[str, ...], tuple[int, ...], int]] = {
    "plain": (STARTS["recall"], (75, 100, 150, 300), 10),
    "stateful synapse": (("blind", "informed"), (1_000, 2_000, 4_000), 5),
    "feedback": (STARTS["recall"], (10, 20, 30, 100), 10),
    "feedback through SynapseFilter": (("blind", "informed"), (300, 1_000, 2_000), 5),
    "GRU": (("blind", "informed"), (1_000, 2_000), 5),
}
#: The first seed of these runs.
LIMITS_FIRST = 200
#: D over the time constant at the start, of the runs that ask whether it is the start or the kind.
RATIOS, RATIOS_AT = (100, 30, 10, 3, 1, 0.3, 0.1), 200
LEARNED = {True: "tau learned", False: "tau fixed"}

#: The twelve recipes, the same ones for every network; of each a network takes the options that it has. They were drawn
#: as a Latin hypercube.
RECIPES: list[dict[str, Any]] = [
    dict(
        zip(
            ("lr", "alpha", "detach_reset", "gain", "recurrent_gain", "readout_gain", "membrane"),
            row,
            strict=True,
        )
    )
    for row in (
        (0.0019, 2.0, False, 3.0, 0.1, 10.0, 1.0),
        (0.0034, 2.0, False, 1.0, 0.1, 10.0, None),
        (0.012, 1.0, True, 3.0, 1.0, 1.0, 1.0),
        (0.022, 1.0, False, 1.0, 0.1, 1.0, 4.0),
        (0.016, 1.0, True, 1.0, 1.0, 10.0, 4.0),
        (0.0025, 1.0, False, 3.0, 1.0, 0.1, None),
        (0.0064, 2.0, False, 1.0, 0.1, 0.1, None),
        (0.0047, 2.0, False, 3.0, 1.0, 0.1, 1.0),
        (0.001, 2.0, True, 3.0, 0.1, 10.0, 4.0),
        (0.03, 1.0, True, 1.0, 0.1, 1.0, None),
        (0.0087, 1.0, True, 1.0, 1.0, 1.0, 1.0),
        (0.0014, 2.0, True, 3.0, 1.0, 0.1, 4.0),
    )
]


def recipes_of(kind: str, start: str) -> list[dict[str, Any]]:
    """Return the twelve recipes with the options that a network has: distinct, since each has its own learning rate."""
    names = {"lr"}
    if start != "tutorial":
        names |= {"readout_gain"}
    if kind not in GATED:
        names |= {"alpha", "detach_reset"}
        if start != "tutorial":
            names |= {"gain"} | ({"recurrent_gain"} if "feedback" in kind else set())
        if start == "informed":
            names |= {"membrane"}
    return [{name: value for name, value in recipe.items() if name in names} for recipe in RECIPES]


def spec_of(
    task: str,
    kind: str,
    start: str,
    recipe: Mapping[str, Any],
    at: int,
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
) -> Spec:
    """Return a run at a distance, with ``changes`` of the network."""
    shown, (steps, batch_size) = TASKS[task](at, split=split), TRAINING[task]
    options = dict(recipe)
    training = TrainingConfig(
        epochs=steps, batch_size=batch_size, lr=options.pop("lr"), opt="adam", loss="cross-entropy", clip=1.0
    )
    # Only an informed start is given the distance.
    known: dict[str, Any] = {"distance": at} if start == "informed" else {}
    if "delays" in kind:
        known["max_delay"] = at + 8 if start == "informed" else min(MAX_DELAY, at + 16)
    hidden = hidden_for(kind, start, shown.inputs, shown.outputs, PARAMETERS)
    network = MemorySpec(
        **{"kind": kind, "start": start, "hidden": hidden} | known | options | dict(changes or {})
    )
    return Spec(network, shown, training)


def _searched(task: str, kind: str, start: str) -> list[list[Spec]]:
    """Return the runs of each recipe on the validation sequences."""
    return [
        [
            spec_of(task, kind, start, recipe, distance, "validation").with_seed(seed)
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
        results = [records[spec.key()] for spec in specs]
        right = [specs[0].task.chance if one["accuracy"] is None else one["accuracy"] for one in results]
        merits.append((sum(right) / len(right), -sum(one.get("steps", math.inf) for one in results)))
    return merits


def chosen(records: Records, task: str, kind: str, start: str) -> int | None:
    """Return the number of the recipe with the highest score, of equal ones the one that took fewer steps.

    None where runs of the search are missing.
    """
    merits = scores(records, task, kind, start)
    return None if merits is None else max(range(len(merits)), key=lambda number: merits[number])


def final(
    records: Records, task: str, kind: str, start: str, at: int, changes: Mapping[str, Any] | None = None
) -> Spec | None:
    """Return a run that counts, at a distance, by the recipe of the search, with ``changes`` of the network."""
    number = chosen(records, task, kind, start)
    if number is None:
        return None
    return spec_of(task, kind, start, recipes_of(kind, start)[number], at, changes=changes)


def _search(task: str) -> Group:
    def group(_: Records) -> Iterable[Case]:
        for start in STARTS[task]:
            for kind in NETWORKS[task]:
                for number, specs in enumerate(_searched(task, kind, start)):
                    for spec in specs:
                        at, seed = spec.task.distance, spec.training.seed
                        yield Case(f"{start}, recipe {number}", kind, spec, 1, at, seed)

    return group


def _finals(task: str) -> Group:
    def group(records: Records) -> Iterable[Case]:
        for distance in DISTANCES[task]:
            for start in STARTS[task]:
                for kind in NETWORKS[task]:
                    seeds = 20 if task == "recall" and kind in SPIKING else 10
                    if spec := final(records, task, kind, start, distance):
                        yield Case(start, kind, spec, seeds, distance, FIRST)

    return group


def _limits(records: Records) -> Iterable[Case]:
    """Up to which distance does each network recall?"""
    for kind, (starts, distances, seeds) in LIMITS.items():
        for distance in distances:
            for start in starts:
                if spec := final(records, "recall", kind, start, distance):
                    yield Case(start, kind, spec, seeds, distance, LIMITS_FIRST)


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
                given = {"start": "given", "tau": RATIOS_AT / ratio, "learned": learned}
                given |= {"membrane": None, "distance": 50}
                if spec := final(records, "recall", kind, "informed", RATIOS_AT, given):
                    yield Case(f"{name}, D / tau = {ratio}", kind, spec, 5, RATIOS_AT, FIRST)


_SYNAPSE, _THROUGH = "stateful synapse", "feedback through SynapseFilter"
#: The contrasts that were named before the runs: start, distance, and two networks. README.md has them in words.
CONTRASTS: tuple[tuple[str, int, str, str], ...] = (
    ("tutorial", 200, _SYNAPSE, "plain"),
    ("blind", 500, _SYNAPSE, "plain"),
    ("informed", 500, _SYNAPSE, "plain"),
    ("informed", 50, "feedback", "plain"),
    ("informed", 200, "feedback", "plain"),
    ("informed", 500, _THROUGH, "feedback"),
)


def _questions() -> dict[str, tuple[Place, Place]]:
    return {
        f"{b} over {a}, {start}, D = {at}": (("fair-recall", start, a, at), ("fair-recall", start, b, at))
        for start, at, b, a in CONTRASTS
    }


def _choices(records: Records, _: Path) -> Record:
    """Return the recipes, and for each task, start and network the mean score of each and the number of the chosen."""
    search: dict[str, dict[str, Record]] = {}
    for task, starts in STARTS.items():
        for start in starts:
            for kind in NETWORKS[task]:
                number = chosen(records, task, kind, start)
                if number is not None:
                    means = [mean for mean, _ in scores(records, task, kind, start) or []]
                    search.setdefault(f"{task}, {start}", {})[kind] = {"chosen": number, "scores": means}
    return {"recipes": RECIPES, "search": search}


FAIR = Study(
    "fair",
    {
        "fair-recall-search": _search("recall"),
        "fair-recall": _finals("recall"),
        "fair-limits": _limits,
        "fair-ratios": _ratios,
        "fair-width": _width,
        "fair-copying-search": _search("copying"),
        "fair-copying": _finals("copying"),
    },
    _questions(),
    _choices,
    searches=("fair-recall-search", "fair-copying-search"),
    pending=("fair-limits",),
)
