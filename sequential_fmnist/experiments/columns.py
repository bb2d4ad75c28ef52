"""What is the order of an image's columns worth? The study of chapter 04, section 8.

Each image gets an order of its own for its columns, so that no network can use where a column stood. The recipe is the
text's but for 20 epochs, and for gradients through the reset, which are attached: with them cut, a run of the feedback
network may lose more in one epoch than is measured here.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from functools import cache

import torch
from torch import nn

from sequential_fmnist.data import Data
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments.frame import Case, Record, Records, Spec, Study
from sequential_fmnist.experiments.images import ImageTask
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.options import option
from sequential_fmnist.train import TrainingConfig
from sequential_fmnist.variants import NetworkSpec

__all__ = ["COLUMNS", "shuffled"]

#: Seeds from here on, which were chosen before the first run.
FIRST, SEEDS = 11, 3
RECIPE = TrainingConfig(epochs=20, fused=True)


def shuffled(data: Data, seed: int) -> Data:
    """Return images of which each has its columns in an order of its own."""
    data, generator = copy.copy(data), torch.Generator().manual_seed(seed)
    n, _, height, width = data.images.shape
    order = torch.rand(n, 1, 1, width, generator=generator).argsort(3)
    data.images = data.images.gather(3, order.expand(-1, 1, height, -1))
    return data


@dataclasses.dataclass(frozen=True)
class ColumnTask(ImageTask):
    """Images with their columns in order, or each in an order of its own, training and test."""

    columns: str = option("in order", "how the columns of an image come", ("in order", "shuffled"))

    @cache  # noqa: B019, there are few
    def splits(self) -> tuple[Data, Data]:
        train, test = super().splits()
        return (train, test) if self.columns == "in order" else (shuffled(train, 0), shuffled(test, 1))

    def run(self, net: nn.Module, training: TrainingConfig) -> Record:
        """Train and return what an image task keeps, and the accuracy on shuffled test images."""
        record = super().run(net, training)
        test = dataclasses.replace(self, columns="shuffled").splits()[1]
        return record | {"accuracy_shuffled": evaluate(net, test, 1000, loss=training.loss)[1]}

    def more(self, runs: list[Record]) -> Record:
        """Return for a summary also the accuracies on shuffled test images, and the seeds."""
        return super().more(runs) | {
            "shuffled": [run["accuracy_shuffled"] for run in runs],
            "seeds": [run["seed"] for run in runs],
        }


def columns(_: Records) -> Iterable[Case]:
    """What is the order of the columns worth to each network?"""
    for kind in TUTORIAL_NETWORKS:
        for name in ("in order", "shuffled"):
            spec = Spec(NetworkSpec(kind, detach_reset="none"), ColumnTask(columns=name), RECIPE)
            yield Case(name, kind, spec, SEEDS, first=FIRST)


COLUMNS = Study("columns", {"columns": columns})
