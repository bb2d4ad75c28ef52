"""The view of a NIR graph in a browser: it shows the record, and its steps follow each other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from IPython.display import HTML
from support_live import live

from sequential_fmnist.networks import make_network
from snn_exchange import DIFFERENCES, to_nir
from snn_tutorial.live.graph import graph_walker

pytestmark = pytest.mark.xdist_group("browser_live")


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
