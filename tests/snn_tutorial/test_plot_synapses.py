from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from snn_core.layer import SynapseFilter
from snn_tutorial.plot import synapses as plot


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def line(axes, label):
    (found,) = (line for line in axes.lines if line.get_label() == label)
    return found


def test_currents_by_hand():
    both = plot.currents([1, 0, 0, 1, 1, 0], tau=2)
    assert both["synapse filter"].tolist() == [1, 0.5, 0.25, 1.25, 2.25, 1.125]
    assert both["low-pass"].tolist() == [1, 0.5, 0.25, 1.125, 1.5625, 0.78125]


def test_currents_are_those_of_the_module_and_of_a_sum_over_the_past():
    s = torch.bernoulli(torch.full((60, 1), 0.4, dtype=torch.float64))
    both = plot.currents(s[:, 0].tolist(), tau=6.5)
    module = SynapseFilter(tau=6.5).double().forward_sequence(s)[:, 0]
    np.testing.assert_allclose(both["synapse filter"], module, rtol=0, atol=1e-6)  # tau is kept in float32
    kernel = (1 - 1 / 6.5) ** np.arange(60)
    np.testing.assert_allclose(both["low-pass"], np.convolve(s[:, 0], kernel)[:60], rtol=0, atol=1e-12)


def test_traces_show_spikes_and_both_currents():
    s = [0, 1, 1, 0]
    both = plot.currents(s, tau=4)
    top, bottom = plot.traces(s, both, title="here").axes
    assert [segment[0, 0] for segment in top.collections[0].get_segments()] == [1, 2]
    assert top.get_title(loc="left") == "here"
    for name, current in both.items():
        assert line(bottom, name).get_ydata().tolist() == current.tolist()
    assert bottom.get_xlabel() == "time step t"
    assert [text.get_text() for text in top.get_legend().get_texts()] == list(both)


def test_traces_of_silence_can_be_drawn():
    bottom = plot.traces([0, 0, 0], plot.currents([0, 0, 0], tau=2)).axes[1]
    assert bottom.get_ylim()[1] > 1


def test_filters_differ_in_line_and_marker_too():
    styles = plot.FILTER_STYLE.values()
    for key in ("color", "linestyle", "marker"):
        assert len({style[key] for style in styles}) == 2


def test_current_maps_show_the_asked_steps_on_one_scale():
    spikes = np.arange(4)[:, None, None] * np.ones((4, 3, 3))
    figure = plot.current_maps(spikes, -2 * spikes, [1, 3], "channel 5")
    *maps, bar = figure.axes
    assert [axes.get_title() for axes in maps[:2]] == ["t = 1", "t = 3"]
    pictures = [axes.get_images()[0] for axes in maps]
    assert [picture.get_array()[0, 0] for picture in pictures] == [1, 3, -2, -6]
    assert {picture.get_clim() for picture in pictures[2:]} == {(-6, 6)}  # 0 is the middle of the colours
    assert "channel 5" in maps[2].get_ylabel()
    assert bar.get_ylabel() == "current I[t]"


def test_tau_fit_shows_tau_and_loss():
    top, bottom = plot.tau_fit([4, 1], [2, 3.0], 5).axes
    assert top.lines[0].get_ydata().tolist() == [2, 3]
    assert top.lines[1].get_ydata() == [5, 5]
    assert bottom.lines[0].get_ydata().tolist() == [4, 1]
