"""What the runs say: means with intervals and tests, written to one file that figures and chapter 07 read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.grid import DELAYS, GROUPS, MATCHED, Case, cases
from experiments.networks import NetworkSpec
from experiments.results import write_json
from experiments.runs import Record
from experiments.statistics import decide, estimate
from sequential_fmnist.train import TrainingConfig

SUMMARY = Path("results") / "ablation.json"
#: Significant digits: more than are ever shown, as what is rounded twice may end on another last digit.
DIGITS = 6
#: The group and the case whose runs are drawn epoch by epoch.
HISTORIES = ("reproduction", "90 epochs")

#: A case by its group, name and network.
Place = tuple[str, str, str]

_PAIRS = (("plain", "stateful-synapse"), ("plain", "feedback"), ("stateful-synapse", "feedback"))

#: Questions with a yes or no: does the second do better than the first?
COMPARISONS: dict[str, tuple[Place, Place]] = {
    **{
        f"{b} over {a}, the listing, 64 epochs": (
            ("reproduction", "64 epochs", a),
            ("reproduction", "64 epochs", b),
        )
        for a, b in _PAIRS
    },
    **{f"{b} over {a}, stable recipe": (("size", "stable", a), ("size", "stable", b)) for a, b in _PAIRS},
    **{
        f"{b} over {a}, read out in the last step only": (
            ("last_steps", "last 1", a),
            ("last_steps", "last 1", b),
        )
        for a, b in _PAIRS
    },
    **{
        f"{b} over {a}, read out after {DELAYS[-1]} blank columns": (
            ("delay", f"delay {DELAYS[-1]}", a),
            ("delay", f"delay {DELAYS[-1]}", b),
        )
        for a, b in _PAIRS
    },
    **{
        f"stateful-synapse over plain with {control}, {where}": (
            ("controls", f"{name}, {control}", "plain"),
            (group, name, "stateful-synapse"),
        )
        for control in (f"{MATCHED} hidden", "leaky read-out")
        for where, group, name in (
            ("last step", "last_steps", "last 1"),
            (f"{DELAYS[-1]} blank columns", "delay", f"delay {DELAYS[-1]}"),
        )
    },
    **{
        f"feedback over plain with {MATCHED} hidden, {where}": (
            ("controls", f"{name}, {MATCHED} hidden", "plain"),
            (group, name, "feedback"),
        )
        for where, group, name in (
            ("last step", "last_steps", "last 1"),
            (f"{DELAYS[-1]} blank columns", "delay", f"delay {DELAYS[-1]}"),
        )
    },
    **{
        f"feedback over plain with {MATCHED} hidden neurons, {recipe} recipe": (
            ("size", f"{recipe}, {MATCHED} hidden", "plain"),
            ("size", recipe, "feedback"),
        )
        for recipe in ("tutorial", "stable")
    },
    **{
        f"gradient through the reset over detached, {kind}, {recipe} recipe": (
            (group, f"{name}{detached}", kind),
            (group, f"{name}{through}", kind),
        )
        for recipe, group, name, detached, through in (
            ("tutorial", "reset", "64 epochs, ", "cut everywhere", "cut nowhere"),
            ("stable", "detach", "stable, detach_reset=", True, False),
        )
        for kind in ("plain", "stateful-synapse", "feedback")
    },
    **{
        f"{b} over {a}, gradient through the reset, 64 epochs": (
            ("reset", "64 epochs, cut nowhere", a),
            ("reset", "64 epochs, cut nowhere", b),
        )
        for a, b in _PAIRS
    },
    "feedback over plain, cut as in SpikingJelly's present example, 64 epochs": (
        ("reset", "64 epochs, cut nowhere", "plain"),
        ("reset", "64 epochs, cut in the hidden layer", "feedback"),
    ),
    **{
        f"clipped over not, cut everywhere, {kind}, 64 epochs": (
            ("reset", "64 epochs, cut everywhere", kind),
            ("reset", "64 epochs, cut everywhere, gradient norm at most 1", kind),
        )
        for kind in ("plain", "stateful-synapse", "feedback")
    },
    "learned over frozen recurrent weights": (
        ("learned", "frozen weights", "feedback"),
        ("learned", "learned weights", "feedback"),
    ),
    "learned over frozen tau": (
        ("learned", "tau frozen", "stateful-synapse"),
        ("learned", "tau learned", "stateful-synapse"),
    ),
    "tau per channel over one tau": (
        ("learned", "tau learned", "stateful-synapse"),
        ("learned", "tau per-channel", "stateful-synapse"),
    ),
    f"feedback over plain with {MATCHED} hidden neurons, best recipe": (
        ("refined", f"second search, {MATCHED} hidden", "plain"),
        ("refined", "second search", "feedback"),
    ),
    "GRU over the best feedback network": (
        ("refined", "second search", "feedback"),
        ("gated", "stable", "gru"),
    ),
}


def summarise(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the summary of all cases whose runs are there; a group that misses some is left out.

    Accuracies are fractions. A run whose loss was not finite counts as chance and is counted in ``failed``.

    Args:
        records: results by the keys of their specs, as :meth:`experiments.engine.Store.records` returns them.
    """
    groups = {}
    for name, group in cases().items():
        done = all(spec.key() in records for case in group for spec in case.runs())
        if done:
            groups[name] = [summary_of(case, records) | _more(case, records, name) for case in group]
    used = {spec.key() for name in groups for case in cases()[name] for spec in case.runs()}
    summary = {
        "runs": len(used),  # some belong to several groups
        "groups": groups,
        "questions": {name: (GROUPS[name].__doc__ or "").strip() for name in groups},
        "comparisons": _comparisons(groups),
        "search": _searches(records.values()),
        "provenance": provenance_of(record for key, record in records.items() if key in used),
    }
    return rounded(summary)


def rounded(value: Any) -> Any:
    """Return ``value`` with every float in it, at any depth, rounded to ``DIGITS``."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def summary_of(case: Case, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return what the runs of a case say, which are all there."""
    runs = [records[spec.key()] for spec in case.runs()]
    values = [case.spec.chance if run["accuracy"] is None else run["accuracy"] for run in runs]
    spikes = [run["spikes"] for run in runs if run.get("spikes") is not None]
    learned = [run["train_accuracy"] for run in runs if run.get("train_accuracy") is not None]
    return {
        "name": case.name,
        "kind": case.kind,
        "at": case.at,
        "parameters": next((run["parameters"] for run in runs if "parameters" in run), None),
        "values": values,
        "failed": sum(run["accuracy"] is None for run in runs),
        "accuracy": dataclasses.asdict(estimate(values)),
        "train_accuracy": estimate(learned).mean if learned else None,
        "spikes": dataclasses.asdict(estimate(spikes)) if spikes else None,
    }


def _more(case: Case, records: Mapping[str, Record], group: str) -> dict[str, Any]:
    """Return what only some groups show: curves, train accuracies of every run, learned time constants."""
    runs = [records[spec.key()] for spec in case.runs()]
    found: dict[str, Any] = {}
    if (group, case.name) == HISTORIES:
        found["curves"] = [[round(value, 3) for value in run["curve"]] for run in runs if run.get("curve")]
    if group == "reset":
        found["train_values"] = [run["train_accuracy"] for run in runs]
    taus = [value for run in runs for name, value in run.items() if name.startswith("tau of")]
    return found | ({"taus": taus} if taus else {})


def _comparisons(groups: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the answer to each question whose runs are made."""
    found = {
        (group, case["name"], case["kind"]): case["values"] for group in groups for case in groups[group]
    }
    asked = {
        question: pair for question, pair in COMPARISONS.items() if all(place in found for place in pair)
    }
    return dict(zip(asked, decide([(found[a], found[b]) for a, b in asked.values()]), strict=True))


def _searches(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Return how many runs on validation images each network had, and how many epochs they took together."""
    found: dict[str, dict[str, int]] = {}
    for record in records:
        changed = record["changed"]
        if changed.get("data", {}).get("split") == "validation":
            kind = changed.get("network", {}).get("kind", NetworkSpec().kind)
            total = found.setdefault(kind, {"runs": 0, "epochs": 0})
            total["runs"] += 1
            total["epochs"] += changed.get("training", {}).get("epochs", TrainingConfig().epochs)
    return found


def provenance_of(records: Iterable[Record]) -> dict[str, list[Any]]:
    """Return every value that a part of the provenance took over all runs."""
    seen: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record["provenance"].items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return seen


def write(records: Mapping[str, Record], path: Path = SUMMARY) -> None:
    """Write the summary to ``path``, a line for each case."""
    write_json(path, summarise(records), width=400)
