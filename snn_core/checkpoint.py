"""Checkpoints that are whole, safe to load, and enough to go on bit by bit."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_core.files import atomic_write, sha256

__all__ = ["CheckpointError", "load_checkpoint", "restore_rng", "rng_state", "save_checkpoint"]

DIGEST_BYTES = 64


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or does not belong to this run."""


def save_checkpoint(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` atomically, with a SHA-256 over every byte of it.

    The file is an ordinary ``torch.save`` file, readable by ``torch.load(path, weights_only=True)``: the digest is
    its zip comment, the last 64 bytes.

    Args:
        path: file to write or replace.
        content: tensors, numbers, strings, None, and lists, tuples and dicts of them.

    Raises:
        OSError: the file cannot be written; an older file at ``path`` stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    # A zip file ends with the length of its comment, 0 here, and the comment.
    body = buffer.getvalue()[:-2] + DIGEST_BYTES.to_bytes(2, "little")
    with atomic_write(path) as file:
        file.write(body + sha256(body).encode())


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that :func:`save_checkpoint` wrote. Nothing in it is executed.

    Raises:
        CheckpointError: no such file, or its digest does not match.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} does not exist or is not a file: a run has none before its first epoch has ended; "
            "start anew without --resume"
        )
    data = path.read_bytes()
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if sha256(body).encode() != digest:
        raise CheckpointError(
            f"checkpoint {path} is damaged or was not written by snn_core: its SHA-256 does not match; "
            "resume from another checkpoint, or start anew without --resume"
        )
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def rng_state() -> dict[str, Any]:
    """Return the state of Python's, NumPy's and torch's random number generators as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        # weights_only refuses NumPy arrays, so the key travels as a tensor.
        "numpy": (str(kind), torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "python": (version, list(internal), gauss),
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set all random number generators to what :func:`rng_state` returned."""
    torch.set_rng_state(state["torch"])
    cuda: list[Tensor] = state["cuda"]
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(cuda)
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
