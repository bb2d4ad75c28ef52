"""Run the trained networks on a picture, a test image or the reader's own drawing, and see all that happens inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import nn

from sequential_fmnist import pretrained
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.variants import TrainedNet
from snn_core.layer import SynapseFilter
from snn_core.neuron import SpikingNeuron
from snn_tutorial.live import drawings, floats, packed, view
from snn_tutorial.live.javascript import network_code

ALT = "a picture, the columns as they enter, the spikes, potentials and currents of hidden neurons, and the answer"


def _networks(reads_drawings: bool = False) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    nets = {kind.replace("-", " "): pretrained.load(kind)[0] for kind in NETWORKS}
    if reads_drawings:
        nets["feedback, for drawings"] = drawings.network()
    return {"networks": [_trained(name, net, cells) for name, net in nets.items()], "cells": cells}


def _trained(name: str, net: TrainedNet, cells: dict[str, Any]) -> dict[str, Any]:
    """Return a network as ``Trained`` in ``scan.js``."""
    neurons = next(part for part in net.get_submodule("sn1").modules() if isinstance(part, SpikingNeuron))
    neurons.v_threshold = nn.Parameter(torch.tensor(1.0))  # so that the page can change it
    taus = [part.tau.item() for part in net.modules() if isinstance(part, SynapseFilter)]
    return {
        **network_code(name, net.double(), cells),
        "tensors": {name: floats(weight.detach().numpy()) for name, weight in net.named_parameters()},
        "tau": taus[0] if taus else None,
        "scale": net.scale,
    }


def _pictures(images: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    return {"images": packed(images), "labels": [int(label) for label in labels], "classes": list(classes)}


def network_explorer(
    images: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    figure: Figure,
    draws_first: bool = False,
) -> HTML:
    """Return a view of the three trained networks with a choice of pictures and a pad to draw on.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed).
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
        draws_first: whether the view invites to draw: it begins with a network that was trained for drawings, too,
            which reads the first picture, and reads each stroke at once.
    """
    data = {
        **_networks(draws_first),
        **_pictures(images, labels, classes),
        "network": len(NETWORKS) if draws_first else list(NETWORKS).index("feedback"),
        "drawsFirst": draws_first,
    }
    return view("network", data, figure, ALT)


def gradient_explorer(
    images: np.ndarray, labels: Sequence[int], classes: Sequence[str], figure: Figure
) -> HTML:
    """Return a view of how far back the gradient of an output reaches in each of the three trained networks.

    Arguments are those of :func:`network_explorer`.
    """
    alt = "gradient of an output to each pixel and to each hidden neuron, and its norm by column"
    return view("gradient", {**_networks(), **_pictures(images, labels, classes)}, figure, alt)
