from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from snn_tutorial.plot.kernels import STEPS, orders, table, trips


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
