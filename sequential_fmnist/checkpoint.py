"""Checkpoints: whole or not there at all, safe to load, and enough to resume a run bit for bit."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch import distributed

if TYPE_CHECKING:
    from sequential_fmnist.train import Trainer

__all__ = ["CheckpointError", "WriteError", "atomic_write", "load", "save", "set_seed", "sha256", "writing"]

#: What may differ from the checkpoint's when a run is resumed: how long it trains, and on what.
FREE = ("epochs", "device", "workers")


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


def resume(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Set ``trainer`` to what :func:`keep` saved; the schedule follows from options and epoch.

    Raises:
        CheckpointError: it belongs to a run with other options, but for :data:`FREE`, or lacks something.
    """
    state, own = load(path), trainer.told
    try:
        # An option that is younger than the checkpoint had its default.
        before = dataclasses.asdict(type(trainer.config)()) | state["config"]
        for name, value in own.items():
            if before[name] != value and name not in FREE:
                raise ValueError(f"it was made with {name}={before[name]}, not {name}={value}")
        if state["epoch"] >= trainer.config.epochs:
            raise ValueError(f"it has {state['epoch']} epochs already, and epochs={trainer.config.epochs}")
        trainer.net.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty where the run used none
            trainer.scaler.load_state_dict(state["scaler"])
        trainer.generator.set_state(state["sampler"])
        trainer.epoch, trainer.history, trainer.options = state["epoch"], state["history"], state["options"]
        if before != own:
            trainer.options = [*trainer.options, {"from_epoch": trainer.epoch} | own]
        trainer.scheduler = trainer.schedule()
        restore_rng(state["rng"])
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CheckpointError(f"this run cannot resume from the checkpoint: {what}") from error


def begin(folder: Path, trainer: Trainer, is_resumed: bool, tensorboard: bool) -> Any:
    """Make the folder of a run, in which an earlier one is replaced; return a writer for TensorBoard, or None.

    Raises:
        WriteError: it cannot be written.
    """
    with writing(folder):
        if not is_resumed:
            (folder / "latest.pt").unlink(missing_ok=True)  # of an earlier run
    with atomic_write(folder / "config.json") as file:
        file.write(json.dumps(trainer.options, indent=1).encode())
    if not tensorboard:
        return None
    from torch.utils.tensorboard import SummaryWriter

    with writing(folder / "tb"):  # events from here on, of an earlier run or a killed one, count no more
        return SummaryWriter(str(folder / "tb"), purge_step=trainer.epoch)


def keep(folder: Path, trainer: Trainer, writer: Any) -> None:
    """Save an epoch, latest.pt last: a run that is killed at any moment resumes, and makes the other files again."""
    state = {
        "config": trainer.told,
        "options": trainer.options,
        "epoch": trainer.epoch,
        "history": trainer.history,
        "model": trainer.net.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "sampler": trainer.generator.get_state(),
        "rng": rng_state(),
    }
    *earlier, last = (record.get("test_accuracy", -1.0) for record in trainer.history)
    if last > max(earlier, default=-1.0):
        save(folder / "best.pt", state)
    with atomic_write(folder / "metrics.jsonl") as file:
        file.writelines(f"{json.dumps(one)}\n".encode() for one in trainer.history)
    if writer:
        record = trainer.history[-1]
        with writing(folder / "tb"):
            for name in record.keys() - {"epoch"}:
                writer.add_scalar(name, record[name], record["epoch"])
            writer.flush()
    save(folder / "latest.pt", state)
