"""The static site in Chromium: complete, whole without internet, readable on a small screen and in the dark."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from support import ROOT
from support_browser import chromium
from support_live import LiveView, dead_controls, problems_of
from support_notebooks import BUILT, NOTEBOOKS

pytestmark = pytest.mark.xdist_group("site")

#: Most that the site, and a page with its pictures, may weigh, in bytes.
SITE, PAGE = 8e6, 1.2e6


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the site; a warning of Sphinx, as of a broken link, is an error."""
    if BUILT:
        return Path(BUILT).resolve() / "site"
    folder = tmp_path_factory.mktemp("site")
    argv = ["make", "site", f"--old-file={sys.prefix}/.site", f"VENV={sys.prefix}"]
    argv += [f"PAGES={folder / 'pages'}", f"SITE={folder / 'html'}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def test_all_that_guides_import_is_in_the_api_reference(site):
    inventory = subprocess.run(
        [sys.executable, "-m", "sphinx.ext.intersphinx", site / "objects.inv"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    documented = set(re.findall(r"^    ([\w.]+) ", inventory, re.MULTILINE))
    imported = set()
    for page in (ROOT / "docs" / "howto").glob("*.md"):
        for module, names in re.findall(
            r"^from ((?:snn|sequential)\w+(?:\.\w+)*) import (.+)$", page.read_text(), re.M
        ):
            imported |= {f"{module}.{name}" for name in names.split(", ")}
    assert len(imported) > 20
    assert sorted(imported - documented) == []


def test_links_of_pages_lead_somewhere(site):
    """Sphinx checks those in Markdown, not those in HTML."""
    dead = []
    for page in (path for path in site.rglob("*.html") if path.parent.name != "_static"):
        links = set(re.findall(r'<(?:a [^>]*href|source [^>]*srcset)="([^":#?]+)["#?]', page.read_text()))
        dead += [(page.name, link) for link in links if not (page.parent / link).exists()]
    assert dead == []


def test_site_and_pages_are_light(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= SITE
    pictures = {path.name: path.stat().st_size for path in (site / "_images").iterdir()}
    for page in site.rglob("*.html"):
        text = page.read_text()
        weight = len(text.encode()) + sum(size for name, size in pictures.items() if name in text)
        assert weight <= PAGE, page


#: Pictures that a reader does not see, or that nothing describes.
BAD_PICTURES = """async () => {
    const pictures = [...document.querySelectorAll('article img, section img')];
    pictures.forEach(picture => picture.loading = 'eager');
    await Promise.all(pictures.map(picture => picture.decode().catch(() => {})));
    // Where nothing describes a picture, Sphinx puts the file's name.
    const isDescribed = picture => picture.alt && !/\\.(png|gif)$/.test(picture.alt);
    const bad = pictures.filter(picture => !isDescribed(picture) || !picture.naturalWidth);
    return bad.map(picture => picture.src.slice(0, 80));
}"""


#: Tables that are wider than their column, even if they scroll there.
WIDE = """() => [...document.querySelectorAll('article table')].filter(table => {
    const column = table.closest('.pst-scrollable-table-container, .cell_output, section');
    return table.getBoundingClientRect().right > column.getBoundingClientRect().right + 1
        || column.scrollWidth > column.clientWidth + 1;
}).map(table => table.textContent.trim().slice(0, 60))"""
#: Slides that run past the bottom, and how many there are with a figure.
PAST = """() => [...document.querySelectorAll('.slides > section')].filter((section, k) => {
    Reveal.slide(k);
    return section.getBoundingClientRect().bottom > innerHeight + 1;
}).map(section => section.textContent.slice(0, 60))"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapter_and_its_slides_show_every_picture_and_formula_and_every_control_works(site, browser, path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = problems_of(page)

    def failed(request):
        # A page that is left ends the workers that it has just started.
        if request.failure != "net::ERR_ABORTED":
            problems.append(f"{request.url}: {request.failure}")

    page.on("requestfailed", failed)
    for folder in ("notebooks", "slides"):
        page.goto((site / folder / f"{path.stem}.html").as_uri())
        assert page.evaluate(BAD_PICTURES) == []
        if page.locator(".math").count():
            page.locator("mjx-container").first.wait_for(state="attached")
        assert page.locator("mjx-merror").count() == 0
        if folder == "notebooks":
            figures = page.locator("article img[src*='_images/']").count()
        else:
            assert page.locator("section figure").count() == figures > 0
            assert page.evaluate(PAST) == []
        views = page.locator("figure.snn-live")
        assert views.count() == page.locator("figure.snn-live[data-live]").count()
        for number in range(views.count() if folder == "notebooks" else 0):
            assert dead_controls(LiveView(page, problems, number)) == []
    assert problems == []
    page.close()


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
    // Drawings are white on black, as networks see them.
    const is_picture = element.tagName == 'IMG' && element.closest('article, section') && box.width > 0
        && !element.closest('.snn-drawings');
    return style.visibility != 'hidden' && (is_light || is_picture && !style.filter.includes('invert'));
}).map(element => element.tagName + ' ' + element.className)"""
#: Views whose text is dark in dark mode.
DIM = """() => [...document.querySelectorAll('figure.snn-live')].filter(
    figure => Math.max(...getComputedStyle(figure).color.match(/[0-9.]+/g).slice(0, 3).map(Number)) < 150
).map(figure => figure.dataset.view)"""


def test_no_table_is_wider_than_its_column_and_nothing_leaves_a_small_screen_or_is_white_in_the_dark(
    site, browser
):
    page = browser.new_page(color_scheme="dark")
    bad = {}
    for path in sorted(site.glob("**/*.html")):
        name = str(path.relative_to(site))
        if name.startswith("_static"):
            continue
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(path.as_uri())
        if page.locator(".math").count():
            page.locator("mjx-container").first.wait_for(state="attached")
        for width, height, scripts in ((1280, 900, [WIDE]), (390, 844, [WIDE, LOST, LIGHT, DIM])):
            page.set_viewport_size({"width": width, "height": height})
            if name.startswith("slides"):  # they move when they get another size
                page.reload()
            found = [one for script in scripts for one in page.evaluate(script)]
            if page.evaluate("document.documentElement.scrollWidth") > width or found:
                bad[name, width] = found
    assert bad == {}
    page.close()


def boxes(page, *selectors):
    """Return where elements are on the screen."""
    return [page.locator(selector).first.bounding_box() for selector in selectors]


@pytest.mark.parametrize(("width", "height", "side"), [(1280, 800, 320), (390, 844, 184)])
def test_pad_blanks_feedback_and_answers_are_in_sight_together(site, browser, width, height, side):
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.goto((site / "index.html").as_uri())
    page.wait_for_function("/knew it|^After 28 columns/.test(document.querySelector('.snn-said').value)")
    controls = [f"[aria-label='{label}']" for label in ("blank columns", "feedback")]
    answers = [f".snn-cards > :nth-child({k}) .snn-second" for k in (1, 2, 3)]
    pad, *others = boxes(page, "canvas.snn-pad", *controls, *answers)
    assert pad["width"] == pad["height"] == side
    for box in (pad, *others):
        assert box["x"] >= 0 and box["y"] >= 0
        assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
    page.close()


def test_visitor_draws_a_bag_shares_it_and_goes_on(site, browser, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    problems = problems_of(page)
    page.goto((site / "index.html").as_uri())
    view, ended = (
        LiveView(page, problems),
        "/knew it|^After 28 columns/.test(document.querySelector('.snn-said').value)",
    )
    page.wait_for_function(ended)
    answers = view.figure.locator(".snn-answer").all_inner_texts()
    assert answers[1] == view.control("picture").input_value().partition(": ")[2]
    assert len(set(answers)) > 1
    view.set("blank columns", 0)
    box = view.figure.locator("canvas.snn-pad").bounding_box()
    body, handle = [(4, 12), (24, 12), (24, 25), (4, 25), (4, 12)], [(9, 12), (11, 5), (17, 5), (19, 12)]
    for stroke in [body, handle]:
        for k, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x / 28 * box["width"], box["y"] + y / 28 * box["height"], steps=12)
            if k == 0:
                page.mouse.down()
        page.mouse.up()
    page.wait_for_function(ended)
    said = view.figure.locator(".snn-answer").all_inner_texts()
    assert said[1] == "Bag"
    with page.expect_download() as download:
        page.get_by_role("button", name="save as GIF").click()
    download.value.save_as(tmp_path / "saved.gif")
    with PIL.Image.open(tmp_path / "saved.gif") as saved:
        assert saved.n_frames == 43
    shared = page.url
    page.close()
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(shared)
    page.wait_for_function(ended)
    view = LiveView(page, problems)
    assert view.figure.locator(".snn-answer").all_inner_texts() == said
    assert view.control("blank columns").input_value() == "0"
    page.get_by_role("link", name="Begin with one neuron").click()
    assert page.url.endswith("notebooks/01_spiking_neurons.html")
    assert problems == []
    page.close()


def test_address_that_nobody_wrote_is_ignored(site, browser):
    page = browser.new_page(reduced_motion="reduce")
    problems = problems_of(page)
    view, ended = (
        LiveView(page, problems),
        "/knew it|^After 28 columns/.test(document.querySelector('.snn-said').value)",
    )
    page.goto((site / "index.html").as_uri())
    page.wait_for_function(ended)
    first = view.control("picture").input_value()
    page.goto("about:blank")
    page.goto((site / "index.html").as_uri() + "#drawing=*&picture=77&blank=x&feedback=1&tau=-3&nothing=0")
    page.wait_for_function(ended)
    assert view.control("picture").input_value() == first
    assert view.control("blank columns").input_value() == "56"
    assert problems == []
    page.close()


def test_laboratory_opens_a_story_from_its_address_and_fetches_its_images_from_the_folder(site, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    problems = problems_of(page)
    page.goto((site / "docs" / "laboratory.html").as_uri() + "#story=1")
    assert page.get_by_role("button", name="Cure it: limit the norm").get_attribute("aria-pressed") == "true"
    train, chart = boxes(page, "button:text('Train')", "figure.snn-live canvas")
    assert train["y"] > 0 and chart["y"] + chart["height"] <= 800
    assert not page.evaluate("globalThis.snnImages")
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(
        "document.querySelector('figure').view.numbers().runs.some(run => run.history.length)"
    )
    assert problems == []
    page.close()


def test_chapters_on_the_site_say_nothing_that_needs_a_kernel(site):
    for page in (site / "notebooks").glob("*.html"):
        # A field for an answer works in the page.
        text = re.sub(r"<(script|figure)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"no answer yet| at 0x[0-9a-f]{6}", text), page


def test_pages_say_what_they_are_where_they_are_shared(site):
    for page in site.glob("**/*.html"):
        if page.parent.name != "slides":
            text = page.read_text()
            assert '<meta name="description"' in text and "og:image" in text and "favicon.svg" in text, page
    with PIL.Image.open(site / "_static" / "card.png") as card:
        assert card.size == (1200, 630)
