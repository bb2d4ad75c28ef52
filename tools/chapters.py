"""The chapters: where they are, and whether their outputs belong to what they show."""

from __future__ import annotations

import ast
import io
import tokenize
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
    """Whether the sources have changed since the outputs of a notebook were made."""
    return notebook.metadata.get("snn_core", {}).get("source_sha256") != source_digest(notebook)


def source_digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of what a notebook shows: its code, that of all modules of ours that it imports, directly or
    not, the scripts beside them, and the results that it reads.

    It is kept with the outputs. Comments, layout and docstrings do not enter, nor does the version of Python.
    """
    cells = [c.source for c in notebook.cells if c.cell_type == "code" and not has_tag(c, COLAB)]
    trees = [ast.parse(cell) for cell in cells]
    modules: set[Path] = set()
    todo = {path for tree in trees for path in _imported(tree)}
    while todo:
        path = todo.pop()
        modules.add(path)
        todo |= _module(path)[1] - modules
    files = {path for tree in trees for path in _results(tree)}
    files |= {script for module in modules for script in module.parent.glob("js/*")}
    parts = [code_only(cell) for cell in cells] + [_module(path)[0] for path in sorted(modules)]
    return sha256("\0".join(parts + [path.read_text() for path in sorted(files)]).encode())


def code_only(source: str) -> str:
    """Return the tokens of Python code, one on a line, the same on each version of Python.

    Comments, layout and strings that are statements of their own, such as docstrings, are left out. From Python 3.12
    on an f-string is several tokens; it is put together again.
    """
    lines, depth, start = source.splitlines(keepends=True), 0, (1, 0)
    statement: list[str] = []
    found: list[str] = []
    for kind, text, begin, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[kind]
        if name.endswith("STRING_START"):  # of an f-string, which may hold others
            depth, start = depth + 1, start if depth else begin
        if name.endswith("STRING_END"):
            depth -= 1
            name, text = "STRING", _between(lines, start, end)
        if depth or name in ("COMMENT", "NL", "ENDMARKER"):
            continue
        if name in ("INDENT", "DEDENT"):
            found.append(name)
        elif name != "NEWLINE":
            statement.append(f"{name} {text}")
        elif any(not token.startswith("STRING") for token in statement):
            found += [*statement, name]
            statement = []
        else:
            statement = []
    return "\n".join(found)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one position to another, both as row, from 1, and column."""
    rows = lines[start[0] - 1 : end[0]]
    rows[-1] = rows[-1][: end[1]]
    rows[0] = rows[0][start[1] :]
    return "".join(rows)


@cache
def _module(path: Path) -> tuple[str, frozenset[Path]]:
    """Return the code of a module, and the modules of ours that it imports."""
    source = path.read_text()
    return code_only(source), frozenset(_imported(ast.parse(source)))


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
