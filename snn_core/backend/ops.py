"""Sequence operations as ops of torch: a tensor's device picks the kernel, autograd and torch.compile pass through.

Shapes: x_seq, s_seq, h_seq, i_seq are ``[T, N, *]``; v, y, i, inv_tau ``[N, *]``; with recurrent weights
``[T, *, H]``, ``[*, H]`` and weight ``[H, H]``. The constants are those of
:class:`snn_core.backend.constants.Neuron`.

Each op has a twin that computes its gradients. They are joined by a ``torch.autograd.Function`` under the Autograd key,
which costs a tenth of what ``torch.library.register_autograd`` does: no zeros are made for outputs that nobody
differentiates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn_core.backend import cpu, cuda
from snn_core.backend.constants import Neuron, read_neuron

NEURON = (
    "float v_threshold, float? v_reset, float? tau, bool decay_input, bool detach_reset, "
    "int surrogate, float a, float b"
)
SCHEMAS = {
    "neuron_sequence": f"(Tensor x_seq, Tensor v, Tensor? y, {NEURON}) -> (Tensor s_seq, Tensor v_last, Tensor h_seq)",
    "neuron_sequence_backward": (
        f"(Tensor grad_s_seq, Tensor grad_v_last, Tensor h_seq, bool feedback, {NEURON}) -> (Tensor, Tensor, Tensor)"
    ),
    "recurrent_neuron_sequence": (
        f"(Tensor i_seq, Tensor v, Tensor y, Tensor weight, {NEURON}) -> (Tensor s_seq, Tensor v_last, Tensor h_seq)"
    ),
    "recurrent_neuron_sequence_backward": (
        "(Tensor grad_s_seq, Tensor grad_v_last, Tensor h_seq, Tensor s_seq, Tensor y, Tensor weight, "
        f"{NEURON}) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
    "synapse_filter_sequence": "(Tensor s_seq, Tensor i, Tensor inv_tau) -> Tensor",
    "synapse_filter_sequence_backward": (
        "(Tensor grad_i_seq, Tensor s_seq, Tensor i_seq, Tensor i, Tensor inv_tau) -> (Tensor, Tensor, Tensor)"
    ),
}

_library = torch.library.Library("snn_core", "DEF")
for _name, _schema in SCHEMAS.items():
    _library.define(_name + _schema)
    _library.impl(_name, getattr(cpu, _name), "CPU")
    _library.impl(_name, getattr(cuda, _name), "CUDA")
_ops = torch.ops.snn_core


def _new(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an empty, contiguous tensor of this shape, as every kernel returns."""
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=tensor.device)


def _fake_walk(x_seq: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _new(x_seq), _new(v, x_seq.dtype), _new(x_seq, cpu.compute_dtype(x_seq.dtype))


def _fake_neuron_backward(grad_s_seq: Tensor, grad_v_last: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _new(grad_s_seq), _new(grad_v_last), _new(grad_v_last)


def _fake_recurrent_backward(
    grad_s_seq: Tensor, grad_v_last: Tensor, h_seq: Tensor, s_seq: Tensor, y: Tensor, weight: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _new(grad_s_seq), _new(grad_v_last), _new(grad_v_last), _new(weight)


def _fake_synapse_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _new(grad_i_seq), _new(i), _new(inv_tau)


for _name, _fake in {
    "neuron_sequence": _fake_walk,
    "neuron_sequence_backward": _fake_neuron_backward,
    "recurrent_neuron_sequence": _fake_walk,
    "recurrent_neuron_sequence_backward": _fake_recurrent_backward,
    "synapse_filter_sequence": lambda s_seq, i, inv_tau: _new(s_seq),
    "synapse_filter_sequence_backward": _fake_synapse_backward,
}.items():
    torch.library.register_fake(f"snn_core::{_name}", _fake, lib=_library)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


class _NeuronSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, v: Tensor, y: Tensor | None, *constants: Any) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            s_seq, v_last, h_seq = _ops.neuron_sequence(x_seq, v, y, *constants)
        ctx.save_for_backward(v, h_seq)
        ctx.feedback, ctx.constants = y is not None, constants
        ctx.mark_non_differentiable(h_seq)
        ctx.set_materialize_grads(False)
        return s_seq, v_last, h_seq

    @staticmethod
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        v, h_seq = ctx.saved_tensors
        if grad_s is None:
            grad_s = torch.zeros_like(h_seq, dtype=v.dtype)
        grad_x, grad_v, grad_y = _ops.neuron_sequence_backward(
            grad_s, _or_zeros(grad_v, v), h_seq, ctx.feedback, *ctx.constants
        )
        return grad_x, grad_v, grad_y if ctx.feedback else None, *[None] * len(ctx.constants)


class _RecurrentNeuronSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, i_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, *constants: Any
    ) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            s_seq, v_last, h_seq = _ops.recurrent_neuron_sequence(i_seq, v, y, weight, *constants)
        ctx.save_for_backward(h_seq, s_seq, v, y, weight)
        ctx.constants = constants
        ctx.mark_non_differentiable(h_seq)
        ctx.set_materialize_grads(False)
        return s_seq, v_last, h_seq

    @staticmethod
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        h_seq, s_seq, v, y, weight = ctx.saved_tensors
        gradients = _ops.recurrent_neuron_sequence_backward(
            _or_zeros(grad_s, s_seq), _or_zeros(grad_v, v), h_seq, s_seq, y, weight, *ctx.constants
        )
        return *gradients, *[None] * len(ctx.constants)


class _SynapseFilterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            i_seq = _ops.synapse_filter_sequence(s_seq, i, inv_tau)
        ctx.save_for_backward(s_seq, i_seq, i, inv_tau)
        return i_seq

    @staticmethod
    def backward(ctx: Any, grad_i_seq: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _ops.synapse_filter_sequence_backward(grad_i_seq, *ctx.saved_tensors)


def _under_autograd(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return function.apply(*arguments)

    return call


_library.impl("neuron_sequence", _under_autograd(_NeuronSequence), "Autograd")
_library.impl("recurrent_neuron_sequence", _under_autograd(_RecurrentNeuronSequence), "Autograd")
_library.impl("synapse_filter_sequence", _under_autograd(_SynapseFilterSequence), "Autograd")


class FusedNeuron:
    """A neuron's constants and the ops that walk it through time.

    Args:
        constants: see :class:`snn_core.backend.constants.Neuron`.
    """

    def __init__(self, constants: Neuron) -> None:
        self.constants = constants

    def sequence(self, x_seq: Tensor, v: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, N, *]`` and the last v ``[N, *]``; with ``y`` each input is x[t] + y[t-1]."""
        s_seq, v, _ = _ops.neuron_sequence(x_seq, v, y, *self.constants)
        return s_seq, v

    def recurrent_sequence(
        self, i_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, N, H]`` and the last v ``[N, H]`` for inputs i[t] + y[t-1] W^T, W ``[H, H]``."""
        s_seq, v, _ = _ops.recurrent_neuron_sequence(i_seq, v, y, weight, *self.constants)
        return s_seq, v


def fused_neuron(step: Callable[..., object]) -> FusedNeuron | None:
    """Return what walks this step function through time, or None if no kernel knows it."""
    constants = read_neuron(step)
    return None if constants is None else FusedNeuron(constants)


def synapse_filter(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Return the currents ``[T, N, *]`` of a synapse filter; ``inv_tau`` broadcasts to ``[N, *]``."""
    return _ops.synapse_filter_sequence(s_seq, i, inv_tau.expand_as(i))
