"""The view of chapter 08: what it shows are the numbers of its file."""

from __future__ import annotations

import pytest
from support import ROOT
from support_live import live

from snn_tutorial import load_results
from snn_tutorial.live.cue import cue_explorer

pytestmark = pytest.mark.xdist_group("browser_live")


def test_numbers_are_those_of_the_file(browser, tmp_path):
    inside = load_results(ROOT / "results", "fair_inside")
    with live(browser, cue_explorer(inside), tmp_path) as view:
        assert view.numbers()["after"] == inside["distance"]
        assert view.numbers()["cues"] == [symbol + 1 for symbol in inside["symbols"]]
        for at, k in enumerate(inside["after"]):
            view.set("steps since the cue", k)
            shown = view.numbers()
            assert shown["after"] == k
            assert shown["networks"].keys() == inside["networks"].keys()
            for kind, network in shown["networks"].items():
                trained = inside["networks"][kind]
                assert network["probe"] == trained["held"][at]
                points = [value for point in trained["plane"][at] for value in point]
                assert network["points"] == pytest.approx(points, abs=5e-5)
