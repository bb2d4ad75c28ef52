"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations

import re


def test_each_claim_is_asked_about_and_has_a_run(run):
    """A question whose runs are not found in the results would be missing, or raise."""
    asked = [name for name in run.views() if name in ("predict", "sketch")]
    assert asked == ["sketch", "sketch", "predict", "predict"]
    assert len(re.findall(r"\d% right", run.printed())) == 7
