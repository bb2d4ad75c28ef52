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
    assert drawn.count("928") == drawn.count("330") == 3
    assert {"1", "2,080", "Linear\n64 → 32", "Synapse\nfilter", "$y[t-1]$", "$I[t]$"} <= set(drawn)
    assert "feedback: 3,338 parameters" in drawn
    smaller = texts(draw.three_networks({"feedback": make_network("feedback", hidden=8)}))
    assert {"Linear\n28 → 8", "Linear\n16 → 8", "IF\n8", f"{16 * 8 + 8}"} <= set(smaller)
    assert not {"Synapse\nfilter", "$I[t]$"} & set(smaller)


def test_comparison_has_a_column_of_panels_for_each_network():
    axes = np.array(draw.compare_activity(RECORDS, IMAGE, CLASSES, index=1).axes).reshape(4, 2)
    for column, (name, record) in zip(axes.T, RECORDS.items(), strict=True):
        picture, hidden, read_out, trace = column
        assert picture.get_title() == name
        assert np.array_equal(picture.get_images()[0].get_array(), IMAGE.numpy())
        assert raster(hidden) == steps(record.hidden_spikes[:, 1])
        assert raster(read_out) == steps(record.read_out_spikes[:, 1])
        neuron = int(trace.get_title(loc="left").removeprefix("hidden neuron "))
        v = line(trace, "membrane potential v").get_ydata()
        assert v == pytest.approx(record.hidden_v[:, 1, neuron].numpy())
        assert trace.get_xlabel() == "time step t"
    assert [label.get_text() for label in axes[2, 0].get_yticklabels()] == list(CLASSES)
    assert len(axes[3, 0].get_lines()) + 1 == len(axes[3, 1].get_lines())


def test_typical_neuron_is_the_middle_one_of_those_that_fire():
    # Number of spikes: 0, 3, 1, 2, so neurons 2, 3, 1 in their order.
    spikes = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 0]])
    assert draw._typical(spikes) == 3
    assert draw._typical(torch.zeros(3, 4)) == 0


@pytest.mark.parametrize(
    ("name", "layer", "lines"),
    [
        ("stateful-synapse", "hidden", 4),
        ("stateful-synapse", "read-out", 3),
        ("plain", "hidden", 3),
    ],
)
def test_activity_shows_the_neuron_that_was_asked_for(name, layer, lines):
    record = RECORDS[name]
    figure = draw.activity(name, record, IMAGE, CLASSES, index=1, layer=layer, neuron=1)
    _, read_out, hidden, trace = figure.axes
    assert raster(hidden) == steps(record.hidden_spikes[:, 1])
    v = record.hidden_v if layer == "hidden" else record.read_out_v
    spikes = record.hidden_spikes if layer == "hidden" else record.read_out_spikes
    assert line(trace, "membrane potential v").get_ydata() == pytest.approx(v[:, 1, 1].numpy())
    assert list(line(trace, "spike").get_xdata()) == steps(spikes[:, 1])[1]
    assert len(trace.get_lines()) == lines
    marked = hidden if layer == "hidden" else read_out
    assert [bool(axes.patches) for axes in (hidden, read_out)] == [marked is hidden, marked is read_out]
    assert trace.get_title(loc="left") == f"{layer} neuron 1"


def test_current_has_its_own_colour():
    figure = draw.activity("stateful-synapse", RECORDS["stateful-synapse"], IMAGE, CLASSES, neuron=2)
    current = line(figure.axes[3], "synaptic current I")
    assert to_hex(current.get_color()).upper() == QUANTITY["current"]
    assert current.get_ydata() == pytest.approx(RECORDS["stateful-synapse"].current[:, 0, 2].numpy())


def test_unknown_layer_is_refused():
    with pytest.raises(ValueError, match='layer must be "hidden" or "read-out", got \'output\''):
        draw.activity("plain", RECORDS["plain"], IMAGE, CLASSES, layer="output")
