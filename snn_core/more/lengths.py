r"""Sequences of different length in one batch: each sample takes part in its own steps only.

A batch ``x_seq`` ``[T, N, *]`` is padded at the end, and ``lengths`` says how many steps each sample has. It is int64
``[N]``, or anything that torch can make such a tensor of; or a bool mask ``[T, N]``, True from a sample's first step to
its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.checks import check_tensor, check_whole
from snn_core.kernels import plan
from snn_core.kernels.plan import mask_of
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
    if isinstance(lengths, Tensor):
        check_tensor("lengths", lengths)
    else:
        try:
            lengths = torch.as_tensor(lengths)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"lengths must be whole numbers, one for each sample, got {shortened(lengths)}"
            ) from error
    if lengths.dtype == torch.bool:
        lengths = _lengths_of_mask(lengths, T)
    if lengths.is_floating_point() or lengths.is_complex():
        raise TypeError(f"lengths must be whole numbers, got {lengths.dtype}: call lengths.long()")
    if lengths.dim() != 1 or N not in (None, len(lengths)):
        number = "one number for each sample" if N is None else f"{N} numbers, one for each sample"
        raise ValueError(f"lengths must be {number}, got shape {list(lengths.shape)}")
    lengths = lengths.long()
    bad = ((lengths < lowest) | (lengths > T)).nonzero().flatten().tolist()
    if bad:
        given = f"{int(lengths[bad[0]])} for sample {bad[0]}"
        raise ValueError(f"lengths must lie between {lowest} and T = {T}, got {given}")
    return lengths


def _lengths_of_mask(mask: Tensor, T: int) -> Tensor:
    if mask.dim() != 2 or len(mask) != T:
        raise ValueError(f"lengths, given as a mask, must have shape [{T}, N], got {list(mask.shape)}")
    lengths = mask.sum(0)
    if not torch.equal(mask, mask_of(lengths, T)):
        raise ValueError(
            "lengths, given as a mask, must be True from a sample's first step to its last one only"
        )
    return lengths


def sequence_mask(lengths: Any, T: int) -> Tensor:
    """Return which steps are a sample's own: a bool mask ``[T, N]``, True at ``[t, n]`` where ``t < lengths[n]``.

    With it a loss on every step is right: ``loss(y_seq[mask], target_seq[mask])`` sees a row for each of them.

    Raises:
        TypeError: ``lengths`` or T are not whole numbers.
        ValueError: T is below 1, or a length does not lie between 0 and T.
    """
    T = check_whole("T", T, 1)
    return mask_of(check_lengths(lengths, T, lowest=0), T)


def mean_over_time(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return each sample's mean over its own steps, :math:`\bar y_n = \frac{1}{T_n} \sum_{t < T_n} y_n[t]`.

    Of spikes it is the firing rate. What ``y_seq`` holds in the padding changes nothing.

    Args:
        y_seq: ``[T, N, *]``.
        lengths: :math:`T_n`, ``[N]``, from 1 to T, or a mask ``[T, N]``; None for T steps each.

    Returns:
        ``[N, *]``.

    Raises:
        TypeError: ``y_seq`` is not a floating-point tensor, or ``lengths`` are not whole numbers.
        ValueError: ``y_seq`` is not ``[T, N, *]`` with T >= 1, another number of lengths, one out of its range, or a
            mask with a gap.
    """
    check_sequence(None, y_seq)
    if lengths is None:
        return y_seq.mean(0)
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
    parts = _with_memory(nn.ModuleList(modules))
    _check_modules(modules, parts)
    T, N = x_seq.shape[:2]
    states = [getattr(part, name) for part in parts for name in part.state_names]
    for part, name, state in _states(parts):
        shape = check_tensor(f"{type(part).__name__}: state {name}", state).shape
        if shape[:1] != (N,):
            raise ValueError(
                f"{type(part).__name__}: state {name} has shape {list(shape)}, with lengths its dimension 0 must be "
                f"the {N} samples: call reset_net(net) between batches"
            )
    is_begun = bool(states) and all(state is not None for state in states)
    lengths = check_lengths(lengths, T, N, lowest=0 if is_begun else 1).cpu()

    def call(module: nn.Module, x_seq: Tensor) -> Tensor:
        return (_piecewise if has_state(module) else _packed)(x_seq, module, lengths, run)

    return plan.scan(x_seq, modules or [nn.Identity()], call, backend, lengths)


def _with_memory(module: nn.Module) -> list[MemoryModule]:
    return [part for part in module.modules() if isinstance(part, MemoryModule)]


def _states(parts: Sequence[MemoryModule]) -> list[tuple[MemoryModule, str, Any]]:
    """Return the states that there are at this moment."""
    found = [(part, name, getattr(part, name)) for part in parts for name in part.state_names]
    return [one for one in found if one[2] is not None]


def _check_modules(modules: Sequence[nn.Module], parts: Sequence[MemoryModule]) -> None:
    for module in modules:
        kind = type(module)
        sees_time = getattr(kind, "takes_sequences", False) or plan.defines(module, "forward_sequence")
        if sees_time and not has_state(module) and not getattr(kind, "is_chain", False):
            raise TypeError(
                f"lengths: {kind.__name__} takes whole sequences and registers no state, so it cannot be stopped "
                "where a sample ends: call it on each sequence alone"
            )
    for part in parts:
        if getattr(part, "store_v_seq", False):
            raise ValueError(
                f"lengths: {type(part).__name__} has store_v_seq=True, which records steps of whole batches: run the "
                "sequence to be recorded alone, without lengths, which gives the same v"
            )


def _packed(x_seq: Tensor, module: nn.Module, lengths: Tensor, run: Run) -> Tensor:
    """Call a module without a state on all steps that are some sample's own, as one batch."""
    T, N = x_seq.shape[:2]
    own = mask_of(lengths, T).flatten().nonzero().flatten().to(x_seq.device)
    y = run(x_seq.flatten(0, 1).index_select(0, own)[None], [module])[0]
    return y.new_zeros(T * N, *y.shape[1:]).index_copy(0, own, y).unflatten(0, (T, N))


def _piecewise(x_seq: Tensor, module: nn.Module, lengths: Tensor, run: Run) -> Tensor:
    """Run the pieces between two cuts, each with the samples that are still there."""
    T, N = x_seq.shape[:2]
    parts = _with_memory(module)
    delayed: list[Any] = [part for part in parts if hasattr(part, "steps_of_all_pieces")]
    ends = sorted({*lengths.tolist()} - {0}) or [T]
    *pieces, padding = x_seq.split([stop - start for start, stop in pairwise([0, *ends, T])])
    y_seq = []
    try:
        for part in delayed:  # a piece may be shorter than a delay
            part.steps_of_all_pieces = T
        for start, piece in zip([0, *ends[:-1]], pieces, strict=True):
            present = (lengths > start).nonzero().flatten().to(x_seq.device)
            y = run(piece, [module]) if len(present) == N else _run_only(present, piece, module, parts, run)
            y_seq.append(y)
    finally:
        for part in delayed:
            part.steps_of_all_pieces = 0
    return torch.cat([*y_seq, y.new_zeros(len(padding), *y.shape[1:])])


def _run_only(
    present: Tensor, piece: Tensor, module: nn.Module, parts: Sequence[MemoryModule], run: Run
) -> Tensor:
    """Run a piece with the samples that are present, and put their states back among those of all N samples."""
    whole = _states(parts)
    for part, name, state in whole:
        part.keep_state(name, state.index_select(0, present))
    y = run(piece.index_select(1, present), [module])
    for part, name, state in whole:
        part.keep_state(name, state.index_copy(0, present, getattr(part, name)))
    return y.new_zeros(len(piece), piece.shape[1], *y.shape[2:]).index_copy(1, present, y)
