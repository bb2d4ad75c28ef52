"""One training run of the ablation: what decides it, how it is executed, what is kept of it."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import time
from functools import cache
from typing import Any, Self

import torch

from experiments.networks import NetworkSpec, build, fold
from experiments.results import provenance
from sequential_fmnist.data import Data, SequentialFashionMNIST, batches, prepared
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.train import TrainingConfig, fit, set_seed
from snn_core.functional import reset_net

#: Images of the training set that are set aside to choose recipes with, always the same ones.
VALIDATION = 6_000
_SPLIT_SEED = 2026

#: What is kept of a run.
Record = dict[str, Any]


class Spec:
    """Base of what decides a run: a frozen dataclass of dataclasses, one of them ``training`` with a ``seed``.

    Attributes:
        chance: what a run counts as whose loss was not finite.
    """

    training: Any
    chance: float

    def execute(self) -> Record:
        """Run it and return what is kept, with an ``accuracy`` of None where it failed."""
        raise NotImplementedError

    def with_seed(self, seed: int) -> Self:
        """Return the same run with another seed."""
        own: Any = self
        return dataclasses.replace(own, training=dataclasses.replace(self.training, seed=seed))

    def key(self) -> str:
        """Return a short name that is the same for the same run, and for no other.

        Defaults do not enter it, so that an option that is added later leaves it as it is.
        """
        text = json.dumps([self.changed(), self.training.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changed(self) -> dict[str, Any]:
        """Return only what differs from the defaults, for readers of the file."""
        given, default = dataclasses.asdict(self), dataclasses.asdict(type(self)())  # type: ignore[call-overload]
        return {
            part: values
            for part in given
            if (values := {name: v for name, v in given[part].items() if v != default[part][name]})
        }


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of a group, run once for each seed.

    Args:
        name: what tells it from the others in its group.
        kind: the network.
        spec: the run, with any seed.
        seeds: number of seeds.
        at: the number on the x axis where the group is a curve.
        first: the first of the seeds.
    """

    name: str
    kind: str
    spec: Spec
    seeds: int
    at: int | None = None
    first: int = 0

    def runs(self) -> list[Any]:
        """Return the specs of all seeds."""
        return [self.spec.with_seed(self.first + k) for k in range(self.seeds)]


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What a network is shown; the defaults are the tutorial's.

    Args:
        order: ``"column"`` or ``"row"``.
        permuted: whether the columns come in one fixed random order.
        delay: blank columns after the image.
        split: ``"test"`` trains on the training set and measures on the test set; ``"validation"`` leaves the test
            set alone and measures on images set aside from the training set.
        source: as in :class:`~sequential_fmnist.data.SequentialFashionMNIST`.
    """

    order: str = "column"
    permuted: bool = False
    delay: int = 0
    split: str = "test"
    source: str = "full"


@dataclasses.dataclass(frozen=True)
class RunSpec(Spec):
    """Everything that decides a run on Fashion-MNIST."""

    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    data: DataSpec = dataclasses.field(default_factory=DataSpec)

    chance = 0.1

    def execute(self) -> Record:
        """Train and return the accuracy after every epoch, and the number of parameters and of spikes."""
        try:
            net, history = train(self)
        except FloatingPointError as error:
            return {"accuracy": None, "error": str(error)}
        test = splits(self.data)[1]
        return {
            "parameters": sum(p.numel() for p in net.parameters()),
            "accuracy": evaluate(net, test, 1000, loss=self.training.loss)[1],
            "train_accuracy": history[-1]["train_accuracy"],
            "curve": [round(epoch["test_accuracy"], 4) for epoch in history],
            "spikes": _spikes_per_image(net, test) if hasattr(net, "hidden_spikes") else None,
        } | _learned_taus(net)


@cache
def splits(spec: DataSpec) -> tuple[Data, Data]:
    """Return the images to train with and to measure with."""
    train = SequentialFashionMNIST(train=True, order=spec.order, source=spec.source, verbose=False)
    if spec.split == "test":
        test = SequentialFashionMNIST(train=False, order=spec.order, source=spec.source, verbose=False)
    else:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        held = max(1, min(VALIDATION, len(train) // 10))
        train, test = _subset(train, order[held:]), _subset(train, order[:held])
    return _shown(train, spec), _shown(test, spec)


def _subset(data: Data, indices: torch.Tensor) -> Data:
    part = copy.copy(data)
    part.images, part.labels = data.images[indices], data.labels[indices]
    return part


def _shown(data: Data, spec: DataSpec) -> Data:
    """Return ``data`` with its columns permuted and followed by blank ones."""
    data = copy.copy(data)
    if spec.permuted:
        width = data.images.shape[-1]
        data.images = data.images[
            ..., torch.randperm(width, generator=torch.Generator().manual_seed(_SPLIT_SEED))
        ]
    if spec.delay:
        data.images = torch.nn.functional.pad(data.images, (0, spec.delay))
    return data


def _learned_taus(net: torch.nn.Module) -> dict[str, float]:
    """Return the one time constant that a synapse or a leaky read-out has learned, in time steps, by its layer."""
    layers = {
        "synapse": net.sy1[0] if getattr(net, "sy1", None) else None,
        "read-out": getattr(net, "sn2", None),
    }
    found = {name: getattr(layer, "tau", None) for name, layer in layers.items()}
    return {
        f"tau of the {name}": round(tau.item(), 3)
        for name, tau in found.items()
        if getattr(tau, "requires_grad", False)
    }


@torch.no_grad()
def _spikes_per_image(net: torch.nn.Module, data: Data) -> float:
    """Return the hidden layer's spikes for an image, on average over ``data``."""
    total = 0.0
    for (images,), _ in batches(prepared(data), 1000):
        total += net.hidden_spikes(images).sum().item()
        reset_net(net)
    return total / len(data)


def train(spec: RunSpec) -> tuple[torch.nn.Module, list[Any]]:
    """Train the network of ``spec`` and return it, with batch normalisation folded away, and its history."""
    set_seed(spec.training.seed)
    net = build(spec.network)
    history = fit(net, *splits(spec.data), spec.training, progress=False)
    return fold(net), history


def execute(spec: Spec) -> Record:
    """Run a spec and return its record: what was changed, the outcome, the time, versions.

    A run that ends with a loss that is not finite is kept too, with an accuracy of None.
    """
    torch.set_num_threads(1)  # runs share the cores
    started = time.perf_counter()
    record = {"key": spec.key(), "changed": spec.changed(), "seed": spec.training.seed} | spec.execute()
    return record | {"seconds": round(time.perf_counter() - started, 2), "provenance": provenance()}
