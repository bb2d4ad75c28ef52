"""The view of chapter 03: what it shows are the pictures' own bytes, in the order in which a network gets them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support_live import live

from snn_tutorial.live.reading import column_reader

pytestmark = pytest.mark.xdist_group("browser_live")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28)) * (np.arange(28) % 3 > 0)
LABELS = [1, 0, 1]


@pytest.fixture
def html():
    return column_reader(IMAGES, LABELS, ("boot", "bag"))


def step(view):
    return view.numbers()["t"]


def wait_for(view, condition):
    view.page.wait_for_function(
        f"() => {{ const {{t}} = document.querySelector('figure').view.numbers(); return {condition}; }}"
    )


def test_numbers_are_those_of_the_pictures(browser, tmp_path, html):
    with live(browser, html, tmp_path) as view:
        assert (view.numbers()["image"], view.numbers()["order"], step(view)) == (0, "column", 9)
        for image, name in enumerate(["0: bag", "1: boot", "2: bag"]):
            for order in ("column", "row"):
                for t in (0, 1, 9, 27):
                    view.set("image", name)
                    view.set("read by", order)
                    view.set("time step t", t)
                    x_seq = (IMAGES[image].T if order == "column" else IMAGES[image]) / 255
                    shown = view.numbers()
                    assert shown["input"] == x_seq[t].tolist()
                    come = np.array(shown["come"], float).reshape(28, 28).T  # None becomes nan
                    assert (come[: t + 1] == x_seq[: t + 1]).all()
                    assert np.isnan(come[t + 1 :]).all()
                    share = 100 * x_seq[: t + 1].sum() / x_seq.sum()
                    said = re.fullmatch(
                        r"Step (\d+) is (\w+) \1 of image (\d) \((\w+)\): (\d+) of its 28 pixels are not 0\. "
                        r"So far (\d+) % of the picture's ink has come\.",
                        view.said(),
                    )
                    assert said, view.said()
                    assert said.groups()[:4] == (str(t), order, str(image), name[3:])
                    assert int(said[5]) == (x_seq[t] > 0).sum()
                    assert abs(int(said[6]) - share) <= 0.5 + 1e-9


def test_pixels_are_drawn_where_they_are_in_the_picture(browser, tmp_path):
    image = np.zeros((1, 28, 28), int)
    image[0, 20, 4] = 255  # row 20, column 4
    with live(browser, column_reader(image, [0], ["dot"]), tmp_path) as view:
        # The canvas' square of 28 pixels is drawn at (52, 24): find those that are fully dark.
        found = view.figure.locator("canvas").first.evaluate(
            """canvas => {
                const pen = canvas.getContext("2d"), dark = [];
                const side = Math.max(100, Math.min(210, canvas.clientWidth - 64));
                for (let row = 0; row < 28; row++) {
                    for (let column = 0; column < 28; column++) {
                        const [x, y] = [52 + (column + 0.3) * side / 28, 24 + (row + 0.3) * side / 28];
                        if (pen.getImageData(x, y, 1, 1).data[3] > 200) dark.push([row, column]);
                    }
                }
                return dark;
            }"""
        )
        assert [20, 4] in found
        # The rest is the frame.
        assert all(row in (0, 27) or column in (9, 10) for row, column in found if [row, column] != [20, 4])


def test_plays_to_the_end_once_and_says_where_it_is_at_the_end(browser, tmp_path, html):
    with live(browser, html, tmp_path) as view:
        view.set("time step t", 22)
        view.figure.get_by_role("button", name="play").click()
        wait_for(view, "t >= 23")
        assert view.said() == "bag: one column in each step."
        assert view.figure.get_by_role("button").first.inner_text() == "pause"
        wait_for(view, "t === 27")
        assert view.figure.get_by_role("button").first.inner_text() == "play"
        assert view.said().startswith("Step 27 is column 27 of image 0")
        view.page.wait_for_timeout(600)
        assert step(view) == 27
        view.figure.get_by_role("button").first.click()  # from the start
        wait_for(view, "t === 2")


@pytest.mark.parametrize("how", ["button", "slider"])
def test_play_is_stopped_by_the_button_and_by_the_slider(browser, tmp_path, html, how):
    with live(browser, html, tmp_path, has_touch=True) as view:
        view.set("time step t", 0)
        view.figure.get_by_role("button").first.tap()
        wait_for(view, "t >= 2")
        if how == "button":
            view.figure.get_by_role("button").first.tap()
        else:
            view.control("time step t").press("ArrowRight")
        stopped = step(view)
        view.page.wait_for_timeout(600)
        assert step(view) == stopped < 27
        assert view.said().startswith(f"Step {stopped} ")
        assert view.figure.get_by_role("button").first.inner_text() == "play"


def test_nothing_moves_by_itself_for_those_who_want_less_motion(browser, tmp_path, html):
    with live(browser, html, tmp_path, reduced_motion="reduce") as view:
        button = view.figure.get_by_role("button", name="step")
        for t in (10, 11):
            button.click()
            view.page.wait_for_timeout(300)
            assert step(view) == t
        view.set("time step t", 27)
        button.click()
        assert step(view) == 0
        view.figure.get_by_role("button", name="play").click()
        assert step(view) == 27
