"""The stories of the laboratory: what they promise is in their curves, and the page's arithmetic gives these curves."""

from __future__ import annotations

import pytest
from support import ROOT
from support_stories import STORIES, curve, falls, settings

from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial import load_results

pytestmark = pytest.mark.xdist_group("browser_live")

RECORDED = load_results(ROOT / "results", "stories")["stories"]


def test_curves_hold_what_is_promised():
    assert [row["name"] for row in RECORDED] == [name for name, _, _ in STORIES]
    for row, (_, says, story) in zip(RECORDED, STORIES, strict=True):
        assert (row["seed"], row["settings"]) == (story["seed"], settings(story))
        assert row["says"] == says
    collapse, clipped, skipped, wait = (row["curves"] for row in RECORDED)
    assert max(falls(collapse[2])) > 0.25
    assert max(falls(collapse[0])) < 0.1
    for cured in (clipped, skipped):
        assert max(falls(cured[2])) < 0.1
        assert cured[2][-1][1] > collapse[2][-1][1]
    plain, synapse, feedback = (one[-1][1] for one in wait)
    assert synapse > max(plain, feedback) + 0.04


def test_curves_begin_as_those_of_the_page():
    row = RECORDED[0]
    assert curve("feedback", row["seed"], row["settings"], 2) == row["curves"][2][:2]


@pytest.mark.nightly
@pytest.mark.parametrize("row", RECORDED, ids=[row["name"] for row in RECORDED])
def test_all_curves_are_those_of_the_page(row):
    assert [curve(kind, row["seed"], row["settings"]) for kind in TUTORIAL_NETWORKS] == row["curves"]
