"""Weights of SpikingJelly's networks for sequential Fashion-MNIST, here and back.

SpikingJelly 2.0 (``spikingjelly.activation_based.examples.rsnn_sequential_fmnist``) keeps the parts of a network in one
``nn.Sequential`` named ``fc``; the text of its tutorial names them ``fc1``, ``sn1``, ``sy1``, ``fc2``, as we do.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_exchange.common import ExchangeError, first_line

__all__ = ["from_spikingjelly", "to_spikingjelly"]

#: Our names of the weights and SpikingJelly 2.0's, by network.
NAMES: dict[str, dict[str, str]] = {
    "plain": {"fc1": "fc.0", "fc2": "fc.2"},
    "stateful-synapse": {"fc1": "fc.0", "sy1.0": "fc.2", "fc2": "fc.3"},
    "feedback": {"fc1": "fc.0", "sn1.0.rc": "fc.1.rc", "fc2": "fc.2"},
}


def _keys(model: str) -> dict[str, str]:
    """Return our names of the weights and theirs."""
    keys: dict[str, str] = {}
    for ours, theirs in NAMES[model].items():
        for what in ("w",) if ours == "sy1.0" else ("weight", "bias"):
            keys[f"{ours}.{what}"] = f"{theirs}.{what}"
    return keys


def from_spikingjelly(source: Mapping[str, Any] | str | os.PathLike[str], backend: str = "auto") -> nn.Module:
    """Return our network with the weights of SpikingJelly's PlainNet, StatefulSynapseNet or FeedBackNet.

    Args:
        source: a state dict, a checkpoint that holds one as ``"net"``, or a file of either, which is read with
            ``torch.load(weights_only=True)``: nothing is executed from it. The names in it tell which network it is,
            those of SpikingJelly 2.0 and those of its tutorial's text alike.
        backend: how our network runs, one of :data:`snn_core.kernels.BACKENDS`.

    Raises:
        ExchangeError: the file is damaged, names or shapes are those of no such network, or a number is not finite.
        OSError: the file cannot be read.
    """
    state = source if isinstance(source, Mapping) else _load(Path(source))
    state = state["net"] if isinstance(state.get("net"), Mapping) else state
    model, keys = _recognise(state)
    weights = {ours: state[theirs] for ours, theirs in keys.items()}
    for ours, theirs in keys.items():
        if not isinstance(weights[ours], Tensor) or not weights[ours].is_floating_point():
            raise ExchangeError(f"{theirs} must be a tensor of floating-point numbers")
        if not weights[ours].isfinite().all():
            raise ExchangeError(f"{theirs} holds NaN or infinity")
    first = weights["fc1.weight"]
    with torch.random.fork_rng(devices=[]):  # initial weights that are replaced leave no trace
        net = make_network(model, hidden=first.shape[0] if first.dim() else 1, backend=backend).to(
            first.dtype
        )
    for ours, tensor in net.state_dict().items():
        if weights[ours].shape != tensor.shape:
            raise ExchangeError(
                f"{keys[ours]} must have shape {list(tensor.shape)}, got {list(weights[ours].shape)}"
            )
    net.load_state_dict(weights)
    return net


def to_spikingjelly(net: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of SpikingJelly 2.0's network with the weights of ``net``.

    Args:
        net: a ``PlainNet``, ``StatefulSynapseNet`` or ``FeedBackNet``; SpikingJelly's have 32 hidden neurons.

    Raises:
        ExchangeError: ``net`` is another one.
    """
    models = {kind: model for model, kind in NETWORKS.items()}
    if type(net) not in models:
        allowed = ", ".join(kind.__name__ for kind in NETWORKS.values())
        raise ExchangeError(f"net must be one of {allowed}, got a {type(net).__name__}")
    keys = _keys(models[type(net)])
    return {keys[ours]: tensor.detach().clone() for ours, tensor in net.state_dict().items()}


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ExchangeError(f"{path}: not a file of weights, or damaged: {first_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ExchangeError(f"{path}: must hold a state dict, got a {type(content).__name__}")
    return content


def _recognise(state: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the network that has these names, and our names with those in ``state``."""
    for model in NAMES:
        keys = _keys(model)
        for named in (keys, {ours: ours for ours in keys}):
            if set(named.values()) == state.keys():
                return model, named
    raise ExchangeError(
        "these are the weights of none of SpikingJelly's PlainNet, StatefulSynapseNet and FeedBackNet: they have "
        f"{', '.join(map(repr, _keys('feedback').values()))} or similar, got {', '.join(map(repr, state)) or 'nothing'}"
    )
