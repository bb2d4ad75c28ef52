"""The limit: the matrix products of a training step alone, each written into memory that is there already."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.config import COLUMNS, Config
from benchmarks.peers import Inputs

PACKAGES = ("torch",)
CLASSES = 10


@dataclass(frozen=True)
class Product:
    """``count`` products of ``[rows, inner]`` with ``[inner, columns]``."""

    rows: int
    inner: int
    columns: int
    count: int = 1

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.columns * self.count


def matrix_products(config: Config) -> list[Product]:
    """Return the products of forward and backward, those of a recurrent layer step by step where they must be.

    The gradient to the images is not needed. That to the recurrent weights is one product over all steps.
    """
    rows, H = config.T * config.batch, config.hidden
    first = [Product(rows, COLUMNS, H), Product(H, rows, COLUMNS)]
    last = [Product(rows, H, CLASSES), Product(CLASSES, rows, H), Product(rows, CLASSES, H)]
    if config.model != "feedback":
        return first + last
    from_input = [Product(rows, H, H), Product(H, rows, H), Product(rows, H, H)]
    from_output = [Product(config.batch, H, H, config.T), Product(config.batch, H, H, config.T)]
    return [*first, *from_input, *from_output, Product(H, rows, H), *last]


class _Session:
    mode = ""

    def __init__(self, config: Config) -> None:
        self._calls = [
            (
                torch.rand(p.rows, p.inner),
                torch.rand(p.inner, p.columns),
                torch.empty(p.rows, p.columns),
                p.count,
            )
            for p in matrix_products(config)
        ]

    def tune(self) -> None:
        """There is one mode only."""

    def steps(self, count: int) -> float:
        for _ in range(count):
            for a, b, out, repeats in self._calls:
                for _ in range(repeats):
                    torch.mm(a, b, out=out)
        return 0.0


def session(variant: str, config: Config, inputs: Inputs) -> _Session:
    """Return a session, which can only take steps."""
    return _Session(config)


def note(variant: str, model: str) -> str:
    """Say what is not there."""
    return "no neurons and no optimizer, so a limit and no network"
