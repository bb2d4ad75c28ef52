"""Where a number comes from: versions, processor and settings, to be stored beside every result."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["provenance"]

PACKAGES = ("numpy",)


def provenance() -> dict[str, Any]:
    """Return versions, processor, cores, threads and accelerator of this process, ready for JSON."""
    return {
        "python": platform.python_version(),
        "snn_core": version("snn_core"),
        "torch": str(torch.__version__),  # with its build, as in 2.13.0+cpu, which pip may not know of
        **{package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
