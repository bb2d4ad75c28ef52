"""The three networks of the text. Each reads an image column by column: T = 28 time steps of 28 pixels."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from snn_core import layer, neuron
from snn_core.checks import check_choice, check_shape, check_whole
from snn_core.functional import mean_over_time, scan
from snn_core.surrogate import ATan

__all__ = [
    "NETWORKS",
    "TUTORIAL_NETWORKS",
    "ColumnNet",
    "FeedBackNet",
    "PlainNet",
    "StatefulSynapseNet",
    "columns_as_sequence",
    "detach_resets",
    "hidden_and_readout",
    "make_network",
]


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


class ColumnNet(nn.Sequential):
    """A network is its layers in the order in which they were set: images ``[N, 1, H, W]`` to outputs ``[N, classes]``.

    Each layer takes the whole sequence of columns. The output is the mean over time of what the last one gives.
    This ``forward`` is that of all three classes; ``fit(fused=True)`` trains :attr:`chain`, the same layers.
    """

    backend = "auto"

    def forward(self, images: Tensor) -> Tensor:
        x = columns_as_sequence(images)  # [W, N, H]
        # seq_to_ann_forward(x, self.fc1), self.sn1(x), ... one after the other, in one fused scan
        x = scan(x, *self, backend=self.backend)
        return mean_over_time(x)  # x.mean(0)

    @property
    def chain(self) -> nn.Sequential:
        """The layers alone, ``[T, N, H]`` to ``[T, N, classes]``: with their mean, what fused training trains."""
        return nn.Sequential(*self)


class PlainNet(ColumnNet):
    """Linear -> IF -> Linear -> IF: images ``[N, 1, 28, W]`` to firing rates ``[N, 10]``."""

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.fc1 = nn.Linear(28, check_whole("hidden", hidden, 1))
        self.sn1 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.fc2 = nn.Linear(hidden, 10)
        self.sn2 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)


class StatefulSynapseNet(ColumnNet):
    """:class:`PlainNet` with a learnable synapse filter after the hidden neurons."""

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.fc1 = nn.Linear(28, check_whole("hidden", hidden, 1))
        self.sn1 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.sy1 = layer.MultiStepContainer(layer.SynapseFilter(tau=2.0, learnable=True, backend=backend))
        self.fc2 = nn.Linear(hidden, 10)
        self.sn2 = neuron.MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)


class FeedBackNet(ColumnNet):
    """:class:`PlainNet` with a recurrent connection from the hidden neurons to themselves."""

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


#: The networks by the names that the command line uses. A network that is added here can be trained by its name.
NETWORKS: dict[str, type[ColumnNet]] = {
    "plain": PlainNet,
    "stateful-synapse": StatefulSynapseNet,
    "feedback": FeedBackNet,
}
#: The text's three, in its order: studies, pages and shipped weights are about these, whatever else there is.
TUTORIAL_NETWORKS = ("plain", "stateful-synapse", "feedback")

#: Where gradients through the reset are cut.
DETACHED = ("all", "hidden", "none")


def hidden_and_readout(net: nn.Module) -> tuple[list[str], str | None]:
    """Return the names of the hidden spiking layers of a chain, and that of its spiking read-out, by their places.

    The read-out is the last spiking layer, the others are hidden. It is None where an ``nn.Linear`` follows the last
    spiking layer, so that neurons that never fire read the network out; then all spiking layers are hidden.

    Raises:
        TypeError: ``net`` is no module.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a module, got {type(net).__name__}")
    spiking: list[str] = []
    readout = None
    for name, part in net.named_children():
        if any(isinstance(module, neuron.SpikingNeuron) for module in part.modules()):
            spiking.append(name)
            readout = name
        elif isinstance(part, nn.Linear):
            readout = None
    return spiking[:-1] if readout else spiking, readout


def detach_resets(net: nn.Module, hidden: bool, readout: bool) -> None:
    """Set ``detach_reset`` of the hidden neurons of a chain and of those that read it out."""
    hidden_layers, readout_layer = hidden_and_readout(net)
    for name, is_cut in [*((name, hidden) for name in hidden_layers), (readout_layer, readout)]:
        for part in net.get_submodule(name).modules() if name else ():
            if isinstance(part, neuron.SpikingNeuron):
                part.detach_reset = is_cut


def make_network(model: str, hidden: int = 32, backend: str = "auto", detach_reset: str = "all") -> ColumnNet:
    """Build one of :data:`NETWORKS` by its name.

    ``detach_reset`` says where gradients through the reset are cut: in ``"all"`` neurons, as the text lists them, in
    the ``"hidden"`` ones, see :func:`hidden_and_readout`, or in ``"none"``.

    Raises:
        ValueError: an unknown word; the message names the argument and the words that there are.
    """
    net = NETWORKS[check_choice("model", model, tuple(NETWORKS))](hidden, backend)
    check_choice("detach_reset", detach_reset, DETACHED)
    detach_resets(net, hidden=detach_reset != "none", readout=detach_reset == "all")
    return net
