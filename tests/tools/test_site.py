"""The static site: complete, whole without internet, and built only if every link leads somewhere."""

from __future__ import annotations

import gzip
import importlib
import re
import runpy
import subprocess
import sys
from html import unescape
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from support import ROOT
from support_browser import chromium
from support_live import LiveView, dead_controls, problems_of
from support_notebooks import NOTEBOOKS

pytestmark = pytest.mark.xdist_group("site")

FORMULAS = r"""# 98 Formulas

Show a formula $v[t]$ in a line, and one by itself.

$$h[t] = v[t-1] + \frac{1}{\tau} x[t] \qquad (1)$$

And one that follows a line at once:
$$
s[t] = \frac{1}{2}
$$
as Jupyter allows.
"""
BROKEN = "# 99 Broken\n\n[a chapter](97_missing.ipynb), ![a picture](missing.png), [a place](98_formulas.ipynb#nowhere)"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The folder of a site with all chapters and two pages more, one of which is broken, and what make said."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "notebooks").mkdir()
    for name, text in (("98_formulas", FORMULAS), ("99_broken", BROKEN)):
        nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), folder / "notebooks" / f"{name}.ipynb")
    site = folder / "html"
    argv = ["make", "site", f"--old-file={sys.prefix}/.site", f"VENV={sys.prefix}", f"CHAPTERS={folder}"]
    argv += [f"PAGES={folder / 'pages'}", f"SITE={site}"]
    return site, subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_broken_links_stop_the_build_and_nothing_else_does(build):
    _, done = build
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    for target in ("97_missing.ipynb", "missing.png", "nowhere"):
        assert sum(target in line for line in warnings) == 1, warnings
    assert [line for line in warnings if "99_broken" not in line] == []


def pages(site):
    """Each page, by its path, as text."""
    found = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: unescape(path.read_text()) for path in found}


def test_every_link_and_picture_leads_somewhere_and_nothing_is_loaded_from_elsewhere(build):
    site, _ = build
    found = pages(site)
    assert len(found) > 14
    for path, text in found.items():
        if path.stem == "99_broken":
            continue
        if "_modules" in path.parts:  # source, in which addresses are text
            continue
        assert re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]+"', text) == []
        for target in map(urlsplit, re.findall(r'<[^>]*? (?:src|href)="([^"]+)"', text)):
            if not target.scheme:
                to = (path.parent / unquote(target.path)).resolve() if target.path else path
                assert to.is_file(), target
                assert to not in found or not target.fragment or f'id="{target.fragment}"' in found[to], (
                    target
                )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapter_has_its_page_with_all_pictures_and_their_descriptions(build, path):
    site, _ = build
    page = unescape((site / "notebooks" / f"{path.stem}.html").read_text())
    assert f'href="notebooks/{path.stem}.html"' in (site / "index.html").read_text()
    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    kinds = {"image/png", "image/gif"}
    pictures = [output for output in outputs if kinds & output.get("data", {}).keys()]
    assert pictures
    assert len(re.findall(r'<img [^>]*src="\.\./_images/', page)) == 2 * len(pictures)  # light and dark
    for picture in pictures:
        (kind,) = kinds & picture.data.keys()
        assert f'alt="{picture.metadata[kind]["alt"]}"' in page
    assert "google.colab" not in page


def test_formulas_are_drawn_without_internet(build):
    with chromium() as browser:
        page = browser.new_page()
        failed = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.goto((build[0] / "notebooks" / "98_formulas.html").as_uri())
        page.locator("mjx-container[display='true'] mjx-mfrac").nth(1).wait_for()
        assert page.locator("mjx-container").count() == 3
        assert "$" not in page.locator("article").inner_text()
        assert page.locator("mjx-merror").count() == 0
        assert failed == []


def test_reference_holds_every_public_name_with_shapes_equations_and_sources(build):
    site, _ = build
    for module in (
        "neuron",
        "layer",
        "surrogate",
        "functional",
        "cells",
        "state",
    ):
        page = unescape((site / "docs" / "api" / f"snn_core.{module}.html").read_text())
        public = getattr(importlib.import_module(f"snn_core.{module}"), "__all__", [])
        assert [name for name in public if f'id="snn_core.{module}.{name}"' not in page] == []
        assert "viewcode-link" in page
    neurons = unescape((site / "docs" / "api" / "snn_core.neuron.html").read_text())
    assert "[T, N, *]" in re.sub("<[^>]+>", "", neurons)
    assert r"\tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest}))" in neurons
    assert 'href="https://arxiv.org/abs/2007.05785"' in neurons


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapter_has_slides_of_every_figure(build, path):
    site, _ = build
    tools = runpy.run_path(str(ROOT / "tools" / "site_figures.py"))
    figures = list(tools["figures"](nbformat.read(path, as_version=4)))
    slides = (site / "slides" / f"{path.stem}.html").read_text()
    assert slides.count("<section") == len(figures) + 2
    assert f'href="{path.stem}.html"' in (site / "slides" / "index.html").read_text()
    for figure in figures:
        assert f"../_images/{figure.file}" in slides


def test_maintainers_know_what_writes_every_file_of_results():
    page = (ROOT / "docs" / "maintaining.md").read_text()
    for path in (ROOT / "results").iterdir():
        assert f"`{path.name}`" in page or re.fullmatch(r"chapter_\d\d\.json", path.name), path


#: Most that the site, and what a page adds to it, and what a browser fetches for a page at first, may weigh, in bytes.
#: One page holds images to train with.
SITE, PAGE, TRAINING_PAGE = 15e6, 1.5e6, 2.5e6


def transferred(path):
    """Bytes that a server sends for a file: it compresses text, but not pictures and fonts."""
    data = path.read_bytes()
    return len(data if path.suffix in (".png", ".gif", ".woff", ".woff2") else gzip.compress(data, 6))


def test_site_and_pages_are_light(build):
    site, _ = build
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= SITE
    fonts = sum(transferred(path) for path in (site / "_static" / "mathjax").rglob("*.woff"))
    scripts = sum(transferred(path) for path in (site / "_static" / "mathjax").rglob("*.js"))
    for path, text in pages(site).items():
        loaded = re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="([^":?#]+)', text)
        files = {(path.parent / unquote(name)).resolve() for name in loaded}
        files = {file for file in files if file.is_file() and file.suffix != ".html"}
        files = {file for file in files if not file.stem.endswith("-dark")}  # as large as what it replaces
        pictures = [file for file in files if file.parent.name == "_images"]
        most = TRAINING_PAGE if path.stem == "05_training_curves" else PAGE
        assert path.stat().st_size + sum(file.stat().st_size for file in pictures) <= most, path
        # MathJax loads its other parts and some of its fonts itself; all are counted here.
        assert transferred(path) + sum(map(transferred, files)) + fonts + scripts <= most, path


#: What is wider than the screen and in no frame that scrolls.
LOST = """() => [...document.querySelectorAll('article *, section *')].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1 || element.closest('mjx-assistive-mml')) return false;
    for (let above = element; above; above = above.parentElement) {
        if (['auto', 'scroll'].includes(getComputedStyle(above).overflowX)) return false;
    }
    return true;
}).map(element => element.tagName + ' ' + element.textContent.slice(0, 60))"""
#: Boxes with a light ground in dark mode, and pictures that are not drawn for it.
LIGHT = """() => [...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const [r, g, b, a = 1] = (style.backgroundColor.match(/[0-9.]+/g) || [0, 0, 0, 0]).map(Number);
    const is_light = a > 0.5 && Math.min(r, g, b) > 200 && box.width > 20 && box.height > 10;
    const is_picture = element.tagName == 'IMG' && element.closest('article, section') && box.width > 0;
    return style.visibility != 'hidden' && (is_light || is_picture && !element.classList.contains('only-dark'));
}).map(element => element.tagName + ' ' + element.className)"""
#: Views whose text is dark in dark mode.
DIM = """() => [...document.querySelectorAll('figure.snn-live')].filter(
    figure => Math.max(...getComputedStyle(figure).color.match(/[0-9.]+/g).slice(0, 3).map(Number)) < 150
).map(figure => figure.dataset.view)"""
SHOWN = (
    "index",
    "notebooks/02_",
    "notebooks/04_",
    "notebooks/07_",
    "docs/api/snn_core.neuron",
    "docs/teaching",
    "slides/04_",
)


def test_nothing_leaves_a_small_screen_and_no_box_is_white_in_dark_mode(build):
    site, _ = build
    shown = [path for path in pages(site) if str(path.relative_to(site)).startswith(SHOWN)]
    assert len(shown) == len(SHOWN)
    with chromium() as browser:
        view = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
        for path in shown:
            page = view.new_page()
            page.goto(path.as_uri())
            if page.locator(".math").count():
                page.locator("mjx-container").first.wait_for(state="attached")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate(LOST) == [], path
            assert page.evaluate(LIGHT) == [], path
            assert page.evaluate(DIM) == [], path
            page.close()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_control_of_a_chapter_works_on_its_page(build, path):
    site, _ = build
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems = problems_of(page)
        page.goto((site / "notebooks" / f"{path.stem}.html").as_uri())
        views = page.locator("figure.snn-live")
        assert views.count() == page.locator("figure.snn-live[data-live]").count()
        for number in range(views.count()):
            assert dead_controls(LiveView(page, problems, number)) == []
        assert problems == []


def test_visitor_draws_a_shoe_and_the_network_reads_it(build):
    site, _ = build
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems = problems_of(page)
        page.goto((site / "index.html").as_uri())
        view = LiveView(page, problems)
        page.wait_for_function(
            "() => document.querySelector('.snn-said').value.startsWith('After 28 columns')"
        )
        assert view.said().endswith("answers: Ankle boot, which is right.")
        box = view.figure.locator("canvas.snn-pad").bounding_box()
        # A flat sneaker that looks to the left.
        sole, upper = [(3, 19), (25, 19)], [(3, 18), (10, 16), (17, 13), (25, 12)]
        for stroke in [sole, upper, [(10, 17), (25, 16)], [(17, 14), (25, 14)]]:
            for k, (x, y) in enumerate(stroke):
                page.mouse.move(box["x"] + x / 28 * box["width"], box["y"] + y / 28 * box["height"], steps=12)
                if k == 0:
                    page.mouse.down()
            page.mouse.up()
        page.wait_for_function(
            "() => document.querySelector('.snn-said').value.startsWith('After 28 columns')"
        )
        assert view.said().endswith("answers: Sneaker.")
        page.get_by_role("link", name="How does it remember?").click()
        assert page.url.endswith("notebooks/01_spiking_neurons.html")
        assert problems == []
