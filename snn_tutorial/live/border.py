"""Slide the time constant at the start against the distance, and see what can be learned from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from IPython.display import HTML

from sequential_fmnist.experiments.evidence import CaseSummary
from sequential_fmnist.experiments.fair.plan import LEARNED, RATIOS, RATIOS_AT
from snn_tutorial.live import view
from snn_tutorial.plot.fair import MEMORIES, ratios


def border_explorer(group: Iterable[CaseSummary], inside: Mapping[str, Any]) -> HTML:
    """Return a view with a slider for the time constant at the start, for D = 200 steps.

    It begins at 20 steps, where it matters most whether the time constant is trained.

    Args:
        group: cases of the group ``fair-ratios``.
        inside: ``results/fair_inside.json``.
    """
    known = list(group)
    mean = {(case["kind"], case["name"]): case["accuracy"]["mean"] for case in known}
    return view(
        "border",
        {
            "distance": RATIOS_AT,
            "taus": [round(RATIOS_AT / ratio, 1) for ratio in RATIOS],
            "first": RATIOS_AT / 10,
            "memories": [
                {
                    "name": name.replace("\n", " "),
                    **{
                        how: [mean[kind, f"{LEARNED[flag]}, D / tau = {ratio}"] for ratio in RATIOS]
                        for how, flag in (("learned", True), ("fixed", False))
                    },
                    **inside["ratios"][kind],
                }
                for kind, name in MEMORIES.items()
            ],
        },
        ratios(known, inside),
        "accuracy against D over tau at the start for a membrane, a synapse and a loop through a synapse, with tau "
        "fixed and learned; below, the cue and the gradient that are there before training",
    )
