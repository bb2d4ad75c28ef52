"""The chapters: where they are, and whether their outputs belong to what they show."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from sequential_fmnist.checkpoint import sha256
from snn_tutorial import live

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
#: The one place of the addresses of the repository and of the site.
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
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


def badges(path: Path) -> str:
    """Return links that open a chapter on Colab and on Binder."""
    name = URLS["Repository"].removeprefix("https://github.com/")
    colab, binder = "https://colab.research.google.com", "https://mybinder.org"
    to_colab = f"{colab}/github/{name}/blob/main/notebooks/{path.name}"
    to_binder = f"{binder}/v2/gh/{name}/main?labpath=notebooks%2F{path.name}"
    return (
        f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({to_colab}) "
        f"[![Open in Binder]({binder}/badge_logo.svg)]({to_binder})"
    )


def address(notebook: NotebookNode, path: Path) -> None:
    """Put the addresses into a chapter: into its links below the heading and into its cell for Colab."""
    page, slides = (f"{URLS['Documentation']}{place}/{path.stem}.html" for place in ("notebooks", "slides"))
    links = f"{badges(path)} [Web page]({page}) · [slides]({slides})"
    heading, _, rest = notebook.cells[0].source.split("\n\n", 2)
    notebook.cells[0].source = "\n\n".join([heading, links, rest])
    for cell in notebook.cells:
        if has_tag(cell, COLAB):
            cell.source = re.sub(r'address = ".*"', f'address = "{URLS["Repository"]}"', cell.source)


def is_outdated(notebook: NotebookNode) -> bool:
    """Whether the sources have changed since the outputs of a notebook were made."""
    return notebook.metadata.get("snn_core", {}).get("source_sha256") != source_digest(notebook)


def bundle_anew(notebook: NotebookNode) -> None:
    """Give the views in a notebook's outputs the scripts and the style of the package as they are now."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "snn-live" in (page := output.get("data", {}).get("text/html", "")):
                output["data"]["text/html"] = live.with_scripts(page)


def source_digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of what a notebook shows: its code, that of all modules of ours that it imports, directly or
    not, its exercises, and the results that it reads.

    It is kept with the outputs. Comments, layout and docstrings do not enter, nor does the version of Python. Scripts
    and the style of views do not, either: :func:`bundle_anew` puts them into the outputs without a run.
    """
    cells = [c.source for c in notebook.cells if c.cell_type == "code" and not has_tag(c, COLAB)]
    trees = [ast.parse(cell) for cell in cells]
    modules: set[Path] = set()
    todo = {path for tree in trees for path in _imported(tree)}
    exercises = ROOT / "snn_tutorial" / "exercises"
    if exercises / "__init__.py" in todo:  # which imports those of a chapter by its number
        todo |= {*exercises.glob(f"chapter_{title(notebook).partition(' ')[0]}.py")}
    while todo:
        path = todo.pop()
        modules.add(path)
        todo |= _module(path)[1] - modules
    files = {path for tree in trees for path in _results(tree)}
    parts = [_code(tree) for tree in trees] + [_module(path)[0] for path in sorted(modules)]
    return sha256("\0".join(parts + [path.read_text(encoding="utf-8") for path in sorted(files)]).encode())


def _code(node: Any) -> str:
    """Return what a syntax tree says: without docstrings, and without the fields that some versions of Python lack."""
    if isinstance(node, list):
        return f"[{' '.join(_code(one) for one in node if not _is_text(one))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_code(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({' '.join(fields)})"


def _is_text(node: Any) -> bool:
    """Whether a statement is a string alone, such as a docstring."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


@cache
def _module(path: Path) -> tuple[str, frozenset[Path]]:
    """Return the code of a module, and the modules of ours that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _code(tree), frozenset(_imported(tree))


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
