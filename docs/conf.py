"""How Sphinx builds the site: `make site` copies docs/, README, figures and chapters to build/pages, and calls it."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tools")]  # docstrings and tools of this copy

import site_figures  # noqa: E402

from sequential_fmnist.data import SequentialFashionMNIST  # noqa: E402
from snn_tutorial.live.network import network_explorer  # noqa: E402
from snn_tutorial.plot.overview import overview  # noqa: E402

project = html_title = "Recurrent connections and stateful synapses"
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["README.md", "docs/index.md", "**/.ipynb_checkpoints"]

autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
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
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_dmath_double_inline = True  # $$ may follow a line of text at once, as in Jupyter
myst_heading_anchors = 3

# MathJax in parts: the combined file holds menus, speech and packages that no formula here needs.
MATHJAX = (
    "startup",
    "core",
    "input/tex-base",
    "output/chtml",
    "output/chtml/fonts/tex",
    "a11y/assistive-mml",
)
TEX = ("ams", "configmacros", "newcommand", "noundefined", "textmacros")
mathjax3_config = {
    "loader": {"load": [*MATHJAX[1:4], MATHJAX[5], *(f"[tex]/{name}" for name in TEX)]},
    "tex": {"packages": {"[+]": list(TEX)}},
}

html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": PROJECT["urls"]["Repository"],
    "repository_branch": "main",
    "use_repository_button": True,
    "navbar_persistent": [],  # the field for searching stands in the side bar already
    "footer_content_items": [],
    "show_toc_level": 2,
    "use_download_button": False,  # the chapters' first lines open them on Binder, Colab or nbviewer
}
html_context = {"default_mode": "auto"}
html_static_path = ["site.css", "slides.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_copy_source = False


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


def chapters(app: Sphinx) -> list[Path]:
    """Return the chapters that the site shows."""
    return sorted((Path(app.srcdir) / "notebooks").glob("[0-9]*.ipynb"))


def write_landing(app: Sphinx) -> None:
    """Write the view with which the site begins, the trained networks and an empty pad to draw on."""
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    page = network_explorer(
        test.images[:PICTURES].reshape(-1, 28, 28).numpy(),
        test.labels[:PICTURES].tolist(),
        test.classes,
        overview(test.images[0].reshape(28, 28).numpy()),
        draws_first=True,
    )
    (Path(app.srcdir) / "landing.html").write_text(page.data)


def say_where_figures_come_from(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill the page of the figures' provenance from the chapters that the site shows."""
    if docname == "docs/figures":
        source[0] = source[0].replace("<!-- chapters -->", site_figures.origins(chapters(app)))


def write_slides(app: Sphinx, error: Exception | None) -> None:
    """Make slides of the chapters' figures."""
    if error is None:
        site_figures.write_slides(
            chapters(app), Path(app.outdir), json.dumps(app.config.mathjax3_config), app.config.mathjax_path
        )


#: Test images that the landing page offers besides the reader's own drawing.
PICTURES = 20

#: An icon of Font Awesome in the theme's script: name, size, other names, code, path.
ICON = re.compile(r'(?:"([\w-]+)"|([\w$]+)):\[\d+,\d+,\[[^\]]*\],"[0-9a-f]*",(?:"[^"]*"|\[[^\]]*\])\],?')


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Remove what no page loads: source maps, most of MathJax, icons that are not shown."""
    if error is not None:
        return
    out = Path(app.outdir)
    static, mathjax = out / "_static", out / "_static" / "mathjax"
    used = {mathjax / f"{name}.js" for name in (*MATHJAX, *(f"input/tex/extensions/{tex}" for tex in TEX))}
    for path in (*static.rglob("*.map"), *mathjax.rglob("*.js*")):
        if path not in used:
            path.unlink()
    for folder in sorted((path for path in mathjax.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    texts = [*out.rglob("*.html"), *static.glob("*.js"), *static.glob("scripts/*theme.js")]
    shown = {name for path in texts for name in re.findall(r"\bfa-([a-z0-9-]+)", path.read_text())}
    # The script draws icons as SVG: the fonts with the same icons are never seen.
    style = static / "styles" / "pydata-sphinx-theme.css"
    style.write_text(re.sub(r"@font-face\{[^}]*?/fa-[^}]*\}", "", style.read_text()))
    shutil.rmtree(static / "vendor" / "fontawesome")
    icons = static / "scripts" / "fontawesome.js"
    icons.write_text(ICON.sub(lambda icon: icon[0] * ((icon[1] or icon[2]) in shown), icons.read_text()))


def setup(app: Sphinx) -> None:
    """Register the hooks."""
    app.config.mathjax_path = f"mathjax/{MATHJAX[0]}.js"
    app.connect("builder-inited", write_landing)
    app.connect("source-read", describe_pictures)
    app.connect("source-read", say_where_figures_come_from)
    app.connect("build-finished", write_slides)
    app.connect("build-finished", lighten, priority=900)
