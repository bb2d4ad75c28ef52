"""Train the three networks on the page: the whole experiment in a browser tab, with stories that a click begins."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from IPython.display import HTML

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_core.layer import SynapseFilter
from snn_tutorial.live import bundle, literal, packed, view
from snn_tutorial.live.javascript import CUTS, PRELUDE
from snn_tutorial.live.learner import OPTIMIZERS, equations, kind_of
from snn_tutorial.live.network import network_explorer
from snn_tutorial.plot.confusion import pictures
from snn_tutorial.plot.training import training_curves

__all__ = ["laboratory", "settings_of", "train_on_page"]

#: Images of the embedded subset that the page holds: to train with, and to test.
TRAINED, TESTED = 2_000, 500
EPOCHS, BATCH = 30, 32
#: Factors on the learning rate, half a cosine.
SCHEDULE = [(1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(EPOCHS)]
#: Time constants of the synapse that a reader may choose, and what is done with updates: limits of the gradient's norm,
#: of which the first is none, and torch's GradScaler, which skips what would overflow in float16.
TAUS = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
UPDATES = {"as they are": 1e9, "norm at most 1": 1.0, "norm at most 0.1": 0.1, "skipped as in float16": None}
#: Firing rates are from 0 to 1; so much more of them makes the bars of answers differ.
SCALE = 10
#: What a reader may change: see ``Option`` in ``train.js``. A menu begins with a choice's number.
OPTIONS: dict[str, dict[str, Any]] = {
    "optimizer": {
        "label": "optimizer",
        "choices": list(OPTIMIZERS),
        "first": 1,
        "rates": list(OPTIMIZERS.values()),
    },
    "updates": {"label": "updates", "choices": list(UPDATES), "first": 0},
    "blank": {"label": "blank columns", "values": list(range(0, 57, 7)), "first": 0},
    "lr": {
        "label": "learning rate",
        "values": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
        "first": OPTIMIZERS["Adam"],
        "isRare": True,
    },
    "cut": {"label": "gradient through the reset is cut", "choices": list(CUTS), "first": 0, "isRare": True},
    "hidden": {"label": "hidden neurons", "values": list(range(8, 65, 8)), "first": 32, "isRare": True},
    "tau": {
        "label": "tau of the synapse",
        "values": list(TAUS),
        "first": 2.0,
        "unit": "steps",
        "isRare": True,
    },
    "images": {
        "label": "training images",
        "values": [250, 500, 1000, TRAINED],
        "first": TRAINED,
        "isRare": True,
    },
    "order": {"label": "columns", "choices": ["left to right", "shuffled"], "first": 0, "isRare": True},
}
#: Test images beyond those, which no network on the page has seen.
PICTURES = 12

ALT = "train loss and test accuracy of the plain network, the stateful synapse and the feedback network by epoch"


def settings_of(**changed: float) -> dict[str, float]:
    """Return the settings with which the page begins, but for those that are given."""
    return {name: option["first"] for name, option in OPTIONS.items()} | changed


def _split(is_train: bool, first: int, count: int) -> SequentialFashionMNIST:
    data = copy.copy(SequentialFashionMNIST(train=is_train, source="embedded", verbose=False))
    data.images, data.labels = data.images[first : first + count], data.labels[first : first + count]
    return data


def lesson() -> dict[str, Any]:
    """Return what all networks learn, as ``Lesson`` in ``learner.js``."""
    learned, tested = _split(True, 0, TRAINED), _split(False, 0, TESTED)
    images = torch.cat([learned.images, tested.images]).transpose(2, 3)  # column after column
    return {
        "images": packed(images.numpy(), is_deflated=True),
        "labels": packed(torch.cat([learned.labels, tested.labels]).numpy()),
        "sizes": [TRAINED, TESTED],
        "batch": BATCH,
        "schedule": SCHEDULE,
        "limits": list(UPDATES.values()),
        "taus": [[tau, SynapseFilter(tau, learnable=True).double().w.item()] for tau in TAUS],
    }


def kinds_and_worker() -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Return the networks as ``Kind`` in ``learner.js``, their cells, and the script that trains them."""
    cells: dict[str, Any] = {}
    kinds = [kind_of(kind, OPTIONS["hidden"]["values"], cells) for kind in TUTORIAL_NETWORKS]
    script = f"{PRELUDE}{bundle('learner')}$learner.work({literal(kinds)}, {literal(equations(cells))});"
    return kinds, cells, script


def train_on_page(stories: Mapping[str, Any]) -> HTML:
    """Return a view that trains the three networks.

    Args:
        stories: ``results/stories.json``.
    """
    kinds, cells, worker = kinds_and_worker()
    data = {
        "worker": worker,
        "lesson": lesson(),
        "options": OPTIONS,
        "stories": stories["stories"],
        "scale": SCALE,
        "kinds": kinds,
        "cells": cells,
    }
    first = stories["stories"][0]["curves"]
    curves = {
        kind: [
            {"epoch": k, "train_loss": loss, "test_accuracy": accuracy}
            for k, (loss, accuracy) in enumerate(curve)
        ]
        for kind, curve in zip(TUTORIAL_NETWORKS, first, strict=True)
    }
    return view("train", data, training_curves(curves, "train_loss", "test_accuracy"), ALT)


def laboratory(stories: Mapping[str, Any]) -> HTML:
    """Return the view of :func:`train_on_page`, and below it one in which the networks read pictures and drawings."""
    others = _split(False, TESTED, PICTURES)
    images, labels = others.images[:, 0].numpy(), others.labels.tolist()
    still = pictures(images[:5], [others.classes[label] for label in labels[:5]])
    explorer = network_explorer(images, labels, others.classes, still)
    return HTML(train_on_page(stories).data + explorer.data)
