"""Run the trained networks on a picture, a test image or the reader's own drawing, and see all that happens inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import nn

from sequential_fmnist import pretrained
from sequential_fmnist.networks import IN_FEATURES, NETWORKS, SpikingNet
from snn_core.layer import SynapseFilter
from snn_core.spiking import SpikingNeuron
from snn_tutorial.live import Code, literal, packed, view
from snn_tutorial.live.javascript import network_stages

ALT = "a picture, the columns as they enter, the spikes, potentials and currents of hidden neurons, and the answer"


def trained(kind: str, folder: Path = pretrained.PRETRAINED_FOLDER) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a network that comes with the package as ``network.js`` takes it, and the functions of its cells.

    Its weights are those of the file, whole, in base64; the page reads them, and checks the SHA-256 of the card.

    Args:
        kind: as for :func:`sequential_fmnist.pretrained.load`.
        folder: likewise.

    Raises:
        PretrainedError, ValueError: see there; or the network has parts that the page does not know.
    """
    net, card = pretrained.load(kind, folder)
    net = cast(SpikingNet, net).double()
    spec = net.spec
    if spec.readout != "membrane" or spec.last is not None or spec.standardised:
        raise ValueError(f"the page does not know the {kind} network's read-out or input")
    neurons = next(part for part in net.sn1.modules() if isinstance(part, SpikingNeuron))
    neurons.v_threshold = nn.Parameter(
        torch.tensor(1.0, dtype=torch.float64)
    )  # so that the page can change it
    names = {id(weight): name for name, weight in net.named_parameters()}
    parts = [(name, part) for name, part in net.named_children() if name != "bn"]
    stages, cells = network_stages(
        [part for _, part in parts],
        IN_FEATURES,
        lambda weight: (
            Code(f"tensors[{names[id(weight)]!r}]") if id(weight) in names and weight.dim() else None
        ),
    )
    places = [name for name, _ in parts]
    synapse = places.index("sy1") if "sy1" in places else None
    file = (Path(folder) / card["file"]).read_bytes()
    described = {
        "name": kind.replace("-", " "),
        "file": packed(np.frombuffer(file, np.uint8)),
        "sha256": card["sha256"],
        "stages": Code(f"(tensors) => {literal(stages)}"),
        "hidden": places.index("sn1"),
        "synapse": synapse,
        "tau": None if synapse is None else _tau(net),
        "scale": spec.scale,
    }
    return described, cells


def _tau(net: nn.Module) -> float:
    return float(next(part for part in net.modules() if isinstance(part, SynapseFilter)).tau.detach())


def network_explorer(
    images: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    figure: Figure,
    first: str = "feedback",
    draws_first: bool = False,
) -> HTML:
    """Return a view of the three trained networks with a choice of pictures and a pad to draw on.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed).
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
        first: the network that is shown first.
        draws_first: whether the view begins with an empty pad, and reads each stroke at once.
    """
    networks, functions = [], {}
    for kind in NETWORKS:
        described, cells = trained(kind)
        # Names of cells are unique within a network only.
        renamed = described["stages"]
        for name, function in cells.items():
            renamed = Code(renamed.replace(f'"cell": "{name}"', f'"cell": "{kind} {name}"'))
            functions[f"{kind} {name}"] = Code(function)
        networks.append(described | {"stages": renamed})
    data = {
        "networks": networks,
        "cells": functions,
        "classes": list(classes),
        "images": packed(images),
        "labels": [int(label) for label in labels],
        "network": list(NETWORKS).index(first),
        "drawsFirst": draws_first,
    }
    return view("network", data, figure, ALT)
