"""Curves of training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from snn_tutorial.plot.style import OKABE_ITO, RC, STYLE

#: Key in the history, and the label of its axis with the unit.
CURVES: dict[str, str] = {
    "train_loss": "train loss (mean squared error)",
    "train_accuracy": "train accuracy (%)",
    "test_accuracy": "test accuracy (%)",
}

History = Sequence[Mapping[str, float]]


def _look(name: str, k: int) -> dict[str, Any]:
    """Return the look of a network's curve, or of the curve number ``k`` of something else."""
    colours = list(OKABE_ITO.values())
    return STYLE.get(name, {"color": colours[k % len(colours)], "linestyle": ("-", "--", ":")[k % 3]})


@plt.rc_context(RC)
def training_curves(histories: Mapping[str, History], key: str, subset: bool = False) -> Figure:
    """Draw one quantity of several runs against the epoch.

    Args:
        histories: name of a network, or of a run, to its history, as :func:`sequential_fmnist.train.fit` returns it.
        key: one of :data:`CURVES`.
        subset: whether the networks saw only the embedded subset; the figure then says so.

    Raises:
        ValueError: an unknown ``key``, or no history.
    """
    if key not in CURVES:
        raise ValueError(f"key must be one of {', '.join(CURVES)}, got {key!r}")
    if not histories:
        raise ValueError("histories is empty: train at least one network")
    scale = 100 if key.endswith("accuracy") else 1
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    for k, (name, history) in enumerate(histories.items()):
        epochs = [record["epoch"] + 1 for record in history]
        values = [scale * record[key] for record in history]
        marker = "o" if len(history) == 1 else None
        axes.plot(epochs, values, label=name, linewidth=2, marker=marker, **_look(name, k))
    axes.set_xlabel("epoch")
    axes.set_ylabel(CURVES[key])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if subset:
        axes.set_title("6,000 of 60,000 training images", loc="left", fontsize=11)
    axes.legend()
    return figure
