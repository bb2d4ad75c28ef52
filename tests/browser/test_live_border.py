"""The view of chapter 08: what it shows are the numbers of the runs, and what a synapse keeps is the library's."""

from __future__ import annotations

import pytest
import torch
from support import ROOT
from support_live import live

from snn_core.functional import scan
from snn_core.synapse import LowPassSynapse
from snn_tutorial import load_results
from snn_tutorial.live.border import border_explorer
from snn_tutorial.plot.fair import MEMORIES

pytestmark = pytest.mark.xdist_group("browser_live")


def test_numbers_are_those_of_the_runs(browser, tmp_path):
    inside, group = (load_results(ROOT / "results", name) for name in ("fair_inside", "fair"))
    group = group["groups"]["fair-ratios"]
    mean = {(case["kind"], case["name"]): case["accuracy"]["mean"] for case in group}
    with live(browser, border_explorer(group, inside), tmp_path) as view:
        for k, ratio in enumerate((100, 30, 10, 3, 1, 0.3, 0.1)):
            tau = round(200 / ratio, 1)
            view.set("τ at the start (steps)", tau if tau < 100 else round(tau))
            for word, flag in (("learned", True), ("fixed", False)):
                view.set("train τ as well", flag)
                shown = view.numbers()
                for kind, name in MEMORIES.items():
                    seen = inside["ratios"][kind]
                    expected = [
                        mean[kind, f"tau {word}, D / tau = {ratio}"],
                        seen["cue"][k],
                        seen["gradient"][k],
                    ]
                    assert shown[name.replace("\n", " ")] == pytest.approx(expected)
            spike = torch.zeros(201, 1, 1, dtype=torch.float64)
            spike[0] = 1
            current = scan(spike, LowPassSynapse(tau).double())
            assert shown["left"] == pytest.approx((current[-1] / current[0]).item())
