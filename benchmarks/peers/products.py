"""The linear layer of the large layers by itself: its three products by torch, without neurons."""

from __future__ import annotations

from torch import nn

from benchmarks.cases import LARGE, Layer
from benchmarks.torch_loop import OneLayer

PACKAGES: tuple[str, ...] = ()
NOTES = {LARGE: "no neurons: forward and backward of the linear layer over all steps"}
LAYERS = {LARGE: lambda H: nn.Linear(H, H)}


def layer(variant: str, layer: Layer) -> OneLayer:
    """Return the linear layer."""
    return OneLayer(LAYERS[layer.name], layer)
