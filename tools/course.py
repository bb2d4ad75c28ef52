"""Write two versions of every notebook for a course, into build/course: without solutions, and with all solved.

The committed notebooks are the source. An exercise is a cell tagged ``exercise`` that ends with
``check("01.2", answer)``; its solution is a block of Python, within ``<details>``, that ends with the same call. The
student version leaves the solutions out. In the solution version each such block stands where the answer was asked
for, and runs there.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
from chapters import EXERCISE, has_tag, paths
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

OUT = Path("build") / "course"
_DETAILS = re.compile(r"\s*<details><summary>Solution.*?</details>", re.DOTALL)
_CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
_CHECK = re.compile(r'^check\("(\d\d[a-z]?\.\d+)", answer\)', re.MULTILINE)


def solutions(notebook: NotebookNode) -> list[str]:
    """Return the code of the exercises' solutions, in their order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    details = [part for text in texts for part in re.findall(r"<details>.*?</details>", text, re.DOTALL)]
    return [code for part in details for code in _CODE.findall(part)]


def exercises(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the cells that ask for an answer by the number of the exercise.

    Raises:
        ValueError: a cell tagged ``exercise`` checks no answer.
    """
    found = {}
    for cell in notebook.cells:
        if has_tag(cell, EXERCISE):
            number = _CHECK.search(cell.source)
            if number is None:
                raise ValueError(
                    f"a cell tagged {EXERCISE} must end with check(number, answer): {cell.source!r}"
                )
            found[number[1]] = cell
    return found


def student(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without the solutions."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _DETAILS.sub("", cell.source)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


def solved(notebook: NotebookNode) -> NotebookNode:
    """Return a copy in which every exercise is solved where it is asked; code that checks no answer runs at the end.

    Raises:
        ValueError: an exercise has no solution, or a solution no exercise.
    """
    notebook = copy.deepcopy(notebook)
    cells, codes = exercises(notebook), {}
    for code in solutions(notebook):
        number = _CHECK.search(code)
        if number is None:
            notebook.cells.append(new_code_cell(code))
        else:
            codes[number[1]] = code
    if cells.keys() != codes.keys():
        raise ValueError(f"exercises {sorted(cells)} have solutions {sorted(codes)}")
    for number, cell in cells.items():
        cell.source = codes[number].rstrip()
        cell.outputs, cell.execution_count = [], None
    return notebook


def main() -> None:
    """Write both versions of every notebook."""
    for name, version in {"student": student, "solutions": solved}.items():
        (OUT / name).mkdir(parents=True, exist_ok=True)
        for path in paths():
            nbformat.write(version(nbformat.read(path, as_version=4)), OUT / name / path.name)
        print(f"written to {OUT / name}")


if __name__ == "__main__":
    main()
