"""How T time steps run at once: the readable torch loop, or one fused kernel for the whole walk.

:mod:`~snn_core.backend.reference` is the loop, the definition of every operation.
:mod:`~snn_core.backend.ops` offers the same operations as ops of torch with fused kernels behind them. The functions
here choose: they return what runs fused, or None where the loop must be taken, because the device has no kernel, the
surrogate function or the step is one of your own, a transform of ``torch.func`` is at work, this process was forked
from one that used kernels, or the loop was asked for.

Kernels have no second derivative: ``create_graph=True`` raises RuntimeError, where the loop gives the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from snn_core.backend.decisions import loop
from snn_core.checks import FLOATING

if TYPE_CHECKING:
    from snn_core.backend.ops import FusedNeuron

__all__ = [
    "BACKENDS",
    "NUMBA_IS_INSTALLED",
    "check_backend",
    "fused_linear",
    "fused_neuron",
    "fused_synapse_filter",
]

#: Names that ``backend=`` accepts. ``auto`` is the fastest one that can run here, ``torch`` the readable loop,
#: ``numba`` the fused kernels for the CPU, ``cupy`` those for NVIDIA cards.
BACKENDS: tuple[str, ...] = ("auto", "torch", "numba", "cupy")

_PLACES = {"numba": ("cpu", "on the CPU"), "cupy": ("cuda", "on an NVIDIA card")}

NUMBA_IS_INSTALLED = find_spec("numba") is not None

CUPY_IS_INSTALLED = find_spec("cupy") is not None

#: Whether this process was forked from one that had used CPU kernels, whose threads it lacks: it takes the loop.
forked = False


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
def _cupy_sees_a_card() -> bool:
    if not CUPY_IS_INSTALLED:
        return False
    try:
        import cupy

        return cupy.cuda.is_available()
    except Exception:  # what it raises where a driver or a library is missing differs between its releases
        return False


def _runs_fused(backend: str, x_seq: Tensor) -> bool:
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
    elif forked and device == "cpu" and backend == "auto":
        reason = "this process was forked from one that had used kernels"
    elif not (device == "cpu" or (device == "cuda" and (backend == "cupy" or _cupy_sees_a_card()))):
        reason = f"no kernel runs on {device} here"
    if reason:
        loop(reason)
    return not reason


def does_only_forward(module: nn.Module) -> bool:
    """Say whether calling ``module`` does nothing but what its class says: no hooks, no ``forward`` of its own."""
    hooks = (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()
    )
    return not (hooks or "forward" in module.__dict__)


def fused_linear(
    backend: str, module: nn.Module, x: Tensor
) -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Return the op (x, weight, bias) -> x W^T + b that stands for ``module``, or None if it must be called."""
    if type(module) is not nn.Linear:
        return loop(f"torch's own {type(module).__name__}, called once for all steps")
    if not does_only_forward(module):
        return loop("it has hooks or a forward of its own")
    if not _runs_fused(backend, x):
        return None
    fits = x.dtype == module.weight.dtype and x.dim() > 0 and x.shape[-1] == module.in_features
    left_to_torch = x.device.type != "cpu" or torch.is_autocast_enabled("cpu")
    if not fits or left_to_torch or x.dtype not in (torch.float32, torch.float64):
        return loop(f"torch's own product for {x.dtype} on {x.device.type}, or autocast")
    from snn_core.backend import ops

    return ops.linear


def fused_neuron(backend: str, step: Callable[..., object], x_seq: Tensor) -> FusedNeuron | None:
    """Return what walks this neuron through ``x_seq`` in one kernel, or None if the loop must.

    Args:
        backend: one of :data:`BACKENDS`.
        step: a step function of :mod:`snn_core.functional` with its constants bound.
        x_seq: the input, for its device and dtype.

    Raises:
        ValueError: backend "numba" and an input that is not on the CPU, or "cupy" and one that is not on a card.
    """
    if not _runs_fused(backend, x_seq):
        return None
    from snn_core.backend import ops  # here and not above, because importing numba takes half a second

    return ops.fused_neuron(step)


def fused_synapse_filter(backend: str, x_seq: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """Return the op (s_seq, i, inv_tau) -> i_seq of a fused synapse filter, or None if the loop must run.

    ``inv_tau`` broadcasts to a step ``[N, *]``.
    """
    if not _runs_fused(backend, x_seq):
        return None
    from snn_core.backend import ops

    return ops.synapse_filter
