from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from snn_core.layer import ElementWiseRecurrentContainer
from snn_core.neuron import IFNode
from snn_tutorial.plot.neurons import borders, membranes, neuron_traces, padded_batch, recurrent_weights
from snn_tutorial.plot.style import QUANTITY
from snn_tutorial.probe import trace

X = torch.tensor([1.5, 0.0, 0.25])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def line(axes, label):
    (found,) = (line for line in axes.get_lines() if line.get_label() == label)
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_trace_has_input_membrane_and_spikes_by_hand():
    figure = neuron_traces({"alone": trace(IFNode(v_reset=None), X)})
    inputs, membrane, spikes = figure.axes
    assert [bar.get_height() for bar in inputs.patches] == [1.5, 0, 0.25]
    assert line(membrane, "h[t] charged").get_ydata().tolist() == [1.5, 0.5, 0.75]
    assert line(membrane, "v[t] after reset").get_ydata().tolist() == [0.5, 0.5, 0.75]
    assert set(line(membrane, "v_threshold").get_ydata()) == {1}
    assert [path.vertices[:, 0].tolist() for path in spikes.collections[0].get_paths()] == [[0, 0]]
    assert inputs.get_title() == "alone"
    assert [axes.get_ylabel() for axes in figure.axes] == ["input", "membrane potential", "spike"]
    assert spikes.get_xlabel() == "time step t"
    assert "i[t] reaches the neuron" not in legend(figure)


def test_membrane_goes_from_v_up_to_the_next_h():
    _, membrane, _ = neuron_traces({"alone": trace(IFNode(v_reset=None), X)}).axes
    charges = [line.get_ydata() for line in membrane.get_lines() if len(line.get_xdata()) == 2][1:]
    assert np.stack(charges).tolist() == [[0.5, 0.5], [0.5, 0.75]]


def test_recurrent_trace_shows_what_reaches_the_neuron_beside_the_input():
    net = ElementWiseRecurrentContainer(IFNode(v_reset=None), torch.add)
    figure = neuron_traces({"with feedback": trace(net, X)})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [1.5, 0, 0.25, 1.5, 1, 1.25]
    assert figure.axes[0].patches[3].get_hatch()
    assert "i[t] reaches the neuron" in legend(figure)


@pytest.mark.parametrize("order", [(0.5, 5.0), (5.0, 0.5)])
def test_columns_share_one_scale_that_holds_all(order):
    traces = {str(first): trace(IFNode(), torch.tensor([first, 0.0])) for first in order}
    figure = neuron_traces(traces)
    bottom, top = figure.axes[2].get_ylim()
    assert figure.axes[3].get_ylim() == (bottom, top)
    assert bottom < 0
    assert top > 5


def test_membranes_of_several_neurons_differ_without_colour():
    figure = membranes({"tau = 2": [0.1, 0.2], "tau = 5": [0.3, 0.1]}, [1.0, 0.0], v_threshold=1.5)
    (axes,) = figure.axes
    first, second = line(axes, "tau = 2"), line(axes, "tau = 5")
    assert list(first.get_ydata()) == [0.1, 0.2]
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert set(line(axes, "v_threshold").get_ydata()) == {1.5}


def test_weights_are_written_into_their_matrix():
    figure = recurrent_weights({"one-to-one": [[1, 0]], "dense": [[0.251, -0.5]]})
    one, dense, bar = figure.axes
    assert one.get_images()[0].get_array().tolist() == [[1, 0]]
    assert [text.get_text() for text in one.texts] == ["1", "0"]
    assert [text.get_text() for text in dense.texts] == ["0.25", "\N{MINUS SIGN}0.50"]
    assert [label.get_text() for label in dense.get_xticklabels()] == ["x0", "y0"]
    assert [label.get_text() for label in dense.get_yticklabels()] == ["i0"]
    assert dense.get_images()[0].get_clim() == one.get_images()[0].get_clim() == (-1, 1)
    assert bar.get_ylabel() == "weight"


def test_weight_that_rounds_to_zero_has_no_sign():
    figure = recurrent_weights({"dense": [[-0.001, 0.5]]})
    assert figure.axes[0].texts[0].get_text() == "0.00"


def test_padding_is_hatched_from_the_end_of_each_sample():
    figure = padded_batch(np.array([[1, 0], [0, 0], [1, 1]]), [3, 2])
    (axes,) = figure.axes
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(box.get_x(), box.get_width()) for box in boxes] == [(2.5, 0), (1.5, 1)]
    assert all(box.get_hatch() for box in boxes)
    spikes = [[path.vertices[0, 0] for path in rows.get_paths()] for rows in axes.collections]
    assert spikes == [[0, 2], [2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "sample 0, 3 steps",
        "sample 1, 2 steps",
    ]


def test_borders_have_the_arrows_of_each_case():
    (axes,) = borders().axes
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    kinds = {QUANTITY["membrane"]: "state", QUANTITY["spike"]: "gradient"}
    rows = {"nothing": 4.6, "reset_net": 2.6, "detach_net": 0.6}
    found = {name: set() for name in rows}
    for arrow in arrows:
        start, end = arrow._posA_posB
        name = min(rows, key=lambda row, y=start[1]: abs(rows[row] - y))
        colour = to_hex(arrow.get_edgecolor()).upper()
        found[name].add((kinds[colour], end[0] > start[0]))
    both = {("state", True), ("gradient", False)}
    assert found == {"nothing": both, "reset_net": set(), "detach_net": both}
    assert set(rows) <= {text.get_text() for text in axes.texts}
