"""Checkpoints that are whole, safe to load, and enough to resume a run bit for bit."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sequential_fmnist.files import atomic_write, sha256

__all__ = [
    "FORMAT", "CheckpointError", "check_shapes", "load_checkpoint", "restore_rng", "rng_state", "save_checkpoint",
]  # fmt: skip

#: Version of what a checkpoint holds, kept in each file. Raise it when an older snn_core would misread a new file.
FORMAT = 1

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
    torch.save(content | {"format": FORMAT}, buffer)
    # A zip file ends with the length of its comment, 0 here, and the comment.
    body = buffer.getvalue()[:-2] + DIGEST_BYTES.to_bytes(2, "little")
    with atomic_write(path) as file:
        file.write(body + sha256(body).encode())


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, also before there was a :data:`FORMAT`. Nothing in it is executed.

    Raises:
        CheckpointError: no such file, it cannot be read, its digest does not match, it holds more than tensors and
            plain values, or it is of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} does not exist or is not a file (a run has none before its first epoch has ended)"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if sha256(data[:-DIGEST_BYTES]).encode() != data[-DIGEST_BYTES:]:
        raise CheckpointError(
            f"checkpoint {path} is damaged or was not written by snn_core: its SHA-256 does not match"
        )
    try:  # whoever can write a file can also compute its digest
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        version = content.pop("format", 0)
    except Exception as error:  # there is no kind of error that a forged file cannot cause
        raise CheckpointError(
            f"checkpoint {path} was not written by snn_core: it is not a dict of tensors and plain values; nothing "
            "in it was executed"
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {version}, this snn_core reads formats up to {FORMAT}: install a newer "
            "snn_core"
        )
    return content


def check_shapes(value: Mapping[str, Tensor], like: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors of a checkpoint that do not fit those that they are to replace, which torch would load in part.

    Raises:
        CheckpointError: other keys, another shape or dtype; the message names it.
    """
    for key in sorted(value.keys() ^ like.keys()):
        raise CheckpointError(f"{name} has {'no' if key in like else 'an unknown'} {key}")
    for key, want in like.items():
        for what in ("shape", "dtype"):
            if (have := getattr(value[key], what)) != getattr(want, what):
                shown = [list(x) if what == "shape" else x for x in (have, getattr(want, what))]
                raise CheckpointError(f"{name} {key} has {what} {shown[0]}, this run has {shown[1]}")


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
        torch.cuda.set_rng_state_all(cuda[: torch.cuda.device_count()])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
