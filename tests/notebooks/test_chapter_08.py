"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations


def test_live_runs_cover_both_starts(result):
    assert set(result["live"]) == {"tutorial", "blind"}
