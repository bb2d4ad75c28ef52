"""The task of the text and its variations: an image of Fashion-MNIST, read column by column."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sequential_fmnist.data import Data, SequentialFashionMNIST, batches, prepared
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments.frame import Record
from sequential_fmnist.experiments.statistics import estimate
from sequential_fmnist.networks import columns_as_sequence, hidden_and_readout
from sequential_fmnist.options import check_options, option
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import fold
from snn_core.functional import reset_net, scan

__all__ = ["ImageTask", "hidden_spikes", "subset"]

#: Images of the training set that are set aside to choose recipes with, always the same ones.
VALIDATION = 6_000
_SPLIT_SEED = 2026


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """What a network is shown; the defaults are the tutorial's."""

    order: str = option("column", "how an image is read", ("column", "row"))
    standardise: bool = option(False, "pixels less their mean, divided by their deviation")
    permuted: bool = option(False, "whether the columns come in one fixed random order")
    delay: int = option(0, "blank columns after the image", 0)
    #: validation: the test set is left alone, and images set aside from the training set measure
    split: str = option("test", "what measures", ("test", "validation"))
    source: str = option("full", "as for SequentialFashionMNIST", ("auto", "full", "embedded"))

    chance: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        check_options(self)

    @cache  # noqa: B019, there are few
    def splits(self) -> tuple[Data, Data]:
        """Return the images to train with and to measure with."""
        options: dict[str, Any] = {name: getattr(self, name) for name in ("order", "standardise", "source")}
        train = SequentialFashionMNIST(train=True, verbose=False, **options)
        if self.split == "test":
            test = SequentialFashionMNIST(train=False, verbose=False, **options)
        else:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_SPLIT_SEED))
            held = max(1, min(VALIDATION, len(train) // 10))
            train, test = subset(train, order[held:]), subset(train, order[:held])
        return self._shown(train), self._shown(test)

    def _shown(self, data: Data) -> Data:
        """Return ``data`` with its columns permuted and followed by blank ones."""
        data = copy.copy(data)
        if self.permuted:
            width, generator = data.images.shape[-1], torch.Generator().manual_seed(_SPLIT_SEED)
            data.images = data.images[..., torch.randperm(width, generator=generator)]
        if self.delay:
            data.images = nn.functional.pad(data.images, (0, self.delay))
        return data

    def train(self, net: nn.Module, training: TrainingConfig) -> tuple[nn.Module, list[dict[str, float]]]:
        """Train and return the network, with batch normalisation folded away, and its history."""
        history = fit(net, *self.splits(), training, progress=False)
        return fold(net), history

    def run(self, net: nn.Module, training: TrainingConfig) -> Record:
        """Train and return the accuracy after every epoch, and the numbers of parameters and of spikes."""
        net, history = self.train(net, training)
        test = self.splits()[1]
        return {
            "parameters": sum(p.numel() for p in net.parameters()),
            "accuracy": evaluate(net, test, 1000, loss=training.loss)[1],
            "train_accuracy": history[-1]["train_accuracy"],
            "curve": [round(epoch["test_accuracy"], 4) for epoch in history],
            "spikes": _spikes_per_image(net, test) if hidden_and_readout(net)[0] else None,
            **_learned_taus(net),
        } | (
            {"skipped": [epoch["skipped_steps"] for epoch in history]}
            if "skipped_steps" in history[0]
            else {}
        )

    def more(self, runs: list[Record]) -> Record:
        """Return for a summary train accuracies, spikes and learned time constants."""
        learned = [run["train_accuracy"] for run in runs if run.get("train_accuracy") is not None]
        spikes = [run["spikes"] for run in runs if run.get("spikes") is not None]
        taus = [value for run in runs for name, value in run.items() if name.startswith("tau of")]
        return {
            "train_accuracy": estimate(learned).mean if learned else None,
            "train_values": learned,
            "spikes": dataclasses.asdict(estimate(spikes)) if spikes else None,
        } | ({"taus": taus} if taus else {})


def subset(data: Data, indices: Tensor) -> Data:
    """Return the images with these indices."""
    part = copy.copy(data)
    part.images, part.labels = data.images[indices], data.labels[indices]
    return part


def hidden_spikes(net: nn.Module, images: Tensor) -> Tensor:
    """Return the spikes of the last hidden layer of a chain, ``[T, N, hidden]``."""
    layers = dict(net.named_children())
    end = list(layers).index(hidden_and_readout(net)[0][-1]) + 1
    return scan(columns_as_sequence(images), *list(layers.values())[:end])


@torch.no_grad()
def _spikes_per_image(net: nn.Module, data: Data) -> float:
    """Return the last hidden layer's spikes for an image, on average over ``data``."""
    total = 0.0
    for (images,), _ in batches(prepared(data), 1000):
        total += hidden_spikes(net, images).sum().item()
        reset_net(net)
    return total / len(data)


def _learned_taus(net: nn.Module) -> dict[str, float]:
    """Return the one time constant that a synapse or a leaky read-out has learned, in time steps, by its layer."""
    layers = {"synapse": net.sy1[0] if hasattr(net, "sy1") else None, "read-out": list(net.children())[-1]}
    taus = {name: getattr(layer, "tau", None) for name, layer in layers.items()}
    return {
        f"tau of the {name}": round(tau.item(), 3)
        for name, tau in taus.items()
        if getattr(tau, "requires_grad", False) and tau.numel() == 1
    }
