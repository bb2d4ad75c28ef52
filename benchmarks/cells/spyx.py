"""Spyx, all time steps in one scan, forward and backward compiled by XLA.

Its neurons reset by subtraction, not detached, and spike one step later than ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import spyx
from flax import nnx
from jax import Array
from spyx import nn as snn

PACKAGES = ("spyx", "jax", "jaxlib", "flax", "numpy")
NOTES = {
    "LIF": "the input is not divided by tau",
    "parametric LIF": "LIF with a decay for each neuron; the input is not divided by tau",
    "linear": "RIF, whose input passes no linear layer",
}

#: The gradient of our ATan surrogate with alpha = 2.
SPIKE = spyx.axn.custom(lambda x: 1 / (1 + (jnp.pi * x) ** 2))


def _fires(H: int) -> dict[str, Any]:
    return {"hidden_shape": (H,), "activation": SPIKE, "rngs": nnx.Rngs(0)}


CELLS = {
    "IF": lambda H, _: snn.IF(**_fires(H)),
    "LIF": lambda H, _: snn.LIF(beta=0.5, **_fires(H)),
    "parametric LIF": lambda H, _: snn.LIF(**_fires(H)),
    "adaptive LIF": lambda H, _: snn.ALIF(beta=0.5, gamma=0.9, **_fires(H)),
    "CUBA-LIF": lambda H, _: snn.CuBaLIF(alpha=0.5, beta=0.5, **_fires(H)),
    "leaky integrator": lambda H, _: snn.LI((H,), beta=0.5, rngs=nnx.Rngs(0)),
    "linear": lambda H, _: snn.RIF(**_fires(H)),
}


class _Session:
    """One layer with its input, and the gradient that comes back to its output."""

    def __init__(self, make: Callable[[], nnx.Module], x: Any, gradient: Any) -> None:
        graph, self._weights, rest = nnx.split(make(), nnx.Param, ...)

        def loss(weights: Any, x: Array) -> tuple[Array, Array]:
            y, _ = snn.run(nnx.merge(graph, weights, rest), x)
            return jnp.vdot(y, gradient), y.mean()

        self._x = jnp.asarray(x)
        self._step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def steps(self, count: int) -> float:
        """Take ``count`` forward and backward passes; return the mean output."""
        for _ in range(count):
            (_, mean), _ = jax.block_until_ready(self._step(self._weights, self._x))
        return float(mean)


session = _Session
