"""The tables of docs/benchmarks.md, in Markdown, computed from what `make bench` wrote to results/."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def tables(results: Path) -> dict[str, str]:
    """Return what the page shows from the files in the folder ``results``, by the names that it uses."""
    sections = {
        "throughput": throughput_section,
        "cells": cells_section,
        "large_layers": large_layers_section,
    }
    return {
        name: section(json.loads((results / f"{name}.json").read_text()))
        for name, section in sections.items()
    }


def _listed(values: list[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _filled(*paragraphs: str) -> str:
    """Return paragraphs broken into lines; those of a list stand without a blank line between them."""
    return "\n".join(
        textwrap.fill(text, 118, subsequent_indent="  " * text.startswith("- "), break_on_hyphens=False)
        for text in paragraphs
    )


def _base(model: str) -> dict[str, Any]:
    return {"model": model, "batch": 256, "T": 28, "hidden": 32}


def _with_version(library: dict[str, Any]) -> str:
    """Return the library's label with the version of its first package behind its name."""
    name, comma, rest = library["label"].partition(",")
    package, version = next(iter(library["versions"].items()))
    return library["label"] if package == "torch" else f"{name} {version}{comma}{rest}"


def _times(library: dict[str, Any]) -> str:
    """Return how many times ours a library takes, as in 3.1x or 0.12x."""
    return f"{library['ratio']:.{1 if library['ratio'] >= 1 else 2}f}x"


def _measured(entry: dict[str, Any], name: str, key: str, unit: str) -> str:
    """Return a library's median and its factor to ours, or nothing where it was not measured."""
    if name not in entry["libraries"]:
        return ""
    library = entry["libraries"][name]
    factor = "" if name == "snn_core" else f" ({_times(library)})"
    return f"{library[key]['median']:.2f} {unit}{factor}"


def throughput_table(results: dict[str, Any]) -> str:
    """Return the table of training steps and epochs: a row for each library, its time and its factor to ours."""
    steps = [entry for entry in results["steps"] if entry["config"] == _base(entry["config"]["model"])]
    (epoch,) = [entry for entry in results["epochs"] if entry["config"]["model"] == "feedback"]
    models = " | ".join(entry["config"]["model"] for entry in steps)
    rows = [
        f"| library | step of {models} | epoch of feedback |",
        f"|---|{'---:|' * len(steps)}---:|",
    ]
    for name, library in results["libraries"].items():
        times = [_measured(entry, name, "ms", "ms") for entry in steps]
        cells = [_with_version(library), *times, _measured(epoch, name, "seconds", "s")]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


#: What is compared in other sizes, under short names.
COMPARED = {
    "snn_core-train-steps": "train_steps",
    "spyx": "Spyx, same network",
    "spikingjelly": "SpikingJelly",
    "torch-compile": "torch.compile",
    "snn_core-torch": "torch loop",
    "limit": "limit",
}


def sizes_table(results: dict[str, Any]) -> str:
    """Return the table of other sizes: our time, and the others' factors to it, of the three networks."""

    def joined(entries: list[dict[str, Any]], name: str, form: Callable[[dict[str, Any]], str]) -> str:
        return ", ".join(form(entry["libraries"][name]) for entry in entries if name in entry["libraries"])

    def row(size: str, entries: list[dict[str, Any]]) -> str:
        ours = joined(entries, "snn_core", lambda own: f"{own['ms']['median']:.2f}")
        factors = [joined(entries, name, _times) for name in COMPARED]
        return f"| {size} | {' | '.join([ours, *factors])} |"

    rows = [
        f"| size | ours (ms) | {' | '.join(COMPARED.values())} |",
        f"|---|{'---:|' * (len(COMPARED) + 1)}",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in results["steps"]:
        config, base = entry["config"], _base(entry["config"]["model"])
        changed = [f"{_SIZES[key]} {config[key]:,}" for key in _SIZES if config[key] != base[key]]
        groups.setdefault(", ".join(changed), []).append(entry)
    del groups[""]
    models = [entry["config"]["model"] for entry in results["steps"]]
    for size in [*groups]:
        own = [entry["config"]["model"] for entry in groups[size]]
        if set(own) < set(models):
            groups[f"{size}, {_listed(own)}"] = groups.pop(size)
    groups["one core kept busy"] = results["busy"]
    return "\n".join([*rows, *(row(size, entries) for size, entries in groups.items() if entries)]) + "\n"


_SIZES = {"T": "T =", "batch": "batch", "hidden": "hidden"}


def memory_table(results: dict[str, Any]) -> str:
    """Return the table of memory: what autograd keeps, and the peak of a step, ours and that of the torch loop."""
    models = list(dict.fromkeys(entry["config"]["model"] for entry in results["memory"]))
    found = {
        tuple(entry["config"][key] for key in ("T", "batch", "model")): entry for entry in results["memory"]
    }
    rows = [
        f"| T, batch | {' | '.join(f'{model} kept | peak' for model in models)} |",
        f"|---|{'---:|' * (2 * len(models))}",
    ]
    for T, batch in dict.fromkeys(key[:2] for key in found):
        cells = [f"{T}, {batch}"]
        for model in models:
            saved, peak = found[T, batch, model]["saved_bytes"], found[T, batch, model]["peak_bytes"]
            kept = saved["snn_core"], saved["snn_core-torch"]
            cells.append(f"{_mib(kept[0])} of {_mib(kept[1])} ({kept[0] / kept[1]:.1%})")
            cells.append(f"{_mib(peak['snn_core'])} of {_mib(peak['snn_core-torch'])}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f}" if count else "0"


PROVISIONAL = (
    "**These numbers are provisional**: from a short run, on a machine that did other things meanwhile."
)


def throughput_section(results: dict[str, Any]) -> str:
    """Return the tables of training steps and of memory, and what must be said with them.

    Raises:
        ValueError: the epochs saw only the embedded subset.
    """
    if results["is_subset"]:
        raise ValueError(
            "results/throughput.json comes from the embedded subset: run `make bench` with the full data"
        )
    where, notes = results["provenance"], []
    for library in results["libraries"].values():
        if library["notes"]["feedback"]:
            notes.append(f"- {library['label']}: {library['notes']['feedback']}")
    parts = [
        _filled(PROVISIONAL) if results["is_provisional"] else "",
        throughput_table(results).rstrip(),
        _filled(
            "Median time of a training step (forward, backward, SGD) with batch 256, 28 time steps and 32 hidden "
            f"neurons, and how many times ours it is. An epoch is {results['images']:,} images, indexing included. All "
            f"libraries took turns in one run of `make bench` on {results['date']}, from the same weights: "
            f"{where['cores']} cores ({where['processor']}), Python {where['python']}, torch {where['torch']}. "
            + _compared(results)
        ),
        _filled("What a step is, on the feedback network:"),
        _filled(*notes),
        "## Other sizes, and a shared machine",
        sizes_table(results).rstrip(),
        _filled(
            "Our time and how many times ours the others take, each for plain, stateful-synapse and feedback. What a "
            "row does not name is as above. In the last row another process keeps one core busy during all turns."
        ),
        "## Memory",
        memory_table(results).rstrip(),
        _filled(
            "MiB, ours of the readable torch loop's, in the ordinary loop of training: what autograd keeps from "
            "forward for backward, besides the input and the weights, and by how much the process grows at most in a "
            "step."
        ),
        "## Growth and first use",
        _filled(_growth(results), _first_use(results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _spread(values: Sequence[float], form: str) -> str:
    low, high = (format(pick(values), form) for pick in (min, max))
    return low if low == high else f"{low} to {high}"


#: How many times ours the readable loop is to take at least, for every cell and feedback.
WANTED = 5


def cells_table(results: dict[str, Any]) -> str:
    """Return the table of cells and feedbacks: our time, and how many times that the others take."""
    others = {name: library for name, library in results["libraries"].items() if name != "snn_core"}
    rows = [
        f"| layer | snn_core | {' | '.join(_with_version(library) for library in others.values())} |",
        f"|---|{'---:|' * (1 + len(others))}",
    ]
    for entry in results["cells"]:
        found = entry["libraries"]
        factors = [_times(found[name]) if name in found else "" for name in others]
        name = f"{entry['name']} feedback" if entry["kind"] == "feedback" else entry["name"]
        rows.append(f"| {name} | {found['snn_core']['ms']['median']:.2f} ms | {' | '.join(factors)} |")
    return "\n".join(rows) + "\n"


def _notes(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each thing that a library has otherwise, and a line that says how."""
    for library in results["libraries"].values():
        for name, note in library["notes"].items():
            yield name, f"- {library['label']}, {name}: {note}"


def large_layers_section(results: dict[str, Any]) -> str:
    """Return the table of large layers, and what must be said with it."""
    where, libraries = results["provenance"], results["libraries"]
    rows = [
        f"| n | {' | '.join(map(_with_version, libraries.values()))} |",
        f"|---:|{'---:|' * len(libraries)}",
    ]
    for entry in results["sizes"]:
        rows.append(
            f"| {entry['n']:,} | {' | '.join(_measured(entry, name, 'ms', 'ms') for name in libraries)} |"
        )
    notes = [note for _, note in _notes(results)]
    parts = [
        "## Large layers",
        _filled(PROVISIONAL) if results["is_provisional"] else "",
        _filled(
            "`python -m benchmarks.large_layers`, also within `make bench`, repeats the [benchmark of Open "
            "Neuromorphic](https://open-neuromorphic.org/blog/spiking-neural-network-framework-benchmarking/): a "
            "linear layer of n inputs and n outputs, and LIF neurons; ours is `functional.scan(x_seq, linear, "
            "neurons)`. How a recurrent layer of 512 or 1,024 neurons trains is in the table of other sizes above."
        ),
        "\n".join(rows),
        _filled(
            f"Median time of forward and backward at batch {results['N']} and T = {results['T']}, and how many times "
            f"ours it is. All took turns in one run of `python -m benchmarks.large_layers` on {results['date']}: "
            f"{where['cores']} cores ({where['processor']}), {where['torch_threads']} threads, torch {where['torch']}."
        ),
        _filled("Where a library has something else under the same name:", "", *notes) if notes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def cells_section(results: dict[str, Any]) -> str:
    """Return the table of cells and feedbacks, and what must be said with it."""
    where, size = results["provenance"], results["size"]
    loop = {entry["name"]: entry["libraries"]["snn_core-torch"]["ratio"] for entry in results["cells"]}
    slow = [f"{name} {ratio:.1f}" for name, ratio in loop.items() if ratio < WANTED]
    told = f"Below {WANTED} times: {_listed(slow)}." if slow else f"No layer is below {WANTED} times."
    notes = [note for name, note in _notes(results) if name in loop]
    parts = [
        _filled(PROVISIONAL) if results["is_provisional"] else "",
        cells_table(results).rstrip(),
        _filled(
            f"Median time of forward and backward through one layer at T = {size['T']}, N = {size['N']}, "
            f"H = {size['H']}, and how many times ours the others take. Feedback is around an IF neuron. All took "
            f"turns in one run of `python -m benchmarks.cells` on {results['date']}: {where['cores']} cores "
            f"({where['processor']}), {where['torch_threads']} threads, torch {where['torch']}. The readable loop "
            f"takes {_spread(list(loop.values()), '.1f')} times ours. {told}"
        ),
        _filled("Where a library has something else under the same name:", "", *notes) if notes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(results: dict[str, Any]) -> str:
    """Return a sentence: how many times ours the steps of the closest take, over the three networks."""
    steps = [entry for entry in results["steps"] if entry["config"] == _base(entry["config"]["model"])]
    told = []
    for name, label in COMPARED.items():
        ratios = [entry["libraries"][name]["ratio"] for entry in steps if name in entry["libraries"]]
        if ratios and not name.startswith("snn_core") and name != "limit":
            told.append(f"{label} {_spread(ratios, '.1f')}")
    return f"Times ours over the three networks: {'; '.join(told)}." if told else ""


def _growth(results: dict[str, Any]) -> str:
    told = [
        f"{each['model']}, {each['quantity']} from {each['sizes'][0]} to {each['sizes'][-1]:,}: "
        f"{each['ms_exponent']:.2f}"
        for each in results["growth"]
    ]
    name = results["libraries"][results["growth"][0]["library"]]["label"]
    return f"Exponents of the growth of the time of {name}, where 1 is linear: {'; '.join(told)}."


def _first_use(results: dict[str, Any]) -> str:
    startup = results["startup"]
    told = (
        f"The kernels compile in {startup['compile_seconds']:.0f} s, once; later a new process loses "
        f"{startup['warm_start_seconds']:.1f} s to importing snn_core and to its first steps, beyond importing torch."
    )
    compiled = [
        entry["libraries"]["torch-compile"]["first_step_seconds"]
        for entry in results["steps"]
        if "torch-compile" in entry["libraries"]
    ]
    if compiled:
        told += f" torch.compile takes {_spread(compiled, '.0f')} s for one network in one size."
    return told
