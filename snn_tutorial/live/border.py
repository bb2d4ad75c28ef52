"""Slide the time constant at the start against the distance, and see what can be learned from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from IPython.display import HTML

from sequential_fmnist.experiments.evidence import CaseSummary
from sequential_fmnist.experiments.fair.plan import LEARNED, RATIOS, RATIOS_AT
from snn_tutorial.live.frames import frames, line
from snn_tutorial.plot.fair import MEMORIES, ratios

_COLORS = ("membrane", "current", "loop")


def border_explorer(group: Iterable[CaseSummary], inside: Mapping[str, Any]) -> HTML:
    """Return a view with a slider for the time constant at the start, for D = 200 steps.

    It begins at 20 steps, where it matters most whether the time constant is trained.

    Args:
        group: cases of the group ``fair-ratios``.
        inside: ``results/fair_inside.json``.
    """
    known = list(group)
    mean = {(case["kind"], case["name"]): case["accuracy"]["mean"] for case in known}
    taus = np.array([round(RATIOS_AT / ratio, 1) for ratio in RATIOS])
    x = np.log10(taus / RATIOS_AT)
    time = np.arange(RATIOS_AT + 1)

    def frame(k: int, is_learned: int) -> tuple[list[dict[str, Any]], str]:
        tau = taus[k]
        left = (1 - 1 / tau) ** time
        right = {
            kind: [mean[kind, f"{LEARNED[bool(is_learned)]}, D / tau = {ratio}"] for ratio in RATIOS]
            for kind in MEMORIES
        }
        cue = {kind: inside["ratios"][kind]["cue"] for kind in MEMORIES}

        def panel(shares: Mapping[str, list[float]], is_after: bool, **options: Any) -> dict[str, Any]:
            marks: list[dict[str, Any]] = []
            for (kind, name), color in zip(MEMORIES.items(), _COLORS, strict=True):
                y = 100 * np.array(shares[kind])
                label = {"label": name.replace("\n", " ")} if is_after else {"dashed": True}
                dots = {"kind": "dots", "color": color}
                marks += [line(x, y, color, **label), {**dots, "x": x, "y": y, "size": 3}]
                marks.append({**dots, "x": x[[k]], "y": y[[k]], "size": 8, "hollow": True})
            ends = [x[0] - 0.15, x[-1] + 0.15]
            return {"x": ends, "y": [0, 104], "yLabel": "right (%)", "marks": marks, **options}

        spike = {
            "x": [0, RATIOS_AT],
            "y": [0, 1.05],
            "height": 90,
            "yLabel": "current",
            "xLabel": "steps after one spike",
        }
        panels = [
            {
                **spike,
                "title": "What is left of a spike in a synapse with this τ",
                "marks": [line(time, left, "current")],
            },
            panel(right, True, height=170, title=f"After training, D = {RATIOS_AT}"),
            panel(
                cue,
                False,
                height=90,
                title="Before training, by a linear reader",
                xLabel="log10 of τ at the start / D",
            ),
        ]
        found = ", ".join(
            f"{name} {100 * right[kind][k]:.0f} %".replace("\n", " ") for kind, name in MEMORIES.items()
        )
        share = f"{left[-1]:.0e}" if left[-1] < 0.001 else f"{100 * left[-1]:.0f} %"
        gradient = inside["ratios"][list(MEMORIES)[1]]["gradient"][k]
        said = (
            f"τ = {tau:g} steps: after {RATIOS_AT} steps {share} of a spike's current is left. With τ "
            f"{'learned' if is_learned else 'fixed'}, training gets right: {found}. In the synapse network "
            f"the gradient at the cue is {gradient:.0e} of that at the answer."
        ).replace("e-0", "e-")
        alt = "what is left of a spike's current, and accuracies against the time constant at the start"
        return [{"alt": alt, "panels": panels}], said

    return frames(
        {"τ at the start (steps)": taus.tolist(), "train τ as well": [False, True]},
        frame,
        ratios(known, inside),
        "accuracy against D over tau at the start for a membrane, a synapse and a loop through a synapse, with tau "
        "fixed and learned; below, the cue and the gradient that are there before training",
        first=[RATIOS.index(10), 1],
    )
