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
    asked = [name for page in pages for name in re.findall(r'data-view="(predict|sketch)"', page)]
    assert asked == ["predict", "sketch", "predict", "predict"]
