"""Recurrent containers, the stateful synapse, and wrappers that turn a single step into a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.backend import plan
from snn_core.backend.decisions import loop, note
from snn_core.backend.plan import Part
from snn_core.base import MemoryModule, check_input, check_sequence
from snn_core.cells import ElementWiseFeedback
from snn_core.checks import Like, check_flag, check_module, check_place, check_whole
from snn_core.functional import seq_to_ann_forward
from snn_core.synapse import SynapseFilter

__all__ = [
    "ElementWiseRecurrentContainer",
    "LinearRecurrentContainer",
    "MultiStepContainer",
    "SeqToANNContainer",
    "SynapseFilter",
]


def _check_single_step(owner: nn.Module, module: nn.Module) -> None:
    """Refuse a module that cannot be fed one time step after the other.

    A neuron for sequences would take the N samples of a step for T time steps, without any error.
    """
    name = type(owner).__name__
    check_module(f"{name}: sub_module", module)
    for part in module.modules():
        if getattr(type(part), "takes_sequences", False):
            raise TypeError(
                f"{name}: {type(part).__name__} takes whole sequences, here one step at a time is fed: use a module "
                "for single steps, such as IFNode"
            )


class _Recurrent(MemoryModule):
    """Base of the recurrent containers: a sequence is fused around a neuron that kernels know."""

    def part(self, like: Like) -> Part | None:
        raise NotImplementedError

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; equals T calls of the single step."""
        check_sequence(self, x_seq)
        part = self.part(Like(x_seq.shape[1:], x_seq.dtype, x_seq.device))
        note(self, part is not None)
        return super().forward_sequence(x_seq) if part is None else plan.run(x_seq, [part])


class ElementWiseRecurrentContainer(_Recurrent):
    r"""Feeds each output back to the same element of the next input.

    .. math:: i[t] = f(x[t], y[t-1]), \qquad y[t] = \text{sub\_module}(i[t]), \qquad y[-1] = 0

    Args:
        sub_module: any module whose output has the shape of its input, usually a spiking neuron.
        element_wise_function: f(x, y), any function of two tensors of one shape.

    Attributes:
        y: last output y[t-1]; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps or ``element_wise_function`` is not callable.
    """

    sub_module: Any

    def __init__(
        self, sub_module: nn.Module, element_wise_function: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        _check_single_step(self, sub_module)
        if not callable(element_wise_function):
            given = type(element_wise_function).__name__
            raise TypeError(f"{type(self).__name__}: element_wise_function must be callable, got {given}")
        self.sub_module = sub_module
        self.element_wise_function = element_wise_function
        self.register_state("y")

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: x[t], ``[N, *]`` or any other shape, down to 0-dim.

        Returns:
            y[t], shape of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: the state comes from another shape, device or dtype, or ``sub_module`` changes the shape.
        """
        check_input(self, x)
        y = self.sub_module(self.element_wise_function(x, self.checked_state("y", x, 0.0)))
        if y.shape != x.shape:
            raise ValueError(
                f"{type(self).__name__}: sub_module must keep the shape of its input, got {list(y.shape)} for "
                f"{list(x.shape)}: use LinearRecurrentContainer for other sizes"
            )
        # A copy, since the output may be changed in place; and autocast may have made it narrower than x.
        self.keep_state("y", y.to(x.dtype, copy=True))
        return y

    def part(self, like: Like) -> Part | None:
        """Return what stands for this container in a plan: its neuron with an element-wise feedback."""
        return plan.with_element_wise_feedback(
            self, self.sub_module, like, lambda cell: ElementWiseFeedback(cell, self.element_wise_function)
        )

    def extra_repr(self) -> str:
        return f"element-wise function={self.element_wise_function}"


class LinearRecurrentContainer(_Recurrent):
    r"""Feeds all outputs back to all inputs through a linear layer.

    .. math:: i[t] = [x[t]; y[t-1]]\,W^T + b, \qquad y[t] = \text{sub\_module}(i[t]), \qquad y[-1] = 0

    ``W`` and ``b`` are those of ``rc``, an ``nn.Linear(in_features + out_features, in_features, bias)``.

    Args:
        sub_module: any module that maps ``[N, *, in_features]`` to ``[N, *, out_features]``.
        in_features: size of x[t] and of the sub_module's input.
        out_features: size of y[t].
        bias: whether ``rc`` has a bias.

    Attributes:
        y: last output y[t-1], ``[N, *, out_features]``; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps, or a size is not a whole number.
        ValueError: a size below 1.
    """

    sub_module: Any

    def __init__(self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        _check_single_step(self, sub_module)
        name = type(self).__name__
        self.in_features = check_whole(f"{name}: in_features", in_features, 1)
        self.out_features = check_whole(f"{name}: out_features", out_features, 1)
        bias = check_flag(f"{name}: bias", bias)
        self.rc = nn.Linear(self.in_features + self.out_features, self.in_features, bias)
        self.sub_module = sub_module
        self.register_state("y")

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: x[t], ``[N, *, in_features]``.

        Returns:
            y[t], ``[N, *, out_features]``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor, or has another dtype than the weights.
            ValueError: a last dimension that does not fit, another device than that of the weights, or a state from
                another shape, device or dtype.
        """
        check_input(self, x)
        self._check_fits(x)
        previous = self.checked_state("y", x.new_empty(()).expand(*x.shape[:-1], self.out_features), 0.0)
        y = self.sub_module(self.rc(torch.cat([x, previous], dim=-1)))
        self._check_last_dimension("sub_module's output", y.shape, "out_features", self.out_features)
        # A copy, since the output may be changed in place; and autocast may have made it narrower than x.
        self.keep_state("y", y.to(x.dtype, copy=True))
        return y

    def part(self, like: Like) -> Part | None:
        """Return what stands for this container in a plan: its neuron with a linear feedback."""
        if self.in_features != self.out_features:
            return loop("in_features differs from out_features")
        if type(self.rc) is not nn.Linear or not plan.does_only_forward(self.rc):
            return loop("rc is not nn.Linear itself, or has hooks")
        self._check_fits(like)
        return plan.with_linear_feedback(self, self.sub_module, like, self.rc.weight, self.rc.bias)

    def _check_fits(self, x: Tensor | Like) -> None:
        self._check_last_dimension("input", x.shape, "in_features", self.in_features)
        if type(self.rc) is nn.Linear:
            check_place(f"{type(self).__name__}: x", x, self.rc.weight)

    def _check_last_dimension(self, what: str, shape: Sequence[int], argument: str, size: int) -> None:
        if len(shape) == 0 or shape[-1] != size:
            raise ValueError(
                f"{type(self).__name__}: {what} has shape {list(shape)}, its last dimension must be "
                f"{argument}={size}"
            )


class MultiStepContainer(nn.Sequential):
    """Turns modules that take one time step into a module that takes a sequence ``[T, N, *]``.

    Modules are applied one after the other, as in ``nn.Sequential``. Those in a row that kernels know, ``nn.Linear``
    among them, run in one fused scan. Of the others, each is asked for its own ``forward_sequence``; one that has none,
    or has hooks, or whose class overrides ``forward``, is called step by step.

    Raises:
        TypeError, ValueError: from ``forward``, if the input is not a floating-point ``[T, N, *]`` with T >= 1.
    """

    takes_sequences = is_chain = True

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(self, x_seq)
        return plan.scan(x_seq, list(self), self._sequence)

    def _sequence(self, module: Any, x_seq: Tensor) -> Tensor:
        if getattr(type(module), "takes_sequences", False) and not isinstance(
            module, (MultiStepContainer, SeqToANNContainer)
        ):
            return module(x_seq)
        if plan.defines(module, "forward_sequence"):
            return module.forward_sequence(x_seq)
        _check_single_step(self, module)
        return torch.stack([module(x) for x in x_seq])


class SeqToANNContainer(nn.Sequential):
    """Applies modules without state to all time steps at once, see :func:`~snn_core.functional.seq_to_ann_forward`."""

    takes_sequences = is_chain = True

    def forward(self, x_seq: Tensor) -> Tensor:
        return seq_to_ann_forward(x_seq, list(self))
