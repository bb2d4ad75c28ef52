"""How a result is kept: as JSON that a person can read, with where it comes from: commit, versions, processor."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sequential_fmnist.checkpoint import atomic_write, sha256

__all__ = ["provenance", "write_bytes", "write_json"]


def provenance() -> dict[str, Any]:
    """Return commit, versions, processor, cores, threads and accelerator of this process, ready for JSON."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "snn_core": version("snn_core"),
        "torch": str(torch.__version__),  # with its build, as in 2.13.0+cpu, which pip may not know of
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@cache
def _commit() -> str | None:
    """Return the commit of this code, with a "+" where code differs from it; None outside of a repository."""
    folder = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != folder:
            return None  # a repository of somebody else, around an environment
        changed = git("status", "--porcelain", "--", "*.py", "*.cu")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> str:
    """Write ``content`` to ``path``, whole or not at all, and return its SHA-256, by which a record knows it."""
    with atomic_write(path) as file:
        file.write(content)
    return sha256(content)


def write_json(path: str | os.PathLike[str], value: Any, width: int = 120) -> None:
    """Write ``value`` to ``path`` as JSON, whole or not at all.

    What fits on a line of ``width`` characters stands on one, and so do numbers alone; the rest is indented.
    """
    text = _laid_out(json.loads(json.dumps(value, allow_nan=False)), width) + "\n"
    write_bytes(path, text.encode())


def _laid_out(value: Any, width: int, indent: str = "") -> str:
    line, inner = json.dumps(value), indent + " "
    parts = list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    if len(indent + line) <= width or not any(isinstance(part, str | list | dict) for part in parts):
        return line
    parts = [_laid_out(part, width, inner) for part in parts]
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {part}" for name, part in zip(value, parts, strict=True)]
    return line[0] + ",".join(f"\n{inner}{part}" for part in parts) + f"\n{indent}{line[-1]}"
