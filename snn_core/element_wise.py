"""Element-wise recurrence: each output returns to the same element of the next input."""

from __future__ import annotations

import dis
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.backend import plan
from snn_core.backend.decisions import loop
from snn_core.backend.plan import Part
from snn_core.base import check_input
from snn_core.cells import Cell, State
from snn_core.checks import Like, check_numbers, check_per_neuron
from snn_core.recurrent import Recurrent

__all__ = ["ElementWiseRecurrentContainer", "Fed", "is_pure"]

_PURE = (
    torch.add,
    torch.sub,
    torch.mul,
    torch.maximum,
    torch.minimum,
    operator.add,
    operator.sub,
    operator.mul,
)
#: Instructions of Python's that only compute with a function's own arguments, variables and constants.
_COMPUTING = (
    "RESUME", "NOP", "CACHE", "LOAD_FAST", "STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "COPY", "SWAP", "POP_TOP",
    "BINARY_OP", "UNARY_NEGATIVE", "COMPARE_OP", "RETURN_VALUE",
)  # fmt: skip


@torch.compiler.assume_constant_result
def is_pure(function: Any) -> bool:
    """Say whether ``function(x, y)`` is arithmetic on its two arguments and nothing else.

    True for ``add``, ``sub`` and ``mul`` of torch and ``operator``, ``torch.maximum`` and ``torch.minimum``, and for a
    function or lambda written in Python of two arguments, without defaults, that uses only them, numbers,
    ``+ - * /`` and comparisons: no call, global name, closure, branch, or change in place. A kernel may compute such a
    function in its own way; any other one may do something else in each step.
    """
    if type(function) is not FunctionType:
        return any(function is known for known in _PURE)
    return function.__defaults__ is None and _is_arithmetic(function.__code__)


@lru_cache(maxsize=256)
def _is_arithmetic(code: CodeType) -> bool:
    two = code.co_argcount == 2 and code.co_kwonlyargcount == 0
    return (
        two
        and not code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
        and all(
            step.opname.startswith(_COMPUTING)
            and (step.opname != "BINARY_OP" or step.argrepr in ("+", "-", "*", "/"))
            for step in dis.get_instructions(code)
        )
    )


def _add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _adds(function: Any) -> bool:
    """Say whether ``function`` is a plain addition, the only function that today's kernels know."""
    if type(function) is not FunctionType:
        return function is torch.add or function is operator.add
    return is_pure(function) and function.__code__.co_code == _add.__code__.co_code


class ElementWiseRecurrentContainer(Recurrent):
    r"""Feeds each output back to the same element of the next input.

    .. math:: i[t] = f(x[t], w\,y[t-1]), \qquad y[t] = \text{sub\_module}(i[t]), \qquad y[-1] = 0

    Args:
        sub_module: any module whose output has the shape of its input, usually a spiking neuron.
        element_wise_function: f(x, y), any function of two tensors of one shape.
        weight: w, None for 1. A number is fixed; a list or tensor has a fixed number for each neuron, in the
            shape of a sample, ``[*]`` of ``[N, *]``, and is a buffer; an ``nn.Parameter`` of one number or of that
            shape is trained.

    Attributes:
        y: last output y[t-1]; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps, ``element_wise_function`` is not callable, or
            ``weight`` is not made of numbers.
        ValueError: ``weight`` is empty or not finite.
    """

    weight: Any

    def __init__(
        self,
        sub_module: nn.Module,
        element_wise_function: Callable[[Tensor, Tensor], Tensor],
        weight: float | Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(sub_module)
        name = type(self).__name__
        if not callable(element_wise_function):
            given = type(element_wise_function).__name__
            raise TypeError(f"{name}: element_wise_function must be callable, got {given}")
        self.sub_module = sub_module
        self.element_wise_function = element_wise_function
        numbers = None if weight is None else check_numbers(f"{name}: weight", weight)
        if isinstance(numbers, Tensor) and not isinstance(numbers, nn.Parameter):
            self.register_buffer("weight", numbers)
        else:
            self.weight = numbers
        self.register_state("y")

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: x[t], ``[N, *]`` or any other shape, down to 0-dim.

        Returns:
            y[t], shape of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: the state comes from another shape, device or dtype, ``weight`` has another shape or device than
                a sample, or ``sub_module`` changes the shape.
        """
        check_input(self, x)
        previous = self.checked_state("y", x, 0.0)
        weight = self.weight_for(x)
        if weight is not None:
            previous = weight * previous
        y = self.sub_module(self.element_wise_function(x, previous))
        if y.shape != x.shape:
            raise ValueError(
                f"{type(self).__name__}: sub_module must keep the shape of its input, got {list(y.shape)} for "
                f"{list(x.shape)}: use LinearRecurrentContainer for other sizes"
            )
        self._keep_y(y, x)
        return y

    def weight_for(self, x: Tensor | Like) -> float | Tensor | None:
        """Return the weight for steps like ``x``, in the dtype of ``x``."""
        weight = self.weight
        if not isinstance(weight, Tensor):
            return weight
        return check_per_neuron(f"{type(self).__name__}: weight", weight, x)

    def part(self, like: Like) -> Part | None:
        """Return what stands for this container in a plan: its neuron with an element-wise feedback."""
        if self.weight is not None:
            return loop("no kernel knows an element-wise feedback with a weight")
        if not is_pure(self.element_wise_function):
            return loop(
                "its element-wise function is not a plain addition, nor arithmetic on its arguments alone"
            )
        if not _adds(self.element_wise_function):
            return loop("its element-wise function is not a plain addition")
        return plan.with_feedback(self, self.sub_module, like)

    def extra_repr(self) -> str:
        text = f"element-wise function={self.element_wise_function}"
        if self.weight is None:
            return text
        if not isinstance(self.weight, Tensor):
            return f"{text}, weight={self.weight}"
        shown = self.weight.item() if self.weight.dim() == 0 else f"<{list(self.weight.shape)}>"
        return f"{text}, weight={shown}"


@dataclass(eq=False)
class Fed(Cell):
    r"""A cell that is fed its own output, element by element: :math:`i[t] = f(x[t], w\,y[t-1])`.

    Its states are those of the cell within, and y[t-1].
    """

    cell: Cell
    function: Callable[[Tensor, Tensor], Tensor]
    weight: float | Tensor | None = None

    @property
    def initial(self) -> tuple[float, ...]:  # type: ignore[override]  # Cell's is one number until the merge
        return (*self.cell.initial, 0.0)  # type: ignore[misc]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        *own, y = state
        i = self.function(x, y if self.weight is None else self.weight * y)
        y, after = self.cell.step(i, tuple(own))
        return y, (*after, y)
