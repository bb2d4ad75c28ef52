"""Chapter 07, run with a short training, and its exercises."""

from __future__ import annotations

from sequential_fmnist.networks import TUTORIAL_NETWORKS


def test_live_runs_cover_every_network_and_both_delays(result):
    live = result["live"]
    assert set(live) == {f"{kind}, delay {n}" for kind in TUTORIAL_NETWORKS for n in (0, 28)}
    assert min(live[f"{kind}, delay 0"] for kind in TUTORIAL_NETWORKS) > 0.2  # chance is 0.1
