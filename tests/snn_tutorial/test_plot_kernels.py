from __future__ import annotations

from itertools import pairwise

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest

from snn_tutorial.plot.kernels import STEPS, WAYS, bars, credit, kept, orders, speed, table, trips


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_table_by_hand():
    rows = [("a", 14118, 4.0204), ("b", 12, 8.0)]
    assert table(("", "ops", "kept"), rows) == (
        "|  | ops | kept |\n| --- | ---: | ---: |\n| a | 14,118 | 4.02 |\n| b | 12 | 8.00 |\n"
    )
    with pytest.raises(ValueError, match="each row must have 3 values, got 2"):
        table(("", "ops", "kept"), [("a", 1)])


def test_credit_shows_potential_spikes_and_gradients():
    h, s = np.array([0.6, 1.2, 0.6]), np.array([0, 1, 0])
    gradients = {"detached": np.array([0, 0, 0.4]), "not detached": np.array([0.1, -0.2, 0.4])}
    figure = credit({"hard reset": (h, s, gradients), "soft reset": (h, s, gradients)})
    upper, other, lower, _ = figure.axes
    assert (upper.get_title(), other.get_title()) == ("hard reset", "soft reset")
    lines = {line.get_label(): line for line in upper.get_lines()}
    assert list(lines["h[t]"].get_ydata()) == list(h)
    assert list(lines["threshold"].get_ydata()) == [1, 1]
    assert (list(lines["spike"].get_xdata()), list(lines["spike"].get_ydata())) == ([1], [1.2])
    drawn = {line.get_label(): list(line.get_ydata()) for line in lower.get_lines()}
    for name, gradient in gradients.items():
        assert drawn[name] == list(gradient)
    assert lower.get_xlabel() == "time step t"
    assert "gradient" in lower.get_ylabel()


def test_order_of_work():
    figure = orders(("fc1", "sn1", "fc2"), blocks=2)
    by_layer, one_scan = ([int(text.get_text()) for text in axes.texts] for axes in figure.axes)
    # Row by row; a row is a stage.
    assert by_layer == [1, 2, 3, 4, 5, 6]
    assert one_scan == [1, 4, 2, 5, 3, 6]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["fc1", "sn1", "fc2"]


def test_trips_are_the_times_of_each_way():
    ways = dict(zip(STEPS, (8.0, 4.0, 2.0, 1.0), strict=True))
    axes = trips({"plain": ways, "feedback": {name: 2 * time for name, time in ways.items()}}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [8, 16, 4, 8, 2, 4, 1, 2]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "feedback"]
    assert axes.get_xlabel().endswith("(ms)")
    assert axes.yaxis.get_inverted()


def test_kept_against_the_number_of_steps():
    axes = kept((28, 784), {"torch loop": [16, 441], "fused scan": [3, 86]}).axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[16, 441], [3, 86]]
    assert axes.get_ylabel().endswith("(KiB)")


def test_speed_in_all_and_for_each_step():
    seconds = {"torch loop": [0.0028, 0.0784], "fused scan": [0.00028, 0.000784]}
    left, right = speed((28, 784), seconds).axes
    assert [list(line.get_ydata()) for line in left.get_lines()] == [
        pytest.approx([2.8, 78.4]),
        pytest.approx([0.28, 0.784]),
    ]
    assert [list(line.get_ydata()) for line in right.get_lines()] == [
        pytest.approx([100, 100]),
        pytest.approx([10, 1]),
    ]
    for axes in (left, right):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["28", "784"]
    assert (left.get_ylabel()[-4:], right.get_ylabel()[-4:]) == ("(ms)", "(µs)")


def test_ways_differ_in_line_style_and_marker():
    for key in ("linestyle", "marker", "color"):
        assert len({style[key] for style in WAYS.values()}) == len(WAYS)


def test_neighbouring_steps_differ_in_brightness_or_hatch():
    def grey(style):
        return float(np.dot(matplotlib.colors.to_rgb(style["color"]), (0.299, 0.587, 0.114)))

    for one, other in pairwise(STEPS.values()):
        assert abs(grey(one) - grey(other)) > 0.1 or one["hatch"] != other["hatch"]


def test_bars_say_the_time_and_how_much_faster():
    axes = bars({"torch loop": 0.012, "fused scan": 0.0015}, "neurons: 28 steps").axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([12, 1.5])
    assert [text.get_text() for text in axes.texts] == [" 12 ms", " 1.5 ms, 8.0 times as fast"]
    assert axes.get_title(loc="left") == "neurons: 28 steps"
    assert axes.get_xlim()[1] > 12
