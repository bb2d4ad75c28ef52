"""The three networks of the text. Each reads an image column by column: T = 28 time steps of 28 pixels."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from snn_core import layer, neuron
from snn_core.checks import check_choice, check_shape, check_whole
from snn_core.functional import mean_over_time, scan
from snn_core.surrogate import ATan

__all__ = ["NETWORKS", "FeedBackNet", "PlainNet", "StatefulSynapseNet", "columns_as_sequence", "make_network"]


def columns_as_sequence(images: Tensor) -> Tensor:
    """View images as sequences of their columns, the left one first.

    Args:
        images: ``[N, 1, H, W]``; not changed.

    Returns:
        ``[T, N, H]`` with T = W.

    Raises:
        TypeError: ``images`` is not a floating-point tensor.
        ValueError: ``images`` has another number of dimensions, or more than one channel.
    """
    check_shape("images", images, "N", 1, "H", "W")
    if not images.is_floating_point():
        raise TypeError(
            f"images must have a floating-point dtype, got {images.dtype}: use images.float() / 255"
        )
    return images.squeeze(1).permute(2, 0, 1)


PARTS = ("fc1", "sn1", "sy1", "fc2", "sn2")
#: The layers of a network in their order; its output is the mean over time of what they give.
layers = property(lambda net: nn.Sequential(*(getattr(net, name) for name in PARTS if hasattr(net, name))))


class PlainNet(nn.Module):
    """Linear -> IF -> Linear -> IF: images ``[N, 1, 28, W]`` to firing rates ``[N, 10]``."""

    chain = layers

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.fc1 = nn.Linear(28, check_whole("hidden", hidden, 1))
        self.sn1 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.fc2 = nn.Linear(hidden, 10)
        self.sn2 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, images: Tensor) -> Tensor:
        x = columns_as_sequence(images)  # [W, N, 28]
        # seq_to_ann_forward(x, self.fc1), self.sn1(x), ... one after the other, in one fused scan
        x = scan(x, self.fc1, self.sn1, self.fc2, self.sn2, backend=self.backend)
        return mean_over_time(x)  # x.mean(0)


class StatefulSynapseNet(nn.Module):
    """:class:`PlainNet` with a learnable synapse filter after the hidden neurons."""

    chain = layers

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.fc1 = nn.Linear(28, check_whole("hidden", hidden, 1))
        self.sn1 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.sy1 = layer.MultiStepContainer(layer.SynapseFilter(tau=2.0, learnable=True, backend=backend))
        self.fc2 = nn.Linear(hidden, 10)
        self.sn2 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, images: Tensor) -> Tensor:
        x = columns_as_sequence(images)  # [W, N, 28]
        x = scan(x, self.fc1, self.sn1, self.sy1, self.fc2, self.sn2, backend=self.backend)
        return mean_over_time(x)  # x.mean(0)


class FeedBackNet(nn.Module):
    """:class:`PlainNet` with a recurrent connection from the hidden neurons to themselves."""

    chain = layers

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.fc1 = nn.Linear(28, check_whole("hidden", hidden, 1))
        self.sn1 = layer.MultiStepContainer(
            layer.LinearRecurrentContainer(
                neuron.IFNode(surrogate_function=ATan(), detach_reset=True, backend=backend), hidden, hidden
            )
        )
        self.fc2 = nn.Linear(hidden, 10)
        self.sn2 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, images: Tensor) -> Tensor:
        x = columns_as_sequence(images)  # [W, N, 28]
        x = scan(x, self.fc1, self.sn1, self.fc2, self.sn2, backend=self.backend)
        return mean_over_time(x)  # x.mean(0)


#: The networks by the names that the command line uses, in the order of the text.
NETWORKS = {"plain": PlainNet, "stateful-synapse": StatefulSynapseNet, "feedback": FeedBackNet}


def make_network(model: str, hidden: int = 32, backend: str = "auto") -> nn.Module:
    """Build one of :data:`NETWORKS` by its name; a ValueError names an unknown one."""
    return NETWORKS[check_choice("model", model, tuple(NETWORKS))](hidden, backend)
