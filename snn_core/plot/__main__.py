"""The command ``python -m snn_core.plot``: draws what the README shows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from snn_core.data import SequentialFashionMNIST
from snn_core.plot.overview import overview
from snn_core.plot.show import save_figure
from snn_core.plot.throughput import throughput
from snn_core.plot.training import CURVES, training_curves


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
