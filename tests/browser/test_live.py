"""Views in a browser: what they show is what the library computes, and each control does what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from IPython.display import HTML
from support import ROOT
from support_live import dead_controls, live
from test_live_confusion import CLASSES, GUESSES, IMAGES, LABELS
from test_live_graph import walker
from test_live_network import RECORD, explorer, gradients
from test_live_questions import QUESTIONS, field

from sequential_fmnist.data import SequentialFashionMNIST
from snn_core.layer import ElementWiseRecurrentContainer
from snn_core.neuron import IFNode
from snn_tutorial import load_results
from snn_tutorial.exercises import Exercise
from snn_tutorial.live.border import border_explorer
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.neuron import driven_neuron
from snn_tutorial.live.reading import column_reader
from snn_tutorial.live.synapse import synapse_explorer
from snn_tutorial.live.train import train_on_page
from snn_tutorial.probe import trace

pytestmark = pytest.mark.xdist_group("browser_live")


#: Every view, as its chapter shows it.
VIEWS: dict[str, Callable[[], HTML]] = {
    "neuron": driven_neuron,
    "synapse": lambda: synapse_explorer([int(t % 3 == 0) for t in range(20)], tau=10),
    "reading": lambda: column_reader(np.stack([np.full((28, 28), k) for k in (0, 200)]), [0, 1], ("a", "b")),
    "network": lambda: explorer(SequentialFashionMNIST(train=False, source="embedded", verbose=False)),
    "waiting": lambda: explorer(
        SequentialFashionMNIST(train=False, source="embedded", verbose=False), record=RECORD
    ),
    "gradient": lambda: gradients(SequentialFashionMNIST(train=False, source="embedded", verbose=False)),
    "confusion": lambda: confused_images(IMAGES, LABELS, GUESSES, CLASSES),
    "graph": lambda: walker()[0],
    "train": lambda: train_on_page(load_results(ROOT / "results", "stories")),
    "border": lambda: border_explorer(
        load_results(ROOT / "results", "fair")["groups"]["fair-ratios"],
        load_results(ROOT / "results", "fair_inside"),
    ),
    **QUESTIONS,
    "field": lambda: field(Exercise(8, "hint")),
}


@pytest.mark.parametrize("name", VIEWS)
class TestEveryView:
    def test_each_control_has_a_name_and_works_from_the_keyboard(self, browser, tmp_path, name):
        with live(browser, VIEWS[name](), tmp_path) as view:
            for part in view.figure.locator("input, select, button, canvas").all():
                assert part.get_attribute("aria-label") or part.inner_text()
            assert view.said()
            assert dead_controls(view) == []

    def test_works_on_a_telephone_in_the_colours_of_the_page(self, browser, tmp_path, name):
        small = {"width": 390, "height": 800}
        with live(browser, VIEWS[name](), tmp_path, viewport=small, has_touch=True, is_mobile=True) as view:
            assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
            light = view.picture()
            view.page.evaluate("document.body.style.cssText = 'background: #111; color: #ddd'")
            view.page.wait_for_function(
                """light => [...document.querySelectorAll("canvas:not(.snn-picture)")].every(
                    canvas => !light.includes(canvas.toDataURL()))""",
                arg=light,
            )
            assert dead_controls(view, "touch") == []


def test_picture_stays_where_no_script_runs(browser, tmp_path):
    with live(browser, driven_neuron(), tmp_path, java_script_enabled=False) as view:
        assert view.figure.locator("img").get_attribute("alt")
        assert view.figure.locator("input, canvas").count() == 0


def test_view_that_fails_leaves_its_picture_and_an_error(browser, tmp_path):
    html = driven_neuron().data.replace("const neuron = (", "const neuron = () => null.x;\nconst old = (")
    with pytest.raises(AssertionError, match="null"), live(browser, HTML(html), tmp_path) as view:
        assert view.figure.locator("img").count() == 1


@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("is_fed_back", [False, True])
def test_neuron_is_that_of_the_library(browser, tmp_path, v_reset, is_fed_back):
    with live(browser, driven_neuron(steps=9), tmp_path) as view:
        view.set("reset", "soft, v_reset=None" if v_reset is None else "hard, v_reset=0")
        view.set("feed the spike back", is_fed_back)
        for threshold, first in ((0.5, 0.75), (1.0, 1.5), (1.75, 3.0)):
            view.set("threshold v_threshold", threshold)
            view.set("input x[0]", first)
            node = IFNode(v_threshold=threshold, v_reset=v_reset)
            x_seq = torch.tensor([first, *[0.0] * 8], dtype=torch.float64)
            record = trace(ElementWiseRecurrentContainer(node, torch.add) if is_fed_back else node, x_seq)
            charged = record.i + torch.cat([torch.zeros(1), record.v[:-1]])
            expected = {"i": record.i, "h": charged, "v": record.v, "s": record.s}
            assert view.numbers() == {name: series.tolist() for name, series in expected.items()}
