"""One process with one library: it does what the driver says, as :mod:`benchmarks.worker`."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from benchmarks.long import CLASSES, CORES, PEERS
from benchmarks.worker import Sessions, main

#: Most by which the loss at first may differ from that of a guess, log(10).
NEAR = 0.5


class LongWorker(Sessions):
    """Trains the networks of the long tasks."""

    def __init__(self, name: str, path: str) -> None:
        if hasattr(os, "sched_setaffinity"):  # before the library counts cores and starts its threads
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        super().__init__("benchmarks.long", PEERS[name])
        self._inputs = dict(np.load(path))

    def prepare(self, config: str, kind: str, batch: int) -> dict[str, Any]:
        """Build the network ``kind`` under the name ``config``, see that it does its task, and take a step.

        Raises:
            RuntimeError: outputs of another shape, a loss that is not that of a guess, or neurons that never or
                always spike.
        """
        session = self.sessions[config] = self.library.session(kind, batch, self._inputs)
        loss, rate = _loss(*session.outputs(), batch), session.firing_rate()
        if not abs(loss - math.log(CLASSES)) < NEAR or not 0 < rate < 1:
            raise RuntimeError(f"{config}: not the network: the first loss is {loss}, the firing rate {rate}")
        session.tune()
        session.steps(1)
        return {"first_loss": loss, "hidden_spikes_per_step": rate, "threads": session.threads}

    def finish(self, config: str) -> dict[str, Any]:
        """Drop a session, and say what its last loss is.

        Raises:
            RuntimeError: it is not finite.
        """
        loss = self.sessions.pop(config).steps(1)
        if not math.isfinite(loss):
            raise RuntimeError(f"{config}: the loss is {loss} after training")
        return {"last_loss": loss}


def _loss(outputs: np.ndarray, labels: np.ndarray, batch: int) -> float:
    """Return the mean cross-entropy of outputs ``[N, 10]``; numpy takes it, so that it is the same for all."""
    if outputs.shape != (batch, CLASSES):
        raise RuntimeError(f"the outputs have the shape {outputs.shape}, not {(batch, CLASSES)}")
    shifted = outputs.astype(np.float64) - outputs.max(1, keepdims=True)
    chosen = shifted[np.arange(batch), labels]
    return float((np.log(np.exp(shifted).sum(1)) - chosen).mean())


if __name__ == "__main__":
    main(LongWorker)
