"""The static site: complete, whole without internet, and built only if every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from support import ROOT
from support_browser import chromium
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
    return {path: unescape(path.read_text()) for path in (site / "index.html", *site.glob("[dn]*/*.html"))}


def test_every_link_and_picture_leads_somewhere_and_nothing_is_loaded_from_elsewhere(build):
    site, _ = build
    found = pages(site)
    assert len(found) > 14
    for path, text in found.items():
        if path.stem == "99_broken":
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
    assert len(re.findall(r'<img [^>]*src="\.\./_images/', page)) == len(pictures)
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
