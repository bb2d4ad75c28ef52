"""Two orders of the same work: each does every layer of every block once, and after the layer before."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support_live import live

from snn_tutorial.live.schedule import schedule

pytestmark = pytest.mark.xdist_group("browser_live")


def test_both_orders_do_all_the_work_and_one_of_them_keeps_less(browser, tmp_path):
    block = 4 * 28 * 16 * 32  # bytes of a block's output of 32 neurons
    with live(browser, schedule({"fc1": 32, "sn1": 32, "fc2": 10}, 28, 64, 16), tmp_path) as view:
        for order in view.numbers()["orders"].values():
            assert sorted(place for layer in order for place in layer) == list(range(3 * 4))
            pairs = (pair for one, other in pairwise(order) for pair in zip(one, other, strict=True))
            assert all(first < second for first, second in pairs)
        view.set("work done", 4 * 4)  # four parts of a sequence, four blocks: the first layer
        assert view.numbers()["waiting"] == {"layer by layer": 4 * block, "one scan": block}
        view.set("work done", 3 * 4 * 4)
        assert view.numbers()["waiting"] == {"layer by layer": 0, "one scan": 0}
