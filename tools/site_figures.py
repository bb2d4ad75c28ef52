"""What the site makes of the chapters' figures: a page that says where each comes from, and slides.

Both are read off the executed notebooks, so nothing is kept twice: docs/conf.py calls :func:`origins` for the page
docs/figures.md, and :func:`write_slides` when the site is built.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from chapters import number, title
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

KINDS = {"image/png": "png", "image/gif": "gif"}
#: Calls in a chapter that bring data or a trained network from elsewhere, and what the page says of them.
SOURCES = {
    "SequentialFashionMNIST": "Fashion-MNIST",
    "pretrained": "the trained networks in the package",
    "fit": "training in the chapter",
    "execute": "training in the chapter",
}


@dataclass
class Figure:
    """A figure of a chapter: its number, the heading above it, caption, description and bytes, and its cell."""

    number: str
    heading: str
    caption: str
    alt: str
    kind: str
    data: bytes
    cell: int

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
                        cell=index,
                    )


def _parsed(source: str) -> ast.Module:
    """Parse a cell, with lines that only IPython understands as the calls that they stand for."""
    return ast.parse(TransformerManager().transform_cell(source))


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }


def slice_of(notebook: NotebookNode, cell: int) -> list[ast.Module]:
    """Return the code cells that a code cell may depend on, itself the last, by the names that it reads.

    Cells with only imports and parameters are left out. A cell that calls a method of a name counts as one that
    writes it, since it may change the object.
    """
    trees = [_parsed(c.source) if c.cell_type == "code" else ast.Module([], []) for c in notebook.cells]
    needed, kept = _names(trees[cell], ast.Load), [trees[cell]]
    for tree in reversed(trees[:cell]):
        written = _names(tree, ast.Store)
        written |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        if needed & written:
            needed |= _names(tree, ast.Load)
            kept.insert(0, tree)
    return kept


def _files(nodes: Sequence[ast.AST], function: str) -> list[str]:
    """Return the files in results/ that calls of ``load_results`` or ``save_results`` name, sorted."""
    calls = [
        node
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]
    names = {arg.value for call in calls for arg in call.args[1:2] if isinstance(arg, ast.Constant)}
    return sorted(f"results/{name}.json" for name in names)


def origin(notebook: NotebookNode, figure: Figure) -> dict[str, list[str]]:
    """Return what draws a figure, what it is drawn from, and the files in results/ that it reads or goes to.

    Args:
        notebook: the chapter.
        figure: one of its figures.
    """
    modules = {}
    everything = [
        node for cell in notebook.cells if cell.cell_type == "code" for node in ast.walk(_parsed(cell.source))
    ]
    for node in everything:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snn_tutorial"):
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    trees = slice_of(notebook, figure.cell)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    drawn = [
        f"{modules[node.func.value.id]}.{node.func.attr}"
        for node in ast.walk(trees[-1])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name) and node.func.value.id in modules
    ]  # fmt: skip
    drawn += [
        modules[node.func.id]
        for node in ast.walk(trees[-1])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        and node.func.id in modules and not node.func.id.startswith(("show", "print", "save"))
    ]  # fmt: skip
    read = _files(nodes, "load_results")
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    data = [what for name, what in SOURCES.items() if name in used]
    return {
        "drawn by": sorted(set(drawn)),
        "from": list(dict.fromkeys(data)) or ["recorded runs" if read else "the chapter's own numbers"],
        "results": read or _files(everything, "save_results"),
    }


def origins(paths: Sequence[Path]) -> str:
    """Return the part of the page of provenance that is about the chapters, as Markdown."""
    parts = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        found = list(figures(notebook))
        if not found:
            continue
        rows = ["| figure | shows | drawn by | from |", "|---|---|---|---|"]
        files: dict[str, None] = {}
        for figure in found:
            about = origin(notebook, figure)
            files |= dict.fromkeys(about["results"])
            cells = [figure.number, figure.heading.replace("|", "\\|")]
            cells += [", ".join(f"`{name.removeprefix('snn_tutorial.')}`" for name in about["drawn by"])]
            own = [name for name in about["results"] if "/chapter_" not in name]
            cells += [", ".join([*about["from"], *(f"`{name}`" for name in own)])]
            rows.append(f"| {' | '.join(cells)} |")
        kept = ", ".join(f"`{name}`" for name in files)
        lines = f"Run again by `python tools/run_notebooks.py {number(path)}`. Numbers: {kept}."
        table = "\n".join(rows)
        parts.append(f"### [{title(notebook)}](../notebooks/{path.name})\n\n{lines}\n\n{table}\n")
    return "\n".join(parts)


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
