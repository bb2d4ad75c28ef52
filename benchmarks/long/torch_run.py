"""What the libraries on torch share: batches, optimizer, and the looks at what a network does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.long import CLIP, CORES, LR, Batches, Inputs, weights_of
from benchmarks.peers.torch_session import copy_weights
from experiments.memory import keep_freed_memory

__all__ = ["TorchRun"]


class TorchRun:
    """Trains ``net`` with Adam on the cross-entropy of its outputs ``[N, 10]``, a new batch in each step.

    Args:
        net: takes ``[T, N, 1]``; its hidden neurons are ``net.memory[0]``.
        kind: of the network, whose initial weights are copied from ``inputs``.
        reset: called after each step, to forget the state.
        threads: of torch, until :meth:`tune` chooses.
    """

    def __init__(
        self,
        net: nn.Module,
        kind: str,
        batch: int,
        inputs: Inputs,
        reset: Callable[[nn.Module], object] = lambda net: None,
        threads: int = CORES,
    ) -> None:
        self._set_threads(threads)
        keep_freed_memory()  # else page faults would slow all of them down
        copy_weights(net, weights_of(inputs, kind))
        self.net, self._reset = net, reset
        self.optimizer = torch.optim.Adam(net.parameters(), lr=LR, foreach=True)
        self._batches = Batches(inputs, batch)
        self._first = self._next()

    def _set_threads(self, number: int) -> None:
        self.threads = number
        torch.set_num_threads(number)

    def tune(self) -> None:
        """Choose what is faster, where there is a choice."""

    def _next(self) -> tuple[Tensor, Tensor]:
        x_seq, labels = next(self._batches)
        return torch.from_numpy(x_seq), torch.from_numpy(labels)

    def step(self, x_seq: Tensor, labels: Tensor) -> Tensor:
        """Take one step and return its loss."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(x_seq), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        self._reset(self.net)
        return loss.detach()

    def steps(self, count: int) -> float:
        for _ in range(count):
            loss = self.step(*self._next())
        return loss.item()

    @torch.no_grad()
    def outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs for the first batch, ``[N, 10]``, and its labels."""
        x_seq, labels = self._first
        outputs = self.net(x_seq)
        self._reset(self.net)
        return outputs.numpy(), labels.numpy()

    @torch.no_grad()
    def firing_rate(self) -> float:
        """Return the mean number of spikes of a hidden neuron in a time step, for the first batch."""
        spikes = self._hidden(self._first[0])
        self._reset(self.net)
        return spikes.mean().item()

    def _hidden(self, x_seq: Tensor) -> Tensor:
        """Return the spikes of the hidden neurons, ``[T, N, hidden]``."""
        raise NotImplementedError
