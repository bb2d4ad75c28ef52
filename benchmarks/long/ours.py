"""snn_core: the networks and the training step of :mod:`experiments.long`, as they are."""

from __future__ import annotations

from torch import Tensor

from benchmarks.long import CLASSES, CLIP, WINDOW, Inputs
from benchmarks.long.torch_run import TorchRun
from experiments.long.grid import SIZES
from experiments.long.networks import MemoryNet, MemorySpec, hidden_for
from experiments.long.runs import take_step
from experiments.long.tasks import Batch, Pixels

PACKAGES = ("snn-core", "torch", "numba", "numpy")
NOTES: dict[str, str] = {}

#: For the last layer's initial weights. Currents of a synapse that forgets slowly add up to much more than spikes, and
#: with this factor all three networks begin with about the loss of a guess.
READOUT_GAIN = 0.01


def network(kind: str) -> MemoryNet:
    """Return a network of at most as many parameters as the text's feedback network."""
    spec = MemorySpec(kind, hidden_for(kind, 1, CLASSES, SIZES[0]), readout_gain=READOUT_GAIN)
    return MemoryNet(spec, 1, CLASSES, WINDOW)


class _Run(TorchRun):
    net: MemoryNet

    def step(self, x_seq: Tensor, labels: Tensor) -> Tensor:
        return take_step(self.net, Pixels(), Batch(x_seq, labels), self.optimizer, CLIP)

    def _hidden(self, x_seq: Tensor) -> Tensor:
        return self.net.spikes(x_seq)


def session(kind: str, batch: int, inputs: Inputs) -> TorchRun:
    """Return a network with its optimizer and batches."""
    return _Run(network(kind), kind, batch, inputs)
