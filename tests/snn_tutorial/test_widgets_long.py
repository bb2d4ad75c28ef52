"""The view of chapter 09."""

from __future__ import annotations

import pytest

from snn_tutorial.widgets.long import SHOWN, cue_explorer


@pytest.fixture
def seen() -> dict:
    """A file like results/long_inside.json."""
    trained = {"held": [[1.0, None, None]] * 3, "plane": [[[0.0, 1.0], [1.0, k]] for k in range(3)]}
    networks = {kind: {"trained": trained} for kind in SHOWN}
    return {"after": [1, 10, 100], "delay": 100, "symbols": [0, 7], "networks": networks}


def test_explorer_begins_where_the_networks_were_trained(seen):
    box = cue_explorer(seen)
    (slider,) = box.children[0].children
    assert (slider.value, list(slider.options)) == (100, [1, 10, 100])
    with pytest.raises(ValueError, match="k must be one of 1, 10, 100, got 7"):
        cue_explorer(seen, k=7)


def test_explorer_draws_for_every_choice(seen):
    box = cue_explorer(seen, k=1)
    (slider,) = box.children[0].children
    for k in (10, 100, 1):
        slider.value = k
    assert not any(out["output_type"] == "error" for out in box.children[1].outputs)
