"""The training loop that all libraries on torch share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.config import COLUMNS, MOMENTUM, Config
from benchmarks.peers import Inputs
from experiments.memory import keep_freed_memory, saved_bytes
from snn_core.cells import Synapse
from snn_core.reference import scan

__all__ = ["ExactSynapseFilter", "TorchSession", "copy_weights"]

CLASSES = 10


class ExactSynapseFilter(nn.Module):
    """Our synapse filter as a plain torch loop over ``[T, N, *]``, for libraries that have none."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, s_seq: Tensor) -> Tensor:
        i_seq, _ = scan(Synapse(self.w.sigmoid()).step, s_seq, (torch.zeros_like(s_seq[0]),))
        return i_seq


class SequenceNetwork(nn.Module):
    """One of the three networks, ``[T, N, 28]`` to rates ``[N, 10]``, of layers that take whole sequences.

    Args:
        neurons: makes a layer of neurons, with a feedback among as many as it is given, which may be none.
        model: name of the network.
        hidden: number of hidden neurons.
    """

    def __init__(self, neurons: Callable[[int], nn.Module], model: str, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(COLUMNS, hidden)
        self.sn1 = neurons(hidden if model == "feedback" else 0)
        self.sy1 = ExactSynapseFilter() if model == "stateful-synapse" else nn.Identity()
        self.fc2 = nn.Linear(hidden, CLASSES)
        self.sn2 = neurons(0)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.sn2(self.fc2(self.sy1(self.sn1(self.fc1(x_seq))))).mean(0)


class TorchSession:
    """Trains ``net`` with SGD on the mean squared error between firing rates and one-hot labels.

    Args:
        net: from what ``layout`` returns to rates ``[N, 10]``; its spiking hidden layer is called ``sn1``. Parameters
            are found by the end of their names: fc1, fc2, rc (or its halves rc_x and rc_y), and w of the filter.
        reset: called after each step, to forget the state.
        layout: from float images ``[T, N, 28]``, contiguous, to the library's input.
    """

    def __init__(
        self,
        net: nn.Module,
        config: Config,
        inputs: Inputs,
        reset: Callable[[nn.Module], object] = lambda net: None,
        layout: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        self.net, self.config, self._reset, self._layout = net, config, reset, layout
        load_weights(net, config, inputs)
        keep_freed_memory()  # as our trainer does; without it page faults would slow all of them down
        self.optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate, momentum=MOMENTUM)
        self.mode = "SGD as it comes"
        # Stored column by column, so that a batch is an index and a transposition.
        self._columns = torch.from_numpy(inputs["images"]).transpose(1, 2).contiguous()
        self._labels = torch.from_numpy(inputs["labels"])
        self._x, self._target = self._batch(torch.arange(config.batch) % len(self._labels))

    def tune(self) -> None:
        """Steps are taken as a user writes them, by torch's SGD as it comes."""

    def _batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        columns = self._columns[index].transpose(0, 1).float() / 255
        repeats = self.config.T // columns.shape[0]
        x = columns.repeat(repeats, 1, 1) if repeats > 1 else columns.contiguous()
        return self._layout(x), self._target_of(self._labels[index])

    def _target_of(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, CLASSES).float()

    def _loss(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(self.net(x), target)

    def _step(self, x: Tensor, target: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self._loss(x, target)
        loss.backward()
        self.optimizer.step()
        self._reset(self.net)
        return loss.detach()

    def steps(self, count: int) -> float:
        for _ in range(count):
            loss = self._step(self._x, self._target)
        return loss.item()

    def epoch(self) -> float:
        total = torch.zeros(())
        for index in torch.randperm(len(self._labels)).split(self.config.batch):
            total += self._step(*self._batch(index)) * len(index)
        return total.item() / len(self._labels)

    @torch.no_grad()
    def firing_rate(self) -> float:
        seen: list[Tensor] = []
        with self.net.sn1.register_forward_hook(lambda _module, _inputs, output: seen.append(output)):
            self.net(self._x)
        self._reset(self.net)
        return seen[0].mean().item()

    def saved_bytes(self) -> int:
        """Return the bytes that autograd keeps from forward for backward: not the input, not the weights."""
        kept = saved_bytes(self.net, self._x, known=[self._x, *self.net.parameters()])
        self._reset(self.net)
        return kept


def load_weights(net: nn.Module, config: Config, inputs: Inputs) -> None:
    """Copy the common initial weights into ``net``.

    Raises:
        KeyError: a parameter of ``net`` has no counterpart among the weights.
    """
    prefix = f"{config.model}/{config.hidden}/"
    copy_weights(net, {name.removeprefix(prefix): inputs[name] for name in inputs if name.startswith(prefix)})


def copy_weights(net: nn.Module, weights: Inputs) -> None:
    """Copy weights into the parameters of ``net`` whose names end with theirs.

    Raises:
        KeyError: a parameter of ``net`` has no counterpart among the weights.
    """
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not parameter.requires_grad:
                continue
            end = next((n for n in weights if name == n or name.endswith("." + n)), None)
            if end is None:
                raise KeyError(f"no initial weights for {name}, only for {', '.join(weights)}")
            parameter.copy_(torch.from_numpy(weights[end]))
