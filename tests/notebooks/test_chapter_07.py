"""Chapter 07, run with a short training, and its exercises."""

from __future__ import annotations


def test_every_suspect_is_asked_about(run):
    """A question whose runs are not found in the results would be missing, or raise."""
    assert [name for name in run.views() if name != "field"] == [
        "predict",
        "sketch",
        "predict",
        "predict",
        "predict",
    ]
