"""The view of recorded times shows what is in the file."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support_live import live

from snn_tutorial.live.timing import recorded_times

pytestmark = pytest.mark.xdist_group("browser_live")

LAYERS = ("neurons", "recurrent layer")
SIZES = {"steps": [7, 28], "samples": [1, 32, 64], "hidden": [8, 16, 32]}
LABELS = ("time steps T", "samples N", "hidden size")
#: Made up; each is another one, and the fused scan is not always faster.
TIMES = np.random.default_rng(0).uniform(0.01, 300, (2, 2, 3, 3, 2)).round(4)
RECORDED = {
    **SIZES,
    "milliseconds": dict(zip(LAYERS, TIMES.tolist(), strict=True)),
    "provenance": {"processor": "a <fast> one", "torch": "2.13.0", "snn_core": "0.1.0"},
}


def test_times_are_those_of_the_file(browser, tmp_path):
    with live(browser, recorded_times(RECORDED), tmp_path) as view:
        assert view.numbers() == TIMES[0, 1, 1, 1].tolist()
        assert "Recorded: a <fast> one, one thread, torch 2.13.0" in view.figure.inner_text()
        for k, layer in enumerate(LAYERS):
            view.set("layer", layer)
            for place in product(*(range(len(values)) for values in SIZES.values())):
                for label, values, at in zip(LABELS, SIZES.values(), place, strict=True):
                    view.set(label, values[at])
                loop, fused = TIMES[(k, *place)].tolist()
                assert view.numbers() == [loop, fused]
                said = f"{layer}: the torch loop takes {loop:.3g} ms, the fused scan {fused:.3g} ms"
                assert view.said() == f"{said}: {loop / fused:.1f} times as fast."
