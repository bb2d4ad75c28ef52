"""Views that run in the reader's browser, with a kernel or without: on the site, in JupyterLab, VS Code and on Colab.

A view is a cell's output: HTML with a static figure and a script that puts the controls in its place. Nothing is loaded
from elsewhere. The scripts are the files in ``js/``, one for each view, and what they import.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from IPython.display import HTML
from matplotlib.figure import Figure

from snn_tutorial.live.javascript import PRELUDE, Code, operations
from snn_tutorial.page import png

_JS = Path(__file__).with_name("js")
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:const|class|function) (\w+)", re.MULTILINE)


def bundle(*names: str) -> str:
    """Return modules of ``js/`` with all that they import as one classic script, without comments.

    A page that is opened from a file may not load modules. Each becomes an object of its exports, such as
    ``$chart``, so that names of different modules cannot clash.
    """
    found: dict[str, str] = {}

    def add(module: str) -> None:
        if module in found:
            return
        found[module] = ""  # marks it as known, should modules import each other
        if module == "operations":  # from snn_core
            # With what statements call, since on the site nothing stands around the modules.
            made = f"(() => {{\n{PRELUDE}return {literal(operations())};\n}})()"
            exported = "".join(f"export const {name} = made.{name};\n" for name in operations())
            source = f"const made = {made};\n{exported}"
        else:
            source = (_JS / f"{module}.js").read_text()
        for _, other in _IMPORT.findall(source):
            add(other)
        del found[module]  # its place is behind what it needs
        source = re.sub(r"/\*\*.*?\*/\n?", "", source, flags=re.DOTALL)
        source = re.sub(r"^\s+(?=\S)|^\s*//.*\n", "", source, flags=re.MULTILINE)
        exports = ", ".join(_EXPORT.findall(source))
        source = re.sub(r"^export ", "", _IMPORT.sub(r"const \1 = $\2;\n", source), flags=re.MULTILINE)
        found[module] = f"const ${module} = (() => {{\n{source}return {{ {exports} }};\n}})();\n"

    for name in names:
        add(name)
    return "".join(found.values())


def literal(value: Any) -> str:
    """Return ``value`` as JavaScript: what JSON knows, and :class:`Code`."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value, allow_nan=False)


def packed(array: np.ndarray, is_deflated: bool = False) -> str:
    """Return whole numbers from 0 to 255 in base64, for ``bytes`` or, deflated, for ``inflated`` in ``numbers.js``.

    Raises:
        ValueError: the array holds other numbers.
    """
    with np.errstate(invalid="ignore"):
        small = np.asarray(array).astype(np.uint8)
    if not np.array_equal(small, array):
        raise ValueError("an array must hold whole numbers from 0 to 255")
    content = small.tobytes()
    if is_deflated:
        squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, memLevel=9)
        content = squeeze.compress(content) + squeeze.flush()
    return base64.b64encode(content).decode()


def floats(array: np.ndarray, dtype: str = "<f4") -> str:
    """Return numbers as base64: in single precision for ``floats`` in ``numbers.js``, in ``"<f2"`` for ``halves``."""
    return base64.b64encode(np.asarray(array, dtype).tobytes()).decode()


def view(name: str, data: dict[str, Any], figure: Figure, alt: str) -> HTML:
    """Return a view for a notebook.

    Args:
        name: the module of ``js/``, which exports a function of this name.
        data: what the function gets.
        figure: what stands there without JavaScript, and in a notebook that nobody has trusted; it is closed.
        alt: what the view shows, for readers who cannot see it.
    """
    still = io.BytesIO()
    PIL.Image.open(io.BytesIO(png(figure))).save(still, "WEBP", lossless=True)
    url = f"data:image/webp;base64,{base64.b64encode(still.getvalue()).decode()}"
    picture = f'<img alt="{html.escape(alt)}" src="{url}">'
    caption = "<figcaption>Controls need JavaScript; in JupyterLab, run or trust the notebook.</figcaption>"
    return started(name, data, picture + caption)


def picture_url(figure: Figure) -> str:
    """Return a figure as the address of a picture that holds it, and close it."""
    return f"data:image/png;base64,{base64.b64encode(png(figure)).decode()}"


def started(name: str, data: dict[str, Any], inside: str) -> HTML:
    """Return a view for a notebook, and ``inside``, HTML of which it replaces the first ``img`` or ``.snn-static``."""
    # The end of a script ends it within a string, too.
    start = f"{_START}{json.dumps(name)}, {literal(data)}, ${name}.{name});".replace("</", "<\\/")
    figure = f'<figure class="snn-live" data-view="{name}">{inside}</figure>'
    return HTML(f"{figure}\n{_scripts(name)}{start}\n}})()</script>")


#: With this the last statement of a view's script begins; what stands before it is the same for all data.
_START = "$view.start("


def _scripts(name: str) -> str:
    """Return the style of all views, and the script of one up to its last statement."""
    script = f"{PRELUDE}{bundle('view', name)}".replace("</", "<\\/")
    return f"<style>{(_JS / 'view.css').read_text()}</style>\n<script>(() => {{\n{script}"


def with_scripts(page: str) -> str:
    """Return the HTML of a view with the scripts and the style of the package as they are now, and the same data."""
    before, _, rest = page.partition("<style>")
    name = re.findall(r'data-view="(\w+)"', before)[-1]
    if not (_JS / f"{name}.js").exists():
        return page  # of a view that is no more: its chapter is to be executed
    return before + _scripts(name) + rest[rest.index(f"{_START}{json.dumps(name)}, ") :]
