"""The scan of a plan, differentiable: at once on the CPU, and as an op of torch.

:func:`scan` is what networks call. On the CPU it is a ``torch.autograd.Function`` straight over the kernels. Elsewhere,
and where somebody watches, as a compiler does, it is the op ``snn_core::scan``: a tensor's device picks the kernel,
autograd and torch.compile pass through.

The op takes x_seq ``[T, N, K]``, the tensors of all stages in their order, see :class:`snn_core.kernels.Stage`, and
the plan and its numbers in flat lists. It returns y_seq ``[T, N, J]``; the last states of all stages, each ``[N, J]``,
one after the other in one flat tensor; in another one what stages store of all steps, each ``[T, N, J]``; and the
states at the borders of segments, which ``scan_backward`` needs. That
returns the gradients of x_seq, empty unless it needs one, and of all tensors. A tensor may be None: states that begin
at their initial value, a bias that is not there, gradients that are zero. ``lengths``, int64 ``[N]`` in descending
order, says of how many steps each sample is; what y_seq holds after them is left open.

Autograd is a ``torch.autograd.Function`` under the Autograd key, which costs a tenth of what
``torch.library.register_autograd`` does: no zeros are made for outputs that nobody differentiates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from snn_core.checks import is_watched
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.plan import Plan, Stage, flat, parsed, plan_of

_PLAN = "Tensor?[] tensors, str[] programs, int[] sizes, float[] numbers"
_library = torch.library.Library("snn_core", "DEF")
_library.define(
    f"scan(Tensor x_seq, {_PLAN}, Tensor? lengths=None) -> (Tensor y_seq, Tensor last, Tensor seqs, Tensor borders)"
)
_library.define(
    "scan_backward(Tensor? grad_y, Tensor? grad_last, Tensor? grad_seqs, Tensor x_seq, Tensor borders, "
    f"{_PLAN}, bool needs_x, Tensor? lengths=None) -> Tensor[]"
)
_ops = torch.ops.snn_core


def _plan(programs: Sequence[str], sizes: Sequence[int]) -> Plan:
    return parsed(tuple(programs), tuple(sizes))


def _scan_of(
    kernels: Any, x_seq: Tensor, tensors: Any, programs: Any, sizes: Any, *rest: Any
) -> tuple[Tensor, ...]:
    return kernels.scan(x_seq, tensors, _plan(programs, sizes), *rest)


def _scan_backward_of(kernels: Any, *arguments: Any) -> list[Tensor]:
    found = kernels.scan_backward(*arguments[:6], _plan(*arguments[6:8]), *arguments[8:])
    return [one.clone() for one in found]  # an op's results must not share memory, as parts of one sum do


for _kernels_of, _key in ((cpu, "CPU"), (cuda, "CUDA")):
    _library.impl("scan", partial(_scan_of, _kernels_of), _key)
    _library.impl("scan_backward", partial(_scan_backward_of, _kernels_of), _key)


def _on_one_device(*tensors: Tensor | None) -> None:
    """Refuse tensors here and there: a fake stands for the kernels also where a single tensor is on meta."""
    devices = {str(tensor.device) for tensor in tensors if tensor is not None}
    if len(devices) > 1:
        raise ValueError(f"all tensors must be on one device, got {', '.join(sorted(devices))}")


def _fake(
    x_seq: Tensor, tensors: Sequence[Tensor | None], programs: Any, sizes: Any, numbers: Any, *lengths: Any
) -> tuple[Tensor, ...]:
    _on_one_device(x_seq, *tensors, *lengths)
    plan, (T, N, _) = _plan(programs, sizes), x_seq.shape
    borders = 0 if x_seq.device.type == "cuda" else plan.segments(T, N)[1]
    return (
        x_seq.new_empty(T, N, plan.stages[-1].outputs),
        x_seq.new_empty(N * plan.state_size),
        x_seq.new_empty(T * N * sum(plan.seq_sizes)),
        x_seq.new_empty(borders * N * plan.state_size, dtype=cpu.compute_dtype(x_seq.dtype)),
    )


def _fake_backward(
    grad_y: Tensor | None,
    grad_last: Tensor | None,
    grad_seqs: Tensor | None,
    x_seq: Tensor,
    borders: Tensor,
    tensors: Sequence[Tensor | None],
    programs: Any,
    sizes: Any,
    numbers: Any,
    needs_x: bool,
    lengths: Tensor | None = None,
) -> list[Tensor]:
    _on_one_device(grad_y, grad_last, grad_seqs, x_seq, borders, lengths, *tensors)
    return [
        x_seq.new_empty(0) if one is None else torch.empty(one.shape, dtype=one.dtype, device=one.device)
        for one in (x_seq if needs_x else None, *tensors)
    ]


torch.library.register_fake("snn_core::scan", _fake, lib=_library)
torch.library.register_fake("snn_core::scan_backward", _fake_backward, lib=_library)


@register_flop_formula(_ops.scan)
def _operations(x_shape: Any, tensors: Any, programs: Any, sizes: Any, *_: Any, **__: Any) -> int:
    T, N, _features = x_shape
    return sum(2 * T * N * stage.products for stage in _plan(programs, sizes).stages)


@register_flop_formula(_ops.scan_backward)
def _operations_backward(
    g: Any, last: Any, seqs: Any, x_shape: Any, borders: Any, tensors: Any, *flat: Any, **_: Any
) -> int:
    # The forward pass again, gradients of inputs and of weights.
    return 3 * _operations(x_shape, tensors, *flat)


class _Dispatched:
    """The ops by their names, called below autograd, as the kernels behind them are."""

    @staticmethod
    def scan(x: Tensor, tensors: Any, plan: Plan, numbers: Any, lengths: Tensor | None) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.scan(x, tensors, *plan.flat, numbers, lengths)

    @staticmethod
    def scan_backward(
        g: Any, last: Any, seqs: Any, x: Tensor, borders: Tensor, tensors: Any, plan: Plan, *rest: Any
    ) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.scan_backward(g, last, seqs, x, borders, tensors, *plan.flat, *rest)


def _check_gradients(*gradients: Tensor | None) -> None:
    """Stop where a kernel gives no gradient.

    Where it is to be differentiated again autograd would take it for a constant; several at once are no tensor.
    """
    if not all(one is None or torch._C._has_storage(one) for one in gradients):
        raise RuntimeError(
            "the fused kernels take one gradient at a time, without is_grads_batched=True or vectorize=True: call "
            "functional.set_backend(net, 'torch')"
        )
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fused kernels have no second derivative (create_graph=True): call functional.set_backend(net, 'torch')"
        )


class _Scan(torch.autograd.Function):
    """The op with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Any,
        plan: Plan,
        numbers: Any,
        lengths: Tensor | None,
        x_seq: Tensor,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        y_seq, last, seqs, borders = kernels.scan(x_seq, tensors, plan, numbers, lengths)
        ctx.save_for_backward(x_seq, borders, lengths, *tensors)
        ctx.kernels, ctx.plan, ctx.numbers = kernels, plan, numbers
        ctx.mark_non_differentiable(borders)
        ctx.set_materialize_grads(False)
        return y_seq, last, seqs, borders

    @staticmethod
    def backward(
        ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None, grad_seqs: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        _check_gradients(grad_y, grad_last, grad_seqs)
        x_seq, borders, lengths, *tensors = ctx.saved_tensors
        needed = ctx.needs_input_grad[4:]
        found = ctx.kernels.scan_backward(
            grad_y, grad_last, grad_seqs, x_seq, borders, tensors, ctx.plan, ctx.numbers, needed[0], lengths
        )
        used = zip(found, needed, (True, *ctx.plan.used), strict=True)
        return None, None, None, None, *(g if need and is_used else None for g, need, is_used in used)


def _autograd(
    x_seq: Tensor, tensors: Any, programs: Any, sizes: Any, numbers: Any, lengths: Tensor | None = None
) -> tuple[Tensor, ...]:
    return _Scan.apply(_Dispatched, _plan(programs, sizes), numbers, lengths, x_seq, *tensors)


_library.impl("scan", _autograd, "Autograd")


class Shapes(NamedTuple):
    """Shapes of x_seq as ``[T, N, K]``, and for the caller of y_seq, last states, and what is stored of all steps."""

    rows: tuple[int, ...]
    y_seq: tuple[int, ...]
    states: list[tuple[int, ...]]
    seqs: list[tuple[int, ...]]


def _on_cpu(
    plan: Plan,
    numbers: Sequence[float],
    shapes: Shapes,
    lengths: Tensor | None,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    keep: bool,
) -> tuple[cpu.Layout, tuple[Tensor, ...], Sequence[Tensor | None]]:
    """Run the kernels; return the layout, what :func:`scan` returns, and what the backward pass needs."""
    rows = x_seq if x_seq.shape == shapes.rows else x_seq.reshape(shapes.rows)
    layout = cpu.layout_of(rows, tensors, plan, lengths)
    # Each in its shape: autograd refuses to change a view of another tensor in place.
    results: tuple[Tensor, ...] = tuple(
        [
            torch.empty(shape, dtype=layout.dtype, device="cpu")
            for shape in (shapes.y_seq, *shapes.states, *shapes.seqs)
        ]
    )
    kept = cpu.forward(layout, rows, tensors, numbers, lengths, keep, results[0], results[1:])
    if x_seq.dtype is not layout.dtype:
        results = tuple([one.to(x_seq.dtype) for one in results])
    return layout, results, kept


class _ScanOnCPU(torch.autograd.Function):
    """The kernels for the CPU with their gradient, in the caller's shapes."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        numbers: Sequence[float],
        shapes: Shapes,
        lengths: Tensor | None,
        x_seq: Tensor,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        layout, results, kept = _on_cpu(plan, numbers, shapes, lengths, x_seq, tensors, True)
        ctx.save_for_backward(x_seq, lengths, *tensors, *kept)
        ctx.known = layout, numbers, shapes, len(tensors)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _check_gradients(grad_y, *grads)
        x_seq, lengths, *rest = ctx.saved_tensors
        (layout, numbers, shapes, count), needed = ctx.known, ctx.needs_input_grad
        tensors, (weights, borders, *kept) = rest[:count], rest[count:]
        rows = x_seq if x_seq.shape == shapes.rows else x_seq.reshape(shapes.rows)
        T, N, _ = shapes.rows
        if grad_y is not None and (grad_y.dim() != 3 or grad_y.shape[1] != N):
            grad_y = grad_y.reshape(T, N, layout.plan.stages[-1].outputs)
        needs_first = any(
            need and is_state for need, is_state in zip(needed[5:], layout.are_states, strict=True)
        )
        g_x, *found = cpu.backward(
            layout, rows, tensors, numbers, lengths, weights, borders, kept, grad_y, grads, needed[4],
            needs_first,
        )  # fmt: skip
        if g_x is not None:
            g_x = g_x.view(x_seq.shape)
        used = zip(found, layout.plan.used, strict=True)
        return None, None, None, None, g_x, *[g if is_used else None for g, is_used in used]


def scan(
    x_seq: Tensor,
    stages: tuple[Stage, ...],
    numbers: Sequence[float],
    tensors: Sequence[Tensor | None],
    shapes: Shapes,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return outputs, the last states of all stages, and what they store of all steps, in the caller's shapes.

    Args:
        x_seq: ``[T, N, *]``.
        stages: what the sequence goes through.
        numbers: of all stages, :data:`snn_core.kernels.plan.NUMBERS` each.
        tensors: of all stages, in their order.
        shapes: how they lie in memory.
        lengths: steps of each sample, in descending order; None for all.
    """
    if type(x_seq) not in (Tensor, torch.nn.Parameter) or is_watched():
        y_seq, *others, _ = _ops.scan(x_seq.reshape(shapes.rows), tensors, *flat(stages), numbers, lengths)
    elif x_seq.device.type == "cpu":
        plan = plan_of(stages)
        if torch.is_grad_enabled() and any(
            one is not None and one.requires_grad for one in (x_seq, *tensors)
        ):
            return _ScanOnCPU.apply(plan, numbers, shapes, lengths, x_seq, *tensors)
        return _on_cpu(plan, numbers, shapes, lengths, x_seq, tensors, False)[1]
    else:
        rows = x_seq.reshape(shapes.rows)
        y_seq, *others, _ = _Scan.apply(cuda, plan_of(stages), numbers, lengths, rows, *tensors)
    results = [y_seq.view(shapes.y_seq)]
    for together, group in zip(others, (shapes.states, shapes.seqs), strict=True):
        at = 0
        for shape in group:
            size = math.prod(shape)
            results.append(together[at : at + size].view(shape))
            at += size
    return tuple(results)
