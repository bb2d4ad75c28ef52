"""A scan of a plan, differentiable: one function of autograd over the executors for the CPU and for GPUs.

An executor has ``forward(plan, x_seq, tensors, numbers, keep)`` and ``backward(plan, x_seq, tensors, numbers, kept,
grads, needs)``; ``cpu/launch.py`` is the one with the docstrings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.plan import Stage, plan_for

#: What runs a plan, by the type of the device.
EXECUTORS: dict[str, Any] = {"cpu": cpu, "cuda": cuda}


class _Run(torch.autograd.Function):
    """Kernels with their gradient, which has none of its own."""

    @staticmethod
    def forward(
        ctx: Any, executor: Any, plan: Any, numbers: Any, x_seq: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        results, kept = executor.forward(plan, x_seq, tensors, numbers, True)
        ctx.save_for_backward(x_seq, *tensors, *kept)
        ctx.known = executor, plan, numbers, len(tensors)
        ctx.set_materialize_grads(False)
        needs = plan.require_gradients(tuple(ctx.needs_input_grad[3:]))
        if not all(needs):
            ctx.mark_non_differentiable(*[one for one, need in zip(results, needs, strict=True) if not need])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _check(grads)
        (executor, plan, numbers, count), needs = ctx.known, ctx.needs_input_grad[3:]
        try:
            x_seq, *rest = ctx.saved_tensors
        except RuntimeError as error:
            if "second time" not in str(error):
                raise
            fix = "call reset_net(net) before the next batch, or detach_net(net) before the next piece of a sequence"
            raise RuntimeError(
                f"backward through a sequence a second time, from a state that was kept: {fix}"
            ) from error
        gradients = executor.backward(plan, x_seq, rest[:count], numbers, rest[count:], grads, needs)
        used = zip(gradients, needs, (True, *plan.used), strict=True)
        return None, None, None, *[g if need and is_used else None for g, need, is_used in used]


#: ``_Run.apply`` without its search for transforms of torch.func, under which no kernel runs.
_apply = super(torch.autograd.Function, _Run).apply


def _check(gradients: Sequence[Tensor | None]) -> None:
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


def run(x_seq: Tensor, stages: Sequence[Stage]) -> Sequence[Tensor]:
    """Take a sequence ``[T, N, *]`` through stages, which must fit it and each other.

    Returns:
        The outputs, the last states of all stages in their order, and all steps of what stages store.
    """
    plan = plan_for(stages, x_seq)
    tensors, numbers, executor = plan.arranged(stages), plan.numbers(stages), EXECUTORS[x_seq.device.type]
    needs_gradient = x_seq.requires_grad
    for one in tensors:
        needs_gradient = needs_gradient or (one is not None and one.requires_grad)
    if needs_gradient and torch.is_grad_enabled():
        return _apply(executor, plan, numbers, x_seq, *tensors)
    return executor.forward(plan, x_seq, tensors, numbers, False)[0]
