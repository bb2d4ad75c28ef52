"""Recurrent connections with delays, fixed or learned: a spike reaches its targets some steps later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse, kernels
from snn_core.checks import Like, check_flag, check_floating, check_number, check_numbers, check_whole
from snn_core.module import NumbersModule
from snn_core.recurrent import LinearFeedback

__all__ = ["DelayedRecurrentContainer", "delay_taps"]


def delay_taps(delay: Tensor, max_delay: int, sigma: float = 0.0) -> Tensor:
    r"""Return the taps of delays: how much an output counts after 1 to D steps.

    .. math::
        a_k(d) = \frac{\max(0,\ 1 - |k - d| / (1 + \sigma))}{\sum_{l=1}^{D} \max(0,\ 1 - |l - d| / (1 + \sigma))},
        \qquad k = 1 \dots D

    With :math:`\sigma = 0` that is linear interpolation between the two whole steps around d; a larger one spreads a
    delay over more steps, so that its gradient sees further. A delay outside of 1 to D counts as the nearer of the two,
    with the gradient that it has there. At a whole delay, where :math:`\sigma = 0` has a corner, the gradient is the
    mean of those on both sides.

    Args:
        delay: delays d in steps, any shape ``[*]``.
        max_delay: D, the largest delay; the result is ``[D, *]``, with a sum of 1 over D.
        sigma: how far a delay is spread, at least 0.

    Raises:
        TypeError: ``delay`` is not a floating-point tensor, ``max_delay`` not a whole number, ``sigma`` not a number.
        ValueError: ``max_delay`` is below 1, or ``sigma`` below 0.

    Source: I. Khalfaoui-Hassani et al., "Dilated convolution with learnable spacings", ICLR 2023.
    https://arxiv.org/abs/2112.03740
    """
    check_floating("delay", delay)
    check_whole("max_delay", max_delay, 1)
    if check_number("sigma", sigma) < 0:
        raise ValueError(f"sigma must be at least 0, got {sigma}")
    inside = delay.detach().clamp(1, max_delay) + (delay - delay.detach())
    k = torch.arange(1, max_delay + 1, dtype=delay.dtype, device=delay.device)
    distance = (k.view(-1, *[1] * delay.dim()) - inside).abs()
    # torch.maximum shares the gradient of a tie among both, which gives the mean at a corner.
    taps = torch.maximum(1 - distance / (1 + sigma), torch.zeros_like(distance))
    return taps / taps.sum(0)


class DelayedRecurrentContainer(LinearFeedback, NumbersModule):
    r"""Feeds outputs back to all inputs through a linear layer, each after a delay of its own.

    .. math::
        i[t] &= W_x\,x[t] + \sum_j W_y[i, j]\,z_j[t] + b \\
        z_j[t] &= \sum_{k=1}^{D} a_k(d_j)\,y_j[t-k] \\
        y[t] &= \text{sub\_module}(i[t])

    with the taps a_k of :func:`delay_taps` and y[t] = 0 for t < 0. ``W = [W_x, W_y]`` and ``b`` are those of ``rc``, an
    ``nn.Linear(in_features + out_features, in_features, bias)``.

    Args:
        sub_module: any module that maps ``[N, *, in_features]`` to ``[N, *, out_features]``.
        in_features: size of x[t] and of the sub_module's input.
        out_features: size of y[t], J.
        max_delay: D, the largest delay in steps; outputs of so many steps are kept.
        delays: delays in steps, each from 1 to D: one number, a list or tensor ``[J]``, an ``nn.Parameter`` of either,
            which is trained; or None for random ones, uniform from 1 to D.
        learn_delays: whether delays are trained that are not an ``nn.Parameter`` already.
        bias: whether ``rc`` has a bias.

    Attributes:
        delay: the delays, a parameter or a buffer; what lies outside of 1 to D counts as the nearer of the two.
        sigma: by how many steps delays are spread, 0 at first; set it at the beginning of training, and lower it to 0.
            It is not part of ``state_dict``.
        y_history: the last D outputs, ``[N, D, *, out_features]``, the newest first; None before the first step.

    Raises:
        TypeError: an argument of another type; from ``forward``, ``x`` is no floating-point tensor like the weights.
        ValueError: a size below 1, delays of another shape or outside of 1 to D;
            from ``forward``, a shape or device that does not fit the weights or the state, or a sequence of fewer than
            D steps that continues no earlier one.

    Source: A. Queant et al., "DelRec: learning delays in recurrent spiking neural networks", 2025.
    https://arxiv.org/abs/2509.24852
    """

    checked = NumbersModule.checked | {
        "delay": lambda name, value: torch.as_tensor(check_numbers(f"{name}s", value))
    }
    delay: Any

    def __init__(
        self,
        sub_module: nn.Module,
        in_features: int,
        out_features: int,
        max_delay: int,
        delays: float | Sequence[float] | Tensor | None = None,
        learn_delays: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(sub_module, in_features, out_features, bias)
        name = type(self).__name__
        self.max_delay = check_whole(f"{name}: max_delay", max_delay, 1)
        self.sigma = 0.0
        if delays is None:
            delays = torch.empty(self.out_features).uniform_(1, self.max_delay)
        self.delay = delays
        if check_flag(f"{name}: learn_delays", learn_delays) and not isinstance(delays, nn.Parameter):
            self.delay = nn.Parameter(self.delay)
        self.register_state("y_history")

    def check_with_others(self, name: str, value: Any) -> None:
        """Refuse delays of another shape, or outside of 1 to D."""
        if name != "delay":
            return
        kind, J, D, delay = (
            type(self).__name__,
            self.out_features,
            self.max_delay,
            torch.as_tensor(value).detach(),
        )
        if bool(((delay < 1) | (delay > D)).any()):
            raise ValueError(f"{kind}: delays must lie between 1 and max_delay={D}, got {delay.tolist()}")
        if delay.shape not in ((), (J,)):
            raise ValueError(f"{kind}: delays must be one number or of shape [{J}], got {list(delay.shape)}")

    def taps(self) -> Tensor:
        """Return the taps of all delays, ``[D, J]``, see :func:`delay_taps`."""
        return delay_taps(self.delay.expand(self.out_features), self.max_delay, self.sigma)

    @torch.no_grad()
    def round_delays(self) -> None:
        """Round the delays to whole steps and set ``sigma`` to 0: each output then has a single tap of 1."""
        self.sigma = 0.0
        self.delay.copy_(self.delay.clamp(1, self.max_delay).round())

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step: x[t], ``[N, *, in_features]``, to y[t], ``[N, *, out_features]``."""
        return self._steps(check_floating(f"{type(self).__name__}: x", x).unsqueeze(0))[0]

    def check_steps(self, T: int) -> None:
        """Refuse a sequence of fewer than D steps, unless outputs of an earlier one are kept."""
        if self.y_history is None and self.max_delay > T:
            raise ValueError(
                f"{type(self).__name__}: max_delay={self.max_delay} is beyond the T={T} steps of x_seq: use longer "
                "sequences or a smaller max_delay"
            )

    def loop(self, x_seq: Tensor) -> Tensor:
        self.check_steps(len(x_seq))
        return super().loop(x_seq)

    def steps(self, x_seq: Tensor) -> Tensor:
        return super().steps(x_seq) if fuse.replaced(self) else self._steps(x_seq)

    def _steps(self, x_seq: Tensor) -> Tensor:
        x, D, y_seq = x_seq[0], self.max_delay, []
        self.check_fits(x)
        at, taps = fuse.place_of_history(x.shape), self.taps().to(x.dtype)
        shape = torch.Size((*x.shape[:at], D, *x.shape[at:-1], self.out_features))
        for x in x_seq:
            history = self.checked_state("y_history", Like(shape, x.dtype, x.device), 0.0)
            z = (taps * history.movedim(at, -2)).sum(-2)
            y = self.sub_module(self.rc(torch.cat([x, z], dim=-1)))
            self.check_last_dimension("sub_module's output", y.shape, "out_features", self.out_features)
            newest = y.to(x.dtype).unsqueeze(at)
            self.keep_state("y_history", torch.cat([newest, history.narrow(at, 0, D - 1)], dim=at))
            y_seq.append(y)
        outputs = torch.stack(y_seq)
        if self._recorders:
            self._record(fuse.OUTPUT, outputs.clone())
        return outputs

    def stage(self, like: Like) -> kernels.Stage | str:
        """Return the stage of this container in a fused scan: its neuron, and the outputs of the last D steps."""
        history = "y_history", self.max_delay
        return self.why_not(like) or fuse.with_linear_feedback(
            self, like, self.out_features, lambda: self._weights_and_taps(like), history
        )

    def _weights_and_taps(self, like: Like) -> tuple[Tensor | None, ...] | str:
        weights = self.weights(like)
        return weights if isinstance(weights, str) else (*weights, self.taps().to(like.dtype))
