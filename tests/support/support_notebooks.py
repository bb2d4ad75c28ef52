"""How tests run a chapter and reach what it defines and what it recorded."""

from __future__ import annotations

import ast
import os
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from support import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
#: Statements that define a name without doing anything else.
DEFINING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
runner = runpy.run_path(str(ROOT / "tools" / "run_notebooks.py"))
course = runpy.run_path(str(ROOT / "tools" / "course.py"))
QUICK: dict[str, dict[str, Any]] = runner["QUICK"]
#: What a chapter's kernel may take, in MiB: Binder gives some 2 GB to the kernel and JupyterLab.
MOST_MEMORY = 1400
#: Where `make tutorial ARGS=--quick` has already written what tests read, if anywhere.
BUILT = os.environ.get("SNN_BUILT")


@dataclass
class Run:
    """A chapter that ran in quick mode: the executed notebook."""

    notebook: NotebookNode

    def printed(self) -> str:
        """Return everything that the chapter printed, in the order of its cells."""
        outputs = [output for cell in self.notebook.cells for output in cell.get("outputs", [])]
        return "".join(output["text"] for output in outputs if output["output_type"] == "stream")

    def views(self) -> list[str]:
        """Return the names of the views that the chapter shows, in the order of its cells."""
        outputs = [output for cell in self.notebook.cells for output in cell.get("outputs", [])]
        pages = ("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
        return [name for page in pages for name in re.findall(r'view\.start\("(\w+)"', page)]

    def solved(self, number: str) -> str:
        """Return what the solution of an exercise printed."""
        call = f'check("{number}", answer)'
        (cell,) = (c for c in self.notebook.cells if c.cell_type == "code" and call in c.source.splitlines())
        return cell.outputs[0]["text"]


def committed(number: str) -> NotebookNode:
    """Return a chapter as it is committed."""
    return nbformat.read(chapter(number), as_version=4)


def chapter(number: str) -> Path:
    """Return the notebook of a chapter by its number, as in "01"."""
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(f"{number}_"))
    return path


def quick_run(number: str, folder: Path) -> Run:
    """Run a chapter in quick mode, its solutions too, into ``folder``, if that has not been done."""
    path = chapter(number)
    if BUILT:
        return Run(nbformat.read(Path(BUILT) / "notebooks" / path.name, as_version=4))
    parameters = QUICK.get(path.stem, {})
    _, memory = runner["execute"](path, folder / path.name, parameters, with_solutions=True)
    assert memory <= MOST_MEMORY
    return Run(nbformat.read(folder / path.name, as_version=4))


def definitions(number: str, *names: str) -> dict[str, Any]:
    """Return functions and classes that a chapter defines, made by running only what defines and imports in its cells.

    Args:
        number: the chapter, as in "01".
        names: what to return; KeyError if a name is not defined there.
    """
    namespace: dict[str, Any] = {"__name__": "chapter"}
    for cell in committed(number).cells:
        if cell.cell_type == "code" and "colab" not in cell.metadata.get("tags", []):
            code = ast.parse(cell.source)
            code.body = [node for node in code.body if isinstance(node, DEFINING)]
            exec(compile(code, f"chapter {number}", "exec", dont_inherit=True), namespace)
    return {name: namespace[name] for name in names}
