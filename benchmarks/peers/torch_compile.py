"""What a user with a C++ compiler can do instead: the readable torch loop, compiled by inductor.

The loop is the definition of our own networks, :func:`snn_core.reference.scan` over :mod:`snn_core.cells`,
whose states are values and not attributes of modules. So all steps and the loss are one graph without breaks, and
autograd's part of it another. Compiling it takes most of a minute for 28 steps, and much longer for more: a sequence
of 784 steps is not tried.
"""

from __future__ import annotations

import torch
import torch._inductor.config
from torch import Tensor, nn

from benchmarks.config import Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import SequenceNetwork, TorchSession
from snn_core.cells import IF
from snn_core.reference import linear_feedback, scan
from snn_core.surrogate import ATan

PACKAGES = ("torch", "numpy")


class _Neurons(nn.Module):
    """Integrate-and-fire neurons for a sequence; with ``recurrent`` of them, spikes come back one step later."""

    def __init__(self, recurrent: int = 0) -> None:
        super().__init__()
        self.cell = IF(1.0, 0.0, ATan(), detach_reset=True)
        self.rc = nn.Linear(2 * recurrent, recurrent) if recurrent else None

    def forward(self, x_seq: Tensor) -> Tensor:
        zero = torch.zeros_like(x_seq[0])
        if self.rc is None:
            return scan(self.cell.step, x_seq, (zero,))[0]
        return scan(linear_feedback(self.cell.step, self.rc.weight, self.rc.bias), x_seq, (zero, zero))[0]


class _Session(TorchSession):
    def __init__(self, compiler: str, config: Config, inputs: Inputs) -> None:
        super().__init__(SequenceNetwork(_Neurons, config.model, config.hidden), config, inputs)
        torch._inductor.config.compile_threads = 1  # there is one large graph, and no process stays behind
        self._loss = torch.compile(self._loss, backend=compiler, fullgraph=True, dynamic=False)


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session with the compiler ``variant``, one of torch's backends."""
    return _Session(variant, config, inputs)


def note(variant: str, model: str) -> str:
    """Say how it is compiled."""
    return f"{variant}, all steps and the loss in one graph without breaks; same network"
