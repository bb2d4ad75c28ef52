"""One process with one library: it does what the driver says, as :mod:`benchmarks.worker`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import PEERS
from benchmarks.worker import Sessions, main


class CellWorker(Sessions):
    """Takes sequences through layers, forward and backward."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__("benchmarks.cells", PEERS[name])
        self._inputs = dict(np.load(path))

    def about(self) -> dict[str, Any]:
        return super().about() | {"cells": list(self.library.CELLS)}

    def prepare(self, config: str, layer: str, shape: list[int], x: str, gradient: str) -> dict[str, Any]:
        """Build a layer for samples of ``shape`` under the name ``config``, and take a step.

        Args:
            layer: its name.
            x: name of the array that it is fed, of which the first features are taken.
            gradient: name of the array that comes back to its output; empty where its outputs are just added up, and
                the input takes no gradient.

        Raises:
            RuntimeError: the layer is dead: its mean output is not finite, or 0.
        """
        make = partial(self.library.CELLS[layer], math.prod(shape), self.peer.variant)

        def sequence(name: str) -> np.ndarray:
            array = self._inputs[name][..., : math.prod(shape)]
            return np.ascontiguousarray(array).reshape(*array.shape[:2], *shape)

        session = self.library.session(make, sequence(x), sequence(gradient) if gradient else None)
        self.sessions[config] = session
        mean = session.steps(1)
        if not math.isfinite(mean) or mean == 0:
            raise RuntimeError(f"{config}: the layer is dead: its mean output is {mean}")
        return {"mean_output": mean}


if __name__ == "__main__":
    main(CellWorker)
