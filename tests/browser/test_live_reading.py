"""The view of chapter 03: it shows the pictures' own bytes, in the order in which a network gets them."""

from __future__ import annotations

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
                view.set("image", name)
                view.set("read by", order)
                x_seq = (IMAGES[image].T if order == "column" else IMAGES[image]) / 255
                assert view.numbers()["sequence"] == x_seq.tolist()


def test_pixels_are_drawn_where_they_are_in_the_picture(browser, tmp_path):
    image = np.zeros((1, 28, 28), int)
    image[0, 20, 4] = 255  # row 20, column 4
    with live(browser, column_reader(image, [0], ["dot"]), tmp_path) as view:
        found = view.figure.locator("canvas").first.evaluate(
            """canvas => {
                const pen = canvas.getContext("2d"), dark = [], { across, down } = canvas.chart.places[0];
                for (let row = 0; row < 28; row++) {
                    for (let column = 0; column < 28; column++) {
                        const [x, y] = [across(column - 0.2), down(row - 0.2)];
                        if (pen.getImageData(x, y, 1, 1).data[3] > 200) dark.push([row, column]);
                    }
                }
                return dark;
            }"""
        )
        assert [20, 4] in found
        # The rest is the frame.
        assert all(row in (0, 27) or column in (9, 10) for row, column in found if [row, column] != [20, 4])


def test_plays_to_the_end_once_and_is_stopped_by_the_slider(browser, tmp_path, html):
    with live(browser, html, tmp_path) as view:
        play = view.figure.get_by_role("button").first
        view.set("time step t", 22)
        play.click()
        assert play.inner_text() == "pause"
        wait_for(view, "t === 27")
        assert play.inner_text() == "play"
        view.page.wait_for_timeout(500)
        assert step(view) == 27
        play.click()  # from the start
        wait_for(view, "t >= 2")
        view.control("time step t").press("ArrowRight")
        stopped = step(view)
        view.page.wait_for_timeout(500)
        assert step(view) == stopped < 27


def test_nothing_moves_by_itself_for_those_who_want_less_motion(browser, tmp_path, html):
    with live(browser, html, tmp_path, reduced_motion="reduce") as view:
        view.figure.get_by_role("button", name="step").click()
        view.page.wait_for_timeout(300)
        assert step(view) == 10
        view.figure.get_by_role("button", name="play").click()
        assert step(view) == 27
