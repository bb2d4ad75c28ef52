"""Spyx: the nearest networks of its own neurons, all time steps in one scan, a training step compiled by XLA.

The library has no synapse filter: that of :mod:`benchmarks.peers.spyx` is one. Decays are held fixed, as those of the
others are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from spyx import nn as snn
from spyx.optimize import backprop

from benchmarks.long import CLIP, CORES, KINDS, LR, WINDOW, Batches, Inputs, weights_of
from benchmarks.peers.spyx import SynapseFilter, linear, own_spike

PACKAGES = ("spyx", "jax", "jaxlib", "flax", "optax", "numpy")
_LATER = "spikes one step later, reset not detached"
NOTES = dict(
    zip(
        KINDS,
        (f"LIF: {_LATER}", f"LIF: {_LATER}; synapse filter written as a Spyx layer", f"RLIF: {_LATER}"),
        strict=True,
    )
)

#: What is left of a membrane potential after a step: 1 - 1 / tau.
DECAY = 0.8


class Network(nnx.Module):
    """One hidden layer between two linear ones, ``[T, N, 1]`` to ``[N, 10]``; the last sees the window only."""

    def __init__(self, kind: str, weights: Inputs) -> None:
        shape, first = weights["fc1.bias"].shape, [linear(weights, "fc1")]
        neurons = (snn.RLIF if kind == "feedback" else snn.LIF)(
            shape, beta=DECAY, activation=own_spike, rngs=nnx.Rngs(0)
        )
        neurons.beta = nnx.Variable(neurons.beta[...])  # no parameter
        synapse = []
        if kind == "feedback":
            first.append(linear(weights, "rc_x"))
            neurons.recurrent_w[...] = jnp.asarray(weights["rc_y.weight"].T)
        if kind == "stateful synapse":
            synapse.append(SynapseFilter(shape))
            synapse[0].w[...] = jnp.asarray(weights["w"])
        self.spiking = snn.Sequential(*first, neurons)
        self.hidden = snn.Sequential(*first, neurons, *synapse)
        self.fc2 = linear(weights, "fc2")

    def __call__(self, x_seq: Array) -> Array:
        hidden_seq, _ = snn.run(self.hidden, x_seq)
        return self.fc2(hidden_seq[-WINDOW:]).mean(0)


class _Run:
    """A network with its optimizer and batches."""

    threads = CORES  # XLA's

    def __init__(self, kind: str, batch: int, inputs: Inputs) -> None:
        graph, weights, rest = nnx.split(Network(kind, weights_of(inputs, kind)), nnx.Param, ...)
        self._batches = Batches(inputs, batch)
        self._first = next(self._batches)

        def merged(weights: Any) -> Network:
            return nnx.merge(graph, weights, rest)

        def loss(weights: Any, data: tuple[Array, Array]) -> Array:
            outputs = merged(weights)(data[0])
            return optax.softmax_cross_entropy_with_integer_labels(outputs, data[1]).mean()

        optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(LR))
        self._solver = backprop(optimizer)(loss, weights)
        self._state = self._solver.init(jax.random.key(0))
        # Plain descent draws no numbers, so the key may be the same in all steps.
        key = jax.random.key(0)
        self._step = jax.jit(lambda state, data: self._solver.step(state, data, key))
        self._outputs = jax.jit(lambda weights, x_seq: merged(weights)(x_seq))
        self._rate = jax.jit(lambda weights, x_seq: snn.run(merged(weights).spiking, x_seq)[0].mean())

    def tune(self) -> None:
        """XLA has chosen."""

    def steps(self, count: int) -> float:
        for _ in range(count):
            self._state, loss = self._step(self._state, next(self._batches))
        return float(jax.block_until_ready(loss))

    def outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs for the first batch, ``[N, 10]``, and its labels."""
        x_seq, labels = self._first
        return np.asarray(self._outputs(self._solver.get_params(self._state), x_seq)), labels

    def firing_rate(self) -> float:
        """Return the mean number of spikes of a hidden neuron in a time step, for the first batch."""
        return float(self._rate(self._solver.get_params(self._state), self._first[0]))


session = _Run
