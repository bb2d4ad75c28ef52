"""The view of chapter 08: what it shows are the numbers of its file."""

from __future__ import annotations

import json

import pytest
from support import ROOT
from support_live import live

from snn_tutorial.live.cue import cue_explorer

pytestmark = pytest.mark.xdist_group("browser_live")


@pytest.fixture(scope="module")
def inside() -> dict:
    return json.loads((ROOT / "results" / "fair_inside.json").read_text())


def test_numbers_are_those_of_the_file(browser, tmp_path, inside):
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


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 2), (320, 1)])
def test_panels_stand_in_as_many_columns_as_there_is_room_for(browser, tmp_path, inside, width, columns):
    with live(browser, cue_explorer(inside), tmp_path, viewport={"width": width, "height": 800}) as view:
        boxes = [panel.bounding_box() for panel in view.figure.locator("canvas").all()]
        assert len(boxes) == 6
        assert len({round(box["x"]) for box in boxes}) == columns
        # In a row the axes stand at one height, however long the names above.
        assert len({round(box["y"]) for box in boxes}) == 6 // columns
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width


def test_real_states_are_small(inside):
    start, _, rest = cue_explorer(inside).data.partition("base64,")
    assert len(start) + len(rest.partition('"')[2]) < 100_000
