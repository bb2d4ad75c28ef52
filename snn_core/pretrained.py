"""Trained networks that come with the package: weights as safetensors, and a card that says what they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import nn

from snn_core.files import sha256
from snn_core.network import NETWORKS
from snn_core.sources import EMBEDDED_FOLDER
from snn_core.variants import NetworkSpec, build

__all__ = ["CARDS", "PRETRAINED_FOLDER", "PretrainedError", "load"]

PRETRAINED_FOLDER = EMBEDDED_FOLDER / "pretrained"
#: The file of cards, by kind of network, beside the files of weights.
CARDS = "cards.json"

_FIX = "Install snn_core again, or make them again with `python -m experiments.ship`."

Card = dict[str, Any]


class PretrainedError(ValueError):
    """Weights or their card are missing, damaged, or do not fit each other."""


def load(kind: str, folder: str | os.PathLike[str] = PRETRAINED_FOLDER) -> tuple[nn.Module, Card]:
    """Return a trained network in evaluation mode, and its card. Nothing is executed from the files.

    The network maps images ``[N, 1, 28, 28]`` in [0, 1] to outputs ``[N, 10]``, of which the largest names the class;
    call :func:`~snn_core.functional.reset_net` after each batch.

    Args:
        kind: ``"plain"``, ``"stateful-synapse"`` or ``"feedback"``.
        folder: where the cards and the weights are.

    Returns:
        The network, and a dict of ``spec`` (fields of :class:`~snn_core.variants.NetworkSpec`), ``training``,
        ``parameters``, ``accuracy``, ``data``, ``versions``, ``licence``, ``intended_use``, ``limits``, and the
        ``file`` of the weights with its ``sha256``.

    Raises:
        PretrainedError: a file is missing, its SHA-256 is not the card's, or it does not fit the card.
        ValueError: no such ``kind``.
    """
    if kind not in NETWORKS:
        raise ValueError(f"kind must be one of {', '.join(NETWORKS)}, got {kind!r}")
    folder = Path(folder)
    card = _card(kind, folder)
    path = folder / card["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"weights {path} cannot be read: {error.strerror}. {_FIX}") from error
    if (found := sha256(content)) != card["sha256"]:
        raise PretrainedError(
            f"weights {path} are damaged: expected SHA-256 {card['sha256']}, found {found}. {_FIX}"
        )
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights that are replaced leave no trace
            net = build(NetworkSpec(**card["spec"]))
        net.load_state_dict(read_tensors(content), strict=True)
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise PretrainedError(f"weights {path} do not fit the network on their card: {error}") from error
    return net.eval(), card


def _card(kind: str, folder: Path) -> Card:
    path = folder / CARDS
    try:
        cards = json.loads(path.read_text())
    except OSError as error:
        raise PretrainedError(f"cards {path} cannot be read: {error.strerror}. {_FIX}") from error
    except ValueError as error:
        raise PretrainedError(f"cards {path} are damaged: {error}. {_FIX}") from error
    card = cards.get(kind, {})
    if missing := {"file", "sha256", "spec"} - card.keys():
        raise PretrainedError(f"cards {path} have no {', '.join(sorted(missing))} for {kind}. {_FIX}")
    return card
