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
