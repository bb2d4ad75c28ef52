"""Steps of training in one kernel call, for a network that one fused scan takes as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_core import fuse
from snn_core.checks import check_floating, check_module, check_number, check_shape
from snn_core.kernels import Stage, stages, steps

__all__ = ["SkipOverflow", "Steps", "train_steps"]

SkipOverflow = steps.SkipOverflow
Steps = steps.Steps


def train_steps(
    net: nn.Module,
    x_seq: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    loss: str = "mse",
    index: Tensor | None = None,
    clip: float | None = None,
    skip_overflow: SkipOverflow | None = None,
) -> Steps:
    """Train: forward pass, loss, backward pass and optimizer, many steps in one kernel call on the CPU.

    A step does to the weights and to the optimizer's state what these lines do, within rounding::

        y = functional.scan(x_seq[:, index[step]], *net).mean(0)
        optimizer.zero_grad(), loss(y, labels[index[step]]).backward(), optimizer.step(), reset_net(net)

    The weights' ``grad`` stays as it is. An interrupt ends it after about 0.2 s, between two steps, with weights,
    optimizer and ``skip_overflow`` as they are then. What comes between these lines, such as a hook, another loss or a
    list of parameter groups, needs the lines themselves.

    Args:
        net: an ``nn.Sequential`` or ``MultiStepContainer`` that one fused scan takes as a whole, see :func:`explain`,
            with an ``nn.Linear`` or a linear feedback in it, and without state from before.
        x_seq: ``[T, n, K]`` on the CPU, fp32 or fp64.
        labels: classes, int64 ``[n]``.
        optimizer: ``torch.optim.SGD`` or ``Adam`` with one group of weights.
        loss: of the mean output over time ``[N, J]``: ``"mse"`` to the one-hot label, or ``"cross-entropy"``.
        index: which samples each step takes, int64 ``[steps, N]``; None is one step with all. With no steps all is
            checked and nothing trained.
        clip: largest norm of the gradient, see ``torch.nn.utils.clip_grad_norm_``; None leaves it.
        skip_overflow: the rule by which updates are skipped, which changes with them; None skips none.

    Returns:
        :class:`Steps`, for each step its loss, how many samples were right, and whether it was skipped.

    Raises:
        TypeError: an argument is not of the kind above.
        ValueError: a shape, a label or an index that does not fit; or the network or the optimizer is none that kernels
            know, for the reason given.
    """
    check_module("net", net)
    check_shape("x_seq", check_floating("x_seq", x_seq), "T", "n", "K")
    check_shape("labels", labels, x_seq.shape[1])
    if loss not in steps.LOSSES:
        raise ValueError(f"loss must be one of {', '.join(steps.LOSSES)}, got {loss!r}")
    if clip is not None:
        check_number("clip", clip, above=0)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if index is None:
        index = torch.arange(x_seq.shape[1])[None]
    _check_classes("index", check_shape("index", index, "steps", "N"), x_seq.shape[1])
    if x_seq.device.type != "cpu" or x_seq.dtype not in (torch.float32, torch.float64) or x_seq.requires_grad:
        raise ValueError(
            f"x_seq must be on the CPU, fp32 or fp64, and without a gradient, got {x_seq.dtype} on {x_seq.device}"
        )
    run = _whole(net, x_seq[:, :1].expand(-1, index.shape[1], -1))
    _check_classes("labels", labels, run[-1].kind.outputs)
    tensors = stages.plan_for(run, x_seq).arranged(run)
    by = steps.descent_of(optimizer, tensors, x_seq.dtype, clip, skip_overflow)
    if isinstance(by, str):
        raise ValueError(f"net cannot be trained in one call: {by}")
    taken = steps.take_steps(x_seq, run, labels.contiguous(), loss, by, index.contiguous(), skip_overflow)
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch's schedulers warn that it took no step
    return taken


def _whole(net: nn.Module, x_seq: Tensor) -> list[Stage]:
    """Return the stages of a network without states, of which one scan takes all.

    Raises:
        ValueError: there are none, for the reason given.
    """
    modules = fuse.flattened([net])
    run, reason = fuse.read_all(modules, fuse.like_of(x_seq), in_one=True)
    if not modules:
        reason = "it has no modules"
    elif why := fuse.why_loop(x_seq):
        reason = why
    elif len(run) < len(modules):
        reason = f"{type(modules[len(run)]).__name__}: {reason}"
    elif not any(stage.kind.is_dense for stage in run):
        reason = "it has neither an nn.Linear nor a linear feedback"
    elif any(fuse._is_whole(stage) or stage.kind.taps for stage in run):
        reason = "it has a convolution or delays"
    elif any(stage.recorders for stage in run):
        reason = "it records states or outputs of every step"
    elif not all(stages.plan_for(run, x_seq).used):
        reason = "it has a parameter that no equation uses"
    elif any(getattr(owner, name) is not None for stage in run for owner, name, _ in stage.places):
        reason = "it has states from before: call reset_net(net)"
    if reason:
        raise ValueError(f"net cannot be trained in one call: {reason}")
    return run


def _check_classes(name: str, numbers: Tensor, end: int) -> None:
    """Refuse numbers that are not int64 on the CPU, or not from 0 to ``end`` - 1."""
    if numbers.dtype != torch.int64 or numbers.device.type != "cpu" or 0 in numbers.shape[-1:]:
        raise TypeError(
            f"{name} must be int64 on the CPU, at least one number, got {numbers.numel()} of {numbers.dtype} on "
            f"{numbers.device}"
        )
    if numbers.numel() == 0:
        return
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest < 0 or highest >= end:
        raise ValueError(f"{name} must be from 0 to {end - 1}, got {lowest} to {highest}")
