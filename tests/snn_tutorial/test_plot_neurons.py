from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from snn_core.layer import ElementWiseRecurrentContainer
from snn_core.neuron import IFNode
from snn_tutorial.plot.neurons import neuron_traces
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
    assert line(membrane, "h[t], charged").get_ydata().tolist() == [1.5, 0.5, 0.75]
    assert line(membrane, "v[t], after the reset").get_ydata().tolist() == [0.5, 0.5, 0.75]
    assert set(line(membrane, "threshold").get_ydata()) == {1}
    assert [path.vertices[:, 0].tolist() for path in spikes.collections[0].get_paths()] == [[0, 0]]
    assert membrane.get_title(loc="left") == "alone"
    assert "from the loop" not in legend(figure)


def test_membrane_goes_from_v_up_to_the_next_h():
    _, membrane, _ = neuron_traces({"alone": trace(IFNode(v_reset=None), X)}).axes
    charges = [line.get_ydata() for line in membrane.get_lines() if len(line.get_xdata()) == 2][1:]
    assert np.stack(charges).tolist() == [[0.5, 0.5], [0.5, 0.75]]


def test_what_the_loop_adds_stands_on_the_input():
    net = ElementWiseRecurrentContainer(IFNode(v_reset=None), torch.add)
    figure = neuron_traces({"with feedback": trace(net, X)})
    added = figure.axes[0].patches[3:]
    assert [bar.get_height() for bar in added] == [0, 1, 1]
    assert [bar.get_y() for bar in added] == [1.5, 0, 0.25]
    assert "from the loop" in legend(figure)


def test_several_neurons_share_time_and_one_scale_that_holds_all():
    traces = {str(threshold): trace(IFNode(v_threshold=threshold), X) for threshold in (0.5, 5.0)}
    _, first, _, second, _ = neuron_traces(traces).axes
    bottom, top = first.get_ylim()
    assert second.get_ylim() == (bottom, top)
    assert bottom < 0
    assert top > 5
    assert first.get_xlim() == second.get_xlim()
