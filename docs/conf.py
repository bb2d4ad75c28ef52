"""How Sphinx builds the site: `make site` copies docs/, README, figures and chapters to build/pages, and calls it."""

import inspect
import json
import os
import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import sphinx_revealjs
from docutils import nodes
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tools"), str(HERE)]  # docstrings and tools of this copy

import dark_figures  # noqa: E402
import pages  # noqa: E402
import slides  # noqa: E402

from snn_tutorial.live.javascript import PRELUDE  # noqa: E402

project = html_title = "Recurrent connections and stateful synapses"
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
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

# MathJax in parts: the combined file holds menus, speech and packages that no formula here needs.
MATHJAX = ("core", "input/tex-base", "output/chtml", "a11y/assistive-mml")
TEX = ("ams", "configmacros", "newcommand", "noundefined", "textmacros")
mathjax3_config = {
    "loader": {"load": [*MATHJAX, *(f"[tex]/{name}" for name in TEX)]},
    "tex": {"packages": {"[+]": list(TEX)}},
}

html_theme = "sphinx_book_theme"
html_baseurl = PROJECT["urls"]["Documentation"]
html_theme_options = {
    "repository_url": PROJECT["urls"]["Repository"],
    "repository_branch": "main",
    "use_repository_button": True,
    "use_edit_page_button": True,
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


def leave_out_badges(app: Sphinx, doctree: nodes.document) -> None:
    """Remove pictures of other hosts, with their links: the theme's buttons lead to Colab and Binder."""
    for image in list(doctree.findall(nodes.image)):
        if "://" in image["uri"]:
            image.parent.parent.remove(image.parent)


def edit_what_is_there(
    app: Sphinx, name: str, _template: str, context: dict[str, Any], _doctree: Any
) -> None:
    """Suggest edits of those pages only that are files of the repository."""
    if not (HERE.parent / f"{name}{context.get('page_source_suffix')}").is_file():
        context["page_source_suffix"] = ""


def darken(app: Sphinx, error: Exception | None) -> None:
    """Put the figures' variants for light and dark pages in their place."""
    if error is None:
        for path in sorted(Path(app.outdir).rglob("*.html")):
            dark_figures.add_variants(path)


#: In a view's script a module of snn_tutorial/live/js, as ``bundle`` writes it.
MODULE = re.compile(r"const \$\w+ = \(\(\) => \{\n.*?return \{ [\w, ]* \};\n\}\)\(\);\n", re.DOTALL)
VIEW = re.compile(r"(<style>\n?\.snn-live.*?</style>\s*)<script>\(\(\) => \{.*?</script>", re.DOTALL)


def _without(view: re.Match[str], modules: set[str], style: str) -> str:
    """Return a view without these modules and this style sheet."""
    return MODULE.sub(lambda found: "" if found[0] in modules else found[0], view[0]).removeprefix(style)


def share_scripts(app: Sphinx, error: Exception | None) -> None:
    """Let all views share their style sheet and the modules of their scripts, which each notebook brings along."""
    if error is not None:
        return
    modules: dict[str, str] = {}
    static, style = Path(app.outdir) / "_static", ""
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text()
        views = list(VIEW.finditer(text))
        for view in views:
            for one in MODULE.findall(view[0]):
                modules.setdefault(one.partition(" = ")[0], one)
        if not views:
            continue
        style = style or views[0][1]
        place = os.path.relpath(static, path.parent)
        shared = f'<link rel="stylesheet" href="{place}/views.css"><script src="{place}/views.js"></script>'
        at = views[0].start()
        own = partial(_without, modules=set(modules.values()), style=style)
        path.write_text(text[:at] + shared + VIEW.sub(own, text[at:]))
    (static / "views.css").write_text(re.sub(r"</?style>", "", style))
    # In a notebook these functions stand beside the modules of each view.
    used = "const $operations"
    modules[used] = modules[used].replace("{\n", f"{{\n{PRELUDE}", 1)
    (static / "views.js").write_text("".join(modules.values()))


#: What the theme and MathJax bring and no page loads.
UNUSED = (
    "**/*.map",
    "*webpack-macros.html",
    "locales/**/*.*",
    "images/logo_[djw]*",
    "scripts/fontawesome.js",
    "vendor/fontawesome/webfonts/fa-regular-*",
    "mathjax/output/chtml/fonts/woff-v2/MathJax_Main-Italic*",
    *(
        f"mathjax/output/chtml/fonts/woff-v2/MathJax_{name}*"
        for name in ("AMS", "Calligraphic", "Fraktur", "*Bold", "SansSerif", "Script", "Typewriter", "Vector")
    ),
)


def leave_out_unused(app: Sphinx, error: Exception | None) -> None:
    """Remove :data:`UNUSED`, and most of the 24 MB of MathJax's scripts."""
    if error is not None:
        return
    static = Path(app.outdir) / "_static"
    scripts = ("startup", "output/chtml/fonts/tex", *MATHJAX, *(f"input/tex/extensions/{tex}" for tex in TEX))
    used = {static / "mathjax" / f"{name}.js" for name in scripts}
    for path in {found for name in (*UNUSED, "mathjax/**/*.js*") for found in static.glob(name)} - used:
        path.unlink()


def trim_styles(app: Sphinx, error: Exception | None) -> None:
    """Leave out of the theme's style sheet, 370 kB, the rules for classes that no page and no script has."""
    if error is not None:
        return
    texts = (path.read_text() for kind in ("html", "js") for path in Path(app.outdir).rglob(f"*.{kind}"))
    words = {word for text in texts for word in re.findall(r"[\w-]+", text)}

    def kept(rule: re.Match[str]) -> str:
        classes = [re.findall(r"\.([\w-]+)", selector) for selector in rule[1].split(",")]
        return rule[0] if "@" in rule[1] or any(map(words.issuperset, classes)) else ""

    sheet = Path(app.outdir) / "_static" / "styles" / "pydata-sphinx-theme.css"
    sheet.write_text(re.sub(r"([^{}]+)\{[^{}]*\}", kept, sheet.read_text()))


def setup(app: Sphinx) -> None:
    """Register the hooks."""
    app.config.mathjax_path = "mathjax/startup.js"
    pages.setup(app)
    app.connect("source-read", describe_pictures)
    app.connect("doctree-read", leave_out_badges, priority=100)  # before Sphinx collects pictures
    app.connect("html-page-context", edit_what_is_there, priority=100)
    app.connect("html-collect-pages", slides.pages)
    app.connect("build-finished", darken, priority=800)
    app.connect("build-finished", share_scripts, priority=810)
    app.connect("build-finished", leave_out_unused, priority=900)
    app.connect("build-finished", trim_styles, priority=910)
