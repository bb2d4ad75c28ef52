"""The networks of the text with parts changed, of which a command line, controls and better recipes are made."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import (
    DETACHED,
    NETWORKS,
    ColumnNet,
    columns_as_sequence,
    hidden_and_readout,
    make_network,
)
from sequential_fmnist.options import check_options, option
from snn_core.functional import mean_over_time, scan
from snn_core.kernels import BACKENDS
from snn_core.layer import MultiStepContainer, SynapseFilter
from snn_core.more.batch_norm import fold_batch_norm
from snn_core.neuron import MultiStepLINode, SpikingNeuron
from snn_core.surrogate import ATan, Sigmoid
from snn_core.synapse import LowPassSynapse, StatefulSynapse

__all__ = ["GatedNet", "NetworkSpec", "TrainedNet", "fold"]

GATED: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
SURROGATES: dict[str, type[nn.Module]] = {"atan": ATan, "sigmoid": Sigmoid}


@dataclass(frozen=True)
class NetworkSpec:
    """All that there is to say about a network, as a command line, a result or a file of weights carries it along.

    The defaults are the tutorial's. ``"gru"`` and ``"lstm"`` take only ``hidden`` besides.

    Raises:
        TypeError, ValueError: a value of another type or out of its range; the message names the field.
    """

    model: str = option("plain", "one of the networks, or a gated one", (*NETWORKS, *GATED))
    hidden: int = option(32, "number of hidden neurons", 1)
    backend: str = option("auto", "how sequences run", BACKENDS)
    detach_reset: str = option("all", "where gradients through resets are cut", DETACHED)
    surrogate_function: str = option("atan", "of all neurons", SURROGATES)
    alpha: float = option(2.0, "its steepness", 0)
    tau: float = option(2.0, "of the synapse filter, or a summing read-out, at the start, in time steps", 1)
    tau_mode: str = option("learned", "whether it is trained", ("learned", "frozen", "per-channel"))
    frozen_recurrent: bool = option(False, "whether the weights from y[t-1] keep their initial values")
    # rate: IF neurons, as in the text; membrane: neurons that integrate and never fire, so that the mean potential is
    # the mean of what arrives; leaky: leaky integrators whose one tau, 2 at first, is trained, and which divide their
    # input by it; summing: low-pass synapses with ``tau`` and ``tau_mode``, which add their input as it is.
    readout: str = option("rate", "what is averaged", ("rate", "membrane", "leaky", "summing"))
    last: int | None = option(None, "over how many last steps; None takes all", 1)
    batch_norm: bool = option(
        False, "normalise after the first layer while training; fold() puts it into the weights"
    )
    scale: float = option(1.0, "factor on the outputs, for cross-entropy", 0)

    def __post_init__(self) -> None:
        check_options(self)

    def build(self, task: Any = None) -> nn.Module:
        """Return the network, images ``[N, 1, 28, T]`` to outputs ``[N, 10]``.

        Initial weights are drawn in one order whatever the options: the same seed gives the same.
        """
        if self.model in GATED:
            return GatedNet(self)
        net = make_network(self.model, self.hidden, self.backend, self.detach_reset)
        for part in net.modules():
            if isinstance(part, SpikingNeuron):
                part.surrogate_function = SURROGATES[self.surrogate_function](self.alpha)
        if self.model == "stateful-synapse":
            net.sy1 = MultiStepContainer(self._synapse(SynapseFilter, self.hidden))
        if self.model == "feedback" and self.frozen_recurrent:
            # One matrix holds the weights of x[t] too, which are trained: a weight decay would still move the rest.
            mask = torch.arange(2 * self.hidden) < self.hidden
            net.sn1[0].rc.weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))
        layers = OrderedDict(net.named_children())
        _, readout = hidden_and_readout(net)
        if readout and self.readout == "leaky":
            layers[readout] = MultiStepLINode(nn.Parameter(torch.tensor(2.0)), backend=self.backend)
        elif readout and self.readout == "summing":
            layers[readout] = self._synapse(LowPassSynapse, 10)
        elif readout and self.readout == "membrane":
            del layers[readout]
        if self.batch_norm:
            layers["bn"] = nn.BatchNorm1d(self.hidden)
            for name in list(layers)[1:-1]:
                layers.move_to_end(name)
        is_listed = self.readout == "rate" and self.last is None and self.scale == 1 and not self.batch_norm
        return net if is_listed else TrainedNet(layers, self.scale, self.last, self.backend)

    def _synapse(self, kind: type[StatefulSynapse], channels: int) -> StatefulSynapse:
        tau = [self.tau] * channels if self.tau_mode == "per-channel" else self.tau
        return kind(tau, learnable=self.tau_mode != "frozen", backend=self.backend)


class TrainedNet(ColumnNet):
    """Layers as of a :class:`~sequential_fmnist.networks.ColumnNet`; the output is ``scale`` times the mean.

    With ``last`` it is the mean of so many last time steps. Where the last layer is linear, neurons that integrate and
    never fire read it out.
    """

    def __init__(
        self,
        layers: OrderedDict[str, nn.Module],
        scale: float,
        last: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(layers)
        self.scale, self.last, self.backend = scale, last, backend

    def forward(self, images: Tensor) -> Tensor:
        x = scan(columns_as_sequence(images), *self, backend=self.backend)
        return self.scale * mean_over_time(x if self.last is None else x[-self.last :])


class GatedNet(nn.Module):
    """GRU or LSTM over the columns, read out linearly after the last one: the non-spiking reference."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.rnn = GATED[spec.model](28, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        h_seq, _ = self.rnn(columns_as_sequence(images))
        return self.fc2(h_seq[-1])


def fold(net: nn.Module) -> nn.Module:
    """Return ``net`` in evaluation mode; if it has batch normalisation, a copy without, which computes the same.

    See :func:`~snn_core.more.batch_norm.fold_batch_norm`. So the network that is used has the tutorial's number of
    parameters.
    """
    net.eval()
    if not hasattr(net, "bn"):
        return net
    folded = fold_batch_norm(nn.Sequential(OrderedDict(net.named_children())))
    return TrainedNet(OrderedDict(folded.named_children()), net.scale, net.last, net.backend)
