"""Checkpoints that are whole, safe to load, and enough to go on bit by bit."""

from __future__ import annotations

import io
import math
import os
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sequential_fmnist.files import atomic_write, sha256

__all__ = [
    "FORMAT",
    "CheckpointError",
    "check_like",
    "check_optimizer",
    "load_checkpoint",
    "restore_rng",
    "rng_state",
    "save_checkpoint",
]

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
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if sha256(body).encode() != digest:
        raise CheckpointError(
            f"checkpoint {path} is damaged or was not written by snn_core: its SHA-256 does not match"
        )
    # Whoever can write a file can also compute its digest, so that what follows trusts no byte.
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > len(data):  # save_checkpoint does not compress
            raise ValueError(f"{len(data):,} bytes that would become {unpacked:,}")
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        version = content.pop("format", 0)
        newer = version > FORMAT
    except Exception as error:  # there is no kind of error that a made-up file cannot cause
        raise CheckpointError(
            f"checkpoint {path} was not written by snn_core: it is not a dict of tensors and plain values; nothing "
            "in it was executed"
        ) from error
    if newer:
        raise CheckpointError(
            f"checkpoint {path} has format {version}, this snn_core reads formats up to {FORMAT}: install a newer "
            "snn_core"
        )
    return content


def check_like(value: object, like: object, name: str) -> None:
    """Refuse a value from a checkpoint that is not built as the one it replaces.

    Args:
        value: what was loaded.
        like: what a run has there: a tensor, number, string, or a dict, list or tuple of them.
        name: what it is, for the message.

    Raises:
        CheckpointError: another type, other keys, another shape or dtype, or a number that is not finite.
    """
    if isinstance(like, Tensor):
        _check_tensor(value, like, name)
    elif isinstance(like, Mapping):
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{name} must be a dict, got {type(value).__name__}")
        if odd := sorted(map(str, value.keys() ^ like.keys())):
            which = "no" if odd[0] in map(str, like) else "an unknown"
            raise CheckpointError(f"{name} has {which} {odd[0]}")
        for key in like:
            check_like(value[key], like[key], f"{name} {key}")
    elif isinstance(like, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(like):
            raise CheckpointError(f"{name} must hold {len(like)} values")
        for number, (one, other) in enumerate(zip(value, like, strict=True)):
            check_like(one, other, f"{name} {number}")
    elif type(like) in (int, float):
        if type(value) not in (int, float) or not math.isfinite(value):
            raise CheckpointError(f"{name} must be a finite number, got {value!r:.80}")
    elif type(value) is not type(like):
        raise CheckpointError(f"{name} must be a {type(like).__name__}, got a {type(value).__name__}")


def _check_tensor(value: object, like: Tensor, name: str) -> None:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        raise CheckpointError(f"{name} must be a dense tensor, got a {type(value).__name__}")
    for what in ("shape", "dtype"):
        have, want = getattr(value, what), getattr(like, what)
        if have != want:
            if what == "shape":
                have, want = list(have), list(want)
            raise CheckpointError(f"{name} has {what} {have}, this run has {want}")
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise CheckpointError(f"{name} has numbers that are not finite")


def check_optimizer(state: object, optimizer: torch.optim.Optimizer, least: int) -> None:
    """Refuse the state of an optimizer that torch would take without a word and fail with in the first step.

    Args:
        state: what was loaded.
        optimizer: the one, Adam or SGD, that is to go on with it.
        least: number of weights that must have moments, if it keeps any.

    Raises:
        CheckpointError: as :func:`check_like`, or a state of a weight that this optimizer does not have.
    """
    own = optimizer.state_dict()["param_groups"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
        raise CheckpointError("optimizer must be a dict of state and param_groups")
    check_like([None for _ in state["param_groups"]], [None for _ in own], "optimizer param_groups")
    for group, like in zip(state["param_groups"], own, strict=True):
        # Other settings, which are switches, come and go with torch's releases.
        numbers = {key: one for key, one in like.items() if type(one) in (int, float, tuple, list)}
        check_like({key: group[key] for key in numbers if key in group}, numbers, "optimizer")
        if group["params"] != like["params"]:
            raise CheckpointError("optimizer has its weights in another order")
    if isinstance(optimizer, torch.optim.SGD):
        names = {"momentum_buffer"} if own[0]["momentum"] else set()
    else:
        names = {"step", "exp_avg", "exp_avg_sq"}
    for number, moments in state["state"].items():
        if number not in range(len(weights)) or not isinstance(moments, Mapping):
            raise CheckpointError(f"optimizer has a state {number!r} that belongs to none of the weights")
        for name in names:  # else there are none, which some releases of torch keep as None
            like = torch.zeros((), dtype=torch.float32) if name == "step" else weights[number].detach()
            check_like(moments.get(name), like, f"optimizer {number} {name}")
    if names and len(state["state"]) < least:
        raise CheckpointError(f"optimizer has moments of {len(state['state'])} weights, not of {least}")


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
