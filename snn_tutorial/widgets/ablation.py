"""Pick a control of the ablation, and see what its runs say."""

from __future__ import annotations

from ipywidgets import Checkbox, Dropdown, VBox
from matplotlib.figure import Figure

from experiments.evidence import Summary, cases
from sequential_fmnist.networks import NETWORKS
from snn_tutorial.plot.ablation import draw_group
from snn_tutorial.widgets import WIDE, explorer


def control_explorer(summary: Summary, group: str = "delay") -> VBox:
    """Return a view with a choice of control and a switch for each network.

    Args:
        summary: ``results/ablation.json``.
        group: what is shown first; the first one that there is, where it has not been run.

    Raises:
        ValueError: the summary has no group.
    """
    names = [name for name, members in summary["groups"].items() if members]
    if not names:
        raise ValueError("the summary has no group: run `python -m experiments` first")

    def draw(control: str, **shown: bool) -> Figure:
        hidden = {kind for kind in NETWORKS if not shown[kind]}
        return draw_group(control, [case for case in cases(summary, control) if case["kind"] not in hidden])

    # A question is the first sentence of what the grid says about its group.
    options = [
        (f"{name.replace('_', ' ')}: {summary['questions'][name].splitlines()[0]}", name) for name in names
    ]
    control = Dropdown(
        options=options,
        value=group if group in names else names[0],
        description="control",
        style=WIDE,
        layout={"width": "95%"},
    )
    switches = {
        kind: Checkbox(value=True, description=kind, indent=False, layout={"width": "160px"})
        for kind in NETWORKS
    }
    return explorer(
        draw,
        {"control": control} | switches,
        alt="accuracy of the control's cases: every run, means and 95 % intervals",
        rows=[[control], list(switches.values())],
    )
