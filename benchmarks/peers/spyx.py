"""Spyx, compiled by XLA.

Variant "same": our very network, its neurons and synapse filter written as Spyx's documentation says one's own are, a
module with ``initial_state`` and ``(x, state) -> (out, state)``. Variant "own": the library's own IF and RIF, which
reset by subtraction, spike one step later and do not detach the reset.

The whole network runs in one ``spyx.nn.run``, which on a CPU is faster than one for each layer. Two modes are
documented, one call of the compiled step after the other, and all steps in one compiled loop (``compile_fit``);
:meth:`tune` takes the faster one. An epoch is one compiled loop in either case.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx
from flax import nnx
from jax import Array, lax
from spyx import nn as snn
from spyx.optimize import backprop

from benchmarks.config import COLUMNS, MOMENTUM, Config
from benchmarks.peers import Inputs

PACKAGES = ("spyx", "jax", "jaxlib", "flax", "optax", "numpy")
CLASSES = 10

State = Any  # weights and momentum, as optax keeps them


def _atan(x: Array) -> Array:
    """Return the gradient of our ATan surrogate with alpha = 2."""
    return 1 / (1 + (jnp.pi * x) ** 2)


own_spike = spyx.axn.custom(_atan)
same_spike = spyx.axn.custom(_atan, lambda x: (x >= 0).astype(x.dtype))


class IF(nnx.Module):
    """Our integrate-and-fire neuron: hard reset to 0, detached."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, x: Array, v: Array) -> tuple[Array, Array]:
        h = v + x
        s = same_spike(h - 1)
        return s, h * (1 - lax.stop_gradient(s))

    def initial_state(self, batch_size: int) -> Array:
        return jnp.zeros((batch_size, *self.shape))


class RIF(nnx.Module):
    """The same with recurrent weights, named as in the library's own RIF."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.recurrent_w = nnx.Param(jnp.zeros(shape + shape))

    def __call__(self, x: Array, state: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        v, y = state
        h = v + x + y @ self.recurrent_w[...]
        s = same_spike(h - 1)
        return s, (h * (1 - lax.stop_gradient(s)), s)

    def initial_state(self, batch_size: int) -> tuple[Array, Array]:
        zero = jnp.zeros((batch_size, *self.shape))
        return zero, zero


class SynapseFilter(nnx.Module):
    """Our synapse filter; the library has none."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.w = nnx.Param(jnp.zeros(()))

    def __call__(self, s: Array, i: Array) -> tuple[Array, Array]:
        i = i - (1 - s) * i * jax.nn.sigmoid(self.w[...]) + s
        return i, i

    def initial_state(self, batch_size: int) -> Array:
        return jnp.zeros((batch_size, *self.shape))


def linear(weights: Inputs, name: str) -> nnx.Linear:
    """Return a linear layer with the weights that ``name`` has in torch."""
    weight = weights[f"{name}.weight"]
    layer = nnx.Linear(*reversed(weight.shape), rngs=nnx.Rngs(0))
    layer.kernel[...], layer.bias[...] = jnp.asarray(weight.T), jnp.asarray(weights[f"{name}.bias"])
    return layer


def _network(variant: str, config: Config, inputs: Inputs) -> tuple[snn.Sequential, int]:
    """Return the network, and how many of its layers lead to the hidden spikes."""
    prefix, shape = f"{config.model}/{config.hidden}/", (config.hidden,)
    weights = {name.removeprefix(prefix): inputs[name] for name in inputs if name.startswith(prefix)}
    same = variant == "same"

    def neurons(shape: tuple[int, ...]) -> nnx.Module:
        return IF(shape) if same else snn.IF(shape, activation=own_spike)

    hidden = [linear(weights, "fc1")]
    if config.model == "feedback":
        recurrent = RIF(shape) if same else snn.RIF(shape, activation=own_spike, rngs=nnx.Rngs(0))
        recurrent.recurrent_w[...] = jnp.asarray(weights["rc_y.weight"].T)
        hidden += [linear(weights, "rc_x"), recurrent]
    else:
        hidden += [neurons(shape)]
    synapse = []
    if config.model == "stateful-synapse":
        synapse = [SynapseFilter(shape)]
        synapse[0].w[...] = jnp.asarray(weights["w"])
    readout = [linear(weights, "fc2"), neurons((CLASSES,))]
    return snn.Sequential(*hidden, *synapse, *readout), len(hidden)


class _Session:
    def __init__(self, variant: str, config: Config, inputs: Inputs) -> None:
        self.mode = "all steps in one compiled loop"
        self._config = config
        self._net, self._depth = _network(variant, config, inputs)
        self._graph, weights, self._rest = nnx.split(self._net, nnx.Param, ...)
        self._solver = backprop(optax.sgd(config.learning_rate, momentum=MOMENTUM))(self._loss, weights)
        self._state = self._solver.init(jax.random.key(0))
        self._columns = jnp.asarray(inputs["images"].transpose(0, 2, 1))
        self._labels = jnp.asarray(inputs["labels"])
        self._key = jax.random.key(0)
        index = jnp.asarray(np.arange(config.batch) % len(self._labels))
        self._data = jax.jit(self._batch)(self._columns, self._labels, index)
        self._loop = jax.jit(self._many).lower(self._state, self._data, 1).compile()
        self._one = jax.jit(self._step)
        self._epoch = jax.jit(self._all)

    def _batch(self, columns: Array, labels: Array, index: Array) -> tuple[Array, Array]:
        x = columns[index].transpose(1, 0, 2).astype(jnp.float32) / 255
        return jnp.tile(x, (self._config.T // COLUMNS, 1, 1)), jax.nn.one_hot(labels[index], CLASSES)

    def _loss(self, weights: Any, batch: tuple[Array, Array]) -> Array:
        x, target = batch
        out, _ = snn.run(nnx.merge(self._graph, weights, self._rest), x)
        return jnp.mean((out.mean(0) - target) ** 2)

    def _step(self, state: State, batch: tuple[Array, Array]) -> tuple[State, Array]:
        return self._solver.step(state, batch, jax.random.key(0))  # plain descent draws no numbers

    def _many(self, state: State, batch: tuple[Array, Array], count: Array) -> tuple[State, Array]:
        return lax.fori_loop(0, count, lambda _, carry: self._step(carry[0], batch), (state, jnp.zeros(())))

    def _all(self, state: State, columns: Array, labels: Array, key: Array) -> tuple[State, Array]:
        size = self._config.batch
        full = len(labels) // size * size
        order = jax.random.permutation(key, len(labels))

        def step(state: State, index: Array) -> tuple[State, Array]:
            return self._step(state, self._batch(columns, labels, index))

        state, losses = lax.scan(step, state, order[:full].reshape(-1, size))
        total = losses.sum() * size
        if full < len(labels):
            state, loss = step(state, order[full:])
            total += loss * (len(labels) - full)
        return state, total / len(labels)

    def tune(self) -> None:
        self._one(self._state, self._data)  # compile
        started = time.perf_counter()
        self.steps(1)
        count = max(1, min(10, round(1 / (time.perf_counter() - started))))
        seconds = {}
        for mode in ("one compiled call for each step", "all steps in one compiled loop"):
            self.mode = mode
            self.steps(1)
            started = time.perf_counter()
            self.steps(count)
            seconds[mode] = time.perf_counter() - started
        self.mode = min(seconds, key=seconds.__getitem__)

    def steps(self, count: int) -> float:
        if self.mode == "all steps in one compiled loop":
            self._state, loss = self._loop(self._state, self._data, count)
        else:
            for _ in range(count):
                self._state, loss = self._one(self._state, self._data)
        return float(jax.block_until_ready(loss))

    def epoch(self) -> float:
        self._key, key = jax.random.split(self._key)
        self._state, loss = self._epoch(self._state, self._columns, self._labels, key)
        return float(jax.block_until_ready(loss))

    def firing_rate(self) -> float:
        net = nnx.merge(self._graph, self._solver.get_params(self._state), self._rest)
        spikes, _ = snn.run(snn.Sequential(*net.layers[: self._depth]), self._data[0])
        return float(spikes.mean())


def session(variant: str, config: Config, inputs: Inputs) -> _Session:
    """Return a session with the neurons that ``variant`` names."""
    return _Session(variant, config, inputs)


def note(variant: str, model: str) -> str:
    """Say where the network differs, or which parts are not the library's own."""
    if variant == "same":
        return "neurons and filter written as Spyx layers; same network"
    layer = "RIF" if model == "feedback" else "IF"
    filtered = ", synapse filter written as a Spyx layer" if model == "stateful-synapse" else ""
    return f"{layer}{filtered}; reset by subtraction and not detached, spikes one step later"
