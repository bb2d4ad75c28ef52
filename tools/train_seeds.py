"""Train networks with several seeds and write their histories to one JSON file.

Runs go side by side, one process and one thread each: at this size a second thread gains little. With
``--library spikingjelly`` the same loop, seeds, initial weights and order of images train the networks built from that
library's modules, an independent check of what a seed can do.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from sequential_fmnist.command import Parser, number, target, whole
from sequential_fmnist.config import HIGHEST, TrainingConfig
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.provenance import provenance
from sequential_fmnist.training import fit, set_seed
from snn_core.backend import BACKENDS


def build(config: TrainingConfig, library: str) -> nn.Module:
    """Return the network of this configuration, with the same initial weights from either library."""
    set_seed(config.seed)
    ours = make_network(config.model, config.hidden, config.backend)
    if library == "snn_core":
        return ours
    # The twins of the parity tests: `make peer-seeds` puts tests/ on the path.
    from support_networks import spikingjelly_library

    theirs = spikingjelly_library().network(config.model, config.hidden)
    theirs.load_state_dict(ours.state_dict())
    return theirs


def train_one(config: TrainingConfig, source: str, library: str) -> dict[str, Any]:
    """Train one network and return its configuration, history and time in seconds."""
    torch.set_num_threads(1)
    train = SequentialFashionMNIST(train=True, order=config.order, source=source, verbose=False)
    test = SequentialFashionMNIST(train=False, order=config.order, source=source, verbose=False)
    started = time.perf_counter()
    _, history = fit(config, train, test, net=build(config, library))
    return {
        "library": library,
        "config": dataclasses.asdict(config),
        "data": train.source,
        "is_subset": train.is_subset,
        "seconds": time.perf_counter() - started,
        "history": history,
        "provenance": provenance(),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=whole(0, HIGHEST["seed"]), nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=whole(1), default=64)
    parser.add_argument(
        "--lr",
        type=number(0, exclusive=True),
        default=TrainingConfig.lr,
        help="learning rate (default: %(default)s)",
    )
    parser.add_argument("--models", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--library", choices=("snn_core", "spikingjelly"), default="snn_core")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--source", choices=("full", "embedded"), default="full")
    parser.add_argument("--processes", type=whole(1, HIGHEST["workers"]), default=os.cpu_count())
    parser.add_argument("--out", type=target, default="results/seeds.json")
    args = parser.parse_args(argv)

    configs = [
        TrainingConfig(model=model, seed=seed, epochs=args.epochs, lr=args.lr, backend=args.backend)
        for seed, model in product(args.seeds, args.models)
    ]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        run = partial(train_one, source=args.source, library=args.library)
        runs = list(tqdm(pool.map(run, configs), total=len(configs)))
    write_json(args.out, {"runs": runs})
    print(f"{len(runs)} runs written to {args.out}")


if __name__ == "__main__":
    main()
