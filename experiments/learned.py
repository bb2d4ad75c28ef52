"""``python -m experiments.learned``: which time constant the synapse filter learns, with and without a delay.

The runs are those of the group ``delay``, trained again, since a record of the ablation keeps no weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experiments.command import Parser, target
from experiments.grid import delay
from experiments.results import provenance, write_json
from experiments.runs import splits, train
from sequential_fmnist.evaluate import evaluate

PATH = Path("results") / "learned_tau.json"
DELAYS, SEEDS = (0, 28, 56), 5


def learned(delays: tuple[int, ...] = DELAYS, seeds: int = SEEDS) -> dict[str, Any]:
    """Return for each delay the time constant, in time steps, and the accuracy of every seed."""
    found = {}
    for case in delay():
        if case.kind != "stateful-synapse" or case.at not in delays:
            continue
        taus, accuracies = [], []
        for spec in case.runs()[:seeds]:
            net, _ = train(spec)
            taus.append(round(net.sy1[0].tau.item(), 3))
            accuracies.append(evaluate(net, splits(spec.data)[1], 1000, loss=spec.training.loss)[1])
        found[str(case.at)] = {"tau": taus, "accuracy": accuracies, "tau_at_the_start": case.spec.network.tau}
    return found


def main() -> None:
    """Train the networks and write what they learned."""
    parser = Parser(prog="python -m experiments.learned", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=target, default=PATH, help=f"file to write (default: {PATH})")
    args = parser.parse_args()
    torch.set_num_threads(1)
    write_json(args.out, {"delays": learned(), "provenance": provenance()})


if __name__ == "__main__":
    main()
