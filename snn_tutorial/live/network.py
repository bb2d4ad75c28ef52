"""Run the trained networks on a picture, a test image or the reader's own drawing, and see all that happens inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor, nn

from sequential_fmnist import pretrained
from sequential_fmnist.networks import NETWORKS
from snn_core.kernels.record.equations import Recorded
from snn_core.layer import SynapseFilter
from snn_core.spiking import SpikingNeuron
from snn_tutorial.live import Code, drawings, floats, literal, packed, view
from snn_tutorial.live.javascript import back_function, network_stages, step_function

ALT = "a picture, the columns as they enter, the spikes, potentials and currents of hidden neurons, and the answer"


def trained(kind: str, cells: dict[str, Recorded]) -> dict[str, Any]:
    """Return a network that comes with the package as the page's scripts take it.

    Args:
        kind: as for :func:`sequential_fmnist.pretrained.load`.
        cells: see :func:`~snn_tutorial.live.javascript.network_stages`.
    """
    loaded, _ = pretrained.load(kind)
    return described(kind.replace("-", " "), loaded, loaded.scale, cells)


def described(name: str, net: nn.Module, scale: float, cells: dict[str, Recorded]) -> dict[str, Any]:
    """Return a network as ``Trained`` in ``activity.js``.

    Args:
        name: what the page calls it.
        net: the network, a chain of its children; its hidden neurons are ``sn1``, its synapse, if any, ``sy1``.
        scale: factor on its mean output.
        cells: see :func:`~snn_tutorial.live.javascript.network_stages`.
    """
    weights = {name: weight for name, weight in net.double().named_parameters() if weight.dim()}
    names = {id(weight): name for name, weight in weights.items()}
    neurons = next(part for part in net.get_submodule("sn1").modules() if isinstance(part, SpikingNeuron))
    # A parameter, so that the page can change it.
    neurons.v_threshold = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def written(weight: Tensor) -> Code | None:
        return Code(f"tensors[{names[id(weight)]!r}]") if id(weight) in names else None

    parts = dict(net.named_children())
    backs = []
    for is_cut in (False, True):
        neurons.detach_reset = is_cut
        stages = network_stages(parts.values(), net.get_submodule("fc1").in_features, cells, written)
        backs.append(
            [Code(back_function(cells[stage["cell"]])) if "cell" in stage else None for stage in stages]
        )
    places = list(parts)
    filters = [part for part in net.modules() if isinstance(part, SynapseFilter)]
    return {
        "name": name,
        "tensors": {name: floats(weight.detach().numpy()) for name, weight in weights.items()},
        "stages": Code(f"(tensors) => {literal(stages)}"),
        "backs": backs,
        "hidden": places.index("sn1"),
        "synapse": places.index("sy1") if "sy1" in places else None,
        "tau": filters[0].tau.item() if filters else None,
        "scale": scale,
    }


def _networks(reads_drawings: bool = False) -> dict[str, Any]:
    cells: dict[str, Recorded] = {}
    networks = [trained(kind, cells) for kind in NETWORKS]
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
        draws_first: whether the view invites to draw: it begins with a network that was trained for drawings, too,
            which reads the first picture, and reads each stroke at once.
    """
    data = {
        **_networks(draws_first),
        **_pictures(images, labels, classes),
        "network": len(NETWORKS) if draws_first else list(NETWORKS).index(first),
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
