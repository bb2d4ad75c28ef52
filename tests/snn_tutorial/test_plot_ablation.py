from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from support_ablation import LEVELS, summary

from experiments.evidence import Verdict, cases
from snn_tutorial.page import png
from snn_tutorial.plot.ablation import (
    MARKERS,
    STYLE,
    costs,
    curves,
    differences,
    draw_group,
    histories,
    strips,
)


@pytest.fixture(scope="module")
def made_up():
    return summary()


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(axes, kind):
    """Return all points of a network in ``axes``, ``[n, 2]``."""
    lines = [line for line in axes.lines if line.get_marker() == MARKERS[kind]]
    return np.concatenate([line.get_xydata() for line in lines]) if lines else np.empty((0, 2))


def test_strips_show_every_run_and_the_mean(made_up):
    group = cases(made_up, "reproduction")
    figure = strips(group)
    assert [axes.get_title() for axes in figure.axes] == ["plain", "stateful-synapse", "feedback"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["64 epochs", "90 epochs"]
    for axes, kind in zip(figure.axes, ("plain", "stateful-synapse", "feedback"), strict=True):
        mine = [case for case in group if case["kind"] == kind]
        expected = [100 * v for case in mine for v in (*case["values"], case["accuracy"]["mean"])]
        assert sorted(drawn(axes, kind)[:, 0]) == pytest.approx(sorted(expected))
        assert axes.get_xlabel() == "test accuracy (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one run", "mean, 95 % interval"]


def test_strips_keep_the_order_of_the_networks(made_up):
    figure = strips(cases(made_up, "learned"))
    assert [axes.get_title() for axes in figure.axes] == ["stateful-synapse", "feedback"]


def test_strips_mark_what_was_published(made_up):
    figure = strips(cases(made_up, "reproduction"), published={("plain", "90 epochs"): 0.60})
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert mark.get_xydata().tolist() == [[60, 1]]
    assert figure.axes[0].get_xlim()[0] < 60  # it lies within the axes
    assert figure.legends[0].get_texts()[-1].get_text() == "published, one run"


def test_two_runs_get_no_mean_and_no_interval(made_up):
    group = [case for case in cases(made_up, "settings") if case["kind"] == "plain"]
    figure = strips(group)
    assert len(drawn(figure.axes[0], "plain")) == 2 * len(group)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one run"]


def test_far_runs_stand_at_the_edge_with_their_number(made_up):
    group = [dict(case) for case in cases(made_up, "gated")]
    group[0]["values"] = [0.27, 0.31, *group[0]["values"][2:]]
    figure = strips(group)
    assert [text.get_text() for text in figure.axes[0].texts] == ["◁ 27, 31"]
    assert figure.axes[0].get_xlim()[0] > 60
    assert min(drawn(figure.axes[0], "gru")[:, 0]) > 60


def test_curves_have_a_line_for_each_network_and_chance_where_it_is_near(made_up):
    figure = curves(cases(made_up, "delay"), "blank columns")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "plain",
        "stateful-synapse",
        "feedback",
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "7", "14", "28", "42", "56"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("blank columns", "test accuracy (%)")
    assert "chance" in [text.get_text() for text in axes.texts]
    lines = [c.lines[0] for c in axes.containers]
    assert lines[0].get_ydata()[-1] == pytest.approx(16, abs=1)  # 72 points less one for each column of 56
    assert [to_hex(line.get_color()) for line in lines] == [
        STYLE[k]["color"].lower() for k in ("plain", "stateful-synapse", "feedback")
    ]
    far = curves(cases(made_up, "hidden"), "hidden neurons", log=True)
    assert far.axes[0].get_xscale() == "log"
    assert not far.axes[0].texts


def test_histories_have_a_line_for_each_seed(made_up):
    long = [case for case in cases(made_up, "reproduction") if case["name"] == "90 epochs"]
    figure = histories(long)
    assert [len(axes.lines) for axes in figure.axes] == [10, 10, 10]
    x, y = figure.axes[0].lines[0].get_xydata().T
    assert x.tolist() == list(range(1, 91))
    assert y[1] == pytest.approx(100 * long[0]["curves"][0][1])


def test_run_without_a_curve_is_left_out(made_up):
    case = dict(next(case for case in cases(made_up, "reproduction") if case["name"] == "90 epochs"))
    case["curves"] = [None, *case["curves"][1:]]
    assert len(histories([case]).axes[0].lines) == 9


def test_differences_are_filled_where_decided():
    answers = [
        Verdict("b over a", (2, 1, 3), 10, 0.001, 0.002),
        Verdict("c over a", (0.1, -1, 1.2), 10, 0.5, 0.6),
    ]
    (axes,) = differences(answers).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b over a", "c over a"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [2, 0.1]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True]
    bars = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert [1, 3] in bars
    assert [-1, 1.2] in bars


def test_costs_leave_out_what_does_not_spike(made_up):
    group = [case for case in cases(made_up, "size") if case["name"] == "stable"] + cases(made_up, "gated")
    (axes,) = costs(group).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "plain",
        "stateful-synapse",
        "feedback",
    ]
    (point,) = drawn(axes, "feedback")
    assert point == pytest.approx([104.5, 100 * LEVELS["feedback"]], abs=1)
    assert "spikes" in axes.get_xlabel()
    assert {text.get_text() for text in axes.texts} == {"1,032 parameters"}


def test_groups_choose_their_form(made_up):
    assert draw_group("delay", cases(made_up, "delay")).axes[0].get_xlabel().startswith("blank columns")
    assert draw_group("order", cases(made_up, "order")).axes[0].get_xlabel() == "test accuracy (%)"
    for name in ("search", "finalists"):
        assert draw_group(name, cases(made_up, name)).axes[0].get_xlabel() == "validation accuracy (%)"


@pytest.mark.parametrize(
    "draw", [strips, histories, differences, costs, lambda none: curves(none, "x")], ids=range(5)
)
def test_nothing_to_draw_is_said(draw):
    figure = draw([])
    assert [text.get_text() for text in figure.texts] == ["no runs to show"]
    assert png(figure)
