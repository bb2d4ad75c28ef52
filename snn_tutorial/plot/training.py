"""Curves of training runs, and what several seeds end at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from snn_tutorial.plot.style import OKABE_ITO, RC, STYLE, legend_above, stacked

#: Key in the history, and the label of its axis with the unit.
CURVES: dict[str, str] = {
    "train_loss": "train loss (mean squared error)",
    "train_accuracy": "train accuracy (%)",
    "test_accuracy": "test accuracy (%)",
}
#: Of ways to train one network, which stand beside the network as listed.
WAYS = [
    {"color": OKABE_ITO["orange"], "linestyle": "--"},
    {"color": OKABE_ITO["sky blue"], "linestyle": "-."},
]

History = Sequence[Mapping[str, float]]


@plt.rc_context(RC)
def training_curves(histories: Mapping[str, History], key: str, subset: bool = False) -> Figure:
    """Draw one quantity of several runs against the epoch.

    Args:
        histories: name of a network, or of a way to train one, to its history from
            :func:`sequential_fmnist.train.fit`.
        key: one of :data:`CURVES`.
        subset: whether the networks saw only the embedded subset; the figure then says so.
    """
    scale, ways = 100 if key.endswith("accuracy") else 1, iter(WAYS)
    figure, axes = plt.subplots()
    for name, history in histories.items():
        look = STYLE[name] if name in STYLE else next(ways)
        epochs, values = [one["epoch"] + 1 for one in history], [scale * one[key] for one in history]
        marker = "o" if len(history) == 1 else None
        axes.plot(epochs, values, label=name, linewidth=2, marker=marker, **look)
    axes.set(xlabel="epoch", ylabel=CURVES[key])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if subset:
        axes.set_title("6,000 of 60,000 training images")
    legend_above(figure, axes, columns=3 if all(name in STYLE for name in histories) else 1)
    return figure


@plt.rc_context(RC)
def accuracy_by_seed(recipes: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the accuracies in which several seeds end as dots, a row for each network, a panel for each recipe.

    Args:
        recipes: title of each recipe to its networks, and these to the test accuracies, in per cent.
    """
    figure, panels = stacked(len(recipes), 1.5 * len(recipes) + 0.5)
    for axes, (title, networks) in zip(panels, recipes.items(), strict=True):
        for row, (name, values) in enumerate(networks.items()):
            axes.plot(values, [row] * len(values), "o", color=STYLE[name]["color"], alpha=0.6)
        axes.set_yticks(range(len(networks)), networks)
        axes.set(ylim=(len(networks) - 0.4, -0.6), title=title)
    panels[-1].set_xlabel("test accuracy (%)")
    return figure
