"""What the runs from a fair start say, written to one file that chapter 08 reads: shares, means and six contrasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.fair.plan import GROUPS, NETWORKS, RECIPES, STARTS, chosen, scores
from experiments.report import provenance_of, rounded, summary_of
from experiments.results import write_json
from experiments.runs import Case, Record
from experiments.statistics import decide, share

__all__ = ["HELD", "RUNS", "SUMMARY", "summarise", "write"]

RUNS, SUMMARY = Path("results") / "fair_runs.jsonl", Path("results") / "fair.json"
#: Accuracy from which a run counts as having learned the task.
HELD = 0.95

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


def summarise(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the summary of all cases whose runs are there.

    A run that is not finite counts as guessing, and is counted in ``failed``.

    Args:
        records: results by the keys of their specs, as :meth:`experiments.engine.Store.records` returns them.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    used: set[str] = set()
    for name, group in GROUPS.items():
        for case in group(records):
            keys = {spec.key() for spec in case.runs()}
            if keys <= records.keys():
                used |= keys
                if not name.endswith("search"):
                    groups.setdefault(name, []).append(_summary(case, records))
    return rounded(
        {
            "runs": len(used),
            "recipes": RECIPES,
            "search": _search(records),
            "groups": groups,
            "contrasts": _contrasts(groups.get("fair-recall", [])),
            "provenance": provenance_of(records[key] for key in used),
        }
    )


def _summary(case: Case, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return what the runs of a case say, how many learned the task, and where time constants began and ended."""
    found = summary_of(case, records)
    runs = [records[spec.key()] for spec in case.runs()]
    learned = [run["learned"] for run in runs if run["accuracy"] is not None]
    return found | {
        "hidden": case.spec.network.hidden,
        "reached": dataclasses.asdict(share(found["values"], HELD)),
        # Medians over runs: of the neurons' median at the start and at the end, and of the longest at the end.
        "tau": {
            name: [_middle([one[name][end][at] for one in learned]) for end, at in ((0, 2), (1, 2), (1, 4))]
            for name in (learned[0] if learned else ())
        },
    }


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _search(records: Mapping[str, Record]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each task, start and network the mean score of each recipe, and the number of the chosen one."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task, starts in STARTS.items():
        for start in starts:
            for kind in NETWORKS[task]:
                number = chosen(records, task, kind, start)
                if number is not None:
                    means = [mean for mean, _ in scores(records, task, kind, start) or []]
                    found.setdefault(f"{task}, {start}", {})[kind] = {"chosen": number, "scores": means}
    return found


def _contrasts(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers to the contrasts that were named before, as far as their runs are made."""
    values = {(case["name"], case["at"], case["kind"]): case["values"] for case in group}
    asked = [one for one in CONTRASTS if all((*one[:2], kind) in values for kind in one[2:])]
    answers = decide([(values[start, at, a], values[start, at, b]) for start, at, b, a in asked])
    return [
        {"start": start, "at": at, "over": a, "kind": b} | answer
        for (start, at, b, a), answer in zip(asked, answers, strict=True)
    ]


def write(records: Mapping[str, Record], path: Path = SUMMARY) -> None:
    """Write the summary to ``path``, a line for each case."""
    write_json(path, summarise(records), width=600)
