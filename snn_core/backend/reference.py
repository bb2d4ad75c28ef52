"""The readable torch loop: the definition that every fused kernel must equal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snn_core.functional import synapse_filter_step

NeuronStep = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def neuron_sequence(
    step: NeuronStep, x_seq: Tensor, v: Tensor, store_v_seq: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Walk a layer of neurons through time.

    Args:
        step: takes x[t] and v[t-1], gives s[t] and v[t].
        x_seq: input currents, ``[T, N, *]`` with T >= 1.
        v: membrane potential before the first step, ``[N, *]``.
        store_v_seq: whether v[t] of every step is returned too.

    Returns:
        Spikes ``[T, N, *]``, the last membrane potential ``[N, *]``, and all membrane potentials ``[T, N, *]`` or
        None.
    """
    s_seq, v_seq = [], []
    for x in x_seq:
        s, v = step(x, v)
        s_seq.append(s)
        if store_v_seq:
            v_seq.append(v)
    return torch.stack(s_seq), v, torch.stack(v_seq) if store_v_seq else None


def synapse_filter_sequence(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Walk a layer of synapse filters through time.

    Args:
        s_seq: spikes, ``[T, N, *]`` with T >= 1.
        i: synaptic current before the first step, ``[N, *]``.
        inv_tau: 1/tau, broadcasts to ``[N, *]``.

    Returns:
        Synaptic currents I[t], ``[T, N, *]``.
    """
    i_seq = []
    for s in s_seq:
        i = synapse_filter_step(s, i, inv_tau)
        i_seq.append(i)
    return torch.stack(i_seq)
