"""The fused operations on the CPU: tensors in, kernels of numba, tensors out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from snn_core.backend import products, walks
from snn_core.backend.constants import Neuron
from snn_core.backend.walks import IF, LIF, LIF_DECAYING_INPUT, Constants

#: Seconds after which a reader is told what keeps him waiting.
PATIENCE = 1.0

#: Shown once for each kernel; scripts/run_notebooks.py keeps it off the pages.
COMPILING = "snn_core: compiling a CPU kernel, once; it is kept for the next time"


def _say_what_takes_long() -> None:
    print(COMPILING, file=sys.stderr, flush=True)


def _start_threads() -> None:
    """Let numba start its threads without changing torch's number of them, as it does where both share OpenMP."""
    threads = torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(threads)


_start_threads()
_known: set[tuple[Any, ...]] = set()


def _run(walk: Callable[..., None], *arguments: Any) -> None:
    """Run a kernel on as many threads as torch would use."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    key = (walk, arguments[-1].dtype)
    if key in _known:
        walk(*arguments)
        return
    timer = threading.Timer(PATIENCE, _say_what_takes_long)
    timer.start()
    try:
        walk(*arguments)
    finally:
        timer.cancel()
    _known.add(key)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a walk on tensors of ``dtype`` computes: half precisions are widened."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _in(*tensors: Tensor, dtype: torch.dtype | None = None) -> list[np.ndarray]:
    """View inputs as arrays in the precision of the kernels, with neurons side by side; copy where they are not."""
    dtype = compute_dtype(dtype or tensors[0].dtype)
    return [tensor.detach().to(dtype).contiguous().numpy() for tensor in tensors]


def _out(dtype: torch.dtype, *arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array).to(dtype) for array in arrays)


@lru_cache(maxsize=256)
def _constants(neuron: Neuron, dtype: np.dtype) -> tuple[int, Constants]:
    """Return the kind of neuron and its numbers."""
    kind = IF if neuron.tau is None else LIF_DECAYING_INPUT if neuron.decay_input else LIF
    hard_reset = neuron.v_reset is not None
    keep, jump = (1.0, neuron.v_reset) if hard_reset else (0.0, -neuron.v_threshold)
    # v = (1 - keep s) h + jump s has the derivative jump - keep h to s.
    slope = (0.0, 0.0) if neuron.detach_reset else (jump, -keep)
    numbers = (
        neuron.v_threshold,
        neuron.v_reset if hard_reset else 0.0,
        1.0 if neuron.tau is None else neuron.tau,
        keep,
        jump,
        *slope,
        neuron.a,
        neuron.b,
        1.0 / neuron.tau if kind == LIF_DECAYING_INPUT else 1.0,
        0.0 if kind == IF else 1.0 / neuron.tau,
        0.0,
        1.0,
    )
    return kind, Constants(*map(dtype.type, numbers))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b; see :mod:`snn_core.backend.ops` for the arguments of this and the functions below."""
    a, w_t = _in(x, weight.t())
    b = np.zeros(w_t.shape[1], a.dtype) if bias is None else _in(bias)[0]
    out = np.empty((*a.shape[:-1], len(b)), a.dtype)
    _run(products.linear_forward, a.reshape(-1, len(w_t)), w_t, b, out.reshape(-1, len(b)))
    return torch.from_numpy(out)


def linear_backward(grad: Tensor, x: Tensor, weight: Tensor, needs_x: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x (empty if not needed), weight and bias."""
    g, a, w = _in(grad, x, weight)
    J, K = w.shape
    g, a = g.reshape(-1, J), a.reshape(-1, K)
    grad_x = np.empty(x.shape if needs_x else 0, g.dtype)
    if needs_x:
        _run(products.linear_forward, g, w, np.zeros(K, g.dtype), grad_x.reshape(-1, K))
    g_weight, g_bias = np.empty((products.PARTS, J, K), g.dtype), np.empty((products.PARTS, J), g.dtype)
    _run(products.linear_backward_weight, g, a, g_weight, g_bias)
    return _out(grad.dtype, grad_x, g_weight.sum(0), g_bias.sum(0))


def neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor | None, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward through a layer of neurons."""
    x, v0, y0 = _in(x_seq, v, v if y is None else y)
    kind, numbers = _constants(Neuron(*constants), x.dtype)
    s, h, last = np.empty_like(x), np.empty_like(x), np.empty_like(v0)
    rows = (len(x), v0.size)
    _run(
        walks.neuron_forward,
        kind, y is not None, x.reshape(rows), y0.ravel(), v0.ravel(), numbers,
        s.reshape(rows), h.reshape(rows), last.ravel(),
    )  # fmt: skip
    return *_out(x_seq.dtype, s, last), torch.from_numpy(h)


def neuron_sequence_backward(
    grad_s_seq: Tensor, grad_v_last: Tensor | None, h_seq: Tensor, feedback: bool, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of x_seq, v and y."""
    h, g_s = _in(h_seq, grad_s_seq)
    neuron = Neuron(*constants)
    _, numbers = _constants(neuron, h.dtype)
    g_last = np.zeros_like(h[0]) if grad_v_last is None else _in(grad_v_last)[0]
    g_x, g_v, g_y = np.empty_like(h), np.empty_like(g_last), np.empty_like(g_last)
    rows = (len(h), g_v.size)
    _run(
        walks.neuron_backward,
        neuron.surrogate, feedback, g_s.reshape(rows), g_last.ravel(), h.reshape(rows), numbers,
        g_x.reshape(rows), g_y.ravel(), g_v.ravel(),
    )  # fmt: skip
    return _out(grad_s_seq.dtype, g_x, g_v, g_y)


def recurrent_neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward through a recurrent layer of neurons."""
    x, v0, y0, w_t = _in(x_seq, v, y, weight.t())
    kind, numbers = _constants(Neuron(*constants), x.dtype)
    H = len(weight)
    b = np.zeros(H, x.dtype) if bias is None else _in(bias, dtype=x_seq.dtype)[0]
    s, h, last = np.empty_like(x), np.empty_like(x), np.empty_like(v0)
    rows = (len(x), -1, H)
    _run(
        walks.recurrent_forward,
        kind, x.reshape(rows), y0.reshape(-1, H), v0.reshape(-1, H), w_t, b, numbers,
        s.reshape(rows), h.reshape(rows), last.reshape(-1, H),
    )  # fmt: skip
    return *_out(x_seq.dtype, s, last), torch.from_numpy(h)


def recurrent_neuron_sequence_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    x_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *constants: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Walk backward through a recurrent layer: gradients of x_seq, v, y, weight and bias."""
    h, g_s, s, x, y0, w = _in(h_seq, grad_s_seq, s_seq, x_seq, y, weight)
    neuron = Neuron(*constants)
    _, numbers = _constants(neuron, h.dtype)
    g_last = np.zeros_like(y0) if grad_v_last is None else _in(grad_v_last)[0]
    g_i, g_x, g_v, g_y = np.empty_like(h), np.empty_like(h), np.empty_like(g_last), np.empty_like(g_last)
    H = len(weight)
    rows, step = (len(h), -1, H), (-1, H)
    _run(
        walks.recurrent_backward,
        neuron.surrogate, g_s.reshape(rows), g_last.reshape(step), h.reshape(rows), w, numbers,
        g_i.reshape(rows), g_x.reshape(rows), g_y.reshape(step), g_v.reshape(step),
    )  # fmt: skip
    g_weight, g_bias = np.empty((products.PARTS, H, 2 * H), h.dtype), np.empty((products.PARTS, H), h.dtype)
    _run(
        walks.recurrent_backward_weight,
        g_i.reshape(rows), x.reshape(rows), s.reshape(rows), y0.reshape(step), g_weight, g_bias,
    )  # fmt: skip
    return *_out(grad_s_seq.dtype, g_x, g_v, g_y), *_out(weight.dtype, g_weight.sum(0), g_bias.sum(0))


def synapse_filter_sequence(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Walk forward through a layer of synapse filters."""
    s, i0, rate = _in(s_seq, i, inv_tau)
    i_seq, rows = np.empty_like(s), (len(s), i0.size)
    _run(walks.synapse_forward, s.reshape(rows), i0.ravel(), rate.ravel(), i_seq.reshape(rows))
    return _out(s_seq.dtype, i_seq)[0]


def synapse_filter_sequence_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of s_seq, i and inv_tau."""
    g_out, s, i_all, i0, rate = _in(grad_i_seq, s_seq, i_seq, i, inv_tau)
    g_s, g_i, g_rate = np.empty_like(s), np.empty_like(i0), np.empty_like(i0)
    rows = (len(s), i0.size)
    _run(
        walks.synapse_backward,
        g_out.reshape(rows), s.reshape(rows), i_all.reshape(rows), i0.ravel(), rate.ravel(),
        g_s.reshape(rows), g_i.ravel(), g_rate.ravel(),
    )  # fmt: skip
    return _out(grad_i_seq.dtype, g_s, g_i, g_rate)
