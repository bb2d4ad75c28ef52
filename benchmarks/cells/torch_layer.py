"""What the libraries on torch share: forward and backward through a layer, and the loops that theirs are called in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from experiments.memory import keep_freed_memory

__all__ = ["Fed", "InLoop", "TorchLayer"]


class TorchLayer:
    """One layer with its input ``[T, N, *]`` and the gradient that comes back to its output.

    Args:
        make: builds the layer, which takes the sequence; its weights are drawn from seed 0.
        x: array of float32.
        gradient: another; None where the outputs are added up, and no gradient to the input is asked for.
        reset: called after each step, to forget the state.
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        x: Any,
        gradient: Any,
        reset: Callable[[nn.Module], object] = lambda layer: None,
    ) -> None:
        keep_freed_memory()  # as a program that trains does; without it page faults would slow all of them down
        torch.manual_seed(0)
        self._layer, self._reset = make(), reset
        self._x = torch.from_numpy(x).requires_grad_(gradient is not None)
        self._gradient = None if gradient is None else torch.from_numpy(gradient)

    def steps(self, count: int) -> float:
        """Take ``count`` forward and backward passes; return the mean output."""
        for _ in range(count):
            for tensor in (self._x, *self._layer.parameters()):
                tensor.grad = None
            y = self._layer(self._x)
            y.sum().backward() if self._gradient is None else y.backward(self._gradient)
            self._reset(self._layer)
        return y.detach().mean().item()


class InLoop(nn.Module):
    """A cell of another library in a loop over time.

    Args:
        cell: takes x[t] and the state, gives the output and the state after it; the first state is None.
        feedback: maps y[t-1] to what is added to x[t], or None.
    """

    def __init__(
        self, cell: Callable[[Tensor, Any], tuple[Any, ...]], feedback: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.cell, self.feedback = cell, feedback

    def forward(self, x_seq: Tensor) -> Tensor:
        state, outputs = None, []
        for x in x_seq:
            if self.feedback is not None and outputs:
                x = x + self.feedback(outputs[-1])
            y, state = self.cell(x, state)
            outputs.append(y)
        return torch.stack(outputs)


class Fed(nn.Module):
    """A cell with a linear layer for the input, at once for all time steps, and one for the feedback."""

    def __init__(self, cell: Callable[[Tensor, Any], tuple[Any, ...]], features: int) -> None:
        super().__init__()
        self.rc_x, self.rc_y = nn.Linear(features, features), nn.Linear(features, features, bias=False)
        self.loop = InLoop(cell, self.rc_y)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.loop(self.rc_x(x_seq))
