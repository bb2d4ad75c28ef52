"""Blank the end of a picture, clear states, and see which of the three networks still knows it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import nn

from snn_tutorial.live import floats, packed, view
from snn_tutorial.live.javascript import network_code


def blank_explorer(
    nets: Mapping[str, nn.Module],
    first: int,
    images: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    figure: Figure,
) -> HTML:
    """Return a view of networks that see the first columns of a picture, then blank ones.

    Args:
        nets: each of :data:`sequential_fmnist.networks.TUTORIAL_NETWORKS` by its name.
        first: the picture at the start.
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed); they are part of the page.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        figure: what stands there without JavaScript.
    """
    cells: dict[str, Any] = {}
    networks = []
    for name, net in nets.items():
        tensors = {path: floats(weight.detach().numpy()) for path, weight in net.named_parameters()}
        code = network_code(name, copy.deepcopy(net).double(), cells)
        networks.append({**code, "tensors": tensors, "tau": None, "scale": 1})
    pictures = {"images": packed(images), "labels": list(map(int, labels)), "classes": list(classes)}
    alt = "what each network gets, its hidden spikes, its output spikes, and the answer so far"
    return view("blank", {"networks": networks, "cells": cells, "first": first, **pictures}, figure, alt)
