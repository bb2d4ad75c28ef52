"""Sinabs: IAF and IAFRecurrent with one spike per step, reset to zero and our surrogate, which it takes as a function.

Its sequences are ``[N, T, *]``. Its faster kernels (EXODUS) need a GPU.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from sinabs import activation, layers
from torch import Tensor, nn

from benchmarks.config import COLUMNS, Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import CLASSES, ExactSynapseFilter, TorchSession

PACKAGES = ("sinabs", "torch", "numpy")


def atan(v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
    """Return the gradient of our ATan surrogate with alpha = 2."""
    return 1 / (1 + (math.pi * (v_mem - spike_threshold)).square())


def _options() -> dict[str, object]:
    return {
        "spike_fn": activation.SingleSpike,
        "reset_fn": activation.MembraneReset(),
        "surrogate_grad_fn": atan,
    }


class _Recurrent(layers.IAFRecurrent):
    """IAFRecurrent behind the linear layer that its input passes."""

    def __init__(self, hidden: int) -> None:
        recurrent = nn.Linear(hidden, hidden, bias=False)
        super().__init__(
            nn.Sequential(OrderedDict(rc_y=recurrent)), **_options()
        )  # for the name of its weight
        self.rc_x = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.rc_x(x))


class _BatchFirstFilter(ExactSynapseFilter):
    def forward(self, s_seq: Tensor) -> Tensor:
        return super().forward(s_seq.transpose(0, 1)).transpose(0, 1)


class _Network(nn.Module):
    def __init__(self, model: str, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(COLUMNS, hidden)
        self.sn1 = _Recurrent(hidden) if model == "feedback" else layers.IAF(**_options())
        self.sy1 = _BatchFirstFilter() if model == "stateful-synapse" else nn.Identity()
        self.fc2 = nn.Linear(hidden, CLASSES)
        self.sn2 = layers.IAF(**_options())

    def forward(self, x: Tensor) -> Tensor:
        return self.sn2(self.fc2(self.sy1(self.sn1(self.fc1(x))))).mean(1)


def _forget(net: nn.Module) -> None:
    """Start from zero at any batch size: reset_states keeps the size, and another size picks random old states."""
    for module in (net.sn1, net.sn2):
        module.v_mem = torch.zeros(0)


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    net = _Network(config.model, config.hidden)
    return TorchSession(net, config, inputs, _forget, lambda x: x.transpose(0, 1).contiguous())


def note(variant: str, model: str) -> str:
    """Say which parts are not the library's own."""
    if model == "feedback":
        return "IAFRecurrent (one spike per step, reset to zero); same network"
    filtered = ", synapse filter written in torch" if model == "stateful-synapse" else ""
    return f"IAF (one spike per step, reset to zero){filtered}; same network"
