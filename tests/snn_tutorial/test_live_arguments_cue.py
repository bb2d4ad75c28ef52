"""The view of chapter 08."""

from __future__ import annotations

import json

import pytest
from support import ROOT

from snn_tutorial.live.cue import SHOWN, cue_explorer


@pytest.fixture
def seen() -> dict:
    """A file like results/long_inside.json."""
    trained = {"held": [[1.0, None, None]] * 3, "plane": [[[0.0, 1.0], [1.0, k]] for k in range(3)]}
    networks = {kind: {"trained": trained} for kind in SHOWN}
    return {"after": [1, 10, 100], "delay": 100, "symbols": [0, 7], "networks": networks}


def test_wrong_argument_is_named(seen):
    with pytest.raises(ValueError, match="k must be one of 1, 10, 100, got 7"):
        cue_explorer(seen, k=7)
    del seen["networks"]["GRU"]
    with pytest.raises(ValueError, match=r"inside has no networks \['GRU'\]"):
        cue_explorer(seen)


def test_keeps_what_is_drawn_and_no_more_digits(seen):
    trained = {"held": [[0.3, 0.2, 0.4]] * 3, "plane": [[[1 / 3, -2 / 3]] * 2] * 3}
    seen["networks"] = {kind: {"trained": trained} for kind in [*SHOWN, "LSTM"]}
    html = cue_explorer(seen).data
    assert '"probe": [0.3, 0.3, 0.3]' in html
    assert '"points": [[0.3333, -0.6667, 0.3333, -0.6667], ' in html
    assert "LSTM" not in html


def test_real_states_are_small():
    inside = json.loads((ROOT / "results" / "long_inside.json").read_text())
    start, _, rest = cue_explorer(inside).data.partition("base64,")
    assert len(start) + len(rest.partition('"')[2]) < 100_000
