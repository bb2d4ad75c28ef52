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
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.train import TrainingConfig

SUMMARY = Path("results") / "ablation.json"
#: Significant digits: more than are ever shown, as what is rounded twice may end on another last digit.
DIGITS = 6

#: A case by its group, name and network.
Place = tuple[str, str, str]

_PAIRS = (("plain", "stateful-synapse"), ("plain", "feedback"), ("stateful-synapse", "feedback"))
#: Where memory is needed: the words, the group, and the case.
_NEEDED = (
    ("last step", "last_steps", "last 1"),
    (f"{DELAYS[-1]} blank columns", "delay", f"delay {DELAYS[-1]}"),
)


def _questions() -> dict[str, tuple[Place, Place]]:
    """Return the questions with a yes or no: does the second do better than the first?"""
    asked: dict[str, tuple[Place, Place]] = {}
    for words, group, name in (
        ("the listing, 64 epochs", "reproduction", "64 epochs"),
        ("stable recipe", "size", "stable"),
        ("read out in the last step only", *_NEEDED[0][1:]),
        (f"read out after {_NEEDED[1][0]}", *_NEEDED[1][1:]),
    ):
        for a, b in _PAIRS:
            asked[f"{b} over {a}, {words}"] = (group, name, a), (group, name, b)
    for kind, control in (
        ("stateful-synapse", f"{MATCHED} hidden"),
        ("stateful-synapse", "leaky read-out"),
        ("feedback", f"{MATCHED} hidden"),
    ):
        for words, group, name in _NEEDED:
            plain = "controls", f"{name}, {control}", "plain"
            asked[f"{kind} over plain with {control}, {words}"] = plain, (group, name, kind)
    for recipe in ("tutorial", "stable"):
        plain = "size", f"{recipe}, {MATCHED} hidden", "plain"
        question = f"feedback over plain with {MATCHED} hidden neurons, {recipe} recipe"
        asked[question] = plain, ("size", recipe, "feedback")
    for recipe, group, cut, uncut in (
        ("tutorial", "reset", "64 epochs, cut everywhere", "64 epochs, cut nowhere"),
        ("stable", "detach", "stable, detach_reset=True", "stable, detach_reset=False"),
    ):
        for kind in NETWORKS:
            question = f"gradient through the reset over detached, {kind}, {recipe} recipe"
            asked[question] = (group, cut, kind), (group, uncut, kind)
    cut, uncut = "64 epochs, cut everywhere", "64 epochs, cut nowhere"
    for a, b in _PAIRS:
        asked[f"{b} over {a}, gradient through the reset, 64 epochs"] = (
            ("reset", uncut, a),
            ("reset", uncut, b),
        )
    asked["feedback over plain, cut as in SpikingJelly's current example, 64 epochs"] = (
        ("reset", uncut, "plain"),
        ("reset", "64 epochs, cut in the hidden layer", "feedback"),
    )
    for kind in NETWORKS:
        clipped = "reset", f"{cut}, gradient norm at most 1", kind
        asked[f"clipped over not, cut everywhere, {kind}, 64 epochs"] = ("reset", cut, kind), clipped
    for question, kind, a, b in (
        ("learned over frozen recurrent weights", "feedback", "frozen weights", "learned weights"),
        ("learned over frozen tau", "stateful-synapse", "tau frozen", "tau learned"),
        ("tau per channel over one tau", "stateful-synapse", "tau learned", "tau per-channel"),
    ):
        asked[question] = ("learned", a, kind), ("learned", b, kind)
    best = "refined", "second search", "feedback"
    plain = "refined", f"second search, {MATCHED} hidden", "plain"
    asked[f"feedback over plain with {MATCHED} hidden neurons, best recipe"] = plain, best
    asked["GRU over the best feedback network"] = best, ("gated", "stable", "gru")
    return asked


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
    """Return what only some groups show: train accuracies of every run, learned time constants."""
    runs = [records[spec.key()] for spec in case.runs()]
    found: dict[str, Any] = {}
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
        question: pair for question, pair in _questions().items() if all(place in found for place in pair)
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
