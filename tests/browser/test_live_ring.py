"""The ring of chapter 01: its neurons are those of the library, and its weights are dragged."""

from __future__ import annotations

import pytest
import torch
from support_live import live

from snn_core.layer import LinearRecurrentContainer
from snn_core.neuron import IFNode
from snn_tutorial.live.ring import ring_explorer
from snn_tutorial.probe import trace

pytestmark = pytest.mark.xdist_group("browser_live")

STEPS = 12


def library(weights: list[float], threshold: float, v_reset: float | None, first: float) -> list[dict]:
    """What the view should show."""
    n = len(weights)
    node = IFNode(v_threshold=threshold, v_reset=v_reset)
    ring = LinearRecurrentContainer(node, n, n, bias=False).double()
    before = torch.diag(torch.tensor(weights, dtype=torch.float64)).roll(-1, dims=1)
    ring.rc.weight.data = torch.cat([torch.eye(n, dtype=torch.float64), before], dim=1)
    x_seq = torch.zeros(STEPS, 1, n, dtype=torch.float64)
    x_seq[0, 0, 0] = first
    seen = trace(ring, x_seq)
    before_step = torch.cat([torch.zeros(1, 1, n), seen.v[:-1]])
    series = {"x": seen.x, "i": seen.i, "h": before_step + seen.i, "v": seen.v, "s": seen.s}
    return [{name: one[t, 0].tolist() for name, one in series.items()} for t in range(STEPS)]


def test_ring_is_that_of_the_library_and_begins_anew(browser, tmp_path):
    with live(browser, ring_explorer(1, STEPS), tmp_path) as view:
        assert view.numbers()["weights"] == [1]
        cases = (
            (5, 1.25, 1, 1.5, None),
            (1, 0.75, 0.5, 0.75, 0.0),
            (8, 1.5, 1.75, 3, None),
            (5, 1.5, 1, 3, 0.0),
        )
        for n, weight, threshold, first, v_reset in cases:
            view.set("reset", "soft, v_reset=None" if v_reset is None else "hard, v_reset=0")
            view.set("neurons", n)
            view.set("all weights", weight)
            view.set("threshold", threshold)
            view.set("input x[0]", first)
            numbers = view.numbers()
            assert numbers["weights"] == n * [weight]
            assert numbers["seen"] == library(n * [weight], threshold, v_reset, first)
        view.figure.get_by_role("button", name="start again").click()
        assert view.numbers()["seen"] == library([1], 1, None, 1.5)
        assert "1 spike in each step" in view.said()


def test_a_weight_is_dragged_or_moved_by_keys(browser, tmp_path):
    with live(browser, ring_explorer(5, STEPS), tmp_path, has_touch=True) as view:

        def at(weight: float) -> tuple[float, float]:
            """Return a place between neurons 0 and 1 of five, a tenth of a turn from the top."""
            return view.place(0.65 * weight * 0.5878, 0.65 * weight * 0.8090)

        view.page.touchscreen.tap(*at(0.7))
        assert view.numbers()["weights"] == pytest.approx([1, 0.7, 1, 1, 1], abs=0.06)
        view.page.mouse.move(*at(1))
        view.page.mouse.down()
        view.page.mouse.move(*at(1.3))
        view.page.mouse.up()
        assert view.numbers()["weights"] == pytest.approx([1, 1.3, 1, 1, 1], abs=0.06)
        view.figure.locator("canvas").first.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
            view.page.keyboard.press(key)
        assert view.numbers()["weights"][2] == pytest.approx(0.9)
        assert "no spike after step 1" in view.said()
