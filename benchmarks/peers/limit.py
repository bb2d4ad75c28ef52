"""The limit: the multiplications of a step at the speed that this processor reaches at its best.

That is the speed of our own product of two blocks of 32 x 32, which lie in the innermost cache, over and over in one
thread. All threads together are taken to be as many times faster. The rest of a step, its neurons, its memory and its
calls, counts as nothing, so no implementation in single precision on these cores can reach this time.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.config import COLUMNS, Config
from benchmarks.peers import Inputs
from snn_core.kernels.cpu.compiled import entry
from snn_core.kernels.cpu.products import add_product

PACKAGES = ("torch", "numba", "numpy")
CLASSES = 10
BLOCK = 32
BLOCK_FLOPS = 2 * BLOCK**3


def products_flops(config: Config) -> int:
    """Return the floating-point operations of a step's matrix products, forward and backward.

    The gradient to the images is not needed, so the first layer has two products for each time step and sample, the
    others three: the output, and the gradients to weights and input.
    """
    H = config.hidden
    multiplications = 2 * COLUMNS * H + 3 * H * CLASSES
    if config.model == "feedback":
        multiplications += 3 * (2 * H) * H
    return 2 * config.T * config.batch * multiplications


@entry
def add_products(a: np.ndarray, b: np.ndarray, out: np.ndarray, count: int) -> None:
    """Add the product of the blocks ``a`` and ``b``, both flat, to ``out``, ``count`` times."""
    for _ in range(count):
        add_product(a, 0, BLOCK, 1, BLOCK, BLOCK, b, 0, BLOCK, 0, BLOCK, out, 0, BLOCK, out, 0, BLOCK)


class _Session:
    mode = ""

    def __init__(self, config: Config) -> None:
        # Ours to measure is what one thread has to do of a step.
        flops = products_flops(config) / torch.get_num_threads()
        self._blocks = flops / BLOCK_FLOPS
        random = np.random.default_rng(0)
        self._a, self._b = (random.uniform(-1, 1, BLOCK**2).astype(np.float32) for _ in range(2))
        self._out = np.zeros(BLOCK**2, np.float32)
        self.steps(1)  # compile

    def tune(self) -> None:
        """There is one mode only."""

    def steps(self, count: int) -> float:
        """Compute for as long as ``count`` steps must take at least."""
        add_products(self._a, self._b, self._out, round(count * self._blocks))
        return 0.0


def session(variant: str, config: Config, inputs: Inputs) -> _Session:
    """Return a session, which can only take steps."""
    return _Session(config)


def note(variant: str, model: str) -> str:
    """Say what it is, since it is no network."""
    return (
        "no network: the floating-point operations of the step's products at the measured peak of all cores"
    )
