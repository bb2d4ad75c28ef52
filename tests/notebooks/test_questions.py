"""A question keeps its secret: nothing that is open beside it, on the site or in JupyterLab, holds its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support_notebooks import NOTEBOOKS

#: The data of a question in a cell's output; a sketch's curve is in its cell alone.
ASKED = re.compile(r'\$view\.start\("(?:predict|sketch)", (\{.*?\}), \$', re.DOTALL)
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


def html(cell: NotebookNode) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", []))


def is_folded(cell: NotebookNode) -> bool:
    """Whether the code of a cell is folded on the site and in JupyterLab."""
    tags = {"hide-input", "hide-cell", "remove-cell"} & {*cell.metadata.get("tags", [])}
    return bool(tags and cell.metadata.get("jupyter", {}).get("source_hidden"))


def visible(cell: NotebookNode) -> str:
    """Return what a reader sees of a cell: code that is not folded everywhere, text, and what it printed."""
    if cell.cell_type == "markdown":
        return FOLDED.sub("", cell.source)
    shown = [] if is_folded(cell) else [cell.source]
    for output in cell.get("outputs", []):
        shown += [output.get("text", ""), output.get("data", {}).get("text/markdown", "")]
    return "\n".join(shown)


def right_answer(asked: dict[str, Any]) -> tuple[re.Pattern[str], re.Pattern[str] | None] | None:
    """Return what gives the answer away, and what excuses a text that has it: that another option is in it, too."""
    if "options" in asked:
        right, others = asked["options"][asked["right"]], asked["options"][:]
        others.remove(right)
        if len(right) < 4:  # as 32: such a number stands everywhere
            return None
        whole = re.compile(rf"(?<![\w.]){re.escape(right)}(?!\w|\.\d)")
        return whole, re.compile("|".join(map(re.escape, others)))
    if "unit" in asked and isinstance(asked["right"], float):
        forms = {f"{asked['right']:.{digits}f}" for digits in (1, 2, 3)} | {f"{asked['right']:.3g}"}
        forms = {form for form in forms if len(form.replace(".", "").strip("0")) > 1}
        return (re.compile(rf"(?<![\d.])({'|'.join(map(re.escape, forms))})(?!\d)"), None) if forms else None
    return None


def given_away(notebook: NotebookNode) -> Iterator[str]:
    """Yield each way in which a chapter answers one of its own questions."""
    cells = notebook.cells
    for place, cell in enumerate(cells):
        found = ASKED.search(html(cell))
        if not found:
            continue
        if not is_folded(cell):
            yield f"[{place}] the code of a question is open"
        section = [
            k for k, one in enumerate(cells) if one.cell_type == "markdown" and "\n## " in f"\n{one.source}"
        ]
        first = max((k for k in section if k < place), default=0)
        last = min((k for k in section if k > place), default=len(cells) - 1)
        asked = json.loads(found[1])
        patterns = right_answer(asked)
        if "options" in asked:  # which are things that the text above is about
            first = place
        for k in range(first, last + 1) if patterns else ():
            text = visible(cells[k])
            # A cell may end one section and begin the next.
            head, _, tail = f"\n{text}".rpartition("\n## ")
            text = tail if k == first and k < place else head if k == last and head else text
            right, excuse = patterns
            if k != place and right.search(text) and not (excuse and excuse.search(text)):
                yield f"[{place}] its answer, {right.search(text)[0]}, stands open in [{k}]"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_answer_stands_beside_its_question(path):
    assert not list(given_away(nbformat.read(path, as_version=4)))


def test_an_open_answer_is_found():
    def question(data: str, **metadata: Any) -> NotebookNode:
        page = new_output("display_data", {"text/html": f'$view.start("predict", {data}, $predict.predict)'})
        return new_code_cell("choice(...)", outputs=[page], metadata=metadata)

    def found(*cells: NotebookNode) -> int:
        return len([*given_away(new_notebook(cells=cells))])

    hidden = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    words = '{"options": ["the loop", "the synapse"], "right": 1}'
    asks, answers = new_markdown_cell("## 1 A\nWhich?"), new_markdown_cell("It is the synapse.")
    assert found(asks, question(words, **hidden), new_markdown_cell("Loop or not.\n## 2 B\nthe synapse")) == 0
    assert found(asks, question(words, **hidden), answers) == 1
    assert found(asks, question(words, tags=["hide-input"])) == 1
    number = '{"unit": "%", "right": 31.46}'
    printed = new_code_cell("a", outputs=[new_output("stream", text="31.5 %")])
    assert found(asks, printed, question(number, **hidden)) == 1
    assert found(new_markdown_cell("31.5 %\n## 1 A\nHow much?"), question(number, **hidden)) == 0
