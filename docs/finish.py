"""What is done to the pages once Sphinx has written them, so that the site is small and its views start soon."""

from __future__ import annotations

import base64
import io
import logging
import re
from hashlib import sha256
from pathlib import Path

import PIL.Image
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

#: A module of snn_tutorial/live/js and the style sheet, as each view of a notebook brings them along.
MODULE = re.compile(r"const (\$\w+) = \(\(\) => \{\n.*?return \{ [\w, ]* \};\n\}\)\(\);\n", re.DOTALL)
STYLE = re.compile(r"<style>\n?(\.snn-live.*?)</style>\s*", re.DOTALL)
#: Figures of answers are within their page. Smaller pictures stay there.
WITHIN = re.compile(r'(?<=src=")data:image/png;base64,([\w+/=]{5000,})')
#: Between a number and its unit.
UNITS = re.compile(r"(?<=\d) (?=%)|(?<=\d) (?=of \d)|(?<=\d of) (?=\d)")
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
#: Spans of code that look like the code around them: half a megabyte.
PLAIN = re.compile(r'<span class="(?:pre|[npw])">([^<]*)</span>')
#: Indentation of the theme's templates.
INDENT = re.compile(r"(<(pre|script|textarea)\b.*?</\2>)|\n\s+", re.DOTALL)

#: MathJax in parts: the combined file holds menus, speech and packages that no formula here needs.
MATHJAX = ("core", "input/tex-base", "output/chtml", "a11y/assistive-mml", "input/tex/extensions/ams")
FONTS = (
    "AMS",
    "Calligraphic",
    "Fraktur",
    "*Bold",
    "SansSerif",
    "Script",
    "Typewriter",
    "Vector",
    "Main-Italic",
)
#: What the theme and MathJax bring and no page loads.
UNUSED = (
    "**/*.map",
    "*webpack-macros.html",
    "locales/**/*.*",
    "images/logo_[djw]*",
    "scripts/fontawesome.js",
    "vendor/fontawesome/webfonts/fa-[brv]*",
    *(f"mathjax/output/chtml/fonts/woff-v2/MathJax_{name}*" for name in FONTS),
)


def write_picture(content: bytes, folder: Path) -> str:
    """Write a picture once, without loss and small, and return its file's name; of an animation the last frame, too."""
    name = sha256(content).hexdigest()[:16]
    with PIL.Image.open(io.BytesIO(content)) as image:
        if image.format == "GIF":
            (folder / f"{name}.gif").write_bytes(content)
            image.seek(image.n_frames - 1)
            image.save(folder / f"{name}-still.webp", lossless=True)
            return f"{name}.gif"
        image.save(folder / f"{name}.webp", lossless=True, quality=100)
    return f"{name}.webp"


def stacked(table: re.Match[str]) -> str:
    """Return a table whose cells stand below each other on a small screen, each with the name of its column."""
    heads = re.findall(r"<th\b.*?</th>", table[0], re.DOTALL)
    names = [re.sub(r"<[^>]*>", "", head).strip().replace('"', "&quot;") for head in heads]
    if len(names) < 5:
        return table[0]

    def labelled(row: re.Match[str]) -> str:
        unused = iter(names)
        return re.sub("<td", lambda _cell: f'<td data-label="{next(unused, "")}"', row[0])

    rows = re.sub(r"<tr\b.*?</tr>", labelled, table[0], flags=re.DOTALL)
    return rows.replace("<table", '<table data-stacks=""', 1)


def finish(app: Sphinx, error: Exception | None) -> None:
    """Make pictures small, let views share their scripts, and leave out what no page needs."""
    if error is not None:
        return
    site = Path(app.outdir)
    static, images = site / "_static", site / "_images"
    names = {}
    for path in [*images.iterdir()]:
        names[path.name] = write_picture(path.read_bytes(), images)
        path.unlink()
    modules: dict[str, str] = {}
    styles: list[str] = []

    def picture_file(found: re.Match[str]) -> str:
        content = base64.b64decode(found[1])
        file = f"{sha256(content).hexdigest()}.png"  # as slides name it
        names[file] = write_picture(content, images)
        return f"{place}_images/{file}"

    def own(found: re.Match[str]) -> str:
        """Return nothing for a module that is shared; a chapter of an earlier version has its own."""
        return "" if modules.setdefault(found[1], found[0]) == found[0] else found[0]

    for path in sorted(site.rglob("*.html")):  # slides come after chapters, whose pictures they show
        place = "../" * (len(path.relative_to(site).parts) - 1)
        text = WITHIN.sub(picture_file, path.read_text())
        text = re.sub(r"(?<=_images/)[\w-]+\.\w+", lambda found: names.get(found[0], found[0]), text)
        if "slides" not in path.parts:  # they are laid out by the sizes of their pictures
            text = re.sub(r'<img (?=[^>]*src="[^"]*_images/)', '<img loading="lazy" ', text)
        text = re.sub(
            r'<img [^>]*src="([^"]*_images/\w+)\.gif"[^>]*>',
            r'<picture><source media="(prefers-reduced-motion: reduce)" srcset="\1-still.webp">\g<0></picture>',
            text,
        )
        styles += STYLE.findall(text)
        if path != site / "index.html":  # which begins sooner with a third of these scripts, its own
            at = f"{place}_static/views"
            shared = f'<link rel="stylesheet" href="{at}.css"><script src="{at}.js"></script>'
            text = MODULE.sub(own, STYLE.sub("", STYLE.sub(shared, text, count=1)))
        text = text.replace("; in JupyterLab, run or trust the notebook.", ".")
        text = text.replace("fab fa-github", "fa-solid fa-code-branch")  # for one icon a font of 110 kB
        # Links in answers are HTML, which Sphinx leaves as it is.
        text = re.sub(r'(<a href="[\w./]+)\.(?:md|ipynb)(?=[#"])', r"\1.html", text)
        text = TABLE.sub(stacked, text)
        text = PLAIN.sub(r"\1", UNITS.sub("\u00a0", text)).replace("docutils literal notranslate", "literal")
        path.write_text(INDENT.sub(lambda found: found[1] or "\n", text))
    (static / "views.js").write_text("".join(modules.values()))
    (static / "views.css").write_text(styles[0])
    _leave_out(static)
    _trim_styles(site)
    _trim_icons(static)


def _leave_out(static: Path) -> None:
    """Remove :data:`UNUSED`, and most of the 24 MB of MathJax's scripts."""
    scripts = ("startup", "output/chtml/fonts/tex", *MATHJAX)
    used = {static / "mathjax" / f"{name}.js" for name in scripts}
    for path in {found for name in (*UNUSED, "mathjax/**/*.js*") for found in static.glob(name)} - used:
        path.unlink()


def _trim_styles(site: Path) -> None:
    """Leave out of all style sheets, 0.5 MB, the rules for classes that no page and no script has."""
    texts = (path.read_text() for kind in ("html", "js") for path in site.rglob(f"*.{kind}"))
    words = {word for text in texts for word in re.findall(r"[\w-]+", text)}

    def kept(rule: re.Match[str]) -> str:
        selectors = re.sub(r":not\([^)]*\)", "", rule[1]).split(",")
        classes = [re.findall(r"\.(-?[A-Za-z_][\w-]*)", selector) for selector in selectors]
        return rule[0] if "@" in rule[1] or any(map(words.issuperset, classes)) else ""

    for sheet in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
        sheet.write_text(re.sub(r"([^{}]+)\{[^{}]*\}", kept, text))


def _trim_icons(static: Path) -> None:
    """Leave in the font of icons those that the theme's style sheet still names: 2 kB of 115."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    sheet = (static / "styles" / "pydata-sphinx-theme.css").read_text()
    subset = Subsetter()
    subset.populate(unicodes=[int(code, 16) for code in re.findall(r'--fa:"\\(\w+)"', sheet)])
    file = static / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.woff2"
    font = TTFont(file)
    subset.subset(font)
    font.save(file)
