"""Every figure of the collection. ``python -m snn_core.plot`` draws those that notebooks and README show."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from snn_core.data import SequentialFashionMNIST
from snn_core.files import atomic_write

__all__ = ["CURVES", "overview", "save_figure", "show", "throughput", "training_curves"]

#: Colours that stay apart in every form of colour blindness: M. Okabe, K. Ito, "Color universal design", 2008.
#: The line style tells the networks apart in black and white.
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": "#000000", "linestyle": ":"},
    "stateful-synapse": {"color": "#D55E00", "linestyle": "--"},
    "feedback": {"color": "#0072B2", "linestyle": "-"},
}

#: Key in the history, and the label of its axis with the unit.
CURVES: dict[str, str] = {
    "train_loss": "train loss (mean squared error)",
    "train_accuracy": "train accuracy (%)",
    "test_accuracy": "test accuracy (%)",
}

RC = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 11,
    "legend.frameon": False,
    "savefig.dpi": 160,
}

History = Sequence[Mapping[str, float]]


def training_curves(histories: Mapping[str, History], key: str, subset: bool = False) -> Figure:
    """Draw one quantity of several networks against the epoch.

    Args:
        histories: network's name to its history, as :func:`snn_core.training.fit` returns it.
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
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
        for name, history in histories.items():
            epochs = [record["epoch"] + 1 for record in history]
            values = [scale * record[key] for record in history]
            marker = "o" if len(history) == 1 else None
            axes.plot(epochs, values, label=name, linewidth=2, marker=marker, **STYLE[name])
        axes.set_xlabel("epoch")
        axes.set_ylabel(CURVES[key])
        axes.xaxis.get_major_locator().set_params(integer=True)
        if subset:
            axes.set_title("6,000 of 60,000 training images", loc="left", fontsize=11)
        axes.legend()
    return figure


def overview(image: np.ndarray) -> Figure:
    """Draw the front page's picture: an image read column by column, and what the three networks remember with.

    Args:
        image: one grey image ``[28, 28]``.
    """
    with plt.rc_context(RC | {"axes.grid": False}):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9, 3.6), width_ratios=(1, 2.1), layout="constrained"
        )
        _draw_reading(left, image, column=9)
        right.set_axis_off()
        right.set_xlim(0, 10)
        right.set_ylim(-0.9, 5.4)
        right.set_title("three ways to remember the columns before", fontsize=11)
        for row, (name, memory) in enumerate(
            {
                "plain": "remembers with its membranes only",
                "stateful-synapse": "synapses keep a decaying current",
                "feedback": "spikes come back one step later",
            }.items()
        ):
            _draw_network(right, 4.3 - 2 * row, name, memory)
    return figure


def throughput(results: Mapping[str, Any]) -> Figure:
    """Draw the time of a training step for every library and network at the base size, our own in colour.

    Args:
        results: what ``make bench`` writes to results/throughput.json. Its first steps are those of the base size,
            one for each network.
    """
    panels = [entry for entry in results["steps"] if _size(entry) == _size(results["steps"][0])]
    labels = {name: library["label"] for name, library in results["libraries"].items()}
    size = panels[0]["config"]
    with plt.rc_context(RC | {"axes.grid": False, "font.size": 10}):
        figure, all_axes = plt.subplots(
            1,
            len(panels),
            figsize=(10, 0.34 * len(labels) + 1.3),
            sharex=True,
            sharey=True,
            layout="constrained",
        )
        for axes, panel in zip(np.atleast_1d(all_axes), panels, strict=True):
            _draw_bars(axes, panel["libraries"], labels)
            axes.set_title(panel["config"]["model"], fontsize=11)
            axes.set_xlabel("training step (ms)")
        shortest, longest = (
            pick(library["ms"]["median"] for panel in panels for library in panel["libraries"].values())
            for pick in (min, max)
        )
        axes.set_xlim(shortest / 2, longest * 15)  # room for the text of the longest bar
        figure.suptitle(
            f"batch {size['batch']}, {size['T']} time steps, {size['hidden']} hidden neurons; "
            f"{results['provenance']['processor']}, {results['provenance']['cores']} cores; x: times ours",
            fontsize=10,
        )
    return figure


def _size(entry: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(entry["config"][name] for name in ("batch", "T", "hidden"))


def _draw_bars(axes: Axes, times: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> None:
    """Draw a bar from each library's time, with its quartiles and its ratio to the first one."""
    medians = [times[name]["ms"]["median"] for name in labels]
    spread = [[times[n]["ms"][q] for n in labels] for q in ("q1", "q3")]
    colours = {"snn_core": "#0072B2", "snn_core-torch": "#56B4E9"}
    rows = np.arange(len(labels))
    axes.barh(
        rows,
        medians,
        color=[colours.get(name, "#BBBBBB") for name in labels],
        xerr=np.abs(np.array(spread) - medians),
        error_kw={"elinewidth": 1, "ecolor": "#000000"},
    )
    for row, name in enumerate(labels):
        ms, ratio = times[name]["ms"], times[name]["ratio"]
        text = f" {ms['median']:.2g} ms" + (f", {ratio:.2g}x" if row else "")
        axes.text(ms["q3"], row, text, va="center", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(rows, labels.values())
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top


def _draw_reading(axes: Axes, image: np.ndarray, column: int) -> None:
    axes.imshow(image, cmap="gray_r")
    axes.axvspan(column + 0.5, 27.5, color="white", alpha=0.75, linewidth=0)
    axes.add_patch(Rectangle((column - 0.5, -0.5), 1, 28, fill=False, edgecolor="#D55E00", linewidth=2))
    axes.set_title(f"one column in each step (t = {column})", fontsize=11)
    axes.set_xlabel("column = time step t")
    axes.set_ylabel("pixel = input feature")
    axes.set_xticks([0, 9, 18, 27])
    axes.set_yticks([0, 9, 18, 27])


def _draw_network(axes: Axes, y: float, name: str, memory: str) -> None:
    """Draw input -> hidden -> read-out at height ``y``, with the part that this network adds."""
    colour = STYLE[name]["color"]
    stops = {"28 inputs": 0.9, "32 IF": 3.6, "10 IF": 6.3}
    for label, x in stops.items():
        axes.add_patch(Circle((x, y), 0.42, facecolor="white", edgecolor=colour, linewidth=1.8))
        axes.text(x, y - 0.52, label, ha="center", va="top", fontsize=9)
    for start, end in ((0.9, 3.6), (3.6, 6.3)):
        _arrow(axes, (start + 0.45, y), (end - 0.45, y), colour)
    if name == "stateful-synapse":
        axes.add_patch(
            Rectangle((4.6, y - 0.26), 0.66, 0.52, facecolor="white", edgecolor=colour, linewidth=1.8)
        )
        axes.text(4.93, y, r"$\tau$", ha="center", va="center", color=colour)
    if name == "feedback":
        loop = "arc3,rad=1.6"
        _arrow(axes, (3.85, y + 0.38), (3.35, y + 0.38), colour, connectionstyle=loop)
    axes.text(7.1, y + 0.08, name, va="bottom", weight="bold", color=colour, fontsize=10)
    axes.text(7.1, y - 0.02, memory, va="top", fontsize=8)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, **style: Any
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=1.8, **style)
    )


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write ``figure`` to ``path`` as PNG, atomically, and close it."""
    with atomic_write(path) as file, plt.rc_context(RC):
        # Without the version of matplotlib in it, the same picture is the same file.
        figure.savefig(file, format="png", metadata={"Software": None})
    plt.close(figure)


def show(figure: Figure, path: str | os.PathLike[str], alt: str) -> Image:
    """Write ``figure`` as :func:`save_figure` does and return the picture for a notebook.

    Args:
        figure: the figure; closed afterwards, so that a notebook does not show it twice.
        path: PNG file to write.
        alt: what the picture shows, for readers who cannot see it.
    """
    save_figure(figure, path)
    width = round(100 * figure.get_figwidth())
    return Image(str(path), width=width, alt=alt)


def _draw_all(results: Path, folder: Path) -> list[Path]:
    training = json.loads((results / "training.json").read_text())
    histories = {name: network["history"] for name, network in training["networks"].items()}
    figures = {key: training_curves(histories, key, training["is_subset"]) for key in CURVES}
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    figures["overview"] = overview(test.images[0, 0].numpy())
    figures["throughput"] = throughput(json.loads((results / "throughput.json").read_text()))
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def main(argv: Sequence[str] | None = None) -> None:
    """Draw all figures from the files in ``results/``."""
    parser = argparse.ArgumentParser(prog="python -m snn_core.plot", description=main.__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the JSON files")
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="folder to write to")
    args = parser.parse_args(argv)
    plt.switch_backend("agg")
    for path in _draw_all(args.results, args.figures):
        print(path)


if __name__ == "__main__":
    main()
