"""Three networks side by side: a picture enters column by column, a test image or the reader's own drawing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from safetensors.torch import load
from torch import nn

from sequential_fmnist import pretrained
from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.pretrained import PretrainedError
from sequential_fmnist.variants import NetworkSpec, TrainedNet
from snn_core.layer import SynapseFilter
from snn_tutorial.live import floats, packed, view
from snn_tutorial.live.javascript import network_code

#: Weights of the networks that wait: ``python -m sequential_fmnist.experiments.waiting`` writes them.
WAITING = Path(__file__).with_name("waiting.safetensors")
ALT = "three networks side by side: columns as they enter, hidden spikes, states, and what each network still knows"


def waiting_networks(record: Mapping[str, Any], file: Path = WAITING) -> dict[str, TrainedNet]:
    """Return the networks that were trained to wait, and to read drawings.

    Args:
        record: ``results/waiting.json``.
        file: their weights.

    Raises:
        PretrainedError: the file of weights is damaged, or belongs to another record.
    """
    content = file.read_bytes()
    if (found := sha256(content)) != record["sha256"]:
        raise PretrainedError(
            f"weights {file} are damaged: expected SHA-256 {record['sha256']}, found {found}"
        )
    tensors, nets = load(content), {}
    for kind in TUTORIAL_NETWORKS:
        nets[kind] = NetworkSpec(kind, record["networks"][kind]["hidden"], readout="membrane").build()
        prefix = f"{kind}."
        own = {
            name.removeprefix(prefix): one.float() for name, one in tensors.items() if name.startswith(prefix)
        }
        nets[kind].load_state_dict(own)
    return nets


def _networks(record: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the networks of the package, or those of a record, which are kept in half precision."""
    cells: dict[str, Any] = {}
    nets = (
        waiting_networks(record) if record else {kind: pretrained.load(kind)[0] for kind in TUTORIAL_NETWORKS}
    )
    networks = [_trained(kind.replace("-", " "), net, cells, bool(record)) for kind, net in nets.items()]
    return {"networks": networks, "cells": cells}


def _trained(name: str, net: nn.Module, cells: dict[str, Any], is_half: bool) -> dict[str, Any]:
    """Return a network as ``Trained`` in ``scan.js``."""
    taus = [part.tau.item() for part in net.modules() if isinstance(part, SynapseFilter)]
    dtype = "<f2" if is_half else "<f4"
    return {
        **network_code(name, net.double(), cells),
        "tensors": {name: floats(weight.detach().numpy(), dtype) for name, weight in net.named_parameters()},
        "isHalf": is_half,
        "tau": taus[0] if taus else None,
        "scale": getattr(net, "scale", 1.0),
    }


def _pictures(images: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    return {"images": packed(images), "labels": [int(label) for label in labels], "classes": list(classes)}


def network_explorer(
    images: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    figure: Figure,
    record: Mapping[str, Any] | None = None,
    first: int = 0,
) -> HTML:
    """Return a view of the three trained networks with a choice of pictures and a pad to draw on.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed).
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
        record: ``results/waiting.json``: then the view has the networks that wait, begins by itself, and asks to draw.
        first: picture with which it begins.
    """
    data = {**_networks(), "blank": 0, "read": 28, "last": None}
    if record is not None:
        blanks = [int(blank) for blank in record["networks"]["plain"]["test"]]
        data = {
            **_networks(record),
            **{"blank": blanks[-1], "last": record["last"], "read": 0, "isQuestion": True},
            "known": {
                "blanks": blanks,
                "shares": [[*one["test"].values()] for one in record["networks"].values()],
                "images": 10_000,
            },
        }
    return view("network", {**data, "first": first, **_pictures(images, labels, classes)}, figure, ALT)


def blank_explorer(
    nets: Mapping[str, nn.Module],
    first: int,
    images: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    figure: Figure,
) -> HTML:
    """Return a view of networks that see the first columns of a picture, then blank ones; states can be cleared there.

    Args:
        nets: each of :data:`sequential_fmnist.networks.TUTORIAL_NETWORKS` by its name.
        first: the picture at the start.
        images: as for :func:`network_explorer`.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
    """
    cells: dict[str, Any] = {}
    networks = [
        _trained(name, copy.deepcopy(net), cells, False) | {"tau": None} for name, net in nets.items()
    ]
    data = {
        "networks": networks,
        "cells": cells,
        "first": first,
        "blank": 0,
        "read": 14,
        "last": None,
        "isCut": True,
    }
    alt = "what each network gets, its hidden spikes, its output spikes, and the answer so far"
    return view("network", {**data, **_pictures(images, labels, classes)}, figure, alt)


def gradient_explorer(
    net: nn.Module, images: np.ndarray, labels: Sequence[int], classes: Sequence[str], figure: Figure
) -> HTML:
    """Return a view of the gradient of the loss to each hidden neuron of a feedback network in each step.

    A slider multiplies the weights of the loop, a box detaches the reset in the hidden layer.

    Args:
        net: the network; it stays as it is.
        images: as for :func:`network_explorer`.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
    """
    cells: dict[str, Any] = {}
    trained = _trained("feedback", copy.deepcopy(net), cells, False)
    data = {"network": trained, "cells": cells, **_pictures(images, labels, classes)}
    return view("gradient", data, figure, "gradient to each hidden neuron in each step, and its norm")
