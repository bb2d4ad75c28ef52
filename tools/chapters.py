"""The chapters: where they are, and whether their outputs belong to what they show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

from sequential_fmnist.checkpoint import sha256

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


def is_outdated(notebook: NotebookNode) -> bool:
    """Whether the outputs of a notebook belong to other sources than those of today."""
    return notebook.metadata.get("snn_core", {}).get("source_sha256") != source_digest(notebook)


def source_digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of what a notebook shows: its code, that of all modules of ours that it imports, directly or
    not, the scripts beside them, and the results that it reads.

    It is kept with the outputs. Comments and docstrings of Python do not enter.
    """
    cells = [ast.parse(c.source) for c in notebook.cells if c.cell_type == "code" and not has_tag(c, COLAB)]
    modules: set[Path] = set()
    todo = {path for cell in cells for path in _imported(cell)}
    while todo:
        path = todo.pop()
        modules.add(path)
        todo |= _module(path)[1] - modules
    files = {path for cell in cells for path in _results(cell)}
    files |= {script for module in modules for script in module.parent.glob("js/*")}
    parts = [ast.dump(cell) for cell in cells] + [_module(path)[0] for path in sorted(modules)]
    return sha256("\0".join(parts + [path.read_text() for path in sorted(files)]).encode())


@cache
def _module(path: Path) -> tuple[str, frozenset[Path]]:
    """Return the code of a module without docstrings, and the modules of ours that it imports."""
    tree = ast.parse(path.read_text())
    imported = frozenset(_imported(tree))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False):
            del node.body[0]
    return ast.dump(tree), imported


def _imported(tree: ast.AST) -> Iterator[Path]:
    """Yield the files of ours that a tree imports, with those of the packages around them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                place = ROOT.joinpath(*parts[:end])
                found = place.with_suffix(".py"), place / "__init__.py"
                yield from (path for path in found if path.is_file())


def _results(tree: ast.AST) -> Iterator[Path]:
    """Yield the files that a tree reads by ``load_results(folder, name)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_results":
            yield ROOT / "results" / f"{ast.literal_eval(node.args[1])}.json"
