"""What the site makes of the figures of the executed chapters: slides. docs/conf.py calls :func:`write_slides`."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from chapters import title
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

KINDS = {"image/png": "png", "image/gif": "gif"}


@dataclass
class Figure:
    """A figure of a chapter: its number, the heading above it, caption, description and bytes."""

    number: str
    heading: str
    caption: str
    alt: str
    kind: str
    data: bytes

    @property
    def file(self) -> str:
        """Return the name under which MyST-NB keeps the picture in ``_images``."""
        return f"{hashlib.sha256(self.data).hexdigest()}.{self.kind}"


def caption(text: str) -> str:
    """Return the caption with which a text begins, without its stars; empty if it begins with none."""
    first = text.partition("\n\n")[0]
    return " ".join(first.split()).strip("*") if first.startswith("*") else ""


def figures(notebook: NotebookNode) -> Iterator[Figure]:
    """Yield the figures of an executed notebook in their order."""
    cells, heading, count = notebook.cells, "", 0
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            found = re.findall(r"^##+ (.*)$", cell.source, re.MULTILINE)
            heading = found[-1] if found else heading
        for output in cell.get("outputs", []):
            for mime, kind in KINDS.items():
                if mime in output.get("data", {}):
                    count += 1
                    yield Figure(
                        number=f"{title(notebook).split()[0].lstrip('0')}.{count}",
                        heading=re.sub(r"^\d+ ", "", heading),
                        caption=caption(cells[index + 1].source) if index + 1 < len(cells) else "",
                        alt=output.metadata.get(mime, {}).get("alt", ""),
                        kind=kind,
                        data=base64.b64decode(output.data[mime]),
                    )


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}/_static/slides.css">
{scripts}
</head>
<body>
{slides}
</body>
</html>
"""
SCRIPTS = """<script>window.MathJax = {config}</script>
<script defer src="{root}/_static/{mathjax}"></script>
<script>
// Arrows, space and page keys go from slide to slide; a swipe scrolls.
addEventListener("keydown", event => {{
  const step = {{ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}}[event.key];
  if (!step) return;
  event.preventDefault();
  const slides = [...document.querySelectorAll("section")];
  const at = slides.findIndex(slide => slide.getBoundingClientRect().bottom > innerHeight / 2);
  slides[Math.min(Math.max(at + step, 0), slides.length - 1)].scrollIntoView();
}});
</script>"""


def _html(text: str) -> str:
    """Return Markdown as HTML; links of a chapter become plain text."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    parser = MarkdownIt().enable("table").use(
        dollarmath_plugin,
        renderer=lambda formula, options: (
            rf"\[{escape(formula)}\]" if options["display_mode"] else rf"\({escape(formula)}\)"
        ),
    )  # fmt: skip
    return parser.render(text)


def _goal(notebook: NotebookNode) -> str:
    found = re.search(r"\*\*Goal\.\*\*(.*?)(?:\n\n|\*\*|<!--|$)", notebook.cells[0].source, re.DOTALL)
    return found[1].strip() if found else ""


def _learned(notebook: NotebookNode) -> str:
    text = notebook.cells[-1].source.partition("## What was learned")[2]
    return text.partition("<!--")[0].strip()


def slides(notebook: NotebookNode, pictures: str) -> str:
    """Return the slides of a chapter: its title and goal, a slide for each figure, and what was learned."""
    first = f"<h1>{escape(title(notebook))}</h1>{_html(_goal(notebook))}"
    parts = [f'<section class="title">{first}</section>']
    for figure in figures(notebook):
        picture = f'<img loading="lazy" src="{pictures}/{figure.file}" alt="{escape(figure.alt)}">'
        heading = _html(f"## {figure.heading}")
        words = f"<figcaption>{_html(f'**Figure {figure.number}.** {figure.caption}')}</figcaption>"
        parts.append(f"<section>{heading}<figure>{picture}{words}</figure></section>")
    parts.append(f'<section class="text"><h2>What was learned</h2>{_html(_learned(notebook))}</section>')
    return "\n".join(parts)


def write_slides(paths: Sequence[Path], site: Path, config: str, mathjax: str) -> None:
    """Write ``slides/`` into a built site: a page for each chapter, and one with links to them.

    Args:
        paths: the notebooks.
        site: the site, whose pictures, style and MathJax the slides use.
        config: MathJax's configuration, as JSON.
        mathjax: its script, below ``_static``.
    """
    out = site / "slides"
    out.mkdir(exist_ok=True)
    scripts = SCRIPTS.format(config=config, root="..", mathjax=mathjax)
    links = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        name, text = f"{path.stem}.html", slides(notebook, "../_images")
        page = PAGE.format(title=escape(title(notebook)), root="..", scripts=scripts, slides=text)
        (out / name).write_text(page)
        links.append(f'<li><a href="{name}">{escape(title(notebook))}</a></li>')
    text = f'<section class="text"><h1>Slides</h1><ul>{"".join(links)}</ul>'
    text += (
        "<p>Arrow keys turn pages. Print a page to get a PDF file with one slide on each sheet.</p></section>"
    )
    (out / "index.html").write_text(PAGE.format(title="Slides", root="..", scripts="", slides=text))
