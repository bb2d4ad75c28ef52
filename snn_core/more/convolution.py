"""Recurrent connections through a convolution: an output reaches the inputs around its own place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse, kernels
from snn_core.checks import Like, check_flag, check_floating, check_place, check_whole, is_autocast
from snn_core.recurrent import Recurrent, check_single_step, keep_y

__all__ = ["ConvRecurrentContainer"]

#: Numbers of a sample up to which the product with a matrix is faster than the convolution of each step.
LARGEST_MAPS = 512


class ConvRecurrentContainer(Recurrent):
    r"""Feeds all outputs back to the inputs around them through a convolution.

    .. math::
        i[t] &= [x[t]; y[t-1]] * W + b \\
        y[t] &= \text{sub\_module}(i[t]), \quad y[-1] = 0

    ``W`` and ``b`` are those of ``rc``, an ``nn.Conv2d(in_channels + out_channels, in_channels, kernel_size,
    padding=kernel_size // 2, bias=bias)``, which keeps height and width. Samples of up to
    512 numbers are fused: their convolution is the product with a matrix, made of the same weights.

    Args:
        sub_module: any module that maps ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``.
        in_channels: channels of x[t] and of the sub_module's input.
        out_channels: channels of y[t].
        kernel_size: size of the kernel, an odd number.
        bias: whether ``rc`` has a bias.

    Attributes:
        y: last output y[t-1], ``[N, out_channels, H, W]``; None before the first step.

    Raises:
        TypeError: an argument of another type; from ``forward``, ``x`` is no floating-point tensor like the weights.
        ValueError: a size below 1, or an even ``kernel_size``; from ``forward``, a shape or device that does not fit
            the weights or the state.
    """

    def __init__(
        self, sub_module: nn.Module, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True
    ) -> None:
        super().__init__()
        check_single_step(self, sub_module)
        name = type(self).__name__
        self.in_channels = check_whole(f"{name}: in_channels", in_channels, 1)
        self.out_channels = check_whole(f"{name}: out_channels", out_channels, 1)
        size = check_whole(f"{name}: kernel_size", kernel_size, 1)
        if size % 2 == 0:
            raise ValueError(
                f"{name}: kernel_size must be odd, so that y[t] keeps the size of x[t], got {size}"
            )
        bias = check_flag(f"{name}: bias", bias)
        channels = self.in_channels + self.out_channels
        self.rc = nn.Conv2d(channels, self.in_channels, size, padding=size // 2, bias=bias)
        self.sub_module = sub_module
        self.register_state("y")

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step: x[t], ``[N, in_channels, H, W]``, to y[t], ``[N, out_channels, H, W]``."""
        check_floating(f"{type(self).__name__}: x", x)
        y = self.sub_module(self.rc(torch.cat([x, self._previous(x)], dim=1)))
        self._check_channels("sub_module's output", y.shape, "out_channels", self.out_channels)
        keep_y(self, y, x)
        return y

    def _previous(self, x: Tensor | Like) -> Tensor:
        """Return y[t-1] for the input x[t]."""
        self._check_channels("input", x.shape, "in_channels", self.in_channels)
        if isinstance(self.rc, nn.Conv2d):
            check_place(f"{type(self).__name__}: x", x, self.rc.weight)
        shape = torch.Size((x.shape[0], self.out_channels, *x.shape[2:]))
        return self.checked_state("y", Like(shape, x.dtype, x.device), 0.0)

    def _check_channels(self, what: str, shape: Sequence[int], argument: str, channels: int) -> None:
        if len(shape) != 4 or shape[1] != channels:
            raise ValueError(
                f"{type(self).__name__}: {what} has shape {list(shape)}, it must be [N, {argument}={channels}, H, W]"
            )

    def stage(self, like: Like) -> kernels.Stage | str:
        """Return the stage of this container in a fused scan: a linear feedback of small maps."""
        reason = kernels.why_not(self.backend, like.device, like.dtype)
        if reason:
            return reason
        rc: Any = self.rc
        self._previous(like)
        size = math.prod(like.shape[1:])
        is_own = type(rc) is nn.Conv2d and not fuse.has_hooks(rc) and rc.groups == 1
        if not is_own or self.in_channels != self.out_channels or is_autocast(like.device):
            return "rc is not nn.Conv2d itself, has hooks, is under autocast, or in_channels differs from out_channels"
        if size > LARGEST_MAPS:
            return f"samples of {size} numbers are too large for a matrix, {LARGEST_MAPS} is the most"
        return fuse.with_linear_feedback(self, like, size, lambda: self._matrix(like, size))

    def _matrix(self, like: Like, size: int) -> tuple[Tensor, Tensor | None] | str:
        """Return the convolution as the matrix of a linear layer, and its bias."""
        rc: Any = self.rc
        if not fuse.is_plain(rc.weight):
            return f"its rc has a weight that is a {type(rc.weight).__name__}"
        maps = torch.eye(size, dtype=rc.weight.dtype, device=rc.weight.device).view(size, *like.shape[1:])
        parts = rc.weight.split([self.in_channels, self.out_channels], dim=1)
        weight = torch.cat([rc._conv_forward(maps, one, None).flatten(1).t() for one in parts], dim=1)
        bias = None if rc.bias is None else rc.bias.repeat_interleave(size // self.in_channels)
        return weight, bias
