"""Element-wise recurrence: each output returns to the same element of the next input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from snn_core import fuse
from snn_core.cells import ElementWiseFeedback
from snn_core.checks import Like, check_numbers, check_per_neuron
from snn_core.fuse import Part
from snn_core.kernels.record.purity import is_pure
from snn_core.numbers import text_of
from snn_core.recurrent import Recurrent
from snn_core.state import check_input

__all__ = ["ElementWiseRecurrentContainer"]


class ElementWiseRecurrentContainer(Recurrent):
    r"""Feeds each output back to the same element of the next input.

    .. math::
        i[t] &= f(x[t], w\,y[t-1]) \\
        y[t] &= \text{sub\_module}(i[t]), \quad y[-1] = 0

    Args:
        sub_module: any module whose output has the shape of its input, usually a spiking neuron.
        element_wise_function: f(x, y), any function of two tensors of one shape. SpikingJelly 2.0 calls f(y, x).
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
        self.set_numbers("weight", None if weight is None else check_numbers(f"{name}: weight", weight))
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
        if self.weight is None:
            return None
        return check_per_neuron(f"{type(self).__name__}: weight", self.weight, x)

    def part(self, like: Like) -> Part | str:
        """Return what stands for this container in a fused scan: its neuron with an element-wise feedback."""
        if not is_pure(self.element_wise_function):
            return (
                "its element-wise function is not arithmetic on its arguments alone: use + - * / and numbers"
            )
        weight = self.weight_for(like)
        return fuse.with_element_wise_feedback(
            self,
            self.sub_module,
            like,
            lambda cell: ElementWiseFeedback(cell, self.element_wise_function, weight),
        )

    def extra_repr(self) -> str:
        text = f"element-wise function={self.element_wise_function}"
        return text if self.weight is None else f"{text}, weight={text_of(self.weight)}"
