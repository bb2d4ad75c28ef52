"""Spyx, compiled by XLA: whole training steps of our networks, and its own layers.

The networks are ours: neurons and synapse filter are written as Spyx's documentation says one's own are, a module with
``initial_state`` and ``(x, state) -> (out, state)``. A network runs in one ``spyx.nn.run``, which on a CPU is faster
than one for each layer. Of the documented ways to train, all steps in one compiled loop (``compile_fit``) is timed: one
call of the compiled step after the other is not faster.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import spyx
from flax import nnx
from jax import Array, lax
from spyx import nn as snn
from spyx.optimize import backprop

from benchmarks.cases import CLASSES, COLUMNS, MOMENTUM, Inputs, Layer, Network

PACKAGES = ("spyx", "jax", "jaxlib", "flax", "optax", "numpy")


def _atan(x: Array) -> Array:
    """Return the gradient of our ATan surrogate with alpha = 2."""
    return 1 / (1 + (jnp.pi * x) ** 2)


_spike = spyx.axn.custom(_atan, lambda x: (x >= 0).astype(x.dtype))


class IF(nnx.Module):
    """Our integrate-and-fire neuron: hard reset to 0, detached."""

    def __init__(self, features: int) -> None:
        self.features = features

    def __call__(self, x: Array, v: Array) -> tuple[Array, Array]:
        h = v + x
        s = _spike(h - 1)
        return s, h * (1 - lax.stop_gradient(s))

    def initial_state(self, batch_size: int) -> Array:
        return jnp.zeros((batch_size, self.features))


class RecurrentIF(IF):
    """The same with recurrent weights."""

    def __init__(self, weight: Array) -> None:
        super().__init__(len(weight))
        self.weight = nnx.Param(weight)

    def __call__(self, x: Array, state: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        v, y = state
        s, v = super().__call__(x + y @ self.weight[...], v)
        return s, (v, s)

    def initial_state(self, batch_size: int) -> tuple[Array, Array]:
        return (super().initial_state(batch_size),) * 2


class SynapseFilter(nnx.Module):
    """Our synapse filter; the library has none."""

    def __init__(self, features: int, w: Array) -> None:
        self.features, self.w = features, nnx.Param(w)

    def __call__(self, s: Array, i: Array) -> tuple[Array, Array]:
        i = i - (1 - s) * i * jax.nn.sigmoid(self.w[...]) + s
        return i, i

    def initial_state(self, batch_size: int) -> Array:
        return jnp.zeros((batch_size, self.features))


def _net(network: Network, inputs: Inputs) -> snn.Sequential:
    weights = {name: jnp.asarray(values) for name, values in network.weights(inputs).items()}

    def linear(name: str) -> nnx.Linear:
        """Return a linear layer with the weights that ``name`` has in torch."""
        weight = weights[f"{name}.weight"].T
        layer = nnx.Linear(*weight.shape, rngs=nnx.Rngs(0))
        layer.kernel[...], layer.bias[...] = weight, weights[f"{name}.bias"]
        return layer

    hidden = {
        "plain": lambda: [IF(network.hidden)],
        "stateful-synapse": lambda: [IF(network.hidden), SynapseFilter(network.hidden, weights["w"])],
        "feedback": lambda: [linear("rc_x"), RecurrentIF(weights["rc_y.weight"].T)],
    }[network.model]()
    return snn.Sequential(linear("fc1"), *hidden, linear("fc2"), IF(CLASSES))


class _Training:
    """SGD on the squared error between rates and one-hot labels, over one batch."""

    def __init__(self, variant: str, network: Network, inputs: Inputs) -> None:
        self._graph, weights, self._rest = nnx.split(_net(network, inputs), nnx.Param, ...)
        images, labels = (jnp.asarray(inputs[name][: network.batch]) for name in ("images", "labels"))
        x = jnp.tile(images.transpose(2, 0, 1).astype(jnp.float32) / 255, (network.T // COLUMNS, 1, 1))
        self._batch = (x, jax.nn.one_hot(labels, CLASSES))
        solver = backprop(optax.sgd(network.learning_rate, momentum=MOMENTUM))(self._loss, weights)
        self._state, key = solver.init(jax.random.key(0)), jax.random.key(0)  # plain descent draws no numbers

        def step(state: Any, batch: tuple[Array, Array]) -> tuple[Any, Array]:
            return solver.step(state, batch, key)

        def many(state: Any, batch: tuple[Array, Array], count: Array) -> tuple[Any, Array]:
            first = (state, jnp.zeros(()))
            return lax.fori_loop(0, count, lambda _, carry: step(carry[0], batch), first)

        self._many = jax.jit(many)

    def _loss(self, weights: Any, batch: tuple[Array, Array]) -> Array:
        x, target = batch
        out, _ = snn.run(nnx.merge(self._graph, weights, self._rest), x)
        return jnp.mean((out.mean(0) - target) ** 2)

    def steps(self, count: int) -> float:
        """Take ``count`` training steps; return the last loss, from before the last change of weights."""
        self._state, loss = self._many(self._state, self._batch, count)
        return float(jax.block_until_ready(loss))


def _fires(H: int) -> dict[str, Any]:
    return {"hidden_shape": (H,), "activation": spyx.axn.custom(_atan), "rngs": nnx.Rngs(0)}


LAYERS = {
    "IF": lambda H: snn.IF(**_fires(H)),
    "LIF": lambda H: snn.LIF(beta=0.5, **_fires(H)),
    "parametric LIF": lambda H: snn.LIF(**_fires(H)),
    "adaptive LIF": lambda H: snn.ALIF(beta=0.5, gamma=0.9, **_fires(H)),
    "CUBA-LIF": lambda H: snn.CuBaLIF(alpha=0.5, beta=0.5, **_fires(H)),
    "leaky integrator": lambda H: snn.LI((H,), beta=0.5, rngs=nnx.Rngs(0)),
    "linear feedback": lambda H: snn.RIF(**_fires(H)),
}
NOTES = dict.fromkeys(LAYERS, "resets by subtraction, not detached; spikes come one step later") | {
    "leaky integrator": "the input is not divided by tau",
    "parametric LIF": "LIF with a decay for each neuron; resets and spikes as its other neurons",
    "linear feedback": "RIF, whose input passes no linear layer; resets and spikes as its other neurons",
}


class _OneLayer:
    """One layer with its input, and the gradient that comes back to its output."""

    def __init__(self, variant: str, layer: Layer) -> None:
        graph, self._weights, rest = nnx.split(LAYERS[layer.name](layer.H), nnx.Param, ...)
        self._x, gradient = map(jnp.asarray, layer.sequences())

        def loss(weights: Any, x: Array) -> tuple[Array, Array]:
            y, _ = snn.run(nnx.merge(graph, weights, rest), x)
            return jnp.vdot(y, gradient), y.mean()

        self._step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def steps(self, count: int) -> float:
        """Take ``count`` forward and backward passes; return the mean output."""
        for _ in range(count):
            (_, mean), self._gradients = jax.block_until_ready(self._step(self._weights, self._x))
        return float(mean)

    def gradient_norm(self) -> float:
        """Return the norm of the last gradient to the input."""
        return float(jnp.linalg.norm(self._gradients[1]))


network, layer = _Training, _OneLayer
