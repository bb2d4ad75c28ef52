"""Views in a browser: what they show is what the library computes, and each control does what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from IPython.display import HTML
from matplotlib.figure import Figure
from support import ROOT
from support_live import LiveView, live
from test_live_blank import explorer as blank_halves
from test_live_blank import nets
from test_live_confusion import CLASSES, GUESSES, IMAGES, LABELS
from test_live_fit import HIDDEN, spikes
from test_live_frames import VIEWS as FRAMES
from test_live_game import game
from test_live_network import RECORD, explorer, gradients
from test_live_questions import QUESTIONS, field

from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from snn_tutorial import load_results
from snn_tutorial.exercises import Exercise
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.fit import tau_fitter
from snn_tutorial.live.ring import ring_explorer
from snn_tutorial.live.step import written_step
from snn_tutorial.live.synapse import synapse_explorer
from snn_tutorial.live.train import train_on_page

pytestmark = pytest.mark.xdist_group("browser_live")


#: Every view, as its chapter shows it.
VIEWS: dict[str, Callable[[], HTML]] = {
    "ring": lambda: ring_explorer(5),
    "synapse": lambda: synapse_explorer([int(t % 3 == 0) for t in range(20)], tau=10),
    "fit": lambda: tau_fitter(spikes(), HIDDEN, 0.03, Figure()),
    "game": game,
    "blank": lambda: blank_halves(nets()),
    "network": lambda: explorer(SequentialFashionMNIST(train=False, source="embedded", verbose=False)),
    "waiting": lambda: explorer(
        SequentialFashionMNIST(train=False, source="embedded", verbose=False), record=RECORD
    ),
    "gradient": lambda: gradients(
        pretrained.load("feedback")[0],
        SequentialFashionMNIST(train=False, source="embedded", verbose=False),
    ),
    "confusion": lambda: confused_images(IMAGES, LABELS, GUESSES, CLASSES),
    "train": lambda: train_on_page(load_results(ROOT / "results", "stories")),
    **FRAMES,
    **QUESTIONS,
    "step": lambda: written_step("forward"),
    "field": lambda: field(Exercise(8, "hint")),
}


NAMELESS = """[...document.querySelectorAll("figure :is(input, select, textarea, button, canvas)")].filter(
    part => !part.ariaLabel && !part.textContent.trim()).map(part => part.outerHTML)"""
DRAWN = """() => [...document.querySelectorAll("figure canvas:not(.snn-picture)")].map(
    canvas => canvas.toDataURL("image/webp", 1))"""


def test_all_work_on_a_telephone_in_the_colours_of_the_page_and_name_their_controls(browser, tmp_path):
    """In the pages of the chapters test_site.py moves them."""
    small = {"width": 390, "height": 800}
    html = HTML("".join(build().data for build in VIEWS.values()))
    with live(browser, html, tmp_path, viewport=small, is_mobile=True, reduced_motion="reduce") as first:
        assert all(LiveView(first.page, first.problems, k).said() for k in range(len(VIEWS)))
        assert first.page.evaluate(NAMELESS) == []
        assert first.page.evaluate("document.documentElement.scrollWidth") <= 390
        light = first.page.evaluate(DRAWN)
        first.page.evaluate("document.body.style.cssText = 'background: #111; color: #ddd'")
        dark = first.page.evaluate(DRAWN)
        assert not any(one == other for one, other in zip(light, dark, strict=True))


def test_picture_stays_where_no_script_runs(browser, tmp_path):
    with live(browser, VIEWS["ring"](), tmp_path, java_script_enabled=False) as view:
        assert view.figure.locator("img").get_attribute("alt")
        assert view.figure.locator("input, canvas").count() == 0


def test_view_that_fails_leaves_its_picture_and_an_error(browser, tmp_path):
    html = VIEWS["ring"]().data.replace("const ring = (", "const ring = () => null.x;\nconst old = (")
    with pytest.raises(AssertionError, match="null"), live(browser, HTML(html), tmp_path) as view:
        assert view.figure.locator("img").count() == 1
