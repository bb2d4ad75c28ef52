"""Choose what was asked, and see what the runs of each network say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from IPython.display import HTML
from matplotlib.figure import Figure

from experiments.evidence import CaseSummary, Summary, interval
from experiments.long.evidence import TITLES
from snn_tutorial.live import view
from snn_tutorial.plot import ablation, long
from snn_tutorial.plot.style import OKABE_ITO

#: The colours of ``chart.js``, in its order.
_COLOURS = ("black", "vermilion", "blue", "green", "purple", "orange", "sky blue", "yellow")

#: What is asked in a task of chapter 08.
_ASKED: dict[str, str] = {
    "recall": "Which of 8 symbols was shown before the delay?",
    "noisy-recall": "Which of 8 symbols was shown, with noise on all inputs?",
    "copying": "Which four symbols were shown, and in which order?",
    "adding": "What is the sum of the two marked numbers?",
    "pixels": "Which garment is it, one pixel in each step?",
    "permuted": "Which garment is it, with the pixels in a random order?",
    "vowels": "Who of nine speaks, in at most 29 steps?",
}


def control_explorer(summary: Summary, group: str = "delay") -> HTML:
    """Return a view with a choice of control and a switch for each network.

    Args:
        summary: ``results/ablation.json``.
        group: what is shown first; the first one that there is, where it has not been run.

    Raises:
        ValueError: the summary has no group.
    """
    found = _found(summary)
    first = group if group in found else next(iter(found))
    kinds = _kinds(found, ablation.STYLE)
    groups = []
    for name, cases in found.items():
        on_validation = name in ablation.ON_VALIDATION
        groups.append(
            {
                "name": name.replace("_", " "),
                # A question is the first line of what the grid says about its group.
                "question": summary["questions"][name].splitlines()[0],
                "score": f"{'validation' if on_validation else 'test'} accuracy (%)",
                "unit": "%",
                "chance": 10,
                "axis": ablation.AXES.get(name),
                "hasLogX": name == "hidden",
                "hasLogY": False,
                "far": ablation.FAR,
                "cases": [_case(case, kinds, case["name"]) for case in cases],
            }
        )
    return _explorer(
        "control",
        groups,
        list(found).index(first),
        _networks(kinds, ablation.STYLE),
        ablation.draw_group(first, found[first]),
        "accuracy of the control's cases",
    )


def task_explorer(summary: Summary, task: str = "noisy-recall") -> HTML:
    """Return a view with a choice of task that needs memory, and a switch for each network.

    Args:
        summary: ``results/long.json``.
        task: what is shown first; the first one that there is, where it has not been run.

    Raises:
        ValueError: the summary has no group.
    """
    found = {name.removeprefix("long-"): cases for name, cases in _found(summary).items()}
    tasks = summary["tasks"]
    found = {name: cases for name, cases in found.items() if _task_of(tasks, name) in tasks}
    first = task if task in found else next(iter(found))
    kinds = _kinds(found, long.LOOKS)
    groups = [_task(tasks, name, cases, kinds) for name, cases in found.items()]
    shown = groups[list(found).index(first)]
    chance = tasks[_task_of(tasks, first)]["chance"]
    if shown["axis"]:
        figure = long.curves(found[first], shown["axis"], chance, shown["score"], 100 if shown["unit"] else 1)
    else:
        figure = long.strips({shown["name"]: found[first]}, chance, is_error=not shown["unit"])
    return _explorer(
        "task",
        groups,
        list(found).index(first),
        _networks(kinds, long.LOOKS),
        figure,
        f"scores of each network, {shown['name']}",
    )


def _explorer(
    label: str,
    groups: Sequence[Mapping[str, Any]],
    first: int,
    networks: Sequence[Mapping[str, Any]],
    figure: Figure,
    shown: str,
) -> HTML:
    data = {"label": label, "networks": networks, "groups": groups, "first": first}
    return view("evidence", data, figure, f"{shown}: every run, means and 95 % intervals")


def _found(summary: Summary) -> dict[str, list[CaseSummary]]:
    """Return the groups that have cases."""
    found = {name: list(cases) for name, cases in summary["groups"].items() if cases}
    if not found:
        raise ValueError("summary has no group: run `python -m experiments` first")
    return found


def _task_of(tasks: Iterable[str], name: str) -> str:
    """Return the task of a group, whose name may end with its networks' size."""
    return name if name in tasks else name.rpartition("-")[0]


def _task(
    tasks: Mapping[str, Any], name: str, cases: Sequence[CaseSummary], kinds: Sequence[str]
) -> dict[str, Any]:
    task = _task_of(tasks, name)
    facts, size = tasks[task], name.removeprefix(task).removeprefix("-")
    is_error = facts["optimum"] < facts["chance"]
    scale = 1 if is_error else 100
    has_axis = all(case["at"] is not None for case in cases)
    return {
        "name": TITLES.get(task, task) + (f", {int(size):,} parameters" if size else ""),
        "question": _ASKED.get(task, ""),
        "score": "mean squared error" if is_error else "accuracy (%)",
        "unit": "" if is_error else "%",
        "chance": round(scale * facts["chance"], 4),
        "axis": f"{'length' if task == 'adding' else 'delay'} (time steps)" if has_axis else None,
        "hasLogX": True,
        "hasLogY": is_error,
        "far": None,
        "cases": [_case(case, kinds, case["kind"], is_error) for case in cases],
    }


def _case(case: CaseSummary, kinds: Sequence[str], name: str, is_error: bool = False) -> dict[str, Any]:
    """Return what is drawn of a case; accuracies in per cent, fewer than three runs without an interval."""
    scale, digits = (1, 6) if is_error else (100, 2)
    numbers = case["accuracy"]
    has_interval = len(case["values"]) >= 3
    ends = {end: round(scale * numbers[end], digits) if has_interval else None for end in ("low", "high")}
    return {
        "network": kinds.index(case["kind"]),
        "name": name,
        "at": case["at"],
        "values": [round(scale * value, digits) for value in case["values"]],
        "mean": round(scale * numbers["mean"], digits),
        **ends,
        "text": interval(numbers, scale, 4 if is_error else 1),
    }


def _kinds(groups: Mapping[str, Iterable[CaseSummary]], looks: Iterable[str]) -> list[str]:
    """Return the networks of some groups, those with a look first, in its order."""
    found = dict.fromkeys(case["kind"] for cases in groups.values() for case in cases)
    return [kind for kind in looks if kind in found] + [kind for kind in found if kind not in looks]


def _networks(kinds: Iterable[str], looks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each network its colour in other figures, dashed for the second, and one that is left for a third."""
    colours = [OKABE_ITO[name] for name in _COLOURS]
    left: list[tuple[int, bool]] = []
    found = []
    for kind in kinds:
        left = left or [(colour, dashed) for dashed in (False, True) for colour in range(len(colours))]
        own = colours.index(looks[kind]["color"]) if kind in looks else None
        color, dashed = next((look for look in left if look[0] == own), left[0])
        left.remove((color, dashed))
        found.append({"name": kind, "color": color, "dashed": dashed})
    return found
