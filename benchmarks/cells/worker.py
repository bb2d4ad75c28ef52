"""One process with one library: it does what the driver says, as :mod:`benchmarks.worker`."""

from __future__ import annotations

import importlib
import math
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.cells import PEERS
from benchmarks.worker import main


class CellWorker:
    """Answers commands: one method for each."""

    def __init__(self, name: str, path: str) -> None:
        self._peer, self._inputs = PEERS[name], np.load(path)
        self._library: Any = importlib.import_module(f"benchmarks.cells.{self._peer.module}")
        self._sessions: dict[str, Any] = {}

    def about(self) -> dict[str, Any]:
        library = self._library
        return {
            "versions": {package: version(package) for package in library.PACKAGES},
            "cells": list(library.CELLS),
            "notes": library.NOTES,
        }

    def prepare(self, config: str, shape: list[int], x: str) -> dict[str, Any]:
        """Build the layer ``config`` for samples of ``shape``, fed the array ``x``, and take two steps.

        Raises:
            RuntimeError: the layer is dead: its mean output is not finite, or 0.
        """
        make = partial(self._library.CELLS[config], math.prod(shape), self._peer.variant)
        arrays = (self._inputs[name] for name in (x, "gradient"))
        sequences = (array.reshape(*array.shape[:2], *shape) for array in arrays)
        session = self._sessions[config] = self._library.session(make, *sequences)
        mean = session.steps(2)
        if not math.isfinite(mean) or mean == 0:
            raise RuntimeError(f"{config}: the layer is dead: its mean output is {mean}")
        return {"mean_output": mean}

    def steps(self, config: str, count: int) -> dict[str, Any]:
        """Time ``count`` forward and backward passes, after one that wakes threads and caches."""
        session = self._sessions[config]
        session.steps(1)
        started = time.perf_counter()
        session.steps(count)
        return {"seconds": time.perf_counter() - started}

    def finish(self, config: str) -> dict[str, Any]:
        del self._sessions[config]
        return {}


if __name__ == "__main__":
    main(CellWorker)
