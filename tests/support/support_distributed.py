"""What test_distributed.py runs once in one process and once in two: ``support_distributed.py FOLDER``.

Each process saves what it got to ``FOLDER/{size}_{rank}.pt``.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.distributed import Ranks, join
from sequential_fmnist.networks import NETWORKS, NetworkSpec, build, make_network
from sequential_fmnist.training import Trainer, evaluate, fit, set_seed

#: The tutorial's recipe, and one where the optimizer and the limit of the norm have to see the same gradient too.
RECIPES = {"sgd": {}, "adam": {"opt": "adam", "lr": 0.003, "loss": "cross-entropy", "clip": 0.5}}
#: 603 images: 2 batches that do not halve evenly, and a last one of 89.
BATCH, IMAGES = 257, 603


class Double(nn.Module):
    """A network in fp64: in fp32 rounding moves a potential over the threshold now and then, and a spike differs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.double())


def results(ranks: Ranks, train: SequentialFashionMNIST, test: SequentialFashionMNIST) -> dict[str, object]:
    """Return weights and histories by name."""
    found = {}

    def run(name: str, net: nn.Module, data: SequentialFashionMNIST = train, **options: object) -> None:
        net, history = fit(TrainingConfig(**options), data, test, net=net, progress=False, ranks=ranks)
        found[name] = {"weights": net.state_dict(), "history": history}

    for model in NETWORKS:
        for recipe, options in RECIPES.items():
            set_seed(0)
            run(f"{model}, {recipe}", Double(make_network(model, 128)), epochs=1, batch_size=BATCH, **options)

    few = copy.copy(train)
    few.images, few.labels = train.images[:201], train.labels[:201]
    set_seed(0)
    run("one image in the last batch", Double(make_network("feedback")), few, epochs=2, batch_size=100)

    # Other weights in each process, of which the first one's count.
    set_seed(ranks.rank)
    run("weights of the first", Double(make_network("plain")), few, epochs=1, batch_size=100)
    found["evaluate"] = evaluate(make_network("plain"), test, BATCH, ranks=ranks)
    return found


def refusals(ranks: Ranks, train: SequentialFashionMNIST, test: SequentialFashionMNIST) -> dict[str, str]:
    """Return what is said to that which several processes cannot do."""
    said = {}
    one = copy.copy(train)
    one.images, one.labels = train.images[: 50 + ranks.rank], train.labels[: 50 + ranks.rank]
    for name, attempt in {
        "batch size": lambda: fit(TrainingConfig(batch_size=1), train, test, ranks=ranks),
        "sizes": lambda: fit(TrainingConfig(), one, test, ranks=ranks),
        "batch norm": lambda: Trainer(TrainingConfig(), net=build(NetworkSpec(batch_norm=True)), ranks=ranks),
    }.items():
        try:
            attempt()
        except ValueError as error:
            said[name] = str(error)
    return said


def main(folder: Path) -> None:
    """Run everything and save it."""
    train, test = (
        SequentialFashionMNIST(train=split, source="embedded", verbose=False) for split in (True, False)
    )
    train.images, train.labels = train.images[:IMAGES], train.labels[:IMAGES]
    with join("cpu") as ranks:
        found = results(ranks, train, test)
        if ranks.size > 1:
            found["refusals"] = refusals(ranks, train, test)
        torch.save(found, folder / f"{ranks.size}_{ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
