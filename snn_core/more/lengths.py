r"""Sequences of different length in one batch: each sample takes part in its own steps only.

A batch ``x_seq`` ``[T, N, *]`` is padded at the end. ``lengths`` are whole numbers ``[N]``, or a bool mask ``[T, N]``,
True from a sample's first step to its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from reprlib import repr as shortened
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_core import fuse, runs
from snn_core.checks import check_tensor, check_whole, is_watched, takes_sequences
from snn_core.runs import mask_of
from snn_core.state import MemoryModule, check_sequence, has_state

__all__ = ["last_step", "mean_over_time", "sequence_mask"]

#: Takes a sequence ``[T, N, *]`` through modules, all samples through all steps.
Run = Callable[[Tensor, Sequence[nn.Module]], Tensor]


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


def sequence_mask(lengths: Any, T: int) -> Tensor:
    """Return which steps are a sample's own: a bool mask ``[T, N]``, True at ``[t, n]`` where ``t < lengths[n]``.

    Raises:
        TypeError: ``lengths`` or T are not whole numbers.
        ValueError: T is below 1, or a length does not lie between 0 and T.
    """
    return mask_of(check_lengths(lengths, check_whole("T", T, 1), lowest=0), T)


#: From so many numbers on torch shares a sum among its threads.
SHARED = 32768


class _MeanOverTime(torch.autograd.Function):
    """The mean in this thread: torch's threads wait for each other where something else keeps a core busy."""

    @staticmethod
    def forward(ctx: Any, y_seq: Tensor) -> Tensor:
        ctx.shape = y_seq.shape
        return torch.from_numpy(np.add.reduce(y_seq.detach().numpy(), axis=0)) / len(y_seq)

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
    check_sequence(None, y_seq)
    if lengths is None:
        # A compiler, which is asked about first, would make a condition of the size.
        is_plain = type(y_seq) is Tensor and y_seq.device.type == "cpu" and not is_watched()
        is_plain = is_plain and y_seq.dtype in (torch.float32, torch.float64)
        return _MeanOverTime.apply(y_seq) if is_plain and y_seq.numel() >= SHARED else y_seq.mean(0)
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    trailing = [1] * (y_seq.dim() - 2)
    # Not a product: NaN times 0 is NaN.
    own = torch.where(mask_of(lengths, len(y_seq)).view(*y_seq.shape[:2], *trailing), y_seq, 0)
    return own.sum(0) / lengths.view(-1, *trailing)


def last_step(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return what each sample has at its own last step, :math:`y_n[T_n - 1]`, counted from 0.

    Arguments, shapes and what is raised are those of :func:`mean_over_time`.
    """
    check_sequence(None, y_seq)
    if lengths is None:
        return y_seq[-1]
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    return y_seq[lengths - 1, torch.arange(len(lengths), device=y_seq.device)]


def scan(
    x_seq: Tensor, modules: Sequence[nn.Module], lengths: Any, run: Run, backend: str = "auto"
) -> Tensor:
    """Take a sequence through modules, each sample through its own steps only.

    Neighbours that can be fused share one scan, which takes the lengths. For any other module time is cut wherever a
    sample ends; between two cuts the samples that are still there go through the module as an ordinary sequence, and
    their states are put back in place; those that have ended are not computed. This defines what a scan must equal. A
    module without a state is called once, with the own steps of all samples in one batch.

    Arguments, shapes and what is raised are those of :func:`snn_core.functional.scan`; ``run`` takes a sequence without
    padding through modules.
    """
    T, N = x_seq.shape[:2]
    parts = [part for part in nn.ModuleList(modules).modules() if isinstance(part, MemoryModule)]
    for module in modules:
        kind = type(module)
        sees_time = takes_sequences(module) or fuse.defines(module, "forward_sequence")
        if sees_time and not has_state(module) and not getattr(kind, "is_chain", False):
            fix = "call it on each sequence alone"
            raise TypeError(f"lengths: {kind.__name__} takes whole sequences and registers no state: {fix}")
    for part in parts:
        if part._recorders:
            fix = "run the sequence to be recorded alone, without lengths"
            raise ValueError(f"lengths: {type(part).__name__} records every step: {fix}")
    everything = _states(parts)
    before = [one for one in everything if one[2] is not None]
    for part, name, state in before:
        shape = check_tensor(f"{type(part).__name__}: state {name}", state).shape
        if shape[:1] != (N,):
            raise ValueError(
                f"{type(part).__name__}: state {name} has shape {list(shape)}, with lengths its dimension 0 must be "
                f"the {N} samples: call reset_net(net) between batches"
            )
    is_begun = 0 < len(before) == len(everything)
    lengths = check_lengths(lengths, T, N, lowest=0 if is_begun else 1).cpu()

    def call(module: nn.Module, x_seq: Tensor) -> Tensor:
        return (_piecewise if has_state(module) else _packed)(x_seq, module, lengths, run)

    try:
        return runs.scan(x_seq, modules or [nn.Identity()], call, backend, lengths)
    except BaseException:
        for part, name, state in everything:
            part.keep_state(name, state)
        raise


def _states(parts: Iterable[nn.Module]) -> list[tuple[MemoryModule, str, Any]]:
    """Return the states of this moment, None for those that have none: the module, its name for one, and the state."""
    known = [part for part in parts if isinstance(part, MemoryModule)]
    return [(part, name, getattr(part, name)) for part in known for name in part.state_names]


def _packed(x_seq: Tensor, module: nn.Module, lengths: Tensor, run: Run) -> Tensor:
    """Call a module without a state on all steps that are some sample's own, as one batch."""
    T, N = x_seq.shape[:2]
    own = mask_of(lengths, T).flatten().nonzero().flatten().to(x_seq.device)
    y = run(x_seq.flatten(0, 1).index_select(0, own)[None], [module])[0]
    return y.new_zeros(T * N, *y.shape[1:]).index_copy(0, own, y).unflatten(0, (T, N))


def _piecewise(x_seq: Tensor, module: nn.Module, lengths: Tensor, run: Run) -> Tensor:
    """Run the pieces between two cuts, each with the samples that are still there, and put their states back."""
    T, N = x_seq.shape[:2]
    delayed: list[Any] = [part for part in module.modules() if hasattr(part, "steps_of_all_pieces")]
    ends = sorted({*lengths.tolist()} - {0}) or [T]
    *pieces, padding = x_seq.split([stop - start for start, stop in pairwise([0, *ends, T])])
    y_seq = []
    try:
        for part in delayed:  # a piece may be shorter than a delay
            part.steps_of_all_pieces = T
        for start, piece in zip([0, *ends[:-1]], pieces, strict=True):
            present = (lengths > start).nonzero().flatten().to(x_seq.device)
            whole = [one for one in _states(module.modules()) if one[2] is not None]
            for part, name, state in whole:
                part.keep_state(name, state.index_select(0, present))
            y = run(piece.index_select(1, present), [module])
            for part, name, state in whole:
                part.keep_state(name, state.index_copy(0, present, getattr(part, name)))
            y_seq.append(y.new_zeros(len(piece), N, *y.shape[2:]).index_copy(1, present, y))
    finally:
        for part in delayed:
            part.steps_of_all_pieces = 0
    return torch.cat([*y_seq, y.new_zeros(len(padding), N, *y.shape[2:])])
