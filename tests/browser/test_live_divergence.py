"""Two runs side by side: the first difference, and how many follow."""

from __future__ import annotations

import numpy as np
import pytest
from support_live import live

from snn_tutorial.live.divergence import Run, first_difference, side_by_side

pytestmark = pytest.mark.xdist_group("browser_live")

STEPS, IMAGES, NEURONS = 6, 3, 4


def runs() -> tuple[Run, Run]:
    """Return runs that differ in images 0 and 2, first in steps 2 and 0."""
    generator = np.random.default_rng(0)
    spikes = generator.integers(0, 2, (STEPS, IMAGES, NEURONS)).astype(np.float32)
    other = spikes.copy()
    for place in ((2, 0, 3), (2, 0, 1), (4, 0, 0), (0, 2, 2)):
        other[place] = 1 - other[place]
    potentials = generator.normal(size=(2, STEPS, IMAGES, NEURONS)).astype(np.float32)
    return Run("ours", spikes, potentials[0]), Run("theirs", other, potentials[1])


CHANGES = {"a change": runs(), "none": (runs()[0], runs()[0])}


def test_first_difference_is_found_and_shown(browser, tmp_path):
    here, there = runs()
    assert [first_difference(here, there, image) for image in range(IMAGES)] == [(2, 1), None, (0, 2)]
    with live(browser, side_by_side(CHANGES), tmp_path) as view:
        found = view.numbers()
        assert found["first"] == [2, 1]
        assert found["differing"] == [0, 0, 2, 0, 1, 0]
        expected = [run.potentials[:, 0, 1].tolist() for run in (here, there)]
        np.testing.assert_allclose(found["traces"], expected, rtol=1e-6)
        who = "here" if here.spikes[2, 0, 1] else "there"
        assert f"First difference: step 2, neuron 1 fires {who} alone. So far 12.5 %" in view.said()
        view.set("steps shown", 3)
        assert view.numbers()["differing"] == [0, 0, 2, 0, 0, 0]
        view.set("image", 1)
        assert "No spike of this image differs." in view.said()
        view.set("change", "none")
        view.set("image", 2)
        assert view.numbers()["first"] is None
