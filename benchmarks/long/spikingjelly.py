"""SpikingJelly: the same networks of its own layers.

Neurons alone run in its multi-step mode. The recurrent layer and the synapse filter run step by step, but not in its
``MultiStepContainer``: that one indexes the sequence in each step, the gradient of which is a whole sequence of zeros,
so backward takes time that grows with T squared, here many times the rest. The loop below unbinds the sequence once.
The last layer sees the window only, which saves it most of its work. Loops of small operations can be faster with one
thread, much faster beside other processes: so the faster number of threads is taken.
"""

from __future__ import annotations

import time

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from benchmarks.long import CLASSES, CORES, WINDOW, Inputs, weights_of
from benchmarks.long.torch_run import TorchRun

PACKAGES = ("spikingjelly", "torch", "numpy")
_UNBOUND = "step by step over the unbound sequence, which is faster than in a MultiStepContainer"
NOTES = {"stateful synapse": _UNBOUND, "feedback": _UNBOUND}

#: Time steps that tell which number of threads is faster: with two a whole sequence can take a minute beside others.
TRIAL = 28


def _neurons(step_mode: str) -> neuron.LIFNode:
    # The values of experiments.long.networks.MemorySpec.
    return neuron.LIFNode(
        tau=5.0,
        decay_input=False,
        v_reset=None,
        surrogate_function=surrogate.ATan(2.0),
        detach_reset=True,
        step_mode=step_mode,
    )


class _StepByStep(nn.Module):
    """A module for one time step, over a sequence."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return torch.stack([self.module(x) for x in x_seq.unbind()])


def _memory(kind: str, hidden: int) -> list[nn.Module]:
    if kind == "feedback":
        return [_StepByStep(layer.LinearRecurrentContainer(_neurons("s"), hidden, hidden))]
    if kind == "stateful synapse":
        return [_neurons("m"), _StepByStep(layer.SynapseFilter(learnable=True))]
    return [_neurons("m")]


class Network(nn.Module):
    """One hidden layer between two linear ones, ``[T, N, 1]`` to ``[N, 10]``."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(1, hidden)
        self.memory = nn.Sequential(*_memory(kind, hidden))
        self.fc2 = nn.Linear(hidden, CLASSES)

    def forward(self, x_seq: Tensor) -> Tensor:
        hidden_seq = self.memory(functional.seq_to_ann_forward(x_seq, self.fc1))
        return functional.seq_to_ann_forward(hidden_seq[-WINDOW:], self.fc2).mean(0)


class _Run(TorchRun):
    def tune(self) -> None:
        seconds = {}
        for threads in range(1, CORES + 1):
            self._set_threads(threads)
            seconds[threads] = min(self._trial() for _ in range(2))
        self._set_threads(min(seconds, key=seconds.__getitem__))

    def _trial(self) -> float:
        x_seq, labels = self._first
        started = time.perf_counter()
        self.step(x_seq[-TRIAL:], labels)
        return time.perf_counter() - started

    def _hidden(self, x_seq: Tensor) -> Tensor:
        return self.net.memory[0](functional.seq_to_ann_forward(x_seq, self.net.fc1))


def session(kind: str, batch: int, inputs: Inputs) -> TorchRun:
    """Return a network with its optimizer and batches."""
    hidden = len(weights_of(inputs, kind)["fc1.bias"])
    return _Run(Network(kind, hidden), kind, batch, inputs, functional.reset_net, threads=1)
