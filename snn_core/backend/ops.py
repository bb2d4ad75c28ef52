"""Sequence operations as ops of torch: a tensor's device picks the kernel, autograd and torch.compile pass through.

Shapes: x_seq, s_seq, h_seq, i_seq are ``[T, N, *]``; v, y, i ``[N, *]``; inv_tau broadcasts to ``[N, *]``. With
recurrent weights they are ``[T, *, H]`` and ``[*, H]``, and the weight, which takes [x[t]; y[t-1]], is ``[H, 2 H]``.
The constants are those of :class:`snn_core.backend.constants.Neuron`.

Each op has a twin that computes its gradients. They are joined by a ``torch.autograd.Function`` under the Autograd key,
which costs a tenth of what ``torch.library.register_autograd`` does: no zeros are made for outputs that nobody
differentiates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from snn_core.backend import cpu, cuda
from snn_core.backend.constants import Neuron, read_neuron

NEURON = (
    "float v_threshold, float? v_reset, float? tau, bool decay_input, bool detach_reset, "
    "int surrogate, float a, float b"
)
SCHEMAS = {
    "linear": "(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
    "linear_backward": "(Tensor grad, Tensor x, Tensor weight, bool needs_x) -> (Tensor, Tensor, Tensor)",
    "neuron_sequence": f"(Tensor x_seq, Tensor v, Tensor? y, {NEURON}) -> (Tensor s_seq, Tensor v_last, Tensor h_seq)",
    "neuron_sequence_backward": (
        f"(Tensor grad_s_seq, Tensor? grad_v_last, Tensor h_seq, bool feedback, {NEURON}) -> (Tensor, Tensor, Tensor)"
    ),
    "recurrent_neuron_sequence": (
        f"(Tensor x_seq, Tensor v, Tensor y, Tensor weight, Tensor? bias, {NEURON}) "
        "-> (Tensor s_seq, Tensor v_last, Tensor h_seq)"
    ),
    "recurrent_neuron_sequence_backward": (
        "(Tensor grad_s_seq, Tensor? grad_v_last, Tensor h_seq, Tensor s_seq, Tensor x_seq, Tensor y, Tensor weight, "
        f"{NEURON}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
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
    if hasattr(cuda, _name):  # a linear layer is left to cuBLAS
        _library.impl(_name, getattr(cuda, _name), "CUDA")
_ops = torch.ops.snn_core


def _new(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an empty, contiguous tensor of this shape, as every kernel returns."""
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=tensor.device)


def _fake_linear_backward(
    grad: Tensor, x: Tensor, weight: Tensor, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _new(x) if needs_x else x.new_empty(0), _new(weight), weight.new_empty(len(weight))


def _fake_walk(x_seq: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _new(x_seq), _new(v, x_seq.dtype), _new(x_seq, cpu.compute_dtype(x_seq.dtype))


def _fake_neuron_backward(grad_s_seq: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _new(grad_s_seq), _new(grad_s_seq[0]), _new(grad_s_seq[0])


def _fake_recurrent_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    x_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *_: Any,
) -> tuple[Tensor, ...]:
    return *_fake_neuron_backward(grad_s_seq), _new(weight), weight.new_empty(len(weight))


def _fake_synapse_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _new(grad_i_seq), _new(i), _new(inv_tau)


def _on_one_device(fake: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``fake`` refuse tensors here and there: it stands for the kernels also where a single one is on meta."""

    def call(*arguments: Any) -> Any:
        devices = {str(argument.device) for argument in arguments if isinstance(argument, Tensor)}
        if len(devices) > 1:
            raise ValueError(f"all tensors must be on one device, got {', '.join(sorted(devices))}")
        return fake(*arguments)

    return call


_FAKES: dict[str, Callable[..., Any]] = {
    "linear": lambda x, weight, bias: x.new_empty(*x.shape[:-1], len(weight)),
    "linear_backward": _fake_linear_backward,
    "neuron_sequence": _fake_walk,
    "neuron_sequence_backward": _fake_neuron_backward,
    "recurrent_neuron_sequence": _fake_walk,
    "recurrent_neuron_sequence_backward": _fake_recurrent_backward,
    "synapse_filter_sequence": lambda s_seq, i, inv_tau: _new(s_seq),
    "synapse_filter_sequence_backward": _fake_synapse_backward,
}
for _name, _fake in _FAKES.items():
    torch.library.register_fake(f"snn_core::{_name}", _on_one_device(_fake), lib=_library)


class _Dispatched:
    """The ops by their names, called below autograd, as the kernels behind them are."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with torch._C._AutoDispatchBelowAutograd():
                return getattr(_ops, name)(*arguments)

        return call


_dispatched = _Dispatched()


def _kernels(tensor: Tensor) -> Any:
    """Return the module of kernels for this tensor, or None if somebody watches the ops, as a compiler does.

    The dispatcher costs as much as a small kernel, so it is asked only then.
    """
    watched = (
        type(tensor) not in (Tensor, torch.nn.Parameter)
        or torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
    )
    return None if watched else {"cpu": cpu, "cuda": cuda}.get(tensor.device.type)


def _refuse_second_derivative() -> None:
    """Stop where a gradient is to be differentiated again: autograd would take what a kernel returns for a constant."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fused kernels have no second derivative (create_graph=True): build the network with backend='torch'"
        )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = kernels.linear(x, weight, bias)
        ctx.kernels = kernels
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        needs_x = ctx.needs_input_grad[1]
        grad_x, grad_weight, grad_bias = ctx.kernels.linear_backward(grad, *ctx.saved_tensors, needs_x)
        return None, grad_x if needs_x else None, grad_weight, grad_bias if ctx.has_bias else None


class _NeuronSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Any, x_seq: Tensor, v: Tensor, y: Tensor | None, constants: Neuron
    ) -> tuple[Tensor, ...]:
        s_seq, v_last, h_seq = kernels.neuron_sequence(x_seq, v, y, *constants)
        ctx.save_for_backward(h_seq)
        ctx.kernels, ctx.feedback, ctx.constants = kernels, y is not None, constants
        ctx.mark_non_differentiable(h_seq)
        ctx.set_materialize_grads(False)
        return s_seq, v_last, h_seq

    @staticmethod
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        (h_seq,) = ctx.saved_tensors
        if grad_s is None:
            grad_s = torch.zeros_like(h_seq, dtype=None if grad_v is None else grad_v.dtype)
        grad_x, grad_v, grad_y = ctx.kernels.neuron_sequence_backward(
            grad_s, grad_v, h_seq, ctx.feedback, *ctx.constants
        )
        return None, grad_x, grad_v, grad_y if ctx.feedback else None, None


class _RecurrentNeuronSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: Any,
        x_seq: Tensor,
        v: Tensor,
        y: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        constants: Neuron,
    ) -> tuple[Tensor, ...]:
        s_seq, v_last, h_seq = kernels.recurrent_neuron_sequence(x_seq, v, y, weight, bias, *constants)
        ctx.save_for_backward(h_seq, s_seq, x_seq, y, weight)
        ctx.kernels, ctx.has_bias, ctx.constants = kernels, bias is not None, constants
        ctx.mark_non_differentiable(h_seq)
        ctx.set_materialize_grads(False)
        return s_seq, v_last, h_seq

    @staticmethod
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        if grad_s is None:
            grad_s = torch.zeros_like(ctx.saved_tensors[1])
        *gradients, grad_bias = ctx.kernels.recurrent_neuron_sequence_backward(
            grad_s, grad_v, *ctx.saved_tensors, *ctx.constants
        )
        return None, *gradients, grad_bias if ctx.has_bias else None, None


class _SynapseFilterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Any, s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
        i_seq = kernels.synapse_filter_sequence(s_seq, i, inv_tau)
        ctx.kernels = kernels
        ctx.save_for_backward(s_seq, i_seq, i, inv_tau)
        return i_seq

    @staticmethod
    def backward(ctx: Any, grad_i_seq: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        return None, *ctx.kernels.synapse_filter_sequence_backward(grad_i_seq, *ctx.saved_tensors)


def _under_autograd(
    function: type[torch.autograd.Function], tensors: int, neuron: bool
) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        constants = [Neuron(*arguments[tensors:])] if neuron else []
        return function.apply(_dispatched, *arguments[:tensors], *constants)

    return call


_library.impl("linear", _under_autograd(_Linear, 3, False), "Autograd")
_library.impl("neuron_sequence", _under_autograd(_NeuronSequence, 3, True), "Autograd")
_library.impl("recurrent_neuron_sequence", _under_autograd(_RecurrentNeuronSequence, 5, True), "Autograd")
_library.impl("synapse_filter_sequence", _under_autograd(_SynapseFilterSequence, 3, False), "Autograd")


class FusedNeuron:
    """A neuron's constants and the ops that walk it through time.

    Args:
        constants: see :class:`snn_core.backend.constants.Neuron`.
    """

    def __init__(self, constants: Neuron) -> None:
        self.constants = constants

    def sequence(self, x_seq: Tensor, v: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, N, *]`` and the last v ``[N, *]``; with ``y`` each input is x[t] + y[t-1]."""
        kernels = _kernels(x_seq)
        if kernels:
            s_seq, v, _ = _NeuronSequence.apply(kernels, x_seq, v, y, self.constants)
        else:
            s_seq, v, _ = _ops.neuron_sequence(x_seq, v, y, *self.constants)
        return s_seq, v

    def recurrent_sequence(
        self, x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, N, H]`` and the last v ``[N, H]`` for inputs [x[t]; y[t-1]] W^T + b, W ``[H, 2 H]``."""
        kernels = _kernels(x_seq)
        if kernels:
            s_seq, v, _ = _RecurrentNeuronSequence.apply(kernels, x_seq, v, y, weight, bias, self.constants)
        else:
            s_seq, v, _ = _ops.recurrent_neuron_sequence(x_seq, v, y, weight, bias, *self.constants)
        return s_seq, v


def fused_neuron(step: Callable[..., object]) -> FusedNeuron | None:
    """Return what walks this step function through time, or None if no kernel knows it."""
    constants = read_neuron(step)
    return None if constants is None else FusedNeuron(constants)


def synapse_filter(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Return the currents ``[T, N, *]`` of a synapse filter; ``inv_tau`` broadcasts to ``[N, *]``."""
    kernels = _kernels(s_seq)
    if kernels:
        return _SynapseFilterSequence.apply(kernels, s_seq, i, inv_tau)
    return _ops.synapse_filter_sequence(s_seq, i, inv_tau)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b for x ``[*, K]``, W ``[J, K]`` and b ``[J]``."""
    kernels = _kernels(x)
    return _Linear.apply(kernels, x, weight, bias) if kernels else _ops.linear(x, weight, bias)
