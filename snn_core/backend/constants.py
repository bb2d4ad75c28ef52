"""What a kernel must know about a neuron, read off its step function."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from torch import Tensor

from snn_core.backend import does_only_forward
from snn_core.backend.decisions import loop
from snn_core.functional import if_step, lif_step
from snn_core.surrogate import SurrogateFunction


class Neuron(NamedTuple):
    """A neuron's constants, in the order in which the ops take them.

    ``tau`` is None for a neuron without leak, ``v_reset`` is None for the soft reset; ``surrogate``, ``a`` and ``b``
    are :attr:`SurrogateFunction.kernel_id` and :meth:`SurrogateFunction.kernel_constants`.
    """

    v_threshold: float
    v_reset: float | None
    tau: float | None
    decay_input: bool
    detach_reset: bool
    surrogate: int
    a: float
    b: float

    @property
    def kind(self) -> int:
        """How the kernels charge: 0 without leak, 1 with a leak that the input shares, 2 with the whole input."""
        return 0 if self.tau is None else 1 if self.decay_input else 2

    def numbers(self) -> tuple[float, ...]:
        """Return v_threshold, v_reset, tau, keep, jump, slope_1, slope_h, a and b.

        ``keep`` and ``jump`` write both resets as v = (1 - keep s) h + jump s, and ``slope_1 + slope_h h`` is the
        derivative of v to s, 0 where the reset is detached.
        """
        v_reset = 0.0 if self.v_reset is None else self.v_reset
        keep, jump = (0.0, -self.v_threshold) if self.v_reset is None else (1.0, v_reset)
        slope = (0.0, 0.0) if self.detach_reset else (jump, -keep)
        tau = 1.0 if self.tau is None else self.tau
        return self.v_threshold, v_reset, tau, keep, jump, *slope, self.a, self.b


def _is_known(surrogate: object) -> bool:
    """Say whether the kernels compute this surrogate function: its class, with nothing replaced."""
    return (
        isinstance(surrogate, SurrogateFunction)
        and "kernel_id" in vars(type(surrogate))  # a subclass may compute something else
        and surrogate.spiking
        and not isinstance(surrogate.alpha, Tensor)
        and does_only_forward(surrogate)
        and not vars(surrogate).keys() & {"derivative", "primitive"}
    )


def read_neuron(step: object) -> Neuron | None:
    """Return the constants that are bound in ``step``, or None if no kernel knows this step or this surrogate."""
    if not (isinstance(step, partial) and step.func in (if_step, lif_step)):
        return loop("its step function is not one that kernels know")
    bound = step.keywords
    surrogate = bound["surrogate_function"]
    tensors = [name for name, value in bound.items() if isinstance(value, Tensor)]
    if tensors:  # which may want a gradient
        return loop(f"{', '.join(tensors)} is a tensor, kernels take numbers")
    if not _is_known(surrogate):
        return loop("its surrogate function is not one that kernels know")
    return Neuron(
        bound["v_threshold"],
        bound["v_reset"],
        bound.get("tau"),
        bound.get("decay_input", True),
        bound["detach_reset"],
        surrogate.kernel_id,
        *surrogate.kernel_constants(),
    )
