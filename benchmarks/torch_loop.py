"""What the libraries on torch share: the training loop, one layer forward and backward, and a loop over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import CLASSES, COLUMNS, MOMENTUM, Inputs, Layer, Network
from sequential_fmnist.experiments.memory import keep_freed_memory
from snn_core.cells import Synapse
from snn_core.reference import loop as scan

#: Forgets the state of a network.
Reset = Callable[[nn.Module], object]
#: Takes x[t] and the state, gives the output and the state after it; the first state is None.
Cell = Callable[[Tensor, Any], tuple[Any, ...]]


class Training:
    """The loop that a user writes, over one batch: SGD on the squared error between rates and one-hot labels.

    Args:
        net: from what ``layout`` returns to rates ``[N, 10]``. Its parameters are found by the end of their names: fc1,
            fc2, rc (or its halves rc_x and rc_y), and w of the synapse filter.
        network: what is timed.
        inputs: images, labels, and initial weights.
        reset: called after each step, to forget the state.
        layout: from float images ``[T, N, 28]``, contiguous, to the library's input.
    """

    def __init__(
        self,
        net: nn.Module,
        network: Network,
        inputs: Inputs,
        reset: Reset = lambda net: None,
        layout: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        keep_freed_memory()  # as a program that trains does; without it page faults would slow all of them down
        _copy_weights(net, network.weights(inputs))
        self.net, self._reset = net, reset
        self.optimizer = torch.optim.SGD(net.parameters(), lr=network.learning_rate, momentum=MOMENTUM)
        images, self.labels = (torch.from_numpy(inputs[key][: network.batch]) for key in ("images", "labels"))
        columns = images.permute(2, 0, 1).float() / 255
        self.x = layout(columns.repeat(network.T // COLUMNS, 1, 1).contiguous())
        self.target = F.one_hot(self.labels, CLASSES).float()

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(self.net(x), target)

    def steps(self, count: int) -> float:
        """Take ``count`` training steps; return the last loss, from before the last change of weights."""
        for _ in range(count):
            self.optimizer.zero_grad()
            loss = self.loss(self.x, self.target)
            loss.backward()
            self.optimizer.step()
            self._reset(self.net)
        return loss.item()


def _copy_weights(net: nn.Module, weights: Inputs) -> None:
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                end = next((n for n in weights if name == n or name.endswith("." + n)), None)
                if end is None:
                    raise KeyError(f"no initial weights for {name}, only for {', '.join(weights)}")
                parameter.copy_(torch.from_numpy(weights[end]))


class OneLayer:
    """A layer that ``make`` builds with weights from seed 0, its input ``[T, N, H]``, and a gradient to its output.

    Without that gradient its outputs are added up, and no gradient to the input is asked for.
    """

    def __init__(
        self, make: Callable[[int], nn.Module], layer: Layer, reset: Reset = lambda net: None
    ) -> None:
        keep_freed_memory()
        torch.manual_seed(0)
        self.net, self._reset = make(layer.H), reset
        x, gradient = layer.sequences()
        self.x = torch.from_numpy(x).requires_grad_(gradient is not None)
        self._gradient = None if gradient is None else torch.from_numpy(gradient)
        self._leaves = [*([] if gradient is None else [self.x]), *self.net.parameters()]

    def steps(self, count: int) -> float:
        """Take ``count`` forward and backward passes; return the mean output."""
        for _ in range(count):
            for leaf in self._leaves:
                leaf.grad = None
            y = self.net(self.x)
            y.sum().backward() if self._gradient is None else y.backward(self._gradient)
            self._reset(self.net)
        return y.detach().mean().item()

    def gradient_norm(self) -> float:
        """Return the norm of the last gradient to the input or, without that, to the first parameter."""
        return self._leaves[0].grad.norm().item()


class InLoop(nn.Module):
    """A cell of another library in a loop over time; ``feedback`` maps y[t-1] to what is added to x[t]."""

    def __init__(self, cell: Cell, feedback: nn.Module | None = None) -> None:
        super().__init__()
        self.cell, self.feedback = cell, feedback

    def forward(self, x_seq: Tensor) -> Tensor:
        state, outputs = None, []
        for x in x_seq:
            if self.feedback is not None and outputs:
                x = x + self.feedback(outputs[-1])
            y, state = self.cell(x, state)
            outputs.append(y)
        return torch.stack(outputs)


class Fed(nn.Module):
    """A cell with a linear layer for the input, at once for all time steps, and one for the feedback.

    Their first weights are the halves of one layer's, drawn as in ``LinearRecurrentContainer``.
    """

    def __init__(self, cell: Cell, features: int) -> None:
        super().__init__()
        whole = nn.Linear(2 * features, features)
        self.rc_x, self.rc_y = nn.Linear(features, features), nn.Linear(features, features, bias=False)
        with torch.no_grad():
            for half, weight in zip((self.rc_x, self.rc_y), whole.weight.chunk(2, 1), strict=True):
                half.weight.copy_(weight)
            self.rc_x.bias.copy_(whole.bias)
        self.loop = InLoop(cell, self.rc_y)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.loop(self.rc_x(x_seq))


class SynapseFilter(nn.Module):
    """Our synapse filter as a plain loop over ``[T, N, *]``, for libraries that have none."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, s_seq: Tensor) -> Tensor:
        return scan(Synapse(self.w.sigmoid()).step, s_seq, (torch.zeros_like(s_seq[0]),))[0]


class SequenceNetwork(nn.Module):
    """One of the three networks, ``[T, N, 28]`` to rates ``[N, 10]``, of layers that take whole sequences.

    ``neurons`` makes a layer of neurons, with a feedback among as many as it is given, which may be none.
    """

    def __init__(self, neurons: Callable[[int], nn.Module], network: Network) -> None:
        super().__init__()
        self.fc1 = nn.Linear(COLUMNS, network.hidden)
        self.sn1 = neurons(network.hidden if network.model == "feedback" else 0)
        self.sy1 = SynapseFilter() if network.model == "stateful-synapse" else nn.Identity()
        self.fc2 = nn.Linear(network.hidden, CLASSES)
        self.sn2 = neurons(0)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.sn2(self.fc2(self.sy1(self.sn1(self.fc1(x_seq))))).mean(0)
