"""Trained networks that come with the package: weights as safetensors, and a card that says what they are."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import Tensor, nn

from sequential_fmnist.files import sha256
from sequential_fmnist.networks import NETWORKS, NetworkSpec, build
from sequential_fmnist.sources import EMBEDDED_FOLDER

__all__ = ["CARDS", "PRETRAINED_FOLDER", "PretrainedError", "card_digest", "load"]

PRETRAINED_FOLDER = EMBEDDED_FOLDER / "pretrained"
#: The file of cards, by kind of network, beside the files of weights.
CARDS = "cards.json"

_FIX = "Install snn_core again, or make them again with `python -m experiments.ship`."

Card = dict[str, Any]


class PretrainedError(ValueError):
    """Weights or their card are missing, damaged, or do not fit each other."""


def card_digest(card: Card) -> str:
    """Return the SHA-256 of all that a card says; it is kept beside the rest of it as ``card_sha256``."""
    said = {name: value for name, value in card.items() if name != "card_sha256"}
    return sha256(json.dumps(said, sort_keys=True).encode())


def load(kind: str, folder: str | os.PathLike[str] = PRETRAINED_FOLDER) -> tuple[nn.Module, Card]:
    """Return a trained network in evaluation mode, and its card. Nothing is executed from the files.

    The network maps images ``[N, 1, 28, 28]`` in [0, 1] to outputs ``[N, 10]``, of which the largest names the class;
    call :func:`~snn_core.functional.reset_net` after each batch.

    Args:
        kind: ``"plain"``, ``"stateful-synapse"`` or ``"feedback"``.
        folder: where the cards and the weights are.

    Returns:
        The network, and a dict of ``spec`` (fields of :class:`~sequential_fmnist.networks.NetworkSpec`), ``training``,
        ``parameters``, ``accuracy``, ``data``, ``versions``, ``licence``, ``intended_use``, ``limits``, and the
        ``file`` of the weights with its ``sha256``, and ``card_sha256`` of the rest, see :func:`card_digest`.

    Raises:
        PretrainedError: a file is missing, its SHA-256 is not the card's, it does not fit the card, holds numbers
            that are not finite, or the card is not that of a ``kind`` network or names a file elsewhere.
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
        tensors, spec = read_tensors(content), NetworkSpec(**card["spec"])
        _check_tensors(tensors, spec)
        with torch.random.fork_rng(devices=[]):  # initial weights that are replaced leave no trace
            net = build(spec)
        for name, tensor in net.state_dict().items():
            if name in tensors and tensors[name].dtype != tensor.dtype:
                raise TypeError(f"{name} has dtype {tensors[name].dtype}, the network has {tensor.dtype}")
        net.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())  # torch takes several lines
        raise PretrainedError(
            f"weights {path} do not fit the network on their card: {reason}. {_FIX}"
        ) from error
    return net.eval(), card


def _check_tensors(tensors: dict[str, Tensor], spec: NetworkSpec) -> None:
    """Raise ValueError for weights that are not finite, or of another size: before a card's size takes memory."""
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} has numbers that are not finite")
    last = tensors.get("fc2.weight")  # which every kind of network has
    if last is not None and (last.dim() != 2 or last.shape[1] != spec.hidden):
        raise ValueError(f"size mismatch: fc2.weight has shape {list(last.shape)}, hidden is {spec.hidden}")


def _card(kind: str, folder: Path) -> Card:
    path = folder / CARDS
    try:
        cards = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PretrainedError(f"cards {path} cannot be read: {error.strerror}. {_FIX}") from error
    except (ValueError, RecursionError) as error:
        raise PretrainedError(f"cards {path} are damaged: {error}. {_FIX}") from error
    card = cards.get(kind, {}) if isinstance(cards, dict) else {}
    if not isinstance(card, dict) or (missing := {"file", "sha256", "spec"} - card.keys()):
        lacks = "dict" if not isinstance(card, dict) else ", ".join(sorted(missing))
        raise PretrainedError(f"cards {path} have no {lacks} for {kind}. {_FIX}")
    if card.get("card_sha256", card_digest(card)) != card_digest(card):
        raise PretrainedError(
            f"cards {path} are damaged: the SHA-256 of the card of {kind} does not match. {_FIX}"
        )
    # A file of the folder itself: a card must not make this read what it likes.
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.safetensors", str(card["file"])):
        raise PretrainedError(
            f"cards {path} name {card['file']!r:.80} for {kind}: the file must be a plain name.safetensors beside "
            f"them. {_FIX}"
        )
    spec = card["spec"]
    if not isinstance(spec, dict) or spec.get("kind", "plain") != kind:
        raise PretrainedError(f"cards {path} describe another network than {kind} for {kind}. {_FIX}")
    for name, value in spec.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise PretrainedError(f"cards {path} have {name}={value} for {kind}, which is not finite. {_FIX}")
    return card
