"""``python -m experiments.vowels``: three networks of about 3,000 parameters on JapaneseVowels, with lengths.

Linear -> LIF -> (synapse filter) -> Linear, or with feedback around the LIF neurons; the mean of the last layer over an
utterance's own steps names the speaker. Recipes are the same for all: they were not chosen for any of the three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.statistics import estimate
from sequential_fmnist.command import Parser, target, whole
from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance
from sequential_fmnist.trainer import set_seed
from sequential_fmnist.vowels import CHANNELS, SPEAKERS, JapaneseVowels
from snn_core.functional import mean_over_time, reset_net, scan
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import LIFNode
from snn_core.surrogate import ATan

PATH = Path("results") / "vowels.json"
SEEDS, EPOCHS, BATCH, LR = 5, 50, 16, 0.005


def _lif() -> LIFNode:
    return LIFNode(tau=2.0, decay_input=False, surrogate_function=ATan(), detach_reset=True)


#: The layers between the two linear ones, for a number of hidden neurons; and that number.
HIDDEN: dict[str, tuple[Callable[[int], list[nn.Module]], int]] = {
    "plain": (lambda hidden: [_lif()], 136),
    "stateful-synapse": (lambda hidden: [_lif(), SynapseFilter(2.0, learnable=True)], 136),
    "feedback": (lambda hidden: [LinearRecurrentContainer(_lif(), hidden, hidden)], 33),
}


class VowelNet(nn.Module):
    """A network that reads utterances ``x_seq`` ``[T, N, 12]`` with ``lengths`` ``[N]``, and gives ``[N, 9]``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        make, hidden = HIDDEN[kind]
        self.layers = nn.Sequential(nn.Linear(CHANNELS, hidden), *make(hidden), nn.Linear(hidden, SPEAKERS))

    def forward(self, x_seq: Tensor, lengths: Tensor) -> Tensor:
        reset_net(self)
        return mean_over_time(scan(x_seq, self.layers, lengths=lengths), lengths)


def train(kind: str, seed: int, epochs: int = EPOCHS) -> VowelNet:
    """Return a network trained by Adam, with a learning rate that falls to 0 as a cosine."""
    set_seed(seed)
    net, data = VowelNet(kind), JapaneseVowels(train=True)
    shuffled = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for x_seq, lengths, labels in data.batches(BATCH, shuffled):
            loss = nn.functional.cross_entropy(net(x_seq, lengths), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
    return net


@torch.no_grad()
def right(net: VowelNet, data: JapaneseVowels) -> int:
    """Return how many utterances the network names the speaker of."""
    (batch,) = data.batches(len(data))
    x_seq, lengths, labels = batch
    return int((net(x_seq, lengths).argmax(1) == labels).sum())


def run(seeds: int = SEEDS, epochs: int = EPOCHS) -> dict[str, Any]:
    """Return for each network its size, the accuracy of every seed, their mean with its interval, and the time."""
    test, found = JapaneseVowels(train=False), {}
    for kind in HIDDEN:
        begin, accuracies = time.perf_counter(), []
        for seed in range(seeds):
            net = train(kind, seed, epochs)
            accuracies.append(right(net, test) / len(test))
        mean = estimate(accuracies)
        found[kind] = {
            "hidden": HIDDEN[kind][1],
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "accuracy": [round(accuracy, 5) for accuracy in accuracies],
            "mean": {name: value and round(value, 5) for name, value in vars(mean).items()},
            "seconds": round((time.perf_counter() - begin) / seeds, 1),
        }
        print(
            f"{kind:17}{mean.mean:.1%} of {len(test)} utterances, {found[kind]['seconds']} s a run",
            flush=True,
        )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks and write what they reach on the test split."""
    parser = Parser(prog="python -m experiments.vowels", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=whole(1, 1000), default=SEEDS, help=f"runs of each (default: {SEEDS})"
    )
    parser.add_argument("--epochs", type=whole(1), default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument("--out", type=target, default=PATH, help=f"file to write (default: {PATH})")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = {"epochs": args.epochs, "batch": BATCH, "lr": LR, "seeds": args.seeds}
    write_json(args.out, settings | {"networks": run(args.seeds, args.epochs), "provenance": provenance()})


if __name__ == "__main__":
    main()
