"""Files that are whole or absent, and folders that one run holds: atomic writes, SHA-256 digests, locks."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

#: What a reader can do about an error, by its number; anything else: write somewhere else.
_FIXES = {
    errno.ENOSPC: "Free some space on the disk",
    errno.EDQUOT: "Free some of your quota",
    errno.EISDIR: "Remove the folder of that name",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
}


class WriteError(OSError):
    """A file could not be written; the message names it, the reason and what to do. An older one stays as it was."""

    def __str__(self) -> str:
        fix = _FIXES.get(self.errno or 0, "Make its folder one that you may write to")
        return f"cannot write {self.filename}: {self.strerror}. {fix}, or write to another folder"


class InUseError(OSError):
    """Another run holds the folder."""


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any OSError of the block, which writes ``path``, into a :class:`WriteError`, which names the file."""
    try:
        yield
    except (WriteError, InUseError):
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def sha256(data: bytes) -> str:
    """Return the SHA-256 digest of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path`` only once it is complete.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and replace ``path`` in one
    step. If the block raises, ``path`` keeps its old content and the temporary file is removed.

    Raises:
        WriteError: the folder cannot be created or written, or the disk is full.
    """
    with naming(path), _replacing(Path(path)) as file:
        yield file


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkstemp: its files are for their owner only, and to ask for the umask means to change it.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any, width: int = 120) -> None:
    """Write ``value`` to ``path`` as JSON, atomically (see :func:`atomic_write`).

    What fits on a line of ``width`` characters stands on one, and so do numbers alone; the rest is indented.
    """
    text = _laid_out(json.loads(json.dumps(value, allow_nan=False)), width) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def _laid_out(value: Any, width: int, indent: str = "") -> str:
    line, inner = json.dumps(value), indent + " "
    parts = list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    if len(indent + line) <= width or not any(isinstance(part, str | list | dict) for part in parts):
        return line
    parts = [_laid_out(part, width, inner) for part in parts]
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {part}" for name, part in zip(value, parts, strict=True)]
    return line[0] + ",".join(f"\n{inner}{part}" for part in parts) + f"\n{indent}{line[-1]}"


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what killed writes of ``path`` left beside it. Nobody else may be writing ``path`` meanwhile."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def hold(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep every other process and thread out of ``folder``, which is made if it is missing.

    The lock belongs to this process: it ends with the block, or with the process, however that dies. A file
    ``.lock`` stays behind and means nothing by itself.

    Raises:
        InUseError: somebody else holds it; the message says who.
        WriteError: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout  # here, so that whoever only writes files does without it

    folder = Path(folder).resolve()
    # One lock per folder and process, so that a notebook's cell that was interrupted just here does not keep its own
    # next run out.
    lock = FileLock(folder / ".lock", is_singleton=True)
    # The library empties or replaces the lock file on some systems, so who holds it is written elsewhere.
    holder = folder / ".holder"
    try:
        with naming(holder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                who = holder.read_text() if holder.exists() else "another process"
                raise InUseError(
                    f"{folder} is in use by {who}: wait for that run, stop it, or write to another folder"
                ) from None
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        yield
    finally:
        if lock.lock_counter == 1:
            holder.unlink(missing_ok=True)
        lock.release()
