"""The view of the synapses: its currents are those of the library; mouse, touch and keyboard draw spikes."""

from __future__ import annotations

import pytest
import torch
from support_live import live

from snn_core.synapse import DoubleExponentialSynapse, LowPassSynapse, SynapseFilter
from snn_tutorial.live.synapse import rise, synapse_explorer

pytestmark = pytest.mark.xdist_group("browser_live")

TAU = "time constant τ (steps)"
DOUBLE = "double-exponential synapse"


def library(train, tau, is_double):
    """What the view should show."""
    synapses = {"synapse filter": SynapseFilter(tau), "low-pass": LowPassSynapse(tau)}
    if is_double:
        synapses["double-exponential"] = DoubleExponentialSynapse(rise(tau), tau)
    s = torch.tensor(train, dtype=torch.float64)[:, None]
    with torch.no_grad():
        shown = {
            name: torch.cat([synapse.double()(step[None]) for step in s])[:, 0].tolist()
            for name, synapse in synapses.items()
        }
    return {"tau": tau, "s": train} | shown


def place(view, step, panel=0):
    """Where a time step is on the page, in the first panel or the second."""
    frame = view.figure.locator("canvas").bounding_box()
    steps = len(view.numbers()["s"])
    across = 52 + (frame["width"] - 62) * (step + 0.5) / steps
    return frame["x"] + across, frame["y"] + (50, 200)[panel]


def test_currents_are_those_of_the_library(browser, tmp_path):
    random = torch.bernoulli(torch.full((12,), 0.5)).int().tolist()
    for train in ([0] * 12, [1] * 12, [1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1], random):
        with live(browser, synapse_explorer(train, tau=7.25), tmp_path) as view:
            assert view.numbers() == library(train, 7.25, False)
            for tau in (1.1, 2, 2.3, 7.25, 10, 50):
                for is_double in (False, True):
                    view.set(TAU, tau)
                    view.set(DOUBLE, is_double)
                    assert view.numbers() == library(train, tau, is_double)


def test_button_of_each_step_turns_its_spike_on_and_off(browser, tmp_path):
    with live(browser, synapse_explorer([1, 0, 0, 0]), tmp_path) as view:
        for step in range(4):
            view.control(f"spike in step {step}").focus()
            view.page.keyboard.press("Space")
        assert view.numbers() == library([0, 1, 1, 1], 5, False)
        view.set("spike in step 3", False)
        assert view.numbers()["s"] == [0, 1, 1, 0]


def test_says_what_is_seen(browser, tmp_path):
    with live(browser, synapse_explorer([1, 0, 1, 1], tau=2), tmp_path) as view:
        largest = "Largest current: synapse filter 2.50, low-pass 1.63"
        assert view.said() == f"3 spikes in 4 steps, τ = 2 steps. {largest}."
        view.set(DOUBLE, True)
        assert view.said().endswith(
            "double-exponential 1.53. The double-exponential synapse decays with τ and rises "
            "with a time constant of 1.5 steps."
        )
        for step in (2, 3):
            view.set(f"spike in step {step}", False)
        assert view.said().startswith("1 spike in 4 steps, τ = 2 steps.")


@pytest.mark.parametrize("width", [1280, 390])
def test_spikes_are_drawn_with_the_mouse(browser, tmp_path, width):
    with live(
        browser, synapse_explorer([0] * 20, tau=10), tmp_path, viewport={"width": width, "height": 900}
    ) as view:
        mouse = view.page.mouse
        for step in (0, 7, 19):
            mouse.click(*place(view, step))
        assert [t for t, spike in enumerate(view.numbers()["s"]) if spike] == [0, 7, 19]
        mouse.move(*place(view, 3))
        mouse.down()
        mouse.move(*place(view, 9))  # at once: no step between may be left out
        x, y = place(view, 10)
        mouse.move(x, y + 500)  # a drag that leaves the canvas is still one
        mouse.up()
        mouse.move(*place(view, 15))
        train = [int(t in (0, 19) or 3 <= t <= 10) for t in range(20)]
        assert view.numbers() == library(train, 10, False)
        assert view.control("spike in step 5").get_attribute("aria-pressed") == "true"
        mouse.move(*place(view, 10))  # a drag that begins on a spike erases
        mouse.down()
        mouse.move(*place(view, 0))
        mouse.up()
        assert sum(view.numbers()["s"]) == 1
        mouse.click(*place(view, 5, panel=1))
        mouse.click(*place(view, 5), button="right")
        assert sum(view.numbers()["s"]) == 1


def test_finger_draws_along_the_panel_and_scrolls_across_it(browser, tmp_path):
    phone = {"viewport": {"width": 390, "height": 300}, "has_touch": True, "is_mobile": True}
    with live(browser, synapse_explorer([0] * 12), tmp_path, **phone) as view:
        session = view.page.context.new_cdp_session(view.page)

        def drag(first, *others):
            for kind, points in (("Start", [first]), *(("Move", [at]) for at in others), ("End", [])):
                where = [{"x": x, "y": y} for x, y in points]
                session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": where})

        view.page.touchscreen.tap(*place(view, 1))
        assert view.numbers()["s"] == [0, 1, *[0] * 10]
        drag(*(place(view, step) for step in (4, 5, 6, 7, 8)))
        train = [int(t == 1 or 4 <= t <= 8) for t in range(12)]
        assert view.numbers()["s"] == train
        assert view.page.evaluate("scrollY") == 0
        x, y = place(view, 10)
        drag(*((x, y - up) for up in (0, 15, 30, 60, 90)))
        view.page.wait_for_function("scrollY > 20")
        assert view.numbers()["s"] == train
