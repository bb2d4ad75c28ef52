"""Train the three networks on the page: the whole experiment in a browser tab.

``python -m snn_tutorial.live.train`` trains the same in Python and records the curves with which the view begins, in
a few seconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from IPython.display import HTML

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_core.layer import SynapseFilter
from snn_tutorial.live import bundle, literal, packed, view
from snn_tutorial.live.javascript import CUTS, PRELUDE
from snn_tutorial.live.learner import OPTIMIZERS, equations, kind_of
from snn_tutorial.live.network import network_explorer
from snn_tutorial.page import save_results
from snn_tutorial.plot.confusion import pictures
from snn_tutorial.plot.training import training_curves

#: The rest is the command's.
__all__ = ["train_on_page"]

#: Images of the embedded subset that the page holds: to train with, and to test.
TRAINED, TESTED = 2_000, 500
EPOCHS, BATCH, LR = 30, 32, OPTIMIZERS["Adam"]
#: Factors on the learning rate, half a cosine.
SCHEDULE = [(1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(EPOCHS)]
#: Time constants of the synapse that a reader may choose, and limits of the gradient's norm; the first is none.
TAUS = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
LIMITS = {"as it is": 1e9, "at most 1": 1.0, "at most 0.1": 0.1}
#: Firing rates are from 0 to 1; so much more of them makes the bars of answers differ.
SCALE = 10
#: What a reader may change: see ``Option`` in ``train.js``. The first choice is that of :func:`trained`; a menu begins
#: with a choice's number. The hint says what to look for.
OPTIONS: dict[str, dict[str, Any]] = {
    "optimizer": {
        "label": "optimizer",
        "choices": list(OPTIMIZERS),
        "first": 1,
        "rates": list(OPTIMIZERS.values()),
    },
    "lr": {
        "label": "learning rate",
        "values": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
        "first": LR,
    },
    "clip": {"label": "norm of the gradient", "choices": list(LIMITS), "first": 0},
    "cut": {"label": "gradient through the reset is cut", "choices": list(CUTS), "first": 0},
    "hidden": {"label": "hidden neurons", "values": list(range(8, 65, 8)), "first": 32},
    "tau": {"label": "tau of the synapse", "values": list(TAUS), "first": 2.0, "unit": "steps"},
    "images": {"label": "training images", "values": [250, 500, 1000, TRAINED], "first": TRAINED},
    "order": {"label": "columns", "choices": ["left to right", "shuffled"], "first": 0},
    "blank": {"label": "blank columns before the answer", "values": list(range(0, 57, 7)), "first": 0},
}
HINTS = {
    "optimizer": "SGD with momentum is the tutorial's, Adam gives each weight a step of its own: which is ahead?",
    "lr": "A larger step learns faster at first: from where on does a curve jump, or stay low?",
    "clip": "A limit keeps steps small where the gradient explodes: do cliffs in the curves vanish?",
    "cut": "Look for cliffs in the feedback network's curve: do they vanish where the gradient is let through?",
    "hidden": "Do more neurons bring the three networks closer together, or is it the kind of memory that counts?",
    "tau": "Only the stateful synapse has it: does a longer memory help where all is over after 28 columns?",
    "images": "An epoch of fewer images has fewer steps, too: how much have the curves lost at the end?",
    "order": "Neighbours are torn apart, in the same way for each picture: does any network mind, or gain?",
    "blank": "The answer is the mean over the empty steps, too: which network still knows what it saw?",
}
#: Test images beyond those, which no network on the page has seen.
PICTURES = 12

ALT = "train loss and test accuracy of the plain network, the stateful synapse and the feedback network by epoch"


def _split(is_train: bool, first: int, count: int) -> SequentialFashionMNIST:
    data = copy.copy(SequentialFashionMNIST(train=is_train, source="embedded", verbose=False))
    data.images, data.labels = data.images[first : first + count], data.labels[first : first + count]
    return data


def train_on_page(recorded: Mapping[str, Any]) -> HTML:
    """Return a view that trains the three networks, and below it one in which they read drawings.

    Args:
        recorded: ``results/page_training.json``.
    """
    learned, tested = _split(True, 0, TRAINED), _split(False, 0, TESTED)
    images = torch.cat([learned.images, tested.images]).transpose(2, 3)  # column after column
    cells: dict[str, Any] = {}
    kinds = [kind_of(kind, OPTIONS["hidden"]["values"], cells) for kind in NETWORKS]
    worker = f"{PRELUDE}{bundle('learner')}work({literal(kinds)}, {literal(equations(cells))});"
    lesson = {
        "images": packed(images.numpy(), is_deflated=True),
        "labels": packed(torch.cat([learned.labels, tested.labels]).numpy()),
        "sizes": [TRAINED, TESTED],
        "batch": BATCH,
        "schedule": SCHEDULE,
        "limits": list(LIMITS.values()),
        "taus": [[tau, SynapseFilter(tau, learnable=True).double().w.item()] for tau in TAUS],
    }
    networks = recorded["networks"]
    data = {
        "worker": worker,
        "lesson": lesson,
        "options": OPTIONS,
        "hints": HINTS,
        "scale": SCALE,
        "kinds": kinds,
        "cells": cells,
        "recorded": [
            [{"loss": one["train_loss"], "accuracy": one["test_accuracy"]} for one in networks[kind]]
            for kind in NETWORKS
        ],
    }
    others = _split(False, TESTED, PICTURES)
    images, labels = others.images[:, 0].numpy(), others.labels.tolist()
    still = pictures(images[:5], [others.classes[label] for label in labels[:5]])
    explorer = network_explorer(images, labels, others.classes, still)
    figure = training_curves(networks, "train_loss", "test_accuracy")
    return HTML(view("train", data, figure, ALT).data + explorer.data)


def trained(kind: str, epochs: int = EPOCHS) -> list[dict[str, float]]:
    """Train as the page does at first; return the history of :func:`~sequential_fmnist.train.fit`."""
    torch.manual_seed(0)
    net, images = make_network(kind), (_split(True, 0, TRAINED), _split(False, 0, TESTED))
    config = TrainingConfig(epochs=epochs, cosa_tmax=EPOCHS, batch_size=BATCH, lr=LR, opt="adam")
    history = fit(net, *images, config, progress=False)
    return [{key: round(value, 5) for key, value in one.items()} for one in history]


def main() -> None:
    """Train, and write the curves."""
    settings = {"images": TRAINED, "tested": TESTED, "epochs": EPOCHS, "batch": BATCH, "lr": LR, "seed": 0}
    networks = {kind: trained(kind) for kind in NETWORKS}
    for kind, curve in networks.items():
        print(f"{kind:16} test accuracy {curve[-1]['test_accuracy']:.1%}")
    save_results("results", "page_training", {**settings, "networks": networks})


if __name__ == "__main__":
    main()
