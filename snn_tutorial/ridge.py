"""Linear readers: how much some features tell about a class, by ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = ["ColumnReaders", "LinearReaders"]


class LinearReaders:
    r"""Ridge regressions of the class on parts of the same features, all from one covariance.

    With features :math:`x`, one-hot classes :math:`y`, and their means :math:`\bar x, \bar y` over the n training
    samples,

    .. math::
        \Sigma = \frac1n \sum (x - \bar x)(x - \bar x)^\top, \qquad C = \frac1n \sum (x - \bar x)(y - \bar y)^\top.

    A reader that sees :math:`P^\top x` gives each class a score and answers with the class of the highest one:

    .. math::
        \hat y = \bar y + V^\top (x - \bar x), \qquad V = P\,(P^\top \Sigma P + \lambda I)^{-1} P^\top C.

    Args:
        features: training samples, floating point ``[n, F]``.
        labels: their classes, int64 ``[n]``.
        penalty: lambda, in units of the features' variance; above zero.
        classes: number of classes.
        overwrite: whether ``features`` may be changed, which saves the memory of a copy.

    Attributes:
        covariance: Sigma, float64 ``[F, F]``.
        cross: C, float64 ``[F, classes]``.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        penalty: float = 1e-3,
        classes: int = 10,
        overwrite: bool = False,
    ) -> None:
        self.penalty = penalty
        targets = one_hot(labels, classes).to(features.dtype)
        self._mean_x, self._mean_y = features.mean(0), targets.mean(0)
        x = features.sub_(self._mean_x) if overwrite else features - self._mean_x
        y = targets - self._mean_y
        self.covariance = (x.T @ x).double() / len(x)
        self.cross = (x.T @ y).double() / len(x)

    def weights(self, seen: Tensor) -> Tensor:
        """Return V ``[F, classes]`` of the reader that sees ``x @ seen``, where ``seen`` is P ``[F, K]``."""
        p = seen.double()
        eye = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
        w = torch.linalg.solve(p.T @ self.covariance @ p + self.penalty * eye, p.T @ self.cross)
        return (p @ w).to(self._mean_x.dtype)

    def scores(self, weights: Tensor, features: Tensor) -> Tensor:
        """Return what the reader with these ``weights`` gives each class, ``[n, classes]``."""
        return self._mean_y + (features - self._mean_x) @ weights

    def accuracy(self, weights: Tensor, features: Tensor, labels: Tensor) -> float:
        """Return the share of samples ``[n, F]`` for which the reader with these ``weights`` names the right class."""
        return (self.scores(weights, features).argmax(1) == labels).float().mean().item()


class ColumnReaders(LinearReaders):
    """Linear readers of pictures that arrive column by column, each of which sees some of the columns.

    Args:
        pixels: training samples, floating point ``[n, T * F]``, column after column.
        labels: their classes, int64 ``[n]``.
        steps: number of columns T.
        options: ``penalty``, ``classes`` and ``overwrite`` of :class:`LinearReaders`.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, steps: int = 28, **options: Any) -> None:
        super().__init__(pixels, labels, **options)
        self._columns = torch.eye(steps)
        self._rows = torch.eye(pixels.shape[1] // steps)

    def mixed(self, factors: Tensor) -> Tensor:
        """Return the weights of the reader that sees K sums of all columns, weighted with ``factors`` ``[T, K]``."""
        return self.weights(torch.kron(factors, self._rows))

    def apart(self, columns: Sequence[int]) -> Tensor:
        """Return the weights of the reader that sees these columns, each by itself."""
        return self.mixed(self._columns[:, list(columns)])

    def added(self, columns: Sequence[int]) -> Tensor:
        """Return the weights of the reader that sees the sum of these columns."""
        return self.mixed(self._columns[:, list(columns)].sum(1, keepdim=True))
