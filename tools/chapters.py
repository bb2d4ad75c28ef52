"""The chapters: where they are, and what their names and cells say."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
#: Tags of the cell that fetches the collection on Colab, and of cells that ask for an answer.
COLAB, EXERCISE = "colab", "exercise"


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell bears a tag."""
    return tag in cell.metadata.get("tags", [])


def paths(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks in ``folder`` in reading order."""
    return sorted(folder.glob("[0-9]*.ipynb"))


def number(path: Path) -> str:
    """Return the number of a chapter, as in "05": what stands before the first "_" of its file name."""
    return path.name.partition("_")[0]


def title(notebook: NotebookNode) -> str:
    """Return the heading of a notebook, as in "05 Training curves"."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def link(path: Path, folder: str = "") -> str:
    """Return a link, from the folder that holds ``folder``, to a notebook with its heading."""
    return f"[{title(nbformat.read(path, as_version=4))}]({folder}{path.name})"
