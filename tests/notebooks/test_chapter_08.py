"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations

import json

from support import ROOT

RESULTS = ROOT / "results"


def test_contrasts_are_the_six_that_were_named(result):
    assert set(result["live"]) == {"tutorial", "blind"}
    found = result["contrasts"].values()
    assert [(*c["b"][1::2], c["b"][2], c["a"][2]) for c in found] == [
        ("tutorial", 200, "stateful synapse", "plain"),
        ("blind", 500, "stateful synapse", "plain"),
        ("informed", 500, "stateful synapse", "plain"),
        ("informed", 50, "feedback", "plain"),
        ("informed", 200, "feedback", "plain"),
        ("informed", 500, "feedback through SynapseFilter", "feedback"),
    ]


def test_the_committed_page_shows_the_committed_summaries(full):
    for name, runs in (("fair", "runs"), ("controls", "controls")):
        assert full[runs] == json.loads((RESULTS / f"{name}.json").read_text())["runs"]
