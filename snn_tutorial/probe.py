"""Look inside one neuron or a network: what neurons did, step by step."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import hidden_and_readout
from snn_core.checks import check_module
from snn_core.functional import reset_net
from snn_core.more.monitor import Monitor
from snn_core.more.neuron import AdaptiveLIFNode
from snn_core.neuron import SpikingNeuron

__all__ = ["Activity", "Trace", "record", "trace"]


@dataclasses.dataclass(frozen=True)
class Activity:
    """What a network did with a batch of images, step by step; membrane potentials are those after the reset.

    Attributes:
        hidden_spikes: spikes of the hidden neurons, of the last hidden layer if there are several, 0 or 1,
            ``[T, N, hidden]``.
        hidden_v: their membrane potentials v[t], same shape.
        read_out_spikes: spikes of the read-out neurons, ``[T, N, classes]``.
        read_out_v: their membrane potentials v[t], same shape.
        current: synaptic currents I[t], ``[T, N, hidden]``; None without a stateful synapse.
    """

    hidden_spikes: Tensor
    hidden_v: Tensor
    read_out_spikes: Tensor
    read_out_v: Tensor
    current: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Trace:
    """All quantities of a neuron in T time steps, each ``[T, *]``, without history.

    Attributes:
        x: what was fed in from outside.
        i: what reached the neuron, in a recurrent container not the same as x.
        h: membrane potential after the charge, before the reset.
        s: spikes.
        v: membrane potential after the reset.
        v_threshold: membrane potential from which the neuron fires.
    """

    x: Tensor
    i: Tensor
    h: Tensor
    s: Tensor
    v: Tensor
    v_threshold: float


def trace(net: nn.Module, x_seq: Tensor) -> Trace:
    """Feed ``x_seq`` to ``net`` one time step after the other, and record what happens in its neuron.

    ``net`` starts from the state that it has, and keeps the last one. h is read where it enters the surrogate
    function, as ``h - v_threshold``, so it is exact up to rounding.

    Args:
        net: module for single steps with one spiking neuron in it: an ``IFNode``, or a container around one.
        x_seq: input, ``[T, *]`` with T >= 1.

    Raises:
        TypeError: the neuron's surrogate function is not a module.
        ValueError: ``net`` does not hold exactly one spiking neuron, or one whose threshold moves.
    """
    neurons = [module for module in net.modules() if isinstance(module, SpikingNeuron)]
    if len(neurons) != 1:
        raise ValueError(f"net must hold one spiking neuron, {type(net).__name__} has {len(neurons)}")
    (neuron,) = neurons
    check_module("surrogate_function", neuron.surrogate_function)
    if isinstance(neuron, AdaptiveLIFNode):
        raise ValueError("net must have one threshold that stays, AdaptiveLIFNode does not")
    i_seq, h_seq, s_seq, v_seq = [], [], [], []
    hooks = [
        neuron.register_forward_pre_hook(lambda _, inputs: i_seq.append(inputs[0])),
        neuron.surrogate_function.register_forward_pre_hook(
            lambda _, inputs: h_seq.append(inputs[0] + neuron.v_threshold)
        ),
    ]
    try:
        with torch.no_grad():
            for x in x_seq:
                s_seq.append(net(x))
                v_seq.append(neuron.v)
    finally:
        for hook in hooks:
            hook.remove()
    recorded = (torch.stack(values) for values in (i_seq, h_seq, s_seq, v_seq))
    return Trace(x_seq.detach(), *recorded, neuron.v_threshold)


@torch.no_grad()
def record(net: nn.Module, images: Tensor) -> Activity:
    """Show ``net`` a batch of images and return what it did. Its state is reset before and after.

    Args:
        net: a chain with hidden and output neurons, such as :data:`sequential_fmnist.networks.NETWORKS` are; its
            stateful synapse, if any, is ``sy1``.
        images: ``[N, 1, H, W]`` in [0, 1].

    Raises:
        ValueError: ``net`` has no hidden neurons, or none that read it out, by their places: see
            :func:`~sequential_fmnist.networks.hidden_and_readout`.
    """
    layers, readout = hidden_and_readout(net)
    if not layers or readout is None:
        raise ValueError(
            f"net must have hidden neurons and spiking ones that read it out, got {', '.join(layers) or 'none'} and "
            f"{readout or 'none'}"
        )
    neurons = [
        next(module for module in net.get_submodule(name).modules() if isinstance(module, SpikingNeuron))
        for name in (layers[-1], readout)
    ]
    synapses = [] if getattr(net, "sy1", None) is None else [net.sy1]
    reset_net(net)
    try:
        with Monitor(net, *neurons, *synapses, v=True) as monitor:
            net(images)
    finally:
        reset_net(net)
    hidden, read_out, *current = monitor.outputs.values()
    hidden_v, read_out_v = monitor.v.values()
    return Activity(hidden, hidden_v, read_out, read_out_v, *current)
