"""Chapter 07, run with a short training, and its exercises."""

from __future__ import annotations

import re


def test_every_suspect_is_asked_about(run):
    """A question whose runs are not found in the results would be missing, or raise."""
    pages = [
        output["data"].get("text/html", "")
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    views = [found[1] for page in pages if (found := re.search(r'data-view="(\w+)"', page))]
    asked = [name for name in views if name != "field"]
    assert asked == ["predict", "sketch", "predict", "predict"]
