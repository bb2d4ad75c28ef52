"""How Sphinx builds the site: `make site` copies docs/, README, figures and chapters to build/pages, and calls it."""

import json
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

project = html_title = "Recurrent connections and stateful synapses"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx-mathjax-offline"]
exclude_patterns = ["README.md", "docs/index.md", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the tables that cells return, too
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_dmath_double_inline = True  # $$ may follow a line of text at once, as in Jupyter
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": PROJECT["urls"]["Repository"],
    "repository_branch": "main",
    "use_repository_button": True,
    "navbar_persistent": [],  # the field for searching stands in the side bar already
    "footer_content_items": [],
    "show_toc_level": 2,
}
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_use_index = False


def describe_pictures(app: Sphinx, docname: str, source: list[str]) -> None:
    """Hand a picture's description from the output, where IPython keeps it, to the cell, where MyST-NB looks for it."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for about in output.get("metadata", {}).values():
                if "alt" in about:
                    cell["metadata"]["mystnb"] = {"image": {"alt": about["alt"]}}
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> None:
    """Register the hook."""
    app.connect("source-read", describe_pictures)
