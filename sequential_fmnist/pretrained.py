"""Trained networks that come with the package: weights as safetensors, and a card that says what they are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import Tensor, nn

from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.data import EMBEDDED_FOLDER
from sequential_fmnist.networks import NETWORKS, columns_as_sequence, make_network
from snn_core.functional import mean_over_time, scan
from snn_core.spiking import SpikingNeuron
from snn_core.surrogate import ATan, Sigmoid

__all__ = ["CARDS", "PRETRAINED_FOLDER", "PretrainedError", "TrainedNet", "card_digest", "load"]

PRETRAINED_FOLDER = EMBEDDED_FOLDER / "pretrained"
#: The file of cards, by kind of network, beside the files of weights.
CARDS = "cards.json"

_SURROGATES = {"atan": ATan, "sigmoid": Sigmoid}
#: What no shipped network has changed of :class:`experiments.networks.NetworkSpec`.
_FIXED = {"neuron": "if", "soft_reset": False, "tau_mode": "learned", "readout": "membrane", "last": None,
          "batch_norm": False, "standardised": False}  # fmt: skip

Card = dict[str, Any]


class PretrainedError(ValueError):
    """Weights or their card are missing, damaged, or do not fit each other."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message}. Install snn_core again, or make them again with `python -m experiments.ship`."
        )


class TrainedNet(nn.Module):
    """One of the three networks, read out by neurons that integrate and never fire: ``scale`` times their mean input.

    Its parts have the names that they have in the network: ``fc1``, ``sn1``, ``sy1``, ``fc2``.
    """

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.scale = scale
        for name, part in net.named_children():
            if name != "sn2":
                self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * mean_over_time(scan(columns_as_sequence(images), *self.children()))


def card_digest(card: Card) -> str:
    """Return the SHA-256 of all that a card says; it is kept beside the rest of it as ``card_sha256``."""
    said = {name: value for name, value in card.items() if name != "card_sha256"}
    return sha256(json.dumps(said, sort_keys=True).encode())


def load(kind: str, folder: str | os.PathLike[str] = PRETRAINED_FOLDER) -> tuple[TrainedNet, Card]:
    """Return a trained network in evaluation mode, and its card. Nothing is executed from the files.

    The network maps images ``[N, 1, 28, 28]`` in [0, 1] to outputs ``[N, 10]``, of which the largest names the class;
    call :func:`~snn_core.functional.reset_net` after each batch.

    Args:
        kind: ``"plain"``, ``"stateful-synapse"`` or ``"feedback"``.
        folder: where the cards and the weights are.

    Raises:
        PretrainedError: a file is missing, has another SHA-256 than its card says, or does not fit the card.
        ValueError: no such ``kind``.
    """
    if kind not in NETWORKS:
        raise ValueError(f"kind must be one of {', '.join(NETWORKS)}, got {kind!r}")
    card = _card(kind, Path(folder))
    path = Path(folder) / card["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"weights {path} cannot be read: {error.strerror}") from error
    if (found := sha256(content)) != card["sha256"]:
        raise PretrainedError(f"weights {path} are damaged: expected SHA-256 {card['sha256']}, found {found}")
    try:
        tensors = read_tensors(content)
        hidden, *_ = tensors["fc1.bias"].shape  # before a card's size takes memory
        if hidden != card["spec"]["hidden"]:
            raise ValueError(f"fc1 has {hidden} neurons, hidden is {card['spec']['hidden']}")
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("they hold numbers that are not finite")
        with torch.random.fork_rng(devices=[]):  # initial weights that are replaced leave no trace
            net = _build(card["spec"])
        net.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())  # torch takes several lines
        raise PretrainedError(f"weights {path} do not fit the network on their card: {reason}") from error
    return net.eval(), card


def _build(spec: dict[str, Any]) -> TrainedNet:
    """Return the network of a card's ``spec``."""
    if wrong := [name for name, value in _FIXED.items() if spec.get(name, value) != value]:
        raise ValueError(f"{wrong[0]}={spec[wrong[0]]} is none of the options of a shipped network")
    net = make_network(spec["kind"], spec["hidden"])
    for neurons in (part for part in net.modules() if isinstance(part, SpikingNeuron)):
        neurons.surrogate_function = _SURROGATES[spec["surrogate_function"]](spec["alpha"])
        neurons.detach_reset = spec["detach_reset"]
    return TrainedNet(net, spec["scale"])


def _card(kind: str, folder: Path) -> Card:
    path = folder / CARDS
    try:
        card = json.loads(path.read_text("utf-8"))[kind]
        if card_digest(card) != card["card_sha256"]:
            raise ValueError("the SHA-256 of the card does not match")
        # A plain name: a card must not make this read what it likes.
        if not re.fullmatch(r"[A-Za-z0-9_-]+\.safetensors", card["file"]) or card["spec"]["kind"] != kind:
            raise ValueError(f"it names the file {card['file']!r:.80} and a {card['spec']['kind']} network")
    except OSError as error:
        raise PretrainedError(f"cards {path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PretrainedError(f"cards {path} have no card of {kind} that can be used: {error}") from error
    return card
