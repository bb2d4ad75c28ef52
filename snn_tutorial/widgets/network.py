"""Look at what a network's neurons do with an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipywidgets import Dropdown, IntSlider, VBox
from matplotlib.figure import Figure
from torch import Tensor

from snn_tutorial.plot.networks import activity
from snn_tutorial.probe import Activity
from snn_tutorial.widgets import explorer


def network_activity(
    records: Mapping[str, Activity], images: Tensor, labels: Tensor, classes: Sequence[str]
) -> VBox:
    """Return a view with a choice of network, image, layer and neuron, and what they did.

    Args:
        records: name of each network to its record of the images.
        images: ``[N, 1, H, W]`` in [0, 1].
        labels: class of each image, ``[N]``.
        classes: names of the classes.
    """
    sizes = {
        "hidden": next(iter(records.values())).hidden_spikes.shape[2],
        "read-out": next(iter(records.values())).read_out_spikes.shape[2],
    }
    names = [(f"{index}: {classes[label]}", index) for index, label in enumerate(labels)]
    controls = {
        "network": Dropdown(options=list(records), description="network"),
        "image": Dropdown(options=names, description="image"),
        "layer": Dropdown(options=list(sizes), description="layer"),
        "neuron": IntSlider(max=sizes["hidden"] - 1, description="neuron", continuous_update=False),
    }

    def bound_neuron(change: Mapping[str, Any]) -> None:
        controls["neuron"].max = sizes[change["new"]] - 1

    # Before the view listens, so that it never asks the read-out for a neuron that only the hidden layer has.
    controls["layer"].observe(bound_neuron, "value")

    def draw(network: str, image: int, layer: str, neuron: int) -> Figure:
        return activity(network, records[network], images[image, 0], classes, image, layer, neuron)

    return explorer(
        draw, controls, alt="an image, the spikes of both layers, and the membrane potential of one neuron"
    )
