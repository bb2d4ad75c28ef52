"""How Sphinx builds the site: `make site` copies docs/, README, figures and chapters to build/pages, and calls it."""

import inspect
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import sphinx_revealjs
from docutils import nodes
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tools"), str(HERE)]  # docstrings and tools of this copy

import finish  # noqa: E402
import pages  # noqa: E402
import slides  # noqa: E402

project = html_title = "Recurrent connections and stateful synapses"
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["docs/index.md", "docs/_templates", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "no-value": True,
    "exclude-members": "extra_repr, part, reset_parameters",
}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes stand in the class's own text
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the tables that cells return, too
myst_enable_extensions = ["amsmath", "dollarmath", "strikethrough"]
suppress_warnings = ["myst.strikethrough"]  # it works in HTML only, which is all that is built
myst_dmath_double_inline = True  # $$ may follow a line of text at once, as in Jupyter
myst_heading_anchors = 3

mathjax3_config = {
    "loader": {"load": [*finish.MATHJAX[:-1], "[tex]/ams"]},
    "tex": {"packages": {"[+]": ["ams"]}},
}

html_theme = "sphinx_book_theme"
html_baseurl = PROJECT["urls"]["Documentation"]
html_theme_options = {
    "repository_url": PROJECT["urls"]["Repository"],
    "repository_branch": "main",
    "use_repository_button": True,
    "use_issues_button": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "navbar_persistent": [],  # the field for searching stands in the side bar already
    "footer_content_items": [],
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "use_download_button": False,
}
html_context = {
    "default_mode": "auto",
    "html_baseurl": html_baseurl,
    "mathjax": json.dumps(mathjax3_config),
}  # the latter for slides
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs" / "dist"
SLIDES = (REVEAL / "reveal.js", REVEAL / "reveal.css", REVEAL / "theme" / "serif.css")
html_static_path = ["site.css", "site.js", "slides.css", "vendor/gifenc.js", "favicon.svg", *map(str, SLIDES)]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "favicon.svg"
html_css_files = ["site.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False
html_use_index = html_domain_indices = False


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return where the repository has the source of what a docstring describes, for ``sphinx.ext.linkcode``."""
    found: Any = sys.modules[info["module"]]
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    found = inspect.unwrap(getattr(found, "fget", found))
    try:
        path, line = inspect.getsourcefile(found), inspect.getsourcelines(found)[1]
    except TypeError:  # a value
        return None
    if not Path(path).is_relative_to(HERE.parent):  # a type of Python's own
        return None
    return f"{PROJECT['urls']['Repository']}/blob/main/{Path(path).relative_to(HERE.parent)}#L{line}"


def leave_out_badges(app: Sphinx, doctree: nodes.document) -> None:
    """Remove pictures of other hosts, with their links: the theme's buttons lead to Colab and Binder."""
    for image in list(doctree.findall(nodes.image)):
        if "://" in image["uri"]:
            image.parent.parent.remove(image.parent)


def setup(app: Sphinx) -> None:
    """Register the hooks."""
    app.config.mathjax_path = "mathjax/startup.js"
    app.connect("builder-inited", pages.write_views)
    app.connect("source-read", pages.adapt)
    app.connect("doctree-read", leave_out_badges, priority=100)  # before Sphinx collects pictures
    app.connect("html-collect-pages", slides.pages)
    app.connect("build-finished", pages.write_files)
    app.connect("build-finished", finish.finish, priority=900)
