"""Checkpoints: whole or not there at all, safe to load, and enough to resume a run bit for bit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import distributed

__all__ = ["CheckpointError", "WriteError", "atomic_write", "load", "save", "set_seed", "sha256", "writing"]


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or does not belong to this run."""


class WriteError(OSError):
    """A file could not be written: the disk is full, the folder read-only. What was there before is still there."""

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into a :class:`WriteError`, which names ``path``."""
    try:
        yield
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), os.fspath(path)) from error


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path``, in a folder that is made if it is missing, once it is complete.

    Raises:
        WriteError: it cannot be written; an older file at ``path`` stays as it was.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def save(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write tensors, plain values, and lists, tuples and dicts of them; raises :class:`WriteError`."""
    buffer = io.BytesIO()  # torch would turn a full disk into an error of its own
    torch.save(content, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint. Nothing in it is executed.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds more than tensors and plain values.
    """
    try:
        data = Path(path).read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if damaged := archive.testzip():  # torch does not compare the checksums
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, not a dict")
    except Exception as error:  # a damaged or forged file can cause any kind
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise CheckpointError(f"checkpoint {path} cannot be used: {reason}") from error
    return content


def is_first_process() -> bool:
    """Say whether this process is the only one, or the one of torchrun's that writes and reports."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first of torchrun's processes go through the block before the others."""
    if not is_first_process():
        distributed.barrier()
    try:
        yield
    finally:
        if is_first_process() and distributed.is_initialized():
            distributed.barrier()


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random number generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Return the state of Python's, NumPy's and torch's random number generators as tensors and plain values."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, keys.tolist(), *rest),  # weights_only refuses arrays
        "python": random.getstate(),
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set all random number generators to what :func:`rng_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])


def begin(folder: Path, parts: list[dict[str, Any]], epoch: int, is_resumed: bool, tensorboard: bool) -> Any:
    """Make the folder of a run, in which an earlier one is replaced; return a writer for TensorBoard, or None.

    ``parts`` are the options of the run's parts, ``epoch`` is the one that begins, counted from 0.

    Raises:
        WriteError: it cannot be written.
    """
    with writing(folder):
        if not is_resumed:
            (folder / "latest.pt").unlink(missing_ok=True)  # of an earlier run
    with atomic_write(folder / "config.json") as file:
        file.write(json.dumps(parts, indent=1).encode())
    if not tensorboard:
        return None
    from torch.utils.tensorboard import SummaryWriter

    with writing(folder / "tb"):  # events from here on, of an earlier run or a killed one, count no more
        return SummaryWriter(str(folder / "tb"), purge_step=epoch)


def keep(folder: Path, state: dict[str, Any], writer: Any) -> None:
    """Save an epoch, latest.pt last: a run that is killed at any moment resumes, and makes the other files again.

    ``state`` is all that is needed to resume, with a ``history``.
    """
    history = state["history"]
    *earlier, last = (record.get("test_accuracy", -1.0) for record in history)
    if last > max(earlier, default=-1.0):
        save(folder / "best.pt", state)
    with atomic_write(folder / "metrics.jsonl") as file:
        file.writelines(f"{json.dumps(one)}\n".encode() for one in history)
    if writer:
        record = history[-1]
        with writing(folder / "tb"):
            for name in record.keys() - {"epoch"}:
                writer.add_scalar(name, record[name], record["epoch"])
            writer.flush()
    save(folder / "latest.pt", state)
