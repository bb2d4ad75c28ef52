"""Look inside a spiking neuron while it runs, alone or within a recurrent container."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn_core.checks import check_module, check_tensor
from snn_core.neuron import SpikingNeuron


@dataclass(frozen=True)
class Trace:
    """All quantities of a neuron in T time steps, each ``[T, *]``, without history.

    Attributes:
        x: what was fed in from outside.
        i: what reached the neuron.
        h: membrane potential after the charge, before the reset.
        s: spikes.
        v: membrane potential after the reset.
        v_threshold: membrane potential from which the neuron fires.
        is_recurrent: whether the neuron sits in a container, so that ``i`` may differ from ``x``.
    """

    x: Tensor
    i: Tensor
    h: Tensor
    s: Tensor
    v: Tensor
    v_threshold: float
    is_recurrent: bool


def trace(net: nn.Module, x_seq: Tensor) -> Trace:
    """Feed ``x_seq`` to ``net`` one time step after the other, and record what happens in its neuron.

    ``net`` starts from the state that it has, and keeps the last one. h is read where it enters the surrogate
    function, as ``h - v_threshold``, so it is exact up to rounding.

    Args:
        net: module for single steps with one spiking neuron in it: an ``IFNode``, or a container around one.
        x_seq: input, ``[T, *]`` with T >= 1.

    Raises:
        TypeError: ``net`` or its neuron's surrogate function is not a module, or ``x_seq`` not a tensor.
        ValueError: ``net`` does not hold exactly one spiking neuron, or ``x_seq`` has no time step.
    """
    if check_tensor("x_seq", x_seq).dim() == 0 or len(x_seq) == 0:
        raise ValueError(f"x_seq must have at least one time step, got shape {list(x_seq.shape)}")
    neurons = [module for module in check_module("net", net).modules() if isinstance(module, SpikingNeuron)]
    if len(neurons) != 1:
        raise ValueError(f"trace: net must hold one spiking neuron, {type(net).__name__} has {len(neurons)}")
    (neuron,) = neurons
    check_module("surrogate_function", neuron.surrogate_function)
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
    return Trace(x_seq.detach(), *recorded, neuron.v_threshold, is_recurrent=net is not neuron)
