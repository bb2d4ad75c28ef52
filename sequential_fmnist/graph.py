"""A training step as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["GraphedStep"]

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class GraphedStep:
    """Starts all kernels of a training step with one call, where starting each of them would take longer than its work.

    Capturing runs nothing. The step must have run once before, since first runs compile kernels and make buffers, and
    what it reads as Python's numbers, such as the learning rate, stays what it was.

    Args:
        step: (images, labels) -> (loss, firing rates), forward, backward and the optimizer's part.
        images: a batch on the card, for its shape and dtype.
        labels: its labels.
    """

    def __init__(self, step: Step, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._rate = step(self._images, self._labels)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take the step with a batch of the same shape; return its loss and firing rates."""
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.detach().clone(), self._rate.detach().clone()
