"""Figures of chapters 07 and 08: every run is drawn, where it belongs, and collapses are written beside the edge."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from experiments.evidence import cases
from experiments.fair.plan import LEARNED, RATIOS
from snn_tutorial.plot import ablation, fair
from snn_tutorial.plot.style import STYLE


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def case(kind: str, name: str, values: list[float], at: int | None = None, **more) -> dict:
    mean = float(np.mean(values))
    found = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": len(values)}
    return {"kind": kind, "name": name, "values": values, "at": at, "accuracy": found} | more


def test_strips_draw_every_run_and_write_collapses_at_the_edge():
    group = [case("plain", "a", [0.7, 0.72]), case("feedback", "a", [0.75, 0.77, 0.27])]
    figure = ablation.strips(group, lambda one: one["name"], {("plain", "a"): 0.71})
    plain, feedback = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["plain", "feedback"]
    assert sorted(plain.lines[0].get_xdata()) == pytest.approx([70, 72])
    assert list(plain.lines[1].get_xdata()) == pytest.approx([70, 72])  # the interval of the mean
    assert plain.lines[-1].get_xdata()[0] == pytest.approx(71)
    assert sorted(feedback.lines[0].get_xdata()) == pytest.approx([75, 77])
    assert [text.get_text() for text in feedback.texts] == ["◁ 27"]
    assert feedback.lines[0].get_color() == STYLE["feedback"]["color"]


def test_curves_have_a_line_for_each_network():
    group = [case(kind, f"{at}", [0.6, 0.7], at) for kind in ("plain", "gru") for at in (7, 56)]
    (axes,) = ablation.curves(group, "delay").axes
    assert axes.get_legend_handles_labels()[1] == ["plain", "gru"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["7", "56"]


def test_histories_draw_every_seed():
    (axes,) = ablation.histories([case("plain", "a", [0.5, 0.6], curves=[[0.4, 0.5], [0.5, 0.6]])]).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[40, 50], [50, 60]]


def test_distances_have_a_panel_for_each_start_and_stay_between_0_and_100():
    group = [case(kind, "blind", [1.0, 1.0], at) for kind in fair.LOOKS for at in (50, 200)]
    figure = fair.distances({"blind": group, "informed": group}, 1 / 8)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["blind", "informed"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(fair.LOOKS)


def test_ratios_draw_what_was_trained_and_what_was_there_before():
    group = [
        case(kind, f"{name}, D / tau = {ratio}", [0.5, 0.6], 200)
        for kind in fair.MEMORIES
        for name in LEARNED.values()
        for ratio in RATIOS
    ]
    seen = {"cue": [0.2] * len(RATIOS), "gradient": [1e-3] * len(RATIOS)}
    figure = fair.ratios(group, {"ratios": dict.fromkeys(fair.MEMORIES, seen)})
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == list(fair.MEMORIES.values())
    assert list(figure.axes[3].lines[0].get_ydata()) == [20] * len(RATIOS)


def test_examples_and_planes_are_drawn():
    assert len(fair.examples({"a": torch.zeros(10, 3), "b": torch.ones(5, 2)}).axes) == 3  # and a colour bar
    inside = {
        "after": [1, 10],
        "symbols": [0, 7],
        "networks": {"plain": {"held": [1, 0.5], "plane": [[[0, 1], [1, 0]]] * 2}},
    }
    (axes,) = fair.plane(inside, 10, ["plain"]).axes
    assert [text.get_text() for text in axes.texts] == ["1", "8"]
    assert axes.get_title() == "plain: 50 %"


def test_planted_summary_draws():
    from support_ablation import summary

    found = summary()
    for name in ("delay", "last_steps", "hidden"):
        ablation.curves(cases(found, name), ablation.AXES[name])
