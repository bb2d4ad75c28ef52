"""The view of chapter 08."""

from __future__ import annotations

import json

import pytest
from support import ROOT

from snn_tutorial.live.cue import cue_explorer


@pytest.fixture
def seen() -> dict:
    """A file like results/fair_inside.json."""
    network = {"held": [1.0, 0.3, 0.5], "plane": [[[0.0, 1.0], [1.0, k]] for k in range(3)]}
    return {"after": [1, 10, 100], "distance": 100, "symbols": [0, 7], "networks": {"plain": network}}


def test_wrong_argument_is_named(seen):
    with pytest.raises(ValueError, match="k must be one of 1, 10, 100, got 7"):
        cue_explorer(seen, k=7)


def test_keeps_what_is_drawn(seen):
    html = cue_explorer(seen).data
    assert '"probe": [1.0, 0.3, 0.5]' in html
    assert '"points": [[0.0, 1.0, 1.0, 0.0], ' in html


def test_real_states_are_small():
    inside = json.loads((ROOT / "results" / "fair_inside.json").read_text())
    start, _, rest = cue_explorer(inside).data.partition("base64,")
    assert len(start) + len(rest.partition('"')[2]) < 100_000
