"""The batches of a run, for every library the same ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Batches", "weights_of"]

Inputs = Mapping[str, np.ndarray]


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
