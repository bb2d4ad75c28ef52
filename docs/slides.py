"""Slides of the executed chapters by reveal.js: for each its goal, its figures and what was learned."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import nbformat
from chapters import paths, title
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode
from sphinx.application import Sphinx

KINDS = {"image/png": "png", "image/gif": "gif"}


def figures(notebook: NotebookNode) -> Iterator[dict[str, str]]:
    """Yield the heading, the caption, the description and the file of each figure.

    The file is named as MyST-NB names it in ``_images``. A caption is the text in stars below the figure's cell.
    """
    heading = ""
    for cell, below in zip(notebook.cells, [*notebook.cells[1:], NotebookNode(source="")], strict=True):
        if cell.cell_type == "markdown":
            found = re.findall(r"^##+ (?:\d+ )?(.*)$", cell.source, re.MULTILINE)
            heading = found[-1] if found else heading
        for output in cell.get("outputs", []):
            # Figures in the answers of questions: finish.py writes them to files.
            page = "".join(output.get("data", {}).get("text/html", ""))
            for alt, url in re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]+)"', page):
                file = f"{hashlib.sha256(base64.b64decode(url)).hexdigest()}.png"
                yield {"heading": heading, "caption": "", "alt": unescape(alt), "file": file}
            for mime in KINDS.keys() & output.get("data", {}).keys():
                picture = hashlib.sha256(base64.b64decode(output.data[mime])).hexdigest()
                first = below.source.partition("\n\n")[0]
                yield {
                    "heading": heading,
                    "caption": first.strip("*") if first.startswith("*") else "",
                    "alt": output.metadata.get(mime, {}).get("alt", ""),
                    "file": f"{picture}.{KINDS[mime]}",
                }


def html(text: str) -> str:
    """Return Markdown as HTML; links of a chapter become plain text."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    parser = MarkdownIt().enable("table").use(
        dollarmath_plugin,
        renderer=lambda formula, options: (
            rf"\[{escape(formula)}\]" if options["display_mode"] else rf"\({escape(formula)}\)"
        ),
    )  # fmt: skip
    return parser.render(text)


def goal_and_lessons(notebook: NotebookNode) -> tuple[str, str]:
    """Return what the first cell says under "Goal", and what the last says under "What was learned"."""
    goal = re.search(r"\*\*Goal\.\*\*(.*?)(?:\n\n|\*\*|<!--|$)", notebook.cells[0].source, re.DOTALL)
    learned = notebook.cells[-1].source.partition("## What was learned")[2]
    return goal[1].strip() if goal else "", learned.partition("<!--")[0].strip()


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the pages in the form of Sphinx's event ``html-collect-pages``: name, values and template."""
    links = ""
    for path in paths(Path(app.srcdir) / "notebooks"):
        notebook = nbformat.read(path, as_version=4)
        goal, learned = goal_and_lessons(notebook)
        values = {
            "title": title(notebook),
            "goal": html(goal),
            "figures": [figure | {"caption": html(figure["caption"])} for figure in figures(notebook)],
            "learned": html(learned),
        }
        links += f'<li><a href="{path.stem}.html">{escape(values["title"])}</a></li>'
        yield f"slides/{path.stem}", values, "slides.html"
    yield "slides/index", {"title": "Slides", "body": f"<h1>Slides</h1><ul>{links}</ul>"}, "page.html"
