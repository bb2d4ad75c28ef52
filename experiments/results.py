"""How a result is kept: as JSON that a person can read, with where it comes from: versions, processor, settings."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sequential_fmnist.checkpoint import atomic_write, sha256, writing

__all__ = ["Store", "provenance", "write_json"]


def provenance() -> dict[str, Any]:
    """Return versions, processor, cores, threads and accelerator of this process, ready for JSON."""
    return {
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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class Store:
    """Results as JSON lines, one for each run; a line cut off by a kill or a full disk is dropped when it is read.

    Provenance is the same for many runs. It stands on a line of its own, under a digest that its runs name.

    Args:
        path: the file; made with its folder when the first result comes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._places: set[str] = set()  # digests of provenances that are in the file for sure

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the results by the keys of their specs, each with its provenance."""
        lines = self._lines()
        places = _places(lines)
        found = {line["key"]: line for line in lines if "key" in line}
        for record in found.values():
            if "provenance" in record:
                record["provenance"] = places.get(record["provenance"], {})
        return found

    def add(self, record: dict[str, Any]) -> None:
        """Append one result and see it to the disk.

        Raises:
            WriteError: it cannot be written; the results before it stay.
        """
        lines = [record]
        if "provenance" in record:
            where = record["provenance"]
            digest = sha256(json.dumps(where, sort_keys=True).encode())[:8]
            lines = [record | {"provenance": digest}]
            if digest not in self._places and digest not in _places(self._lines()):
                lines.insert(0, {"provenance": {digest: where}})
        text = b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                torn = file.read(1) not in (b"", b"\n")
                file.write(b"\n" + text if torn else text)
                file.flush()
                os.fsync(file.fileno())
        if "provenance" in record:
            self._places.add(lines[-1]["provenance"])

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found


def _places(lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return every provenance on a line of its own by its digest."""
    return {name: where for line in lines if "key" not in line for name, where in line["provenance"].items()}


def write_json(path: str | os.PathLike[str], value: Any, width: int = 120) -> None:
    """Write ``value`` to ``path`` as JSON, whole or not at all.

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
