"""Networks that read Fashion-MNIST pixel by pixel, in three libraries: what :mod:`benchmarks.long_run` times.

A module for each library builds the networks and takes training steps. It is imported only in a worker process, in the
environment that has the library; here stand only the names and what is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.peers import Peer

__all__ = ["CLASSES", "CLIP", "CORES", "KINDS", "LR", "PEERS", "WINDOW", "Batches", "Inputs", "weights_of"]

Inputs = Mapping[str, np.ndarray]

KINDS = ("plain", "stateful synapse", "feedback")
CLASSES = 10
#: The last steps, over whose mean the networks answer.
WINDOW = 28
#: Largest norm of the gradient.
CLIP = 1.0
#: Small, so that the networks fire about as at first, however many steps a library takes in its time.
LR = 1e-3
#: Cores, and threads of torch, that every library has.
CORES = 2

PEERS: dict[str, Peer] = {
    "snn_core": Peer("snn_core", "ours"),
    "spikingjelly": Peer("SpikingJelly", "spikingjelly"),
    "spyx": Peer("Spyx", "spyx", environment="jax"),
}


class Batches:
    """Images pixel by pixel, float32 ``[T, N, 1]``, with their labels ``[N]``, in a random order without end.

    Args:
        inputs: has "pixels", uint8 ``[n, T]``, and "labels", int64 ``[n]``.
        size: N, at most n.
    """

    def __init__(self, inputs: Inputs, size: int) -> None:
        self._pixels, self._labels, self._size = inputs["pixels"], inputs["labels"], size
        self._random, self._order = np.random.default_rng(0), np.empty(0, np.int64)

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._order) < self._size:
            self._order = self._random.permutation(len(self._labels))
        index, self._order = self._order[: self._size], self._order[self._size :]
        x_seq = self._pixels[index].T.astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(x_seq)[..., None], self._labels[index]


def weights_of(inputs: Inputs, kind: str) -> dict[str, np.ndarray]:
    """Return the initial weights of a network, by names that do not depend on a library."""
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): inputs[name] for name in inputs if name.startswith(prefix)}
