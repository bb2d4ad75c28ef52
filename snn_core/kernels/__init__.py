"""How T time steps run: in the readable torch loop, or in one fused scan through as many layers as possible.

:mod:`~snn_core.reference` is the loop, the definition of everything. :mod:`~snn_core.kernels.plan` reads the
stages of a scan off modules, :mod:`~snn_core.kernels.record` derives what kernels compute from the equations of
cells, :mod:`~snn_core.kernels.op` makes the scan an op of torch, and behind that are the kernels for the CPU and for
CUDA. A layer takes the loop where no kernel runs on the device, its equations or its surrogate function do something
that kernels do not know, it has hooks, a transform of ``torch.func`` is at work, or the loop was asked for.

Kernels have no second derivative: ``create_graph=True`` raises RuntimeError, where the loop gives the right one.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from snn_core.checks import FLOATING, Like
from snn_core.kernels.decisions import loop

__all__ = [
    "BACKENDS",
    "NUMBA_IS_INSTALLED",
    "check_backend",
    "runs_fused",
]

#: Names that ``backend=`` accepts. ``auto`` is the fastest one that can run here, ``torch`` the readable loop,
#: ``numba`` the fused kernels for the CPU, ``cupy`` those for NVIDIA GPUs.
BACKENDS: tuple[str, ...] = ("auto", "torch", "numba", "cupy")

_PLACES = {"numba": ("cpu", "on the CPU"), "cupy": ("cuda", "on an NVIDIA GPU")}

NUMBA_IS_INSTALLED = find_spec("numba") is not None

CUPY_IS_INSTALLED = find_spec("cupy") is not None


def check_backend(backend: str) -> str:
    """Return ``backend`` unchanged if it is known and installed.

    Raises:
        ValueError: unknown name, or what it needs is not installed; the message says what to do.
    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        allowed = ", ".join(repr(name) for name in BACKENDS)
        raise ValueError(f"backend must be one of {allowed}, got {backend!r}")
    if backend == "numba" and not NUMBA_IS_INSTALLED:
        raise ValueError("backend 'numba' needs numba: pip install numba, or use backend 'auto'")
    if backend == "cupy" and not CUPY_IS_INSTALLED:
        raise ValueError(
            "backend 'cupy' needs CuPy: pip install 'snn-core[cuda12]', or 'snn-core[cuda13]' for CUDA 13, "
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


def runs_fused(backend: str, x_seq: Tensor | Like) -> bool:
    """Say whether kernels may take sequences like ``x_seq``; if not, the reason is kept.

    Raises:
        ValueError: backend "numba" and an input that is not on the CPU, or "cupy" and one that is not on a GPU.
    """
    device = x_seq.device.type
    needed, place = _PLACES.get(backend, (device, ""))
    if device != needed:
        raise ValueError(
            f"backend {backend!r} runs {place}, the input is on {x_seq.device}: use backend 'auto'"
        )
    reason = ""
    if backend == "torch":
        reason = "backend='torch' asks for it"
    elif not NUMBA_IS_INSTALLED:
        reason = "numba is not installed"
    elif x_seq.dtype not in FLOATING:
        reason = f"no kernel computes in {x_seq.dtype}"
    elif torch._C._are_functorch_transforms_active() or torch.jit.is_tracing():
        reason = "a transform of torch.func or torch.jit.trace is at work"
    elif not (device == "cpu" or (device == "cuda" and (backend == "cupy" or _cupy_sees_a_gpu()))):
        reason = f"no kernel runs on {device} here"
    if reason:
        loop(reason)
    return not reason
