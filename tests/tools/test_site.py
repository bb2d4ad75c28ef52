"""The static site: complete, whole without internet, and built only if every link leads somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape

import nbformat
import pytest
from build_site import broken_links, first_page
from frame_notebooks import repository
from nbformat.v4 import new_markdown_cell, new_notebook
from support import ROOT
from support_browser import chromium
from support_notebooks import NOTEBOOKS

pytestmark = pytest.mark.xdist_group("site")

FORMULAS = r"""# 98 Formulas

**Goal.** Show a formula $v[t]$ in a line, and one by itself.

$$h[t] = v[t-1] + \frac{1}{\tau} x[t] \qquad (1)$$

And one that follows a line at once:
$$
s[t] = \frac{1}{2}
$$
as Jupyter allows.
"""
BROKEN = """# 99 Broken

**Goal.** Lead nowhere.

[a chapter](97_missing.ipynb), <a href="98_also_missing.html">raw</a>, ![a picture](missing.png)

<img src="raw_missing.png">
"""


def build(folder, text):
    """Build the site of all chapters and one more with the text given."""
    (folder / "notebooks").mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, folder / "notebooks")
    name = f"{text[2:4]}_{text.split()[2].lower()}.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), folder / "notebooks" / name)
    argv = [sys.executable, "tools/build_site.py", "--notebooks", str(folder / "notebooks")]
    argv += ["--out", str(folder / "site")]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, FORMULAS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "site"


def pages(site):
    return [site / "index.html", *sorted((site / "notebooks").glob("*.html"))]


def test_every_link_and_picture_leads_somewhere(site):
    assert broken_links(site) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapter_has_its_page_with_all_pictures_and_their_descriptions(site, path):
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


def test_first_page_takes_its_parts_from_the_readme(site):
    page = (site / "index.html").read_text()
    for heading in ("What you will learn", "Chapters", "What comes out", "98 Formulas"):
        assert heading in page
    assert "Two commands" not in page


def test_links_to_what_the_site_lacks_lead_to_the_repository():
    readme = "# T\n\n[licence](LICENSE) [figure](figures/a.png) [out](https://example.org)\n\n" + "".join(
        f"## {name}\n\ntext of {name}\n\n"
        for name in ("What you will learn", "Other", "Chapters", "What comes out")
    )
    text = first_page(readme, [])
    assert f"[licence]({repository()}/blob/main/LICENSE)" in text
    assert "[figure](figures/a.png) [out](https://example.org)" in text
    assert "text of What comes out" in text
    assert "text of Other" not in text


def test_nothing_but_badges_comes_from_elsewhere(site):
    for page in pages(site):
        loaded = re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert all("badge" in address.lower() for address in loaded), loaded


def test_formulas_are_drawn_without_internet(site):
    with chromium() as browser:
        page = browser.new_page()
        failed = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.goto((site / "notebooks" / "98_formulas.html").as_uri())
        page.locator("mjx-container[display='true'] mjx-mfrac").nth(1).wait_for()
        assert page.locator("mjx-container").count() == 3
        assert "$" not in page.locator("article").inner_text()
        assert page.locator("mjx-merror").count() == 0
        assert failed == []


def test_broken_links_stop_the_build(tmp_path):
    done = build(tmp_path, BROKEN)
    assert done.returncode == 1
    for target in ("97_missing.ipynb", "98_also_missing.html", "missing.png", "raw_missing.png"):
        assert target in done.stderr


def test_links_by_hand(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"></a><a href="#nowhere"></a><a href="sub/b.html#x%20y"></a>'
        '<a href="https://example.org/none"></a><a href="sub"></a><script src="c.js?v=1"></script>'
    )
    (tmp_path / "sub" / "b.html").write_text('<p id="x y"><img src="../a.png"><a href="../a.html#gone"></a>')
    assert broken_links(tmp_path) == [
        "a.html: #nowhere",
        "a.html: sub",
        "a.html: c.js?v=1",
        "sub/b.html: ../a.png",
        "sub/b.html: ../a.html#gone",
    ]


def test_folder_without_notebooks_is_refused(tmp_path):
    argv = [
        sys.executable,
        "tools/build_site.py",
        "--notebooks",
        str(tmp_path),
        "--out",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no notebook in" in done.stderr
