"""Sequences of different length in one batch: each sample takes part in its own steps only.

A batch ``x_seq`` ``[T, N, *]`` is padded at the end. The padding counts as zeros. After a sample's own last step its
outputs are 0 and its states stay as they are, in a kernel by :class:`~snn_core.cells.OwnSteps`. Read-outs over time are
the last part.
"""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_core import fuse
from snn_core.checks import check_sequence, check_tensor, check_whole, takes_sequences
from snn_core.kernels import Stage, stages
from snn_core.module import MemoryModule

__all__ = ["check_lengths", "last_step", "mask_of", "mean_over_time", "scan_with_lengths", "sequence_mask"]


def mask_of(lengths: Tensor, T: int) -> Tensor:
    """Return which steps sequences of these lengths have, bool ``[T, N]``."""
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def check_lengths(lengths: Any, T: int, N: int | None = None, lowest: int = 1) -> Tensor:
    """Return lengths, or those of a mask, as int64 ``[N]``, each from ``lowest`` to T; N of None is any number.

    Raises:
        TypeError: they are not whole numbers.
        ValueError: another number of them, one out of its range, or a mask with a gap.
    """
    try:
        lengths = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        text = f"lengths must be whole numbers, one for each sample, got {shortened(lengths)}"
        raise TypeError(text) from error
    if check_tensor("lengths", lengths).dtype == torch.bool:
        mask, lengths = lengths, lengths.sum(0)
        if mask.dim() != 2 or len(mask) != T:
            raise ValueError(f"lengths, given as a mask, must have shape [{T}, N], got {list(mask.shape)}")
        if not torch.equal(mask, mask_of(lengths, T)):
            raise ValueError("lengths, given as a mask, must be True in the first steps of a sample only")
    if lengths.is_floating_point() or lengths.is_complex():
        raise TypeError(f"lengths must be whole numbers, got {lengths.dtype}: call lengths.long()")
    if lengths.dim() != 1 or N not in (None, len(lengths)):
        wanted = "[N]" if N is None else f"[{N}]"
        raise ValueError(
            f"lengths must be one number for each sample, {wanted}, got shape {list(lengths.shape)}"
        )
    lengths = lengths.long()
    if bool(((lengths < lowest) | (lengths > T)).any()):
        raise ValueError(f"lengths must lie between {lowest} and T = {T}, got {shortened(lengths.tolist())}")
    return lengths


def scan_with_lengths(
    x_seq: Tensor, modules: Sequence[nn.Module], lengths: Any, backend: str = "auto"
) -> Tensor:
    """Take a sequence through modules, each sample through its own steps; see :func:`snn_core.functional.scan`.

    A module without a state is called once, with the own steps of all samples in one batch.
    """
    T, N = x_seq.shape[:2]
    modules = fuse.flattened(modules) or [nn.Identity()]
    parts = [part for part in nn.ModuleList(modules).modules() if isinstance(part, MemoryModule)]
    for module in modules:
        if takes_sequences(module) and not (fuse.has_state(module) or fuse.is_stateless(module)):
            fix = "call it on each sequence alone"
            kind = type(module).__name__
            raise TypeError(f"lengths: {kind} takes whole sequences and registers no state: {fix}")
    before = _states(parts)
    known = [state for _, _, state in before if state is not None]
    for part, name, state in before:
        if state is not None and check_tensor(f"{type(part).__name__}: state {name}", state).shape[:1] != (
            N,
        ):
            raise ValueError(
                f"{type(part).__name__}: state {name} has shape {list(state.shape)}, with lengths its dimension 0 must "
                f"be the {N} samples: call reset_net(net) between batches"
            )
    is_begun = 0 < len(known) == len(before)
    own = check_lengths(lengths, T, N, lowest=0 if is_begun else 1).to(x_seq.device)
    mask = mask_of(own, T)

    def masked(y_seq: Tensor) -> Tensor:
        return torch.where(mask.view(T, N, *[1] * (y_seq.dim() - 2)), y_seq, 0)  # NaN times 0 is NaN

    def execute(x_seq: Tensor, run: list[Stage]) -> Tensor:
        return masked(_execute(x_seq, run, own))

    def call(module: nn.Module, x_seq: Tensor) -> Tensor:
        return masked((_packed if fuse.is_stateless(module) else _loop)(module, x_seq, mask))

    try:
        return fuse.scan(masked(x_seq), modules, backend, execute, call, own)
    except BaseException:
        for part, name, state in before:
            part.keep_state(name, state)
        raise


def _states(parts: Sequence[MemoryModule]) -> list[tuple[MemoryModule, str, Any]]:
    """Return the states of this moment, None for those that have none: the module, its name for one, and the state."""
    return [(part, name, getattr(part, name)) for part in parts for name in part.state_names]


def _execute(x_seq: Tensor, run: list[Stage], lengths: Tensor) -> Tensor:
    """Take a sequence through stages whose cells stop by themselves; of outputs that go back keep those of the end."""
    if x_seq.dim() == 2 and any(stage.kind.is_dense for stage in run):
        raise ValueError(f"with lengths x_seq must be [T, N, features], got {list(x_seq.shape)}")
    run = [_storing(stage) if stage.kind.feedback else stage for stage in run]
    y_seq, lasts, seqs = fuse.results(x_seq, run)
    samples = torch.arange(len(lengths), device=lengths.device)
    at, stored = 0, 0
    for stage in run:
        at, stored = at + len(stage.places), stored + len(stage.kind.seqs)
        if depth := stage.kind.feedback:
            outputs, first = seqs[stored - 1], stage.tensors[len(stage.places) - 1]  # y is the last of both
            shape = depth, *outputs.shape[1:]
            first = outputs.new_zeros(shape) if first is None else first.reshape(shape)
            through = torch.cat([first.flip(0), outputs])
            back = [through[lengths + depth - 1 - d, samples] for d in range(depth)]
            lasts[at - 1] = torch.stack(back) if depth > 1 else back[0]
    fuse.keep(run, lasts, seqs)
    return y_seq


def _storing(stage: Stage) -> Stage:
    """Return a stage that stores all steps of its outputs, for itself if nobody records them."""
    kind = stage.kind
    if kind.stored & stages.OUTPUT:
        return stage
    kind = kind._replace(stored=kind.stored | stages.OUTPUT)
    return stage._replace(kind=kind, recorders=[*stage.recorders, ()])


def _loop(module: nn.Module, x_seq: Tensor, mask: Tensor) -> Tensor:
    """Take a module with states step by step; states of samples that have ended stay as they were."""
    parts: list[Any] = [part for part in module.modules() if isinstance(part, MemoryModule)]
    y_seq, is_whole = [], fuse.gets_sequence(module)
    if not is_whole:
        fuse.check_takes_steps(module)
    for part in parts:
        if hasattr(part, "check_steps"):
            part.check_steps(len(x_seq))
    for x, is_own in zip(x_seq, mask, strict=True):
        before = _states(parts)
        y_seq.append(fuse.apply(module, x[None])[0] if is_whole else fuse.step(module, x))
        for part, name, state in before:
            after = getattr(part, name)
            if state is not None and after is not state:
                kept = is_own.view(-1, *[1] * (after.dim() - 1))
                part.keep_state(name, torch.where(kept, after, state))
    return torch.stack(y_seq)


def _packed(module: nn.Module, x_seq: Tensor, mask: Tensor) -> Tensor:
    """Call a module without a state on all steps that are some sample's own, as one batch."""
    own = mask.flatten().nonzero().flatten()
    y = fuse.apply(module, x_seq.flatten(0, 1).index_select(0, own)[None])[0]
    return y.new_zeros(mask.numel(), *y.shape[1:]).index_copy(0, own, y).unflatten(0, mask.shape)


# Read-outs over time -------------------------------------------------------------------------------------------------


def sequence_mask(lengths: Any, T: int) -> Tensor:
    """Return which steps are a sample's own: a bool mask ``[T, N]``, True at ``[t, n]`` where ``t < lengths[n]``.

    Raises:
        TypeError: ``lengths`` or T are not whole numbers.
        ValueError: T is below 1, or a length does not lie between 0 and T.
    """
    return mask_of(check_lengths(lengths, check_whole("T", T, 1), lowest=0), T)


#: From so many numbers on torch shares a sum among its threads.
SHARED = 32768
#: Steps that are summed one after the other, before such sums are added in float64.
SUMMED = 128


class _MeanOverTime(torch.autograd.Function):
    """The mean in this thread: torch's threads wait for each other where something else keeps a core busy."""

    @staticmethod
    def forward(ctx: Any, y_seq: Tensor) -> Tensor:
        ctx.shape = y_seq.shape
        y = y_seq.detach().resolve_neg().numpy()
        # Not by reduceat, which takes ten times as long.
        parts = [np.add.reduce(y[t : t + SUMMED], axis=0) for t in range(0, len(y), SUMMED)]
        return torch.from_numpy((np.sum(parts, axis=0, dtype=np.float64) / len(y)).astype(y.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient / ctx.shape[0]).expand(ctx.shape)


def mean_over_time(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return each sample's mean over its own steps, :math:`\bar y_n = \frac{1}{T_n} \sum_{t < T_n} y_n[t]`.

    Of ``y_seq`` ``[T, N, *]`` it is ``[N, *]``; of spikes it is the firing rate. What ``y_seq`` holds in the padding
    changes nothing. ``lengths`` are :math:`T_n`, from 1 to T, or a mask; None means T steps each.

    Raises:
        TypeError: ``y_seq`` is not a floating-point tensor, or ``lengths`` are not whole numbers.
        ValueError: ``y_seq`` is not ``[T, N, *]`` with T >= 1, another number of lengths, one out of its range, or a
            mask with a gap.
    """
    check_sequence("y_seq", y_seq)
    if lengths is None:
        # A compiler, which is asked about first, would make a condition of the size.
        is_plain = not torch.compiler.is_compiling() and y_seq.numel() >= SHARED and not fuse.why_loop(y_seq)
        is_plain = is_plain and y_seq.device.type == "cpu" and y_seq.dtype in (torch.float32, torch.float64)
        return _MeanOverTime.apply(y_seq) if is_plain else y_seq.mean(0)
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    trailing = [1] * (y_seq.dim() - 2)
    # Not a product: NaN times 0 is NaN.
    valid = torch.where(mask_of(lengths, len(y_seq)).view(*y_seq.shape[:2], *trailing), y_seq, 0)
    return valid.sum(0) / lengths.view(-1, *trailing)


def last_step(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return what each sample has at its own last step, :math:`y_n[T_n - 1]`, counted from 0.

    Arguments, shapes and what is raised are those of :func:`mean_over_time`.
    """
    check_sequence("y_seq", y_seq)
    if lengths is None:
        return y_seq[-1]
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    return y_seq[lengths - 1, torch.arange(len(lengths), device=y_seq.device)]
