"""Bring up to date everything that is generated, and say what changed: ``make refresh``.

First the chapters whose sources have changed, then the figures, then the tables of README and docs/.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import nbformat
import run_notebooks
from chapters import ROOT, address, bundle_anew, is_outdated, number, paths
from tables import base_size, by_batch, load, pages

from benchmarks.cases import LARGE
from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.data import SequentialFashionMNIST
from snn_tutorial.page import save_figure
from snn_tutorial.plot.fair import headline, order
from snn_tutorial.plot.kernels import growth, libraries
from snn_tutorial.plot.reading import reading_gif

GENERATED = ("notebooks", "results", "figures", "README.md", "docs")


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Return ``text`` with each part between its marks.

    Raises:
        ValueError: a mark or its end is missing; nothing is replaced, so that no text is lost.
    """
    for name, part in parts.items():
        start, end = f"<!-- {name}: written by make refresh -->\n", f"<!-- end of {name} -->"
        before, mark, rest = text.partition(start)
        _, end_mark, after = rest.partition(end)
        if not mark or not end_mark:
            raise ValueError(f"the page lacks {start.strip() if not mark else end}")
        text = f"{before}{start}{part}{end}{after}"
    return text


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())


def draw(folder: Path) -> None:
    """Draw the figures of README and docs/ that no chapter draws."""
    timed = load("benchmarks")
    labels = {name: library["label"] for name, library in timed["libraries"].items()}
    save_figure(headline(load("ablation"), load("fair")), folder / "memory.png")
    save_figure(order(load("fair"), load("controls")), folder / "order.png")
    save_figure(libraries(base_size(timed), labels), folder / "benchmarks.png")
    layers = [entry for entry in timed["layers"] if entry["name"] == LARGE]
    save_figure(growth(layers, by_batch(timed), labels), folder / "growth.png")
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    with atomic_write(folder / "reading.gif") as file:
        file.write(reading_gif(test.images[0, 0].numpy(), test.classes[int(test.labels[0])]))


def main() -> None:
    """Execute, draw and write; then show what differs from the last commit."""
    # One after the other: a chapter may read what an earlier one has just written.
    for path in paths():
        notebook = nbformat.read(path, as_version=4)
        address(notebook, path)
        bundle_anew(notebook)
        write(path, nbformat.writes(notebook) + "\n")
        if is_outdated(notebook):
            run_notebooks.main([number(path)])
    draw(ROOT / "figures")
    filled = {
        ROOT / name: fill((ROOT / name).read_text(encoding="utf-8"), parts) for name, parts in pages().items()
    }
    for page, text in filled.items():
        write(page, text)
    git = ["git", "diff", "--stat", "HEAD", "--", *GENERATED]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    print(
        f"differs from the last commit:\n{done.stdout}"
        if done.stdout
        else "nothing differs from the last commit"
    )


if __name__ == "__main__":
    main()
