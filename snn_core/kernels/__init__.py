"""The engine: a sequence through stages in one fused scan, on the CPU or on an NVIDIA GPU.

This is its whole interface; it knows no module of a network. :func:`program_of` records the equations of a cell, which
become kernels and their gradients, :class:`Stage` is a cell or a linear layer in a scan, :func:`run` takes a sequence
through stages, and :mod:`steps <snn_core.kernels.cpu.steps>` trains with them. ``README.md`` draws what lies where.

Kernels have no second derivative: ``create_graph=True`` raises RuntimeError, where the loop gives the right one.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

from snn_core.checks import FLOATING, Like
from snn_core.kernels import plan as stages
from snn_core.kernels.autograd import run
from snn_core.kernels.cpu import steps
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.plan import Stage
from snn_core.kernels.record import equations

__all__ = [
    "BACKENDS", "Stage", "check_backend", "equations", "run", "stages", "steps", "why_not", "why_too_large",
]  # fmt: skip

#: Names that ``backend=`` accepts. ``auto`` is the fastest one that can run here, ``torch`` the readable loop,
#: ``cpu`` the fused kernels for the CPU, ``cupy`` those for NVIDIA GPUs.
BACKENDS: tuple[str, ...] = ("auto", "torch", "cpu", "cupy")

_PLACES = {"cpu": ("cpu", "on the CPU"), "cupy": ("cuda", "on an NVIDIA GPU")}

CUPY_IS_INSTALLED = find_spec("cupy") is not None


def check_backend(name: str, backend: str) -> str:
    """Return ``backend`` unchanged if it is known and installed; ``name`` is what errors call it.

    Raises:
        ValueError: unknown name, or what it needs is not installed; the message says what to do.
    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        allowed = ", ".join(repr(name) for name in BACKENDS)
        raise ValueError(f"{name} must be one of {allowed}, got {backend!r}")
    if backend == "cupy" and not CUPY_IS_INSTALLED:
        raise ValueError(
            f"{name} 'cupy' needs CuPy: pip install 'snn-core[cuda12]', or 'snn-core[cuda13]' for CUDA 13, "
            "or use backend 'auto'"
        )
    return backend


@cache
def _cupy_sees_a_gpu() -> bool:
    if not CUPY_IS_INSTALLED:
        return False
    try:
        import cupy

        return cupy.cuda.is_available()
    except Exception:  # what it raises where a driver or a library is missing differs between its releases
        return False


@cache
def why_not(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Return why no kernel may take sequences on a device and of a dtype, "" where one may.

    Raises:
        ValueError: backend "cpu" and an input that is not on the CPU, or "cupy" and one that is not on a GPU.
    """
    if backend != "auto":
        needed, place = _PLACES.get(backend, (device.type, ""))
        if device.type != needed:
            raise ValueError(
                f"backend {backend!r} runs {place}, the input is on {device}: use backend 'auto'"
            )
        if backend == "torch":
            return "backend='torch' asks for it: call functional.set_backend(net, 'auto')"
    if dtype not in FLOATING:
        return f"no kernel computes in {dtype}"
    if device.type == "cpu" or (device.type == "cuda" and (backend == "cupy" or _cupy_sees_a_gpu())):
        return ""
    return f"no kernel runs on {device.type} here"


def why_too_large(kind: stages.Kind, like: Like) -> str:
    """Return why a stage with a feedback does not fit into a GPU's shared memory, "" where it does."""
    return cuda.too_large(kind, like.dtype, cuda.device.shared_limit(like.device))
