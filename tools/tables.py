"""The tables of README.md and of pages in docs/, in Markdown, computed from the files in results/."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import nbformat
from chapters import ROOT, URLS, badges, paths, title

from sequential_fmnist.experiments.evidence import (
    case_table,
    cases,
    interval,
    markdown,
    reached_table,
    repeated_table,
    verdict_table,
)
from sequential_fmnist.experiments.frame import Store
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial.plot.exchange import peers_table

sys.path.append(str(ROOT))  # benchmarks/ is not a part of the package

from benchmarks import tables as benchmarks
from benchmarks.cases import BASE, OURS

RESULTS = ROOT / "results"


def load(name: str) -> dict[str, Any]:
    """Return what ``results/name.json`` holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def links() -> str:
    """Return what README begins with: chapter 01 on Colab and on Binder, and the address that its text names."""
    return f"{badges(paths()[0])}\n\n[the site]: {URLS['Documentation']}\n"


def times() -> str:
    """Return the commands that fetch the repository and run it, with their time, measured in fresh clones."""
    found, name = load("times"), URLS["Repository"].rpartition("/")[2]
    where, lines = found["provenance"], [f"git clone --depth 1 {URLS['Repository']} && cd {name}"]
    about = {"tutorial": "execute all chapters and build the site, into build/", "test": "run the tests"}
    for command, what in about.items():
        minutes = f"{found['seconds'][command] / 60:.0f} min"
        size = f"{found['packages'][command]['megabytes']:,} MB"
        lines.append(f"{f'make {command}':14}  # {what}; {minutes} with set-up, {size} of packages")
    measured = f"Timed in fresh clones, with {where['cores']} cores of an {where['processor']}."
    return "```sh\n" + "\n".join(lines) + f"\n```\n{measured}\n"


#: In a chapter's first texts: which part of which section of the text it follows.
FOLLOWS = re.compile(r"follows (?:its|the) (?:(.+?) of the )?section \[(.+?)\]")


def chapters() -> str:
    """Return a row for each chapter: a link to it, what of the text it follows, and the time of its last full run."""
    seconds = load("notebooks")["seconds"]
    rows = []
    for path in paths():
        chapter = nbformat.read(path, as_version=4)
        texts = [cell.source for cell in chapter.cells if cell.cell_type == "markdown"]
        opening = " ".join(" ".join(texts[:2]).split())
        follows = ""
        if found := FOLLOWS.search(opening):
            part, section = found.groups()
            follows = section + (f", {part}" if part else "")
        time = f"{seconds[path.stem]:.0f} s" if path.stem in seconds else ""
        rows.append((f"[{title(chapter)}](notebooks/{path.name})", follows, time))
    return markdown(("chapter", "SpikingJelly's section", "time"), rows, 2)


#: The rows of :func:`stable`: a network, its kind, and where each of its columns stands: study, group, case.
_IMAGE, _WAIT = "whole image", "56 blanks"
COLUMNS = [f"{shown}, times {scale}" for shown in (_IMAGE, _WAIT) for scale in (10, 1)]
STABLE: dict[str, tuple[str, list[tuple[str, str, str] | None]]] = {
    "plain": ("plain", [
        ("where", group, f"plain, outputs times {scale}") for group in ("whole", "waited") for scale in (10, 1)
    ]),
    "stateful-synapse": ("stateful-synapse", [
        ("where", group, f"synapse, tau learned, outputs times {scale}")
        for group in ("whole", "waited") for scale in (10, 1)
    ]),
    "stateful-synapse, tau from 84": ("stateful-synapse", [
        None, None,
        *(("where", "slow-start", f"synapse, tau learned from 84, outputs times {scale}") for scale in (10, 1)),
    ]),
    "feedback": ("feedback", [
        ("ablation", "size", "stable"), ("where", "sized", "feedback, outputs times 1"),
        ("ablation", "delay", "delay 56"), None,
    ]),
    "plain, 86 neurons": ("plain", [
        ("ablation", "size", "stable, 86 hidden"), ("where", "sized", "plain with 86 neurons, outputs times 1"),
        ("ablation", "controls", "delay 56, 86 hidden"), None,
    ]),
    "plain, 58 neurons": ("plain", [
        None, ("where", "narrow", "plain with 58 neurons, outputs times 1"), None, None,
    ]),
    "GRU, not spiking": ("gru", [
        None, ("ablation", "gated", "stable"), None, ("where", "gated-waited", "GRU"),
    ]),
    "GRU, chrono initialisation": ("gru", [
        None, None, None, ("where", "gated-start", "GRU, chrono initialisation"),
    ]),
}  # fmt: skip


def case_of(summary: Mapping[str, Any], group: str, name: str, kind: str) -> dict[str, Any] | None:
    """Return a case of a summary, None if its runs are not made."""
    made = (case for case in cases(summary, group) if (case["name"], case["kind"]) == (name, kind))
    return next(iter(made), None)


def mean(case: Mapping[str, Any] | None) -> str:
    """Return the mean accuracy of a case, and half its 95 % interval."""
    if case is None:
        return ""
    middle, low, high = (100 * case["accuracy"][part] for part in ("mean", "low", "high"))
    return f"{middle:.1f} ± {(high - low) / 2:.1f} ({len(case['values'])})"


def published() -> str:
    """Return what was published of the three networks, and the means of ten seeds with that recipe."""
    summary, logged = load("repeated"), load("published")["runs"]["64 epochs"]
    rows = []
    for kind in TUTORIAL_NETWORKS:
        group = "feedback_64" if kind == "feedback" else "others_64"
        arms = [
            case_of(summary, group, f"64 epochs, as published, {arm}", kind) for arm in ("rule", "float32")
        ]
        one = f"{100 * logged['right'][kind] / logged['images']:.1f}"
        rows.append([kind, f"{arms[0]['parameters']:,}", one, *map(mean, arms)])
    return markdown(("network", "parameters", "published, one run", "rule", "float32"), rows)


def stable() -> str:
    """Return the means of the networks with the stable recipe, each scale of the outputs in a column of its own."""
    summaries = {study: load(study) for study in ("ablation", "where")}
    rows = []
    for label, (kind, places) in STABLE.items():
        shown = [place and case_of(summaries[place[0]], *place[1:], kind) for place in places]
        if made := [case for case in shown if case]:
            rows.append([label, f"{made[0]['parameters']:,}", *map(mean, shown)])
    return markdown(("network", "parameters", *COLUMNS), rows)


def base_size(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what ``results/benchmarks.json`` holds of the three networks at the base size."""
    size = {"batch": BASE.batch, "T": BASE.T, "hidden": BASE.hidden, "busy": False}
    return [entry for entry in found["networks"] if size.items() <= entry.items()]


def by_batch(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what ``results/benchmarks.json`` holds of feedback at the base size, for each batch."""
    size = {"model": "feedback", "T": BASE.T, "hidden": BASE.hidden, "busy": False}
    entries = [entry for entry in found["networks"] if size.items() <= entry.items()]
    return sorted(entries, key=lambda entry: entry["batch"])


def speed() -> str:
    """Return the rows in which another library's step takes most and least of ours, a core beside it idle."""
    found = load("benchmarks")
    rows = [
        (library["ratio"], found["libraries"][name]["label"], entry)
        for entry in found["networks"]
        for name, library in entry["libraries"].items()
        if not entry["busy"] and not name.startswith(OURS)
    ]
    rows.sort(key=lambda row: row[0])
    parts = []
    for row, (ratio, label, entry) in {"best": rows[-1], "worst": rows[0]}.items():
        size = f"{entry['model']}, batch {entry['batch']}, T = {entry['T']}, {entry['hidden']} neurons"
        parts.append(f"{label}'s step takes {ratio:.2g} times ours in our {row} row ({size})")
    return f"Speed of training: {parts[0]}, and\n{parts[1]}.\n"


def others(where: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary without the cases that :func:`stable` shows."""
    shown = {place for _, places in STABLE.values() for place in places}
    groups = where["groups"].items()
    rest = {name: [c for c in made if ("where", name, c["name"]) not in shown] for name, made in groups}
    return {"groups": rest}


def replays() -> str:
    """Return how many replays of collapses fell again, with the interval that takes each state as one value."""
    (case,) = load("replayed")["groups"]["replays"]
    each = case["replays"]
    rows = [
        [name, f"{one['fell']} of {one['replays']}", f"{interval(one['share'])} %",
         f"{sum(a < b for a, b in zip(one['fell_of_each'], each['as is']['fell_of_each'], strict=True))}"
         f" of {one['collapses']}"]
        for name, one in each.items()
    ]  # fmt: skip
    return markdown(("replayed", "fell again", "share by state", "states with fewer than as is"), rows)


def origins() -> str:
    """Return for each study how many kept runs there are, and how many name the commit that made them."""
    rows = []
    for path in sorted(RESULTS.glob("*_runs.jsonl")):
        records = Store(path).records().values()
        made = [record["provenance"] for record in records]
        commits = [str(one.get("commit") or "") for one in made]
        counts = [sum(map(bool, commits)), sum(name.endswith("+") for name in commits)]
        machines = sorted({one["processor"] for one in made})
        hours = sum(record["seconds"] for record in records) / 3600
        numbers = (len(made), *counts, len(set(filter(None, commits))))
        rows.append(
            [
                f"`{path.name.removesuffix('_runs.jsonl')}`",
                *map("{:,}".format, numbers),
                f"{hours:.1f}",
                ", ".join(machines),
            ]
        )
    return markdown(
        ("study", "runs", "name a commit", "of them changed", "commits", "hours", "processors"), rows
    )


#: The questions of ``ablation`` that are shown, by their words; the summary has all 38.
SHOWN = (
    "stateful-synapse over plain, the listing, 64 epochs",
    "feedback over plain, the listing, 64 epochs",
    "gradient through the reset over detached, feedback, tutorial recipe",
    "feedback over plain, gradient through the reset, 64 epochs",
    "feedback over plain, cut as in SpikingJelly's current example, 64 epochs",
    "feedback over plain, stable recipe",
    "feedback over plain with 86 hidden neurons, stable recipe",
    "feedback over plain with 86 hidden neurons, best recipe",
    "feedback over plain with 86 hidden, last step",
    "feedback over plain with 86 hidden, 56 blank columns",
    "learned over frozen recurrent weights",
    "learned over frozen tau",
)


def pages() -> dict[str, dict[str, str]]:
    """Return what each page shows between marks, by the page and the name in the mark."""
    summary, repeated, where = load("ablation"), load("repeated"), load("where")
    return {
        "README.md": {
            "links": links(),
            "times": times(),
            "chapters": chapters(),
            "speed": speed(),
        },
        "docs/benchmarks.md": benchmarks.tables(RESULTS),
        "docs/evidence.md": {
            "published": published(),
            "stable": stable(),
            "repeated": repeated_table(repeated, load("published")),
            "replays": replays(),
            "origins": origins(),
            "contrasts": verdict_table(repeated["comparisons"]),
            "best": case_table(summary, "best", "refined", "gated"),
            "verdicts": verdict_table({words: summary["comparisons"][words] for words in SHOWN}, False),
            "where": case_table(others(where), *where["groups"]),
            "where_verdicts": verdict_table(where["comparisons"]),
            "controls": reached_table(load("controls")),
        },
        "docs/exchange.md": {"exchange": peers_table(load("exchange")["rows"])},
    }
