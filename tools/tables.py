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
    answers,
    best_table,
    case_table,
    cases,
    markdown,
    reached_table,
    repeated_table,
    verdict_table,
)
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


#: Where the results of the three networks are: a column to its study, group or groups, and the name of its case.
RECIPES = {
    "published way": ("repeated", ("feedback_64", "others_64"), "64 epochs, as published, rule"),
    "the same, no update skipped": (
        "repeated",
        ("feedback_64", "others_64"),
        "64 epochs, as published, float32",
    ),
    "stable": ("ablation", ("size", "gated"), "stable"),
    "stable, 56 blanks": ("ablation", ("delay",), "delay 56"),
}
#: The same recipe with the same output scale as the others; the case "stable" of the synapse has its best one.
SYNAPSE = RECIPES | {
    "stable": ("where", ("whole",), "synapse, tau learned, outputs times 10"),
    "stable, 56 blanks": ("where", ("waited",), "synapse, tau learned, outputs times 10"),
}
GRU = {"stable": RECIPES["stable"], "stable, 56 blanks": ("where", ("gated-waited",), "GRU")}
CHRONO = {"stable, 56 blanks": ("where", ("gated-start",), "GRU, chrono initialisation")}
LARGER = {
    "stable": ("ablation", ("size",), "stable, 86 hidden"),
    "stable, 56 blanks": ("ablation", ("controls",), "delay 56, 86 hidden"),
}


def results() -> str:
    """Return what was published, and means of several seeds with half their 95 % interval, a column for each recipe."""
    summaries = {study: load(study) for study in ("ablation", "repeated", "where")}
    published = load("published")["runs"]["64 epochs"]
    networks = [
        (kind, kind, SYNAPSE if kind == "stateful-synapse" else RECIPES) for kind in TUTORIAL_NETWORKS
    ]
    networks += [("plain, 86 neurons", "plain", LARGER), ("GRU, not spiking", "gru", GRU)]
    networks += [("GRU, chrono initialisation", "gru", CHRONO)]
    columns, rows = ("published", *RECIPES), []
    for label, kind, recipes in networks:
        shown = {}
        if label in TUTORIAL_NETWORKS:
            shown["published"] = f"{100 * published['right'][kind] / published['images']:.1f}"
        for column, (study, groups, name) in recipes.items():
            for case in (case for group in groups for case in cases(summaries[study], group)):
                if (case["name"], case["kind"]) == (name, kind):
                    mean, low, high = (100 * case["accuracy"][part] for part in ("mean", "low", "high"))
                    shown[column] = f"{mean:.1f} ± {(high - low) / 2:.1f}"
                    parameters = case["parameters"]
        cells = (shown.get(column, "") for column in columns)
        rows.append([label, f"{parameters:,}", *cells])
    return markdown(("network", "parameters", *columns), rows)


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


def verdicts() -> str:
    """Return all comparisons, numbered as in their figure."""
    head, line, *rows = verdict_table(answers(load("ablation"))).splitlines()
    rows = [f"| {number} {row}" for number, row in enumerate(rows, start=1)]
    return "\n".join(["|  " + head, "|---:" + line, *rows]) + "\n"


def controls() -> dict[str, str]:
    """Return the cases of the controls, those of chapter 08 by their question, and the answers of chapter 07."""
    where, fair = load("where"), load("controls")
    shown = {"whole": "whole image", "summed": "56 blanks, new"}
    asked = (f"{fair['questions'][group]}\n\n{reached_table(made)}" for group, made in fair["groups"].items())
    return {
        "where": case_table(
            {**case, "name": f"{case['name']}; {shown.get(group, '56 blanks')}"}
            for group in where["groups"]
            for case in cases(where, group)
        ),
        "where_verdicts": verdict_table(answers(where)),
        "controls": "\n".join(asked),
    }


def pages() -> dict[str, dict[str, str]]:
    """Return what each page shows between marks, by the page and the name in the mark."""
    summary = load("ablation")
    return {
        "README.md": {
            "links": links(),
            "times": times(),
            "chapters": chapters(),
            "speed": speed(),
        },
        "docs/benchmarks.md": benchmarks.tables(RESULTS),
        "docs/evidence.md": {
            "results": results(),
            "repeated": repeated_table(load("repeated"), load("published")),
            "contrasts": verdict_table(load("repeated")["comparisons"]),
            "best": best_table(summary),
            "verdicts": verdicts(),
            **controls(),
        },
        "docs/exchange.md": {"exchange": peers_table(load("exchange")["rows"])},
    }
