"""Views in a browser: what they show is what the library computes, and each control does what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from IPython.display import HTML
from matplotlib.figure import Figure
from support import ROOT
from support_live import live
from test_live_blank import explorer as blank_halves
from test_live_blank import nets
from test_live_fit import HIDDEN, spikes
from test_live_game import game
from test_live_network import RECORD, explorer, gradients
from test_live_questions import QUESTIONS, field
from test_live_shown import CHANGES, CLASSES, GUESSES, IMAGES, LABELS, walker

from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from snn_tutorial import load_results
from snn_tutorial.exercises import Exercise
from snn_tutorial.live.border import border_explorer
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.divergence import side_by_side
from snn_tutorial.live.fit import tau_fitter
from snn_tutorial.live.reading import column_reader
from snn_tutorial.live.ring import ring_explorer
from snn_tutorial.live.schedule import schedule
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
    "reading": lambda: column_reader(np.stack([np.full((28, 28), k) for k in (0, 200)]), [0, 1], ("a", "b")),
    "network": lambda: explorer(SequentialFashionMNIST(train=False, source="embedded", verbose=False)),
    "waiting": lambda: explorer(
        SequentialFashionMNIST(train=False, source="embedded", verbose=False), record=RECORD
    ),
    "gradient": lambda: gradients(
        pretrained.load("feedback")[0],
        SequentialFashionMNIST(train=False, source="embedded", verbose=False),
    ),
    "confusion": lambda: confused_images(IMAGES, LABELS, GUESSES, CLASSES),
    "graph": lambda: walker()[0],
    "train": lambda: train_on_page(load_results(ROOT / "results", "stories")),
    "border": lambda: border_explorer(
        load_results(ROOT / "results", "fair")["groups"]["fair-ratios"],
        load_results(ROOT / "results", "fair_inside"),
    ),
    **QUESTIONS,
    "divergence": lambda: side_by_side(CHANGES),
    "schedule": lambda: schedule({"fc1": 32, "sn1": 32, "fc2": 10}, 28, 64, 16),
    "step": lambda: written_step("forward"),
    "field": lambda: field(Exercise(8, "hint")),
}


@pytest.mark.parametrize("name", VIEWS)
def test_works_on_a_telephone_in_the_colours_of_the_page_and_names_its_controls(browser, tmp_path, name):
    """In the pages of the chapters test_site.py moves them."""
    small = {"width": 390, "height": 800}
    with live(browser, VIEWS[name](), tmp_path, viewport=small, is_mobile=True) as view:
        for part in view.figure.locator("input, select, textarea, button, canvas").all():
            assert part.get_attribute("aria-label") or part.inner_text()
        assert view.said()
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
        light = view.picture()
        view.page.evaluate("document.body.style.cssText = 'background: #111; color: #ddd'")
        view.page.wait_for_function(
            """light => [...document.querySelectorAll("canvas:not(.snn-picture)")].every(
                canvas => !light.includes(canvas.toDataURL()))""",
            arg=light,
        )


def test_picture_stays_where_no_script_runs(browser, tmp_path):
    with live(browser, VIEWS["ring"](), tmp_path, java_script_enabled=False) as view:
        assert view.figure.locator("img").get_attribute("alt")
        assert view.figure.locator("input, canvas").count() == 0


def test_view_that_fails_leaves_its_picture_and_an_error(browser, tmp_path):
    html = VIEWS["ring"]().data.replace("const ring = (", "const ring = () => null.x;\nconst old = (")
    with pytest.raises(AssertionError, match="null"), live(browser, HTML(html), tmp_path) as view:
        assert view.figure.locator("img").count() == 1
