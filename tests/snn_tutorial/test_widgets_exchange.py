from __future__ import annotations

import numpy as np
import pytest

from sequential_fmnist.networks import make_network
from snn_exchange import to_nir
from snn_tutorial.widgets.exchange import graph_walker


@pytest.fixture
def box(shown):
    graph = to_nir(make_network("plain", hidden=4))
    generator = np.random.default_rng(0)
    record = {name: (generator.random((28, 3, 4)) > 0.5) * 1.0 for name in graph.nodes}
    return graph_walker(graph, record, generator.random((3, 28, 28)))


@pytest.mark.parametrize(("control", "value"), [(0, 10), (1, 2)])
def test_each_control_changes_the_picture(box, shown, control, value):
    box.children[0].children[control].value = value
    assert len(shown) == 2
    assert shown[0] != shown[1]


def test_controls_reach_every_image_and_every_step(box):
    t, image = box.children[0].children
    assert (t.min, t.max) == (0, 27)
    assert (image.min, image.max) == (0, 2)
