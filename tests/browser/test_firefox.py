"""The view of the trained networks in Firefox: another JavaScript engine, and another way from keys to events."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support_firefox import WAIT, firefox
from support_live import PAGE
from test_live_network import NAMES, explorer, in_the_library, pictures

from sequential_fmnist.networks import TUTORIAL_NETWORKS

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("browser_live")]

#: The view, and a control by its label.
FIGURE = "document.querySelector('figure.snn-live')"
CONTROL = "document.querySelector('[aria-label=\"{}\"]')"
SAID = "document.querySelector('.snn-said').value"
PAD = "document.querySelector('canvas.snn-pad')"


def test_view_of_the_networks_works_in_firefox(embedded, tmp_path):
    data = embedded[1]
    path = tmp_path / "view.html"
    path.write_text(PAGE.format(explorer(data).data))
    home = tmp_path / "home"
    home.mkdir()
    with firefox(home) as page:
        page.ask("browsingContext.navigate", context=page.page, url=path.as_uri(), wait="complete")
        assert page.value(f"'live' in {FIGURE}.dataset")

        numbers = page.value(f"{FIGURE}.view.numbers()")
        for kind, name in zip(TUTORIAL_NETWORKS, NAMES, strict=True):
            answers, spikes = in_the_library(kind, pictures(data, 1))
            assert spikes.any() and np.array_equal(numbers[name]["spikes"], spikes[:, 0])
            assert numbers[name]["best"] == answers[0]

        assert page.value(SAID).startswith("After 28 columns")
        page.value(f"{CONTROL.format('columns read')}.focus()")
        page.press("ArrowLeft")
        assert page.value(SAID).startswith("After 27 columns")

        page.value(f"{PAD}.scrollIntoView({{block: 'center'}})")
        box = page.value(f"{PAD}.getBoundingClientRect()")
        y = round(box["y"] + box["height"] / 2)
        moves = [
            {"type": "pointerMove", "x": round(box["x"] + part / 10 * box["width"]), "y": y}
            for part in range(2, 9)
        ]
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        page.act("pointer", moves[0], down, *moves[1:], up)
        assert page.value(f"{CONTROL.format('picture')}.value") == "your drawing"
        columns = page.value(f"{FIGURE}.view.numbers()")["plain"]["columns"]
        assert (np.array(columns)[3:25, 13:15] > 0.5).all()

        # Errors come in their order: with this one, all before it have come.
        page.value("setTimeout(() => { throw new Error('on purpose'); })")
        end = time.monotonic() + WAIT
        while "Error: on purpose" not in page.problems and time.monotonic() < end:
            page.value("0")
        assert page.problems == ["Error: on purpose"]
