"""Sequences of different length in one batch: each sample takes part in its own steps only.

A batch ``x_seq`` ``[T, N, *]`` is padded at the end. The padding counts as zeros, all steps of all samples are
computed, and what comes after a sample's own last step is left out: outputs are 0 there, and states are those of that
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse
from snn_core.checks import check_tensor, takes_sequences
from snn_core.functional import check_lengths, mask_of
from snn_core.kernels import Stage, stages
from snn_core.module import MemoryModule

__all__ = ["scan_with_lengths"]


def scan_with_lengths(
    x_seq: Tensor, modules: Sequence[nn.Module], lengths: Any, backend: str = "auto"
) -> Tensor:
    """Take a sequence through modules, each sample through its own steps; see :func:`snn_core.functional.scan`.

    In the loop the states of samples that have ended stay as they are. A module without a state is called once, with
    the own steps of all samples in one batch.
    """
    T, N = x_seq.shape[:2]
    modules = fuse.flattened(modules) or [nn.Identity()]
    parts = [part for part in nn.ModuleList(modules).modules() if isinstance(part, MemoryModule)]
    for module in modules:
        if takes_sequences(module) and not fuse.has_state(module):
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
        return masked(_loop(module, x_seq, mask) if fuse.has_state(module) else _packed(module, x_seq, mask))

    try:
        return fuse.scan(masked(x_seq), modules, backend, execute, call)
    except BaseException:
        for part, name, state in before:
            part.keep_state(name, state)
        raise


def _states(parts: Sequence[MemoryModule]) -> list[tuple[MemoryModule, str, Any]]:
    """Return the states of this moment, None for those that have none: the module, its name for one, and the state."""
    return [(part, name, getattr(part, name)) for part in parts for name in part.state_names]


def _execute(x_seq: Tensor, run: list[Stage], lengths: Tensor) -> Tensor:
    """Take a sequence through stages, which store all steps, and keep the states of each sample's own last step."""
    if x_seq.dim() == 2 and any(stage.kind.is_dense for stage in run):
        raise ValueError(f"with lengths x_seq must be [T, N, features], got {list(x_seq.shape)}")
    all_stored = [_storing(stage) for stage in run]
    y_seq, _, seqs = fuse.results(x_seq, all_stored)
    left, found, kept = iter(seqs), [], []
    samples = torch.arange(len(lengths), device=lengths.device)
    for stage, stored in zip(run, all_stored, strict=True):
        steps = dict(zip(stored.kind.seqs, left, strict=False))
        for k in range(len(stage.places)):
            is_y = k == stage.kind.states
            all_steps = steps[stages.OUTPUT_NUMBER if is_y else k]
            depth = max(stage.kind.feedback, 1) if is_y else 1
            first = stage.tensors[k]  # where it is None, no length is 0
            shape = depth, *all_steps.shape[1:]
            first = all_steps.new_zeros(shape) if first is None else first.reshape(shape)
            through = torch.cat([first.flip(0), all_steps])
            back = [through[lengths + depth - 1 - d, samples] for d in range(depth)]
            found.append(torch.stack(back) if depth > 1 else back[0])
        kept += [steps[number] for number in stage.kind.seqs]
    fuse.keep(run, found, kept)
    return y_seq


def _storing(stage: Stage) -> Stage:
    """Return a stage that stores all steps of its states, and of the outputs that go back."""
    kind = stage.kind
    outputs = stages.OUTPUT if kind.feedback else 0
    return stage._replace(kind=kind._replace(stored=kind.stored | ((1 << kind.states) - 1) | outputs))


def _loop(module: nn.Module, x_seq: Tensor, mask: Tensor) -> Tensor:
    """Take a module with states step by step; states of samples that have ended stay as they were."""
    parts: list[Any] = [part for part in module.modules() if isinstance(part, MemoryModule)]
    y_seq = []
    for part in parts:
        if hasattr(part, "check_steps"):
            part.check_steps(len(x_seq))
    for x, is_own in zip(x_seq, mask, strict=True):
        before = _states(parts)
        y_seq.append(fuse.apply(module, x[None])[0] if takes_sequences(module) else module(x))
        for part, name, state in before:
            after = getattr(part, name)
            if state is not None and after is not state:
                kept = is_own.view(-1, *[1] * (after.dim() - 1))
                part.keep_state(name, torch.where(kept, after, state))
    return torch.stack(y_seq)


def _packed(module: nn.Module, x_seq: Tensor, mask: Tensor) -> Tensor:
    """Call a module without a state on all steps that are some sample's own, as one batch."""
    own = mask.flatten().nonzero().flatten()
    y = fuse.apply_once(module, x_seq.flatten(0, 1).index_select(0, own)[None])[0]
    return y.new_zeros(mask.numel(), *y.shape[1:]).index_copy(0, own, y).unflatten(0, mask.shape)
