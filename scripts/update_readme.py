"""Write the README's tables from the files in results/."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from snn_core.files import atomic_write
from snn_core.network import NETWORKS, make_network

ROOT = Path(__file__).resolve().parent.parent
ABOUT = {
    "tutorial": "sets everything up and executes the notebooks: the three networks on all 60,000 images",
    "test": "sets everything up and runs all tests",
}


def times_table(times: dict[str, Any]) -> str:
    """Return the table of the two commands with the time that each took in a fresh clone."""
    where = times["provenance"]
    rows = ["| command | what it does | time |", "|---|---|---:|"]
    for command, about in ABOUT.items():
        rows.append(f"| `make {command}` | {about} | {times['seconds'][command] / 60:.0f} min |")
    note = (
        f"Measured from a fresh clone, packages included, with {where['cores']} cores ({where['processor']}), "
        f"Python {where['python']}\nand torch {where['torch']} by `scripts/time_commands.py`."
    )
    return "\n".join(rows) + f"\n\n{note}\n"


def results_table(runs: list[dict[str, Any]]) -> str:
    """Return the table of last-epoch test accuracies, one row for each network.

    Raises:
        ValueError: a run saw only the embedded subset, whose accuracy must not be shown as a result.
    """
    if any(run["is_subset"] for run in runs):
        raise ValueError(
            "results/seeds.json holds runs on the embedded subset: run `make seeds` with the full data"
        )
    rows = [
        "| network | parameters | test accuracy, mean | lowest to highest seed |",
        "|---|---:|---:|---:|",
    ]
    for model in NETWORKS:
        last = [100 * r["history"][-1]["test_accuracy"] for r in runs if r["config"]["model"] == model]
        parameters = sum(p.numel() for p in make_network(model).parameters())
        rows.append(
            f"| {model} | {parameters:,} | {statistics.mean(last):.1f} % | {min(last):.1f} to {max(last):.1f} % |"
        )
    return "\n".join(rows) + "\n"


def results_section(runs: list[dict[str, Any]]) -> str:
    """Return the table and the sentence that says how its numbers were made."""
    config, where = runs[0]["config"], runs[0]["provenance"]
    seeds = sorted({run["config"]["seed"] for run in runs})
    return (
        f"{results_table(runs)}\n"
        f"Fashion-MNIST column by column, {config['epochs']} epochs of SGD (learning rate {config['lr']}, momentum "
        f"{config['momentum']}, cosine\nschedule, batch {config['batch_size']}), all 60,000 training images, accuracy "
        f"on the 10,000 test images after the last epoch,\nseeds {', '.join(map(str, seeds))}. A few seeds show the "
        f"spread; they do not rank networks that lie within it. Written by\n`make seeds` with torch {where['torch']} "
        f"on {where['processor']}.\n"
    )


def _replace(text: str, name: str, section: str) -> str:
    start, end = (
        f"<!-- {name}: written by scripts/update_readme.py, do not edit -->\n",
        f"<!-- end of {name} -->",
    )
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{section}{end}{after}"


def generate(text: str, results: Path) -> str:
    """Return the README's ``text`` with all sections between markers made anew from the folder ``results``."""
    times = json.loads((results / "times.json").read_text())
    runs = json.loads((results / "seeds.json").read_text())["runs"]
    return _replace(_replace(text, "times", times_table(times)), "results", results_section(runs))


def main() -> None:
    """Update README.md in place."""
    readme = ROOT / "README.md"
    new = generate(readme.read_text(), ROOT / "results")
    with atomic_write(readme) as file:
        file.write(new.encode())


if __name__ == "__main__":
    main()
