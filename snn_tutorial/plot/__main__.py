"""The command ``python -m snn_tutorial.plot``: draws what the README shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from experiments.command import Parser, folder
from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.data import DataError, SequentialFashionMNIST
from snn_tutorial.page import save_figure
from snn_tutorial.plot.fair import headline
from snn_tutorial.plot.overview import overview
from snn_tutorial.plot.reading import column_gif, reading_gif
from snn_tutorial.plot.throughput import throughput
from snn_tutorial.plot.training import CURVES, training_curves


def _load(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}). Take it from the repository again") from error


def _draw_all(results: Path, folder: Path) -> list[Path]:
    training = _load(results / "training.json")
    histories = {name: network["history"] for name, network in training["networks"].items()}
    figures = {key: training_curves(histories, key, training["is_subset"]) for key in CURVES}
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    image, title = test.images[0, 0].numpy(), test.classes[int(test.labels[0])]
    figures["overview"] = overview(image)
    figures["memory"] = headline(_load(results / "ablation.json"), _load(results / "fair.json"))
    figures["throughput"] = throughput(_load(results / "benchmarks.json"))
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
    animations = {"reading.gif": reading_gif(image, title), "column.gif": column_gif(image)}
    for name, data in animations.items():
        with atomic_write(folder / name) as file:
            file.write(data)
    return [folder / f"{name}.png" for name in figures] + [folder / name for name in animations]


def main(argv: Sequence[str] | None = None) -> None:
    """Draw all figures from the files in ``results/``."""
    parser = Parser(prog="python -m snn_tutorial.plot", description=main.__doc__)
    parser.add_argument("--results", type=folder, default=Path("results"), help="folder of the JSON files")
    parser.add_argument("--figures", type=folder, default=Path("figures"), help="folder to write to")
    args = parser.parse_args(argv)
    plt.switch_backend("agg")
    try:
        for path in _draw_all(args.results, args.figures):
            print(path)
    except (OSError, DataError) as error:  # no results, no space on the disk
        parser.fail(error)
    except (JSONDecodeError, LookupError) as error:
        parser.fail(f"--results: the files in {args.results} are not what the notebooks write: {error!r}")


if __name__ == "__main__":
    main()
