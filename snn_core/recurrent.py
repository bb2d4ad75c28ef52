"""Recurrent containers: a layer's output returns to its next input.

Each holds a module for single steps, its ``sub_module``. :class:`ElementWiseRecurrentContainer` feeds y[t-1] back to
the same element, :class:`LinearRecurrentContainer` through a matrix of weights. :mod:`snn_core.more.convolution` feeds
it back through a convolution, and :mod:`snn_core.more.delays` feeds older outputs back, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snn_core import fuse, kernels
from snn_core.cells import ElementWiseFeedback
from snn_core.checks import (
    Like,
    check_flag,
    check_floating,
    check_module,
    check_numbers,
    check_place,
    check_whole,
    takes_sequences,
)
from snn_core.module import MemoryModule, Numbers, NumbersModule

__all__ = ["ElementWiseRecurrentContainer", "LinearRecurrentContainer"]


def check_single_step(owner: nn.Module, module: nn.Module) -> nn.Module:
    """Refuse a module that cannot be fed one time step after the other.

    A neuron for sequences would silently take the N samples of a step for T time steps.
    """
    name = type(owner).__name__
    for part in check_module(f"{name}: sub_module", module).modules():
        if takes_sequences(part):
            raise TypeError(
                f"{name}: {type(part).__name__} takes whole sequences, here one step at a time is fed: use a module "
                "for single steps, such as IFNode"
            )
    return module


class ElementWiseRecurrentContainer(NumbersModule):
    r"""Feeds each output back to the same element of the next input.

    .. math::
        i[t] &= f(x[t], w\,y[t-1]) \\
        y[t] &= \text{sub\_module}(i[t]), \quad y[-1] = 0

    Args:
        sub_module: any module whose output has the shape of its input, usually a spiking neuron.
        element_wise_function: f(x, y), any function of two tensors of one shape. SpikingJelly 2.0 calls f(y, x).
        weight: w, None for 1, else one of :data:`~snn_core.module.Numbers`.

    Attributes:
        y: last output y[t-1]; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps, ``element_wise_function`` is not callable, or
            ``weight`` is not made of numbers.
        ValueError: ``weight`` is empty or not finite.
    """

    checked = NumbersModule.checked | {
        "weight": lambda name, value: None if value is None else check_numbers(name, value)
    }
    sub_module: Any
    weight: Any

    def __init__(
        self,
        sub_module: nn.Module,
        element_wise_function: Callable[[Tensor, Tensor], Tensor],
        weight: Numbers | None = None,
    ) -> None:
        super().__init__()
        if not callable(element_wise_function):
            name, given = type(self).__name__, type(element_wise_function).__name__
            raise TypeError(f"{name}: element_wise_function must be callable, got {given}")
        self.sub_module = check_single_step(self, sub_module)
        self.element_wise_function = element_wise_function
        self.weight = weight
        self.register_state("y")

    @property
    def recordable(self) -> tuple[str, ...]:
        return (fuse.OUTPUT,)

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: x[t], ``[N, *]`` or any other shape, down to 0-dim.

        Returns:
            y[t], shape of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: the state comes from another shape, device or dtype, ``weight`` does not fit a sample, or
                ``sub_module`` changes the shape.
        """
        previous = self.checked_state("y", check_floating(f"{type(self).__name__}: x", x), 0.0)
        if self.weight is not None:
            previous = self.number("weight", x) * previous
        y = self.sub_module(self.element_wise_function(x, previous))
        if y.shape != x.shape:
            raise ValueError(
                f"{type(self).__name__}: sub_module must keep the shape of its input, got {list(y.shape)} for "
                f"{list(x.shape)}: use LinearRecurrentContainer for other sizes"
            )
        keep_y(self, y, x)
        return y

    def cell(self, like: Tensor | Like) -> ElementWiseFeedback:
        """Return the cell of ``sub_module`` with the feedback around it."""
        weight = None if self.weight is None else self.number("weight", like)
        return ElementWiseFeedback(self.sub_module.cell(like), self.element_wise_function, weight)

    def stage(self, like: Like) -> kernels.Stage | str:
        """Return the stage of this container in a fused scan: its neuron with an element-wise feedback."""
        reason = kernels.why_not(self.backend, like.device, like.dtype)
        return reason or fuse.with_element_wise_feedback(self, like)

    def extra_repr(self) -> str:
        text = f"element-wise function={self.element_wise_function}"
        return text if self.weight is None else f"{text}, {self.shown('weight')}"


def keep_y(module: MemoryModule, y: Tensor, x: Tensor) -> None:
    """Keep an output as the state y."""
    # A copy, since the output may be changed in place; and autocast may have made it narrower than x.
    kept = y.to(x.dtype, copy=True)
    module.keep_state("y", kept)
    module._record(fuse.OUTPUT, kept.unsqueeze(0))


class Recurrent(MemoryModule):
    """Base of the containers with a layer, ``rc``, from x[t] and what is fed back to the input of ``sub_module``."""

    sub_module: Any
    rc: Any

    @property
    def recordable(self) -> tuple[str, ...]:
        return (fuse.OUTPUT,)

    def loop(self, x_seq: Tensor) -> Tensor:
        with parametrize.cached():  # a weight that is parametrized is computed once a sequence
            return self.steps(x_seq)


class LinearFeedback(Recurrent):
    """Base of the containers whose layer is an ``nn.Linear``."""

    def __init__(self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        name = type(self).__name__
        check_single_step(self, sub_module)
        self.in_features = check_whole(f"{name}: in_features", in_features, 1)
        self.out_features = check_whole(f"{name}: out_features", out_features, 1)
        bias = check_flag(f"{name}: bias", bias)
        self.rc = nn.Linear(self.in_features + self.out_features, self.in_features, bias)
        self.sub_module = sub_module

    def weights(self, like: Like) -> tuple[Tensor, Tensor | None] | str:
        """Return weight and bias of ``rc``, or why a kernel cannot take its place."""
        rc: Any = self._modules["rc"]  # an attribute takes far longer
        weights = fuse.weights_of(rc, like)
        if isinstance(weights, str):
            return f"its rc: {weights}"
        J, shape = self.out_features, list(weights[0].shape)
        return weights if shape == [J, 2 * J] else f"its rc has a weight {shape}, not {[J, 2 * J]}"

    def why_not(self, like: Like) -> str:
        """Return why a kernel cannot take this container, whatever its weights are, "" if it can."""
        if self.in_features != self.out_features:
            return "in_features differs from out_features: give both the size of the neurons"
        self.check_last_dimension("input", like.shape, "in_features", self.in_features)
        return kernels.why_not(self.backend, like.device, like.dtype)

    def check_fits(self, x: Tensor | Like) -> None:
        """Refuse a step that does not fit ``rc``."""
        self.check_last_dimension("input", x.shape, "in_features", self.in_features)
        if isinstance(self.rc, nn.Linear):
            check_place(f"{type(self).__name__}: x", x, self.rc.weight)

    def check_last_dimension(self, what: str, shape: Sequence[int], argument: str, size: int) -> None:
        """Refuse another last dimension than the size that an argument gave."""
        if len(shape) == 0 or shape[-1] != size:
            raise ValueError(
                f"{type(self).__name__}: {what} has shape {list(shape)}, its last dimension must be "
                f"{argument}={size}"
            )


class LinearRecurrentContainer(LinearFeedback):
    r"""Feeds all outputs back to all inputs through a linear layer.

    .. math::
        i[t] &= [x[t]; y[t-1]]\,W^T + b \\
        y[t] &= \text{sub\_module}(i[t]), \quad y[-1] = 0

    ``W`` and ``b`` are those of ``rc``, an ``nn.Linear(in_features + out_features, in_features, bias)``. If ``rc`` is
    parametrized, a sequence computes its weight once.

    Args:
        sub_module: any module that maps ``[N, *, in_features]`` to ``[N, *, out_features]``; what is fused is a neuron,
            or an ``nn.Sequential`` of a neuron and synapses, whose currents are then fed back.
        in_features: size of x[t] and of the sub_module's input.
        out_features: size of y[t].
        bias: whether ``rc`` has a bias.

    Attributes:
        y: last output y[t-1], ``[N, *, out_features]``; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps, a size is not a whole number, ``bias`` not a bool.
        ValueError: a size below 1.
    """

    def __init__(self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(sub_module, in_features, out_features, bias)
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
        self.check_fits(check_floating(f"{type(self).__name__}: x", x))
        shape = (*x.shape[:-1], self.out_features)
        previous = self.checked_state("y", Like(torch.Size(shape), x.dtype, x.device), 0.0)
        y = self.sub_module(self.rc(torch.cat([x, previous], dim=-1)))
        self.check_last_dimension("sub_module's output", y.shape, "out_features", self.out_features)
        keep_y(self, y, x)
        return y

    def stage(self, like: Like) -> kernels.Stage | str:
        """Return the stage of this container in a fused scan: its neuron with a linear feedback."""
        return self.why_not(like) or fuse.with_linear_feedback(
            self, like, self.out_features, lambda: self.weights(like)
        )
