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


@pytest.mark.parametrize("width", [1280, 390])
def test_spikes_are_drawn_with_the_mouse(browser, tmp_path, width):
    with live(
        browser, synapse_explorer([0] * 20, tau=10), tmp_path, viewport={"width": width, "height": 900}
    ) as view:
        mouse = view.page.mouse
        for step in (0, 7, 19):
            mouse.click(*view.place(step, 0.5))
        assert [t for t, spike in enumerate(view.numbers()["s"]) if spike] == [0, 7, 19]
        mouse.move(*view.place(3, 0.5))
        mouse.down()
        mouse.move(*view.place(9, 0.5))  # at once: no step between may be left out
        x, y = view.place(10, 0.5)
        mouse.move(x, y + 500)  # a drag that leaves the canvas is still one
        mouse.up()
        mouse.move(*view.place(15, 0.5))
        train = [int(t in (0, 19) or 3 <= t <= 10) for t in range(20)]
        assert view.numbers() == library(train, 10, False)
        assert view.control("spike in step 5").get_attribute("aria-pressed") == "true"
        mouse.move(*view.place(10, 0.5))  # a drag that begins on a spike erases
        mouse.down()
        mouse.move(*view.place(0, 0.5))
        mouse.up()
        assert sum(view.numbers()["s"]) == 1
        mouse.click(*view.place(5, 1, panel=1))
        mouse.click(*view.place(5, 0.5), button="right")
        assert sum(view.numbers()["s"]) == 1


def test_finger_draws_along_the_panel_and_scrolls_across_it(browser, tmp_path):
    phone = {"viewport": {"width": 390, "height": 300}, "has_touch": True, "is_mobile": True}
    with live(browser, synapse_explorer([0] * 12), tmp_path, **phone) as view:
        session = view.page.context.new_cdp_session(view.page)

        def drag(first, *others):
            for kind, points in (("Start", [first]), *(("Move", [at]) for at in others), ("End", [])):
                where = [{"x": x, "y": y} for x, y in points]
                session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": where})

        view.page.touchscreen.tap(*view.place(1, 0.5))
        assert view.numbers()["s"] == [0, 1, *[0] * 10]
        drag(*(view.place(step, 0.5) for step in (4, 5, 6, 7, 8)))
        train = [int(t == 1 or 4 <= t <= 8) for t in range(12)]
        assert view.numbers()["s"] == train
        assert view.page.evaluate("scrollY") == 0
        x, y = view.place(10, 0.5)
        drag(*((x, y - up) for up in (0, 15, 30, 60, 90)))
        view.page.wait_for_function("scrollY > 20")
        assert view.numbers()["s"] == train
