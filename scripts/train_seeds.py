"""Train the three networks with several seeds and write last-epoch accuracies to one JSON file.

Runs go side by side, one process and one thread each: at this size a second thread gains nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm

from snn_core.data import SequentialFashionMNIST
from snn_core.files import write_json
from snn_core.network import NETWORKS
from snn_core.provenance import provenance
from snn_core.training import TrainingConfig, fit


def train_one(config: TrainingConfig, source: str) -> dict[str, Any]:
    """Train one network and return its configuration, history and time in seconds."""
    torch.set_num_threads(1)
    train = SequentialFashionMNIST(train=True, order=config.order, source=source, verbose=False)
    test = SequentialFashionMNIST(train=False, order=config.order, source=source, verbose=False)
    started = time.perf_counter()
    _, history = fit(config, train, test)
    return {
        "config": dataclasses.asdict(config),
        "data": train.source,
        "is_subset": train.is_subset,
        "seconds": time.perf_counter() - started,
        "history": history,
        "provenance": provenance(),
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--source", choices=("full", "embedded"), default="full")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", default="results/seeds.json")
    args = parser.parse_args()

    configs = [
        TrainingConfig(model=model, seed=seed, epochs=args.epochs)
        for seed, model in product(args.seeds, NETWORKS)
    ]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        runs = list(tqdm(pool.map(train_one, configs, [args.source] * len(configs)), total=len(configs)))
    write_json(args.out, {"runs": runs})
    print(f"{len(runs)} runs written to {args.out}")


if __name__ == "__main__":
    main()
