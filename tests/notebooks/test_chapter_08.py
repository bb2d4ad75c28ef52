"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations

import re


def test_each_claim_is_asked_about_and_has_a_run(run):
    """A question whose runs are not found in the results would be missing, or raise."""
    pages = [
        output["data"].get("text/html", "")
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    asked = [name for page in pages for name in re.findall(r'view\.start\("(predict|sketch)"', page)]
    assert asked == ["sketch", "sketch", "predict", "predict"]
    assert len(re.findall(r"\d% right", run.printed())) == 7
