"""The tables of docs/benchmarks.md, in Markdown, computed from results/benchmarks.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import BASE, LARGE, OURS
from sequential_fmnist.experiments.evidence import markdown

#: A row for each key: what was measured with the networks, or with one layer.
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def tables(results: Path) -> dict[str, str]:
    """Return what the page shows from the folder ``results``, by the names that it uses.

    Raises:
        ValueError: the numbers come from a quick run and mean nothing.
    """
    found = json.loads((results / "benchmarks.json").read_text())
    if found["quick"]:
        raise ValueError("results/benchmarks.json comes from a quick run: run `make bench`")
    sizes: dict[str, list[Mapping[str, Any]]] = {}
    for entry in sorted(found["networks"], key=lambda entry: entry["busy"]):
        sizes.setdefault(_size(entry), []).append(entry)
    small = {entry["name"]: [entry] for entry in found["layers"] if entry["name"] != LARGE}
    large = {f"{entry['H']:,}": [entry] for entry in found["layers"] if entry["name"] == LARGE}
    return {
        "measured": _measured(found),
        "networks": _table("size", found["libraries"], sizes),
        "layers": _table("layer", found["libraries"], small) + _notes(found["libraries"], small),
        "large_layers": _table("n", found["libraries"], large) + _notes(found["libraries"], [LARGE]),
    }


def _measured(found: Mapping[str, Any]) -> str:
    """Return when, where and with which versions it was measured, and what compiling costs."""
    where, libraries = found["provenance"], found["libraries"]
    # A library's own package comes first among its versions.
    named = (library["versions"] for library in libraries.values() if library["versions"])
    versions = dict(next(iter(each.items())) for each in named)
    networks = [entry["libraries"] for entry in found["networks"] if not entry["busy"]]
    text = (
        f"Measured by `make bench` on {found['date']}: {where['cores']} cores ({where['processor']}), Python "
        f"{where['python']}, torch {where['torch']}, load {found['load_before']:.1f} before the run,\n"
        + ", ".join(f"{package} {version}" for package, version in versions.items())
        + ".\nCPU only: no GPU has run these kernels."
    )
    compiled = [each["torch-compile"]["first_seconds"] for each in networks if "torch-compile" in each]
    if compiled:
        text += (
            f" torch.compile takes {min(compiled):.0f} to {max(compiled):.0f} s for each network and size."
        )
    return text + "\n"


def _size(entry: Mapping[str, Any]) -> str:
    """Return in what an entry differs from the base size."""
    if entry["busy"]:
        return "one core kept busy"
    labels = {"T": "T =", "batch": "batch", "hidden": "hidden"}
    changed = [f"{labels[key]} {entry[key]:,}" for key in labels if entry[key] != getattr(BASE, key)]
    return ", ".join(changed) or f"batch {BASE.batch}, T = {BASE.T}, hidden {BASE.hidden}"


def _table(head: str, libraries: Mapping[str, Any], rows: Rows) -> str:
    """Return a table of our time and how many times ours the others take, with a number for each entry of a row."""
    present = {name for entries in rows.values() for entry in entries for name in entry["libraries"]}
    names = [name for name in libraries if name in present]
    heads = [head, "ours (ms, quartiles)", *(libraries[name]["label"] for name in names if name != OURS)]
    cells = [
        [
            label,
            *(
                ", ".join(_cell(name, e["libraries"][name]) for e in entries if name in e["libraries"])
                for name in names
            ),
        ]
        for label, entries in rows.items()
    ]
    return markdown(heads, cells)


def _cell(name: str, measured: Mapping[str, Any]) -> str:
    if name == OURS:
        return "{median:.2f} ({q1:.2f} to {q3:.2f})".format(**measured["ms"])
    return f"{measured['ratio']:.{1 if measured['ratio'] >= 1 else 2}f}x"


def _notes(libraries: Mapping[str, Any], layers: Iterable[str]) -> str:
    """Return a list of what libraries compute otherwise than ours in these layers."""
    named: dict[tuple[str, str], list[str]] = {}
    for library in libraries.values():
        for layer, note in library["notes"].items():
            if layer == "every layer" or layer in layers:
                named.setdefault((library["label"], note), []).append(layer)
    lines = [f"- {library}, {', '.join(which)}: {note}" for (library, note), which in named.items()]
    return "\nWhere a library computes something else:\n\n" + "\n".join(lines) + "\n" if lines else ""
