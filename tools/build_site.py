"""Build a static site of the executed notebooks, which needs no kernel and no internet, and check its links.

A page for each notebook with the outputs that it has, and a first page made from the README's parts. Sphinx
and MyST-NB do the work; nothing is executed. Anything that they warn about stops the build, and so does a link
or picture that leads nowhere, also within raw HTML, which Sphinx does not look at.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import frame_notebooks
import nbformat
import update_readme
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util.console import nocolor

from sequential_fmnist.command import Parser, folder

ROOT = Path(__file__).resolve().parent.parent

#: Sections of the README that the first page shows, besides what stands above the first of them.
SECTIONS = ("What you will learn", "Chapters", "What comes out")


def settings() -> dict[str, Any]:
    """Return Sphinx's configuration."""
    title = (ROOT / "README.md").read_text().partition("\n")[0].removeprefix("# ")
    return {
        "project": title,
        "html_title": title,
        "language": "en",
        "extensions": ["myst_nb", "sphinx_copybutton", "sphinx-mathjax-offline"],
        "nb_execution_mode": "off",
        "nb_merge_streams": True,
        "nb_render_markdown_format": "myst",  # the tables that cells return, too
        "myst_enable_extensions": ["amsmath", "dollarmath"],
        "myst_dmath_double_inline": True,  # $$ may follow a line of text at once, as in Jupyter
        "html_theme": "sphinx_book_theme",
        "html_theme_options": {
            "repository_url": frame_notebooks.repository(),
            "repository_branch": frame_notebooks.BRANCH,
            "use_repository_button": True,
            "navbar_persistent": [],  # the field for searching stands in the side bar already
            "footer_content_items": [],
            "show_toc_level": 2,
        },
        "html_static_path": [str(ROOT / "tools" / "site.css")],
        "html_css_files": ["site.css"],
        "html_show_sphinx": False,
        "html_show_copyright": False,
        "html_use_index": False,
        "html_domain_indices": False,
    }


def _to_repository(link: re.Match[str]) -> str:
    """Return a Markdown link to a file of the repository as a link to where it can be read; a wrong one stays."""
    path, anchor = link[1], link[2] or ""
    home = f"{frame_notebooks.repository()}/blob/{frame_notebooks.BRANCH}"
    return f"]({home}/{path}{anchor})" if (ROOT / path).exists() else link[0]


def first_page(readme: str, chapters: list[Path]) -> str:
    """Return the first page: the README's parts, with links to files that the site lacks turned to the repository.

    Raises:
        KeyError: the README lacks one of the sections.
    """
    start, *parts = re.split(r"^## ", readme, flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: f"## {part}" for part in parts}
    sections["Chapters"] = f"## Chapters\n\n{update_readme.chapters_table(chapters, badges=False)}\n"
    text = start + "".join(sections[name] for name in SECTIONS)
    text = re.sub(r"\]\((?!figures/|notebooks/)([^):#]+)(#[^)]*)?\)", _to_repository, text)
    names = "\n".join(f"notebooks/{path.stem}" for path in chapters)
    return f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def page(notebook: NotebookNode) -> NotebookNode:
    """Return ``notebook`` as the site shows it.

    Without the cell for Colab; with the pictures' descriptions; with links to files that the site lacks turned to the
    repository.
    """
    notebook.cells = [
        cell for cell in notebook.cells if frame_notebooks.TAG not in cell.metadata.get("tags", [])
    ]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(\.\./([^):#]+)(#[^)]*)?\)", _to_repository, cell.source)
        for output in cell.get("outputs", []):
            for about in output.get("metadata", {}).values():
                # MyST-NB takes a picture's width from the output, but its description from the cell.
                if "alt" in about:
                    cell.metadata["mystnb"] = {"image": {"alt": about["alt"]}}
    return notebook


def write_sources(folder: Path, readme: str, chapters: list[Path]) -> None:
    """Write what Sphinx builds the site from into ``folder``."""
    (folder / "notebooks").mkdir()
    for path in chapters:
        nbformat.write(page(nbformat.read(path, as_version=4)), folder / "notebooks" / path.name)
    shutil.copytree(ROOT / "figures", folder / "figures")
    (folder / "index.md").write_text(first_page(readme, chapters))


class _Page(HTMLParser):
    """What a page refers to, and the names in it that others can refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


def broken_links(site: Path) -> list[str]:
    """Return "page: target" for each link, picture, script and style within ``site`` that leads nowhere."""
    files = [path for path in sorted(site.rglob("*.html")) if site / "_static" not in path.parents]
    pages = {path.resolve(): _Page(path.read_text()) for path in files}
    broken = []
    for path, content in pages.items():
        for target in content.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lacks_name = to in pages and parts.fragment and unquote(parts.fragment) not in pages[to].ids
            if not to.is_file() or lacks_name:
                broken.append(f"{path.relative_to(site.resolve())}: {target}")
    return broken


def build(notebooks: Path, out: Path) -> list[str]:
    """Build the site of the notebooks in the folder ``notebooks`` into ``out``; return what is wrong with it.

    Raises:
        FileNotFoundError: the folder holds no notebook.
    """
    chapters = frame_notebooks.paths(notebooks)
    if not chapters:
        raise FileNotFoundError(f"no notebook in {notebooks}")
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        sources, trees = Path(folder) / "sources", Path(folder) / "trees"
        sources.mkdir()
        write_sources(sources, (ROOT / "README.md").read_text(), chapters)
        if not sys.stderr.isatty():
            nocolor()
        # Sphinx prints each warning to stderr, and says by the status code that there were some.
        app = Sphinx(
            sources, None, out, trees, "html", confoverrides=settings(), status=None, warningiserror=True
        )
        app.build()
    return ["Sphinx warned, see above"] * bool(app.statuscode) + broken_links(out)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and build."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--notebooks", type=folder, default=ROOT / "notebooks", help="folder of the notebooks"
    )
    parser.add_argument("--out", type=folder, default=ROOT / "build" / "site", help="folder of the site")
    args = parser.parse_args(argv)
    if args.out.exists() and any(args.out.iterdir()) and not (args.out / ".buildinfo").exists():
        parser.error(
            f"--out: {args.out} holds something other than a site and would be emptied: name another"
        )
    try:
        problems = build(args.notebooks, args.out)
    except FileNotFoundError as error:
        parser.fail(error)
    if problems:
        sys.exit("\n".join(problems))
    print(f"open {args.out / 'index.html'}")


if __name__ == "__main__":
    main()
