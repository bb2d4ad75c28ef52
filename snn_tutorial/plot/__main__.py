"""The command ``python -m snn_tutorial.plot``: draws what the README shows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.data import SequentialFashionMNIST
from snn_tutorial.page import save_figure
from snn_tutorial.plot.fair import headline
from snn_tutorial.plot.reading import reading_gif


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figures of the README from the files in ``results/``."""
    parser = argparse.ArgumentParser(prog="python -m snn_tutorial.plot", description=main.__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the JSON files")
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="folder to write to")
    args = parser.parse_args(argv)
    plt.switch_backend("agg")
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    reading = reading_gif(test.images[0, 0].numpy(), test.classes[int(test.labels[0])])
    try:
        found = [json.loads((args.results / f"{name}.json").read_text()) for name in ("ablation", "fair")]
        save_figure(headline(*found), args.figures / "memory.png")
        with atomic_write(args.figures / "reading.gif") as file:
            file.write(reading)
    except (OSError, ValueError) as error:  # no results, no space on the disk
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
