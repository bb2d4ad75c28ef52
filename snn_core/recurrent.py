"""Recurrent containers: a layer's output returns to its next input.

Each holds a module for single steps, its ``sub_module``, and feeds y[t-1] back through a matrix of weights.
:mod:`snn_core.element_wise` feeds it back to the same element, :mod:`snn_core.more.convolution` through a convolution,
and :mod:`snn_core.more.delays` feeds older outputs back, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_core import fuse, runs
from snn_core.checks import (
    Like,
    check_flag,
    check_module,
    check_place,
    check_whole,
    does_only_forward,
    is_autocast,
    takes_sequences,
)
from snn_core.fuse import Part
from snn_core.state import MemoryModule, check_input, check_sequence

__all__ = ["LinearRecurrentContainer", "OffDiagonalLinear"]


def check_single_step(owner: nn.Module, module: nn.Module) -> None:
    """Refuse a module that cannot be fed one time step after the other.

    A neuron for sequences would silently take the N samples of a step for T time steps.
    """
    name = type(owner).__name__
    check_module(f"{name}: sub_module", module)
    for part in module.modules():
        if takes_sequences(part):
            raise TypeError(
                f"{name}: {type(part).__name__} takes whole sequences, here one step at a time is fed: use a module "
                "for single steps, such as IFNode"
            )


class Recurrent(MemoryModule):
    """Base of the recurrent containers: a sequence is fused where :meth:`part` says how."""

    sub_module: Any

    def __init__(self, sub_module: nn.Module) -> None:
        super().__init__()
        check_single_step(self, sub_module)  # a class registers it, behind its weights

    @property
    def recordable(self) -> tuple[str, ...]:
        return (fuse.OUTPUT,)

    def part(self, like: Like) -> Part | str:
        raise NotImplementedError

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; equals T calls of the single step."""
        check_sequence(self, x_seq)
        return runs.alone(self, x_seq, self._loop)

    def _loop(self, x_seq: Tensor) -> Tensor:
        return torch.stack([self(x) for x in x_seq])

    def _keep_y(self, y: Tensor, x: Tensor) -> None:
        # A copy, since the output may be changed in place; and autocast may have made it narrower than x.
        kept = y.to(x.dtype, copy=True)
        self.keep_state("y", kept)
        self._record(fuse.OUTPUT, kept.unsqueeze(0))


class OffDiagonalLinear(nn.Linear):
    r"""A linear layer ``[x; y]`` to ``i`` for H outputs y and H inputs i, in which no y[k] reaches its own i[k].

    The diagonal of the right half of ``weight``, ``[H, K + H]``, counts as 0 and has the gradient 0; the numbers that
    are stored there stay as they are.

    Raises:
        ValueError: ``in_features`` is below ``out_features``.
    """

    is_self_connection: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True, **options: Any) -> None:
        if in_features < out_features:
            raise ValueError(
                f"OffDiagonalLinear: in_features must be at least out_features={out_features}, got {in_features}"
            )
        super().__init__(in_features, out_features, bias, **options)
        place = in_features - out_features
        of_weight = torch.ones(out_features, in_features, dtype=torch.bool, device=self.weight.device)
        self.register_buffer("is_self_connection", of_weight.tril(place).triu(place), persistent=False)

    def effective_weight(self) -> Tensor:
        """Return ``weight`` with zeros where self-connections would be."""
        return self.weight.masked_fill(self.is_self_connection, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(), self.bias)


def weight_that_acts(layer: nn.Linear) -> Tensor:
    """Return what a linear layer multiplies by, with zeros in the places of self-connections that it leaves out."""
    return layer.effective_weight() if isinstance(layer, OffDiagonalLinear) else layer.weight


class LinearFeedback(Recurrent):
    """Base of the containers with an ``nn.Linear``, ``rc``, from x[t] and what is fed back to the input."""

    def __init__(
        self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool, self_connections: bool
    ) -> None:
        super().__init__(sub_module)
        name = type(self).__name__
        self.in_features = check_whole(f"{name}: in_features", in_features, 1)
        self.out_features = check_whole(f"{name}: out_features", out_features, 1)
        bias = check_flag(f"{name}: bias", bias)
        self.self_connections = check_flag(f"{name}: self_connections", self_connections)
        if not self_connections and self.in_features != self.out_features:
            raise ValueError(
                f"{name}: self_connections=False needs in_features equal to out_features, got {in_features} and "
                f"{out_features}"
            )
        kind = nn.Linear if self_connections else OffDiagonalLinear
        self.rc = kind(self.in_features + self.out_features, self.in_features, bias)
        self.sub_module = sub_module

    def plain_weight(self, like: Like) -> Tensor | str:
        """Return the weight that ``rc`` multiplies by, or why a kernel cannot take its place."""
        if self.in_features != self.out_features:
            return "in_features differs from out_features: give both the size of the neurons"
        if type(self.rc) not in (nn.Linear, OffDiagonalLinear) or not does_only_forward(self.rc):
            return f"rc is not nn.Linear itself, or has hooks: {fuse.WITHOUT_HOOKS}"
        if is_autocast(like.device):
            return "autocast gives rc another precision: call it with autocast off"
        return weight_that_acts(self.rc)

    def _check_fits(self, x: Tensor | Like) -> None:
        self._check_last_dimension("input", x.shape, "in_features", self.in_features)
        if isinstance(self.rc, nn.Linear):
            check_place(f"{type(self).__name__}: x", x, self.rc.weight)

    def _check_last_dimension(self, what: str, shape: Sequence[int], argument: str, size: int) -> None:
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

    ``W`` and ``b`` are those of ``rc``, an ``nn.Linear(in_features + out_features, in_features, bias)``.

    Args:
        sub_module: any module that maps ``[N, *, in_features]`` to ``[N, *, out_features]``; what is fused is a neuron,
            or an ``nn.Sequential`` of a neuron and synapses, whose currents are then fed back.
        in_features: size of x[t] and of the sub_module's input.
        out_features: size of y[t].
        bias: whether ``rc`` has a bias.
        self_connections: False for a layer in which no neuron is connected to itself: ``rc`` is then an
            :class:`OffDiagonalLinear`, with the same weights under the same names.

    Attributes:
        y: last output y[t-1], ``[N, *, out_features]``; None before the first step.

    Raises:
        TypeError: ``sub_module`` is not a module for single steps, a size is not a whole number, a flag not a bool.
        ValueError: a size below 1, or two sizes without self-connections.
    """

    def __init__(
        self,
        sub_module: nn.Module,
        in_features: int,
        out_features: int,
        bias: bool = True,
        self_connections: bool = True,
    ) -> None:
        super().__init__(sub_module, in_features, out_features, bias, self_connections)
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
        self._keep_y(y, x)
        return y

    def part(self, like: Like) -> Part | str:
        """Return what stands for this container in a fused scan: its neuron with a linear feedback."""
        weight = self.plain_weight(like)
        if isinstance(weight, str):
            return weight
        self._check_fits(like)
        return fuse.with_linear_feedback(self, self.sub_module, like, weight, self.rc.bias)
