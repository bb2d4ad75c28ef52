"""What the runs on tasks that need memory say, written to one file that figures and chapter 08 read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.long import grid
from experiments.long.grid import DRAWS, GROUPS, NETWORKS, QUESTIONS, SIZES, group_name, searched
from experiments.long.networks import KINDS, parameters_of
from experiments.long.runs import build
from experiments.report import provenance_of, rounded, summary_of
from experiments.results import write_json
from experiments.runs import Case, Record
from experiments.statistics import compare

#: The runs, and what they say.
RUNS, SUMMARY = Path("results") / "long_runs.jsonl", Path("results") / "long.json"
#: The delay or length of which it is kept what the networks learned beside their weights.
LEARNED_AT = 100


def summarise(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the summary of all cases whose runs are there, and how many runs are missing.

    Args:
        records: results by the keys of their specs, as :meth:`experiments.engine.Store.records` returns them.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    used, missing = set(), 0
    for name in GROUPS:
        for case in GROUPS[name]():
            keys = [spec.key() for spec in case.runs()]
            missing += sum(key not in records for key in keys)
            used |= {key for key in keys if key in records}
            if name != "long-search" and all(key in records for key in keys):
                groups.setdefault(name, []).append(summary_of(case, records) | _more(case, records))
    return rounded(
        {
            "runs": len(used),
            "missing": missing,
            "hours": sum(records[key].get("seconds", 0) for key in used) / 3600,
            "tasks": {name: _facts(name) for name in QUESTIONS},
            "recipes": DRAWS,
            "search": {name: _search(name, records) for name in QUESTIONS},
            "groups": groups,
            "comparisons": _comparisons(groups),
            "provenance": provenance_of(record for key, record in records.items() if key in used),
        }
    )


def _more(case: Case, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the numbers of hidden neurons and parameters, the steps that runs took, and what they learned.

    Of the latter the quantiles of all runs, by the name of what is learned.
    """
    runs: list[Any] = [records[spec.key()] for spec in case.runs()]
    ends = [run["curve"][-1][0] for run in runs if run.get("curve")]
    spec: Any = case.spec
    quantiles = [_effective(run.get("learned") or {}, spec.network.max_delay) for run in runs]
    return {
        "hidden": spec.network.hidden,
        "parameters": parameters_of(build(spec)),  # of runs that all failed there is no record of it
        "steps": float(np.mean(ends)) if ends else None,
        "learned": {name: [one[name] for one in quantiles if name in one] for name in quantiles[0]}
        if case.at in (None, LEARNED_AT)
        else None,
    }


def _effective(learned: Mapping[str, list[float]], max_delay: int) -> dict[str, list[float]]:
    """Return quantiles of what was learned, of delays as the feedback takes them: from 1 to the largest."""
    return {
        name: [min(max(value, 1.0), max_delay) for value in values] if name == "delay" else values
        for name, values in learned.items()
    }


def _facts(name: str) -> dict[str, Any]:
    question = QUESTIONS[name]
    task = question.task_spec(None).task()
    facts = {"chance": task.chance, "optimum": task.optimum, "solved": task.solved, "window": task.window}
    return facts | {
        key: getattr(question, key) for key in ("points", "steps", "search_steps", "batch_size", "seeds")
    }


def _search(name: str, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return for each network the scores of all recipes, the mean over the points, and the number of the chosen one."""
    numbers = grid.chosen().get(name)
    if numbers is None:
        return {}
    scores: dict[str, list[list[float | None]]] = {kind: [[] for _ in DRAWS] for kind in NETWORKS}
    for kind, number, spec in searched(name):
        scores[kind][number].append(records[spec.key()]["accuracy"] if spec.key() in records else None)
    return {kind: {"chosen": numbers[kind], "scores": scores[kind]} for kind in NETWORKS}


def _comparisons(groups: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Compare every network with the plain one at the last point of each group, and every spiking one with the GRU.

    A positive gain is better: of errors it is what they fall by.
    """
    found = {}
    for size, task in product(SIZES, QUESTIONS):
        name = group_name(task, size)
        if name not in groups:
            continue
        group, question, facts = groups[name], name.removeprefix("long-"), _facts(task)
        sign = 1 if facts["optimum"] > facts["chance"] else -1
        last = [case for case in group if case["at"] == group[-1]["at"]]
        values = {case["kind"]: [sign * value for value in case["values"]] for case in last}
        where = question if last[0]["at"] is None else f"{question} over {last[0]['at']} steps"
        for other in ("plain", "GRU"):
            for kind in values if other in values else ():
                if kind not in (other, "plain") and (other == "plain" or kind in KINDS):
                    found[f"{kind} over {other}: {where}"] = _compare(values[other], values[kind])
    return found


def _compare(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """Compare runs seed by seed; differences that are all the same have no t-test, and count by Wilcoxon's alone."""
    difference = np.subtract(b, a)
    if np.ptp(difference) == 0 and difference.any():
        p, mean = float(stats.wilcoxon(difference).pvalue), float(difference[0])
        gain = {"mean": mean, "low": mean, "high": mean, "n": len(a)}
        return {"gain": gain, "p_t": p, "p_wilcoxon": p}
    return dataclasses.asdict(compare(a, b))


def write(records: Mapping[str, Record], path: Path = SUMMARY) -> None:
    """Write the summary to ``path``, a line for each case."""
    write_json(path, summarise(records), width=400)
