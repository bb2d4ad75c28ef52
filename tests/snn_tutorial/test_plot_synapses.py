from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

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


def test_superposition_fills_only_a_difference():
    figure = plot.superposition({"synapse filter": ([1, 3.0], [1, 2.0]), "low-pass": ([1, 2.0], [1, 2.0])})
    left, right = figure.axes
    assert (len(left.collections), len(right.collections)) == (1, 0)
    assert line(left, r"$F(s_a + s_b)$").get_ydata()[1] == 3
    assert line(left, r"$F(s_a) + F(s_b)$").get_ydata()[1] == 2


def test_mean_current_draws_what_was_derived_and_what_was_simulated():
    simulated = {"synapse filter": ([10.2], [0.5]), "low-pass": ([5.1], [0.2])}
    (axes,) = plot.mean_current([0.5], simulated, tau=10).axes
    for label, half in ((r"synapse filter: $\tau p\,/\,(1-p)$", 10), (r"low-pass: $\tau p$", 5)):
        curve = line(axes, label)
        assert np.interp(0.5, curve.get_xdata(), curve.get_ydata()) == pytest.approx(half, rel=1e-3)
    marks, _, (bar,) = axes.containers[0]
    assert marks.get_ydata().tolist() == [10.2]
    assert bar.get_segments()[0][:, 1].tolist() == pytest.approx([9.7, 10.7])


def test_half_lives_are_marked_on_the_curves():
    (axes,) = plot.half_lives([2, 5], [1, 3.106]).axes
    curves, marks = [axes.lines[k] for k in (1, 3)], [axes.lines[k] for k in (2, 4)]
    for curve, mark, half in zip(curves, marks, (1, 3.106), strict=True):
        assert mark.get_xdata()[0] == half
        assert np.interp(half, curve.get_xdata(), curve.get_ydata()) == pytest.approx(0.5, abs=1e-3)
        assert curve.get_color() == mark.get_color()
    assert [text.get_text() for text in axes.texts] == ["$\\tau$ = 2:\n1 step", "$\\tau$ = 5:\n3.11 steps"]


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


def test_constant_inputs_have_a_panel_each():
    walks = {x: plot.currents([x] * 5, tau=10) for x in (-1.0, 1.0)}
    panels = plot.constant_inputs(walks).axes
    assert [axes.get_title() for axes in panels] == ["x = -1 in every step", "x = 1 in every step"]
    assert line(panels[1], "synapse filter").get_ydata().tolist() == [1, 2, 3, 4, 5]


def test_tau_fit_shows_loss_tau_and_the_way_down():
    left, middle, right = plot.tau_fit([4, 1], [2, 3.0], 5, ([2, 5], [4, 0])).axes
    assert left.lines[0].get_ydata().tolist() == [4, 1]
    assert middle.lines[0].get_ydata().tolist() == [2, 3]
    assert middle.lines[1].get_ydata() == [5, 5]
    assert right.lines[0].get_xdata().tolist() == [2, 5]
    assert (right.lines[1].get_xdata().tolist(), right.lines[1].get_ydata().tolist()) == ([2, 3], [4, 1])


def test_channel_fit_labels_every_line():
    tau = np.array([[5, 5], [4, 8.0]])
    (axes,) = plot.channel_fit(tau, [3, 9], [5, 6]).axes
    assert [text.get_text() for text in axes.texts] == ["channel 0", "channel 1", "one tau for all"]
    goals = [line.get_ydata() for line in axes.lines if line.get_linestyle() == ":"]
    assert goals == [[3, 3], [9, 9]]
    walks = [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() != ":"]
    assert walks == [[5, 4], [5, 8], [5, 6]]


def test_srnn_colours_each_kind_of_state():
    (axes,) = plot.srnn().axes
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("v") == 6
    assert {"y[t-1]", "y[t]", r"$\tau$:  I[t]", "recurrent layer", "read-out"} <= set(shown)
    edges = {to_hex(patch.get_edgecolor()).upper() for patch in axes.patches}
    assert {plot.QUANTITY[name] for name in ("membrane", "spike", "current")} <= edges
