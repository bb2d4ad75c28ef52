"""Write the tables of README.md and docs/ from the files in results/, and one from the classes of snn_core."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chapters

from experiments.evidence import answers, best_table, cases, reproduced_table, verdict_table
from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.networks import NETWORKS
from snn_tutorial.plot.exchange import peers_table

ROOT = chapters.ROOT
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("howto/*.md")),
]
ABOUT = {
    "tutorial": "sets everything up, executes all chapters and builds the site, into `build/`",
    "test": "sets everything up and runs the tests",
}


def times_table(times: dict[str, Any]) -> str:
    """Return the table of the two commands with the time that each took in a fresh clone."""
    where = times["provenance"]
    rows = ["| command | what it does | time |", "|---|---|---:|"]
    for command, about in ABOUT.items():
        rows.append(f"| `make {command}` | {about} | {times['seconds'][command] / 60:.0f} min |")
    note = (
        f"Measured from a fresh clone, packages included, with {where['cores']} cores ({where['processor']}), "
        f"Python {where['python']}\nand torch {where['torch']} by `tools/time_commands.py`."
    )
    return "\n".join(rows) + f"\n\n{note}\n"


def chapters_list(paths: Sequence[Path]) -> str:
    """Return a line for each chapter: its title, and the time of the last full run."""
    seconds = json.loads((ROOT / "results" / "notebooks.json").read_text())["seconds"]
    rows = []
    for path in paths:
        time = f" ({seconds[path.stem]:.0f} s)" if path.stem in seconds else ""
        rows.append(f"- {chapters.link(path, 'notebooks/')}{time}")
    return "\n".join(rows) + "\n"


def results_table(summary: dict[str, Any], published: dict[str, Any]) -> str:
    """Return the README's table: what was published, and means of ten seeds, a column for each recipe."""
    run = published["runs"]["64 epochs"]

    def accuracy(group: str, name: str, kind: str) -> str:
        for case in cases(summary, group):
            if (case["name"], case["kind"]) == (name, kind):
                mean, low, high = (100 * case["accuracy"][part] for part in ("mean", "low", "high"))
                return f"{mean:.1f} ± {(high - low) / 2:.1f}"
        return ""

    rows = [
        "| network | parameters | published | cut nowhere | tutorial's listing | stable | stable, 56 blanks |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    others = {
        "plain, 86 neurons": ("size", "stable, 86 hidden", "plain", "delay 56, 86 hidden"),
        "GRU, not spiking": ("gated", "stable", "gru", ""),
    }
    for label, group, name, kind, delayed in (
        *((kind, "size", "stable", kind, "delay 56") for kind in NETWORKS),
        *((label, *rest) for label, rest in others.items()),
    ):
        size = next(c["parameters"] for c in cases(summary, group) if (c["name"], c["kind"]) == (name, kind))
        cells = [label, f"{size:,}", "", "", "", accuracy(group, name, kind)]
        cells.append(accuracy("delay", delayed, kind) or accuracy("controls", delayed, kind))
        if label in NETWORKS:
            cells[2] = f"{100 * run['right'][kind] / run['images']:.1f}"
            cells[3] = accuracy("reset", "64 epochs, cut nowhere", kind)
            cells[4] = accuracy("reproduction", "64 epochs", kind)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def unequal_section(kept: dict[str, Any]) -> str:
    """Return a table of the older runs that did not start equal: accuracy by network, for some tasks and distances."""
    columns = (
        ("noisy-recall", 200),
        ("noisy-recall", 500),
        ("copying", 50),
        ("pixels", None),
        ("permuted", None),
    )
    rows = [
        "| network | cue, 200 steps | cue, 500 steps | copying, 50 | pixel by pixel | permuted |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    groups = kept["groups"]
    for kind in dict.fromkeys(case["kind"] for case in groups["long-noisy-recall"]):
        cells = [kind]
        for name, at in columns:
            (case,) = (c for c in groups[f"long-{name}"] if (c["kind"], c["at"]) == (kind, at))
            cells.append(f"{100 * case['accuracy']['mean']:.1f}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def exchange_section(exchange: dict[str, Any]) -> str:
    """Return the table of what other libraries make of our networks, and ours of theirs."""
    note = (
        f"Hidden spikes over {exchange['images']:,} test images, compared one by one by "
        "`tests/snn_exchange/test_exchange_peers.py`;\n`make exchange` writes the table."
    )
    return f"{peers_table(exchange['rows'])}\n{note}\n"


def sections(results: Path) -> dict[str, str]:
    """Return what is generated from the folder ``results``, by the name between whose marks it stands."""
    read = {
        name: json.loads((results / f"{name}.json").read_text())
        for name in (
            "ablation", "exchange", "published", "times", "unequal"
        )
    }  # fmt: skip
    sys.path.append(str(ROOT))  # for benchmarks/, which is not installed
    from benchmarks.tables import tables

    return {
        **tables(results),
        "chapters": chapters_list(chapters.paths()),
        "times": times_table(read["times"]),
        "results": results_table(read["ablation"], read["published"]),
        "reproduced": reproduced_table(read["ablation"], read["published"], 64)
        + "\n"
        + reproduced_table(read["ablation"], read["published"], 90),
        "best": best_table(read["ablation"]),
        "verdicts": verdict_table(answers(read["ablation"])),
        "unequal": unequal_section(read["unequal"]),
        "exchange": exchange_section(read["exchange"]),
    }


def fill(text: str, parts: dict[str, str]) -> str:
    """Return ``text`` with each part that it has marks for between them.

    Raises:
        ValueError: a mark without its end, after which the rest of the page would be lost.
    """
    for name, part in parts.items():
        start, end = f"<!-- {name}: written by tools/update_docs.py -->\n", f"<!-- end of {name} -->"
        before, mark, rest = text.partition(start)
        if mark and end not in rest:
            raise ValueError(f"the page lacks {end}")
        if mark:
            text = f"{before}{start}{part}{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Update README.md and the pages of docs/ in place."""
    parts = sections(ROOT / "results")
    for page in PAGES:
        with atomic_write(page) as file:
            file.write(fill(page.read_text(), parts).encode())


if __name__ == "__main__":
    main()
