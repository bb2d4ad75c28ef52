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
from snn_core.kernels.record.equations import Recorded
from snn_core.layer import SynapseFilter
from snn_core.spiking import SpikingNeuron
from snn_tutorial.live import drawings, floats, literal, packed, view
from snn_tutorial.live.javascript import Code, back_function, network_stages, places, step_function

ALT = "a picture, the columns as they enter, the spikes, potentials and currents of hidden neurons, and the answer"


def described(name: str, net: nn.Module, scale: float, cells: dict[str, Recorded]) -> dict[str, Any]:
    """Return a network as ``Trained`` in ``activity.js``.

    Args:
        name: what the page calls it.
        net: the network, a chain of its children; its hidden neurons are ``sn1``, its synapse, if any, ``sy1``.
        scale: factor on its mean output.
        cells: see :func:`~snn_tutorial.live.javascript.network_stages`.
    """
    weights = {name: weight for name, weight in net.double().named_parameters() if weight.dim()}
    neurons = next(part for part in net.get_submodule("sn1").modules() if isinstance(part, SpikingNeuron))
    # A parameter, so that the page can change it.
    neurons.v_threshold = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    backs = []
    for is_cut in (False, True):
        neurons.detach_reset = is_cut
        stages = network_stages(net, weights, cells)
        backs.append(
            [Code(back_function(cells[stage["cell"]])) if "cell" in stage else None for stage in stages]
        )
    filters = [part for part in net.modules() if isinstance(part, SynapseFilter)]
    return {
        "name": name,
        "tensors": {name: floats(weight.detach().numpy()) for name, weight in weights.items()},
        "stages": Code(f"(tensors) => {literal(stages)}"),
        "backs": backs,
        **places(net),
        "tau": filters[0].tau.item() if filters else None,
        "scale": scale,
    }


def _networks(reads_drawings: bool = False) -> dict[str, Any]:
    cells: dict[str, Recorded] = {}
    loaded = {kind: pretrained.load(kind)[0] for kind in NETWORKS}
    networks = [described(kind.replace("-", " "), net, net.scale, cells) for kind, net in loaded.items()]
    if reads_drawings:
        networks.append(described("feedback, for drawings", drawings.network(), drawings.SCALE, cells))
    steps = {name: Code(step_function(recorded)) for name, recorded in cells.items()}
    return {"networks": networks, "cells": steps}


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
