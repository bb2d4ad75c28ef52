"""Views of data that were computed before: what they show is in the data."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from IPython.display import HTML
from support_live import live

from sequential_fmnist.networks import make_network
from snn_exchange import DIFFERENCES, to_nir
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.divergence import Run, first_difference, side_by_side
from snn_tutorial.live.graph import graph_walker

pytestmark = pytest.mark.xdist_group("browser_live")

# The matrix of confused classes

CLASSES = ("Shirt", "T-shirt/top", "Bag", "Ankle boot")
DRAWN = np.random.default_rng(0)
IMAGES = DRAWN.integers(0, 256, (60, 28, 28), dtype=np.uint8)
LABELS = DRAWN.integers(0, 4, 60)
GUESSES = {
    "plain": np.where(DRAWN.random(60) < 0.5, LABELS, DRAWN.integers(0, 4, 60)),
    "feedback": np.where(LABELS == 1, 2, LABELS),
}


def fits(network: str, truth: int, answer: int) -> list[int]:
    return np.flatnonzero((truth == LABELS) & (GUESSES[network] == answer)).tolist()


def test_a_click_on_a_cell_shows_its_count_and_images(browser, tmp_path):
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path) as view:
        for network in GUESSES:
            view.set("network", network)
            for truth, answer in product(range(4), repeat=2):
                view.figure.locator("td[aria-current]").nth(4 * truth + answer).click()
                found, shown = fits(network, truth, answer), view.numbers()
                assert shown["count"] == len(found)
                assert shown["images"] == found[:3]
                assert shown["pixels"] == [image.flatten().tolist() for image in IMAGES[found[:3]]]
                assert view.control("true class").input_value() == CLASSES[truth]
                assert view.control("answer").input_value() == CLASSES[answer]


def test_starts_with_the_most_frequent_error_of_the_first_network(browser, tmp_path):
    guesses = {"plain": np.where(LABELS == 2, 3, LABELS)}
    with live(browser, confused_images(IMAGES, LABELS, guesses, CLASSES), tmp_path) as view:
        assert "Bag, the network plain takes" in view.said()
        assert "for Ankle boot" in view.said()


# Two runs side by side

STEPS, PICTURES, NEURONS = 6, 3, 4


def runs() -> tuple[Run, Run]:
    """Return runs that differ in images 0 and 2, first in steps 2 and 0."""
    generator = np.random.default_rng(0)
    spikes = generator.integers(0, 2, (STEPS, PICTURES, NEURONS)).astype(np.float32)
    other = spikes.copy()
    for place in ((2, 0, 3), (2, 0, 1), (4, 0, 0), (0, 2, 2)):
        other[place] = 1 - other[place]
    potentials = generator.normal(size=(2, STEPS, PICTURES, NEURONS)).astype(np.float32)
    return Run("ours", spikes, potentials[0]), Run("theirs", other, potentials[1])


CHANGES = {"a change": runs(), "none": (runs()[0], runs()[0])}


def test_first_difference_is_found_and_shown(browser, tmp_path):
    here, there = runs()
    assert [first_difference(here, there, image) for image in range(PICTURES)] == [(2, 1), None, (0, 2)]
    with live(browser, side_by_side(CHANGES), tmp_path) as view:
        found = view.numbers()
        assert found["first"] == [2, 1]
        assert found["differing"] == [0, 0, 2, 0, 1, 0]
        expected = [run.potentials[:, 0, 1].tolist() for run in (here, there)]
        np.testing.assert_allclose(found["traces"], expected, rtol=1e-6)
        who = "here" if here.spikes[2, 0, 1] else "there"
        assert f"First difference: step 2, neuron 1 fires {who} alone. So far 12.5 %" in view.said()
        view.set("steps shown", 3)
        assert view.numbers()["differing"] == [0, 0, 2, 0, 0, 0]
        view.set("image", 1)
        assert "No spike of this image differs." in view.said()
        view.set("change", "none")
        view.set("image", 2)
        assert view.numbers()["first"] is None


# A graph of NIR


def walker(model: str = "feedback", images: int = 3, **options) -> tuple[HTML, dict[str, np.ndarray]]:
    """Return a view of a graph with made-up numbers, and these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_nir(make_network(model, hidden=4), allow=DIFFERENCES, **options)
    generator = np.random.default_rng(0)
    record = {}
    for name, node in graph.nodes.items():
        size = int(np.prod(next(iter(node.output_type.values()))))
        values = generator.standard_normal((28, images, size)).astype(np.float32)
        record[name] = (values > 0).astype(np.float32) if type(node).__name__ in ("IF", "LIF") else values
    return graph_walker(graph, record, generator.random((images, 28, 28))), record


@pytest.mark.parametrize(
    ("model", "options"), [("feedback", {}), ("feedback", {"dialect": "snntorch"}), ("stateful-synapse", {})]
)
def test_numbers_are_those_of_the_record(browser, tmp_path, model, options):
    html, record = walker(model, **options)
    with live(browser, html, tmp_path) as view:
        for image in (0, 2):
            view.set("test image", str(image))
            for t in (0, 9, 27):
                view.set("time step t", t)
                shown = view.numbers()
                assert (shown["t"], shown["image"]) == (t, image)
                assert shown["given"] == {name: values[t, image].tolist() for name, values in record.items()}
                mean = record["output"][: t + 1, image].mean(0, dtype=np.float64)
                np.testing.assert_allclose(shown["mean"], mean, rtol=1e-12, atol=1e-12)
