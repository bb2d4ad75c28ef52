"""Trained networks that come with the package: weights as safetensors, and a card that says what they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.data import EMBEDDED_FOLDER
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.variants import NetworkSpec
from snn_core.checks import check_choice

__all__ = ["CARDS", "PRETRAINED_FOLDER", "PretrainedError", "load"]

PRETRAINED_FOLDER = EMBEDDED_FOLDER / "pretrained"
CARDS = "cards.json"  # by kind of network, beside the files of weights


class PretrainedError(ValueError):
    """Weights or their card are missing or damaged; `python -m sequential_fmnist.experiments.ship` makes them again."""


def load(kind: str, folder: str | os.PathLike[str] = PRETRAINED_FOLDER) -> tuple[nn.Module, dict[str, Any]]:
    """Return a trained network in evaluation mode, and its card. Nothing is executed from the files.

    The network maps images ``[N, 1, 28, 28]`` in [0, 1] to outputs ``[N, 10]``, of which the largest names the class;
    call :func:`~snn_core.functional.reset_net` after each batch.

    ``folder`` is where the cards and the weights are; ``kind`` is one of
    :data:`~sequential_fmnist.networks.TUTORIAL_NETWORKS`.

    Raises:
        PretrainedError: a file is missing, has another SHA-256 than its card says, or does not fit the network.
        ValueError: no such ``kind``.
    """
    check_choice("kind", kind, TUTORIAL_NETWORKS)
    from safetensors.torch import load as read_tensors

    card, spec = _card(kind, Path(folder))
    path = Path(folder) / f"{kind}.safetensors"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"weights {path} cannot be read: {error.strerror}") from error
    if (actual := sha256(content)) != card["sha256"]:
        raise PretrainedError(f"weights {path} are damaged: expected SHA-256 {card['sha256']}, got {actual}")
    with torch.random.fork_rng(devices=[]):  # initial weights that are replaced leave no trace
        net = spec.build()
    try:
        net.load_state_dict(read_tensors(content))
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise PretrainedError(
            f"weights {path} are those of another network than networks.py has: {why}"
        ) from error
    return net.eval(), card


def _card(kind: str, folder: Path) -> tuple[dict[str, Any], NetworkSpec]:
    path = folder / CARDS
    try:
        card = json.loads(path.read_text("utf-8"))[kind]
        return card, NetworkSpec(**card["spec"])
    except OSError as error:
        raise PretrainedError(f"cards {path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PretrainedError(f"cards {path} have no card of {kind} that can be used: {error}") from error
