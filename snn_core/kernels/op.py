"""The scan of a plan as an op of torch: a tensor's device picks the kernel, autograd and torch.compile pass through.

``scan`` takes x_seq ``[T, N, K]``, the tensors of all stages in their order, see
:class:`snn_core.kernels.plan.Stage`, and the plan in flat lists. It returns y_seq ``[T, N, J]``, the last states of all
stages, each ``[N, J]``, one after the other in one flat tensor, and those at the borders of segments, which
``scan_backward`` needs; that returns the gradients of x_seq, empty unless it needs one, and of all tensors. A tensor
may be None: states that begin at their initial value, a bias that is not there, gradients that are zero. ``lengths``,
int64 ``[N]`` in descending order, says of how many steps each sample is; what y_seq holds after them is left open.

The two are joined by a ``torch.autograd.Function`` under the Autograd key, which costs a tenth of what
``torch.library.register_autograd`` does: no zeros are made for outputs that nobody differentiates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.flop_counter import register_flop_formula

from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.plan import Plan, plan_of

_PLAN = "Tensor?[] tensors, str[] kernels, int[] sizes, float[] numbers"
SCHEMAS = {
    "scan": f"(Tensor x_seq, {_PLAN}, Tensor? lengths=None) -> (Tensor y_seq, Tensor last, Tensor borders)",
    "scan_backward": (
        f"(Tensor? grad_y, Tensor? grad_last, Tensor x_seq, Tensor borders, {_PLAN}, bool needs_x, "
        "Tensor? lengths=None) -> Tensor[]"
    ),
}

_library = torch.library.Library("snn_core", "DEF")
for _name, _schema in SCHEMAS.items():
    _library.define(_name + _schema)
_ops = torch.ops.snn_core


def _plan(flat: Sequence[Any]) -> Plan:
    return plan_of(*map(tuple, flat))


def _scan_of(kernels: Any, x_seq: Tensor, tensors: Any, *flat: Any) -> tuple[Tensor, ...]:
    return kernels.scan(x_seq, tensors, _plan(flat[:3]), *flat[3:])


def _scan_backward_of(kernels: Any, *arguments: Any) -> list[Tensor]:
    found = kernels.scan_backward(*arguments[:5], _plan(arguments[5:8]), *arguments[8:])
    return [one.clone() for one in found]  # an op's results must not share memory, as parts of one sum do


for _kernels_of, _key in ((cpu, "CPU"), (cuda, "CUDA")):
    _library.impl("scan", partial(_scan_of, _kernels_of), _key)
    _library.impl("scan_backward", partial(_scan_backward_of, _kernels_of), _key)


def _on_one_device(*tensors: Tensor | None) -> None:
    """Refuse tensors here and there: a fake stands for the kernels also where a single tensor is on meta."""
    devices = {str(tensor.device) for tensor in tensors if tensor is not None}
    if len(devices) > 1:
        raise ValueError(f"all tensors must be on one device, got {', '.join(sorted(devices))}")


def _fake(x_seq: Tensor, tensors: Sequence[Tensor | None], *flat: Any) -> tuple[Tensor, ...]:
    _on_one_device(x_seq, *tensors, *flat[3:])
    plan, (T, N, _) = _plan(flat[:3]), x_seq.shape
    borders = 0 if x_seq.device.type == "cuda" else plan.segments(T)[1]
    return (
        x_seq.new_empty(T, N, plan.stages[-1].outputs),
        x_seq.new_empty(N * plan.state_size),
        x_seq.new_empty(borders * N * plan.state_size, dtype=cpu.compute_dtype(x_seq.dtype)),
    )


def _fake_backward(
    grad_y: Tensor | None,
    grad_last: Tensor | None,
    x_seq: Tensor,
    borders: Tensor,
    tensors: Sequence[Tensor | None],
    kernels: Any,
    sizes: Any,
    numbers: Any,
    needs_x: bool,
    lengths: Tensor | None = None,
) -> list[Tensor]:
    _on_one_device(grad_y, grad_last, x_seq, borders, lengths, *tensors)
    return [
        x_seq.new_empty(0) if one is None else torch.empty(one.shape, dtype=one.dtype, device=one.device)
        for one in (x_seq if needs_x else None, *tensors)
    ]


torch.library.register_fake("snn_core::scan", _fake, lib=_library)
torch.library.register_fake("snn_core::scan_backward", _fake_backward, lib=_library)


@register_flop_formula(_ops.scan)
def _operations(x_shape: Any, tensors: Any, *flat: Any, **_: Any) -> int:
    T, N, _features = x_shape
    return sum(2 * T * N * stage.products for stage in _plan(flat[:3]).stages)


@register_flop_formula(_ops.scan_backward)
def _operations_backward(
    g: Any, last: Any, x_shape: Any, borders: Any, tensors: Any, *flat: Any, **_: Any
) -> int:
    return 3 * _operations(
        x_shape, tensors, *flat
    )  # the forward pass again, gradients of inputs and of weights


class _Dispatched:
    """The ops by their names, called below autograd, as the kernels behind them are."""

    @staticmethod
    def scan(x: Tensor, tensors: Any, plan: Plan, lengths: Tensor | None) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.scan(x, tensors, *plan.flat, lengths)

    @staticmethod
    def scan_backward(
        g: Any, last: Any, x: Tensor, borders: Tensor, tensors: Any, plan: Plan, needs_x: bool, lengths: Any
    ) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.scan_backward(g, last, x, borders, tensors, *plan.flat, needs_x, lengths)


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


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Any, plan: Plan, lengths: Tensor | None, x_seq: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        y_seq, last, borders = kernels.scan(x_seq, tensors, plan, lengths)
        ctx.save_for_backward(x_seq, borders, lengths, *tensors)
        ctx.kernels, ctx.plan = kernels, plan
        ctx.mark_non_differentiable(borders)
        ctx.set_materialize_grads(False)
        return y_seq, last, borders

    @staticmethod
    def backward(
        ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        x_seq, borders, lengths, *tensors = ctx.saved_tensors
        needed = ctx.needs_input_grad[3:]
        found = ctx.kernels.scan_backward(
            grad_y, grad_last, x_seq, borders, tensors, ctx.plan, needed[0], lengths
        )
        return None, None, None, *(g if need else None for g, need in zip(found, needed, strict=True))


def _autograd(
    x_seq: Tensor, tensors: Any, kernels: Any, sizes: Any, numbers: Any, lengths: Tensor | None = None
) -> tuple[Tensor, ...]:
    return _Scan.apply(_Dispatched, _plan((kernels, sizes, numbers)), lengths, x_seq, *tensors)


_library.impl("scan", _autograd, "Autograd")


def scan(
    x_seq: Tensor, tensors: Sequence[Tensor | None], flat: tuple[Any, ...], lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return outputs ``[T, N, J]`` and the last states, flat, of a plan in flat lists for x_seq ``[T, N, K]``."""
    kernels = _kernels(x_seq)
    if kernels:
        y_seq, last, _ = _Scan.apply(kernels, plan_of(*flat), lengths, x_seq, *tensors)
    else:
        y_seq, last, _ = _ops.scan(x_seq, tensors, *flat, lengths)
    return y_seq, last
