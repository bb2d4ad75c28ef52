"""SpikingJelly: the twins of the parity tests, which give the same spikes and gradients as ours.

Plain neurons run in its multi-step mode, for which version 2 has ops of its own also on the CPU; the recurrent layer
and the synapse filter run in its step-by-step containers, as its documentation shows.
"""

from __future__ import annotations

from spikingjelly.activation_based import functional
from support_networks import spikingjelly_library

from benchmarks.config import Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import TorchSession

PACKAGES = ("spikingjelly", "torch", "numpy")


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    net = spikingjelly_library().network(config.model, config.hidden)
    return TorchSession(net, config, inputs, functional.reset_net, lambda x: x.permute(1, 2, 0).unsqueeze(1))


def note(variant: str, model: str) -> str:
    """Return an empty string: the networks are the same."""
    return ""
