from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from sequential_fmnist.networks import NETWORKS, make_network
from snn_tutorial.plot import networks as draw
from snn_tutorial.plot.style import QUANTITY
from snn_tutorial.probe import Activity

T, HIDDEN, CLASSES = 5, 4, ("boot", "bag")


def activity_of(seed: int, current: bool = False) -> Activity:
    generator = np.random.default_rng(seed)

    def spikes(n: int) -> torch.Tensor:
        return torch.from_numpy(generator.integers(0, 2, (T, 2, n)).astype("float32"))

    def values(n: int) -> torch.Tensor:
        return torch.from_numpy(generator.random((T, 2, n), dtype="float32"))

    return Activity(spikes(HIDDEN), values(HIDDEN), spikes(2), values(2), values(HIDDEN) if current else None)


RECORDS = {"plain": activity_of(0), "stateful-synapse": activity_of(1, current=True)}
IMAGE = torch.rand(28, T)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def raster(axes) -> list[list[int]]:
    """Return the steps in which each row of a raster has a tick."""
    return [list(collection.get_positions()) for collection in axes.collections]


def steps(spikes: torch.Tensor) -> list[list[int]]:
    return [neuron.nonzero().flatten().tolist() for neuron in spikes.T]


def line(axes, label):
    (found,) = (line for line in axes.get_lines() if line.get_label() == label)
    return found


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_networks_are_drawn_from_their_modules():
    drawn = texts(draw.three_networks({name: make_network(name) for name in NETWORKS}))
    assert drawn.count("Linear 28 → 32\n928 parameters") == drawn.count("Linear 32 → 10\n330 parameters") == 3
    assert {"synapse filter\n1 parameter", "Linear 64 → 32\n2,080 parameters", "$y[t-1]$", "$I[t]$"} <= set(
        drawn
    )
    assert {"plain", "stateful-synapse", "feedback", "3,338 parameters"} <= set(drawn)
    smaller = texts(draw.three_networks({"feedback": make_network("feedback", hidden=8)}))
    assert {"Linear 16 → 8\n136 parameters", "8 IF neurons"} <= set(smaller)
    assert "$I[t]$" not in smaller


def test_comparison_has_a_column_of_panels_for_each_network():
    axes = np.array(draw.compare_activity(RECORDS, IMAGE, CLASSES, index=1).axes).reshape(4, 2)
    for column, (name, record) in zip(axes.T, RECORDS.items(), strict=True):
        picture, hidden, output, trace = column
        assert picture.get_title() == name
        assert np.array_equal(picture.get_images()[0].get_array(), IMAGE.numpy())
        assert raster(hidden) == steps(record.hidden_spikes[:, 1])
        assert raster(output) == steps(record.read_out_spikes[:, 1])
        neuron = draw._typical(record.hidden_spikes[:, 1])
        assert hidden.patches[0].get_y() == neuron - 0.5
        v = line(trace, "membrane potential v").get_ydata()
        assert v == pytest.approx(record.hidden_v[:, 1, neuron].numpy())
        assert list(line(trace, "spike").get_xdata()) == steps(record.hidden_spikes[:, 1])[neuron]
    assert [label.get_text() for label in axes[2, 0].get_yticklabels()] == list(CLASSES)
    current = line(axes[3, 1], "synaptic current I")
    assert to_hex(current.get_color()).upper() == QUANTITY["current"]
    assert current.get_ydata() == pytest.approx(record.current[:, 1, neuron].numpy())


def test_typical_neuron_is_the_middle_one_of_those_that_fire():
    # Number of spikes: 0, 3, 1, 2, so neurons 2, 3, 1 in their order.
    spikes = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 0]])
    assert draw._typical(spikes) == 3
    assert draw._typical(torch.zeros(3, 4)) == 0
