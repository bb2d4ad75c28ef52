"""Weights of SpikingJelly's networks for sequential Fashion-MNIST, here and back.

SpikingJelly 2.0 (``spikingjelly.activation_based.examples.rsnn_sequential_fmnist``) keeps the parts of a network in one
``nn.Sequential`` named ``fc``; the text of its tutorial names them ``fc1``, ``sn1``, ``sy1``, ``fc2``, as we do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sequential_fmnist import checkpoint
from sequential_fmnist.networks import NETWORKS, TUTORIAL_NETWORKS, make_network
from snn_exchange.common import ExchangeError

__all__ = ["from_spikingjelly", "to_spikingjelly"]

#: SpikingJelly 2.0's names of the weights, by network, in the order of ours.
NAMES: dict[str, list[str]] = {
    "plain": ["fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"],
    "stateful-synapse": ["fc.0.weight", "fc.0.bias", "fc.2.w", "fc.3.weight", "fc.3.bias"],
    "feedback": ["fc.0.weight", "fc.0.bias", "fc.1.rc.weight", "fc.1.rc.bias", "fc.2.weight", "fc.2.bias"],
}


def from_spikingjelly(source: Mapping[str, Any] | str | os.PathLike[str]) -> nn.Module:
    """Return our network with the weights of SpikingJelly's PlainNet, StatefulSynapseNet or FeedBackNet.

    Args:
        source: a state dict, a checkpoint that holds one as ``"net"``, or a file of either, from which nothing is
            executed. The names in it tell which network it is, those of SpikingJelly 2.0 and those of its tutorial's
            text alike.

    Raises:
        CheckpointError: the file is missing or damaged.
        ExchangeError: names or shapes are those of no such network.
    """
    state = source if isinstance(source, Mapping) else checkpoint.load(source)
    state = state["net"] if isinstance(state.get("net"), Mapping) else state
    for model, theirs in NAMES.items():
        ours = list(make_network(model).state_dict())
        names = next((names for names in (theirs, ours) if state.keys() == set(names)), None)
        if names is None:
            continue
        weights = {our: state[name] for our, name in zip(ours, names, strict=True)}
        try:
            net = make_network(model, hidden=len(weights["fc1.weight"])).to(weights["fc1.weight"].dtype)
            net.load_state_dict(weights)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ExchangeError(f"these are no weights of a {model} network: {why}") from error
        return net
    raise ExchangeError(
        "these are the weights of none of SpikingJelly's PlainNet, StatefulSynapseNet and FeedBackNet: they have "
        f"{', '.join(map(repr, NAMES['feedback']))} or similar, got {', '.join(map(repr, state)) or 'nothing'}"
    )


def to_spikingjelly(net: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of SpikingJelly 2.0's network with the weights of ``net``.

    Args:
        net: a ``PlainNet``, ``StatefulSynapseNet`` or ``FeedBackNet``; SpikingJelly's have 32 hidden neurons.

    Raises:
        ExchangeError: ``net`` is another one.
    """
    for model in TUTORIAL_NETWORKS:
        if type(net) is NETWORKS[model]:
            tensors = net.state_dict().values()
            return {name: tensor.clone() for name, tensor in zip(NAMES[model], tensors, strict=True)}
    allowed = ", ".join(NETWORKS[model].__name__ for model in TUTORIAL_NETWORKS)
    raise ExchangeError(f"net must be one of {allowed}, got a {type(net).__name__}")
