"""The readable torch loop: the definition that every fused kernel must equal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]


def loop(step: Step, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
    """Take a layer through time.

    Args:
        step: takes x[t] and the states before the step, gives y[t] and the states after it, as :meth:`Cell.step` does.
        x_seq: inputs, ``[T, N, *]`` with T >= 1.
        state: the states before the first step, each ``[N, *]``.

    Returns:
        Outputs ``[T, N, *]`` and the last states.
    """
    y_seq = []
    for x in x_seq:
        y, state = step(x, state)
        y_seq.append(y)
    return torch.stack(y_seq), apart(state, x)


def apart(state: State, x: Tensor) -> State:
    """Return states of which none is the input itself, whose memory may soon hold the next one."""
    return tuple(one.clone() if one is x else one for one in state)
