"""The walks through time for the CPU, compiled by numba on first use and cached on disk.

How a kernel walks. The first axis of every array is time. A block of neurons goes through all T steps with its state
in the first-level cache, then comes the next block; blocks are shared out among threads. Inner loops run over
neurons, which lie side by side, so that they become vector instructions. No sum runs across blocks: the result does
not depend on the number of threads.

What it keeps. The charged potential h[t] and nothing else: the spike is h[t] >= v_threshold, the surrogate derivative
is a function of h[t], and so is the reset. The backward walk goes from T - 1 to 0 and carries one number for each
neuron, the gradient of v[t].

Recurrent weights. In the forward walk y[t-1] is 0 or 1 from the second step on, so y W^T is a sum of the rows of W^T
that spiked: their indices are collected and the rows added four at a time. In the backward walk the gradient is dense,
and a block's product with W is a call of BLAS. The gradient of W is one matrix product after the walk.

The arithmetic is that of :mod:`snn_core.functional`, in its order and without fused multiply-add, so spikes equal those
of the torch loop to the bit; only the recurrent product may add in another order.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from snn_core.backend.constants import Neuron

#: Neurons in a block of an element-wise walk.
COLUMNS = 1024
#: Samples in a block of a recurrent walk.
SAMPLES = 64
#: Seconds after which a reader is told what keeps him waiting.
PATIENCE = 1.0

# A division by zero gives infinity, as in torch; Python's exception would keep the loops from being vectorised.
_row = njit(error_model="numpy", nogil=True, cache=True)
_walk = njit(error_model="numpy", nogil=True, cache=True, parallel=True)

IF, LIF_DECAYING_INPUT, LIF = range(3)


class Constants(NamedTuple):
    """A neuron's numbers, :meth:`snn_core.backend.constants.Neuron.numbers`, in the precision of the walk."""

    v_threshold: np.floating
    v_reset: np.floating
    tau: np.floating
    keep: np.floating
    jump: np.floating
    slope_1: np.floating
    slope_h: np.floating
    a: np.floating
    b: np.floating
    zero: np.floating
    one: np.floating


@_row
def _forward_row(kind, x, v, h, s, c):  # noqa: ANN001, ANN202
    """Charge, fire and reset a row of neurons: writes h and s, updates v."""
    for m in range(len(x)):
        if kind == IF:
            h[m] = v[m] + x[m]
        elif kind == LIF_DECAYING_INPUT:
            h[m] = v[m] + (x[m] - (v[m] - c.v_reset)) / c.tau
        else:
            h[m] = v[m] - (v[m] - c.v_reset) / c.tau + x[m]
    for m in range(len(x)):
        spike = c.one if h[m] - c.v_threshold >= c.zero else c.zero
        s[m] = spike
        v[m] = (c.one - c.keep * spike) * h[m] + c.jump * spike


@_row
def _derivative_row(surrogate, h, d, c):  # noqa: ANN001, ANN202
    """Write the surrogate derivatives of a row; a and b are the surrogate's ``kernel_constants``."""
    if surrogate == 0:  # Sigmoid
        for m in range(len(h)):
            sigma = c.one / (c.one + np.exp(-c.a * (h[m] - c.v_threshold)))
            d[m] = c.b * sigma * (c.one - sigma)
    elif surrogate == 1:  # ATan
        for m in range(len(h)):
            u = c.a * (h[m] - c.v_threshold)
            d[m] = c.b / (c.one + u * u)
    elif surrogate == 2:  # FastSigmoid
        for m in range(len(h)):
            u = c.one + c.a * abs(h[m] - c.v_threshold)
            d[m] = c.b / (u * u)
    elif surrogate == 3:  # Triangle
        for m in range(len(h)):
            u = c.one - c.a * abs(h[m] - c.v_threshold)
            d[m] = c.zero if u < c.zero else c.b * u
    else:  # Rectangle
        for m in range(len(h)):
            d[m] = c.b if abs(h[m] - c.v_threshold) < c.a else c.zero


@_row
def _backward_row(kind, surrogate, h, g_s, g_y, g_v, g_i, d, c):  # noqa: ANN001, ANN202
    """Take the gradients of s + y and v of a row through one step: writes g_i, updates g_v. ``d`` is scratch."""
    _derivative_row(surrogate, h, d, c)
    for m in range(len(h)):
        spike = c.one if h[m] - c.v_threshold >= c.zero else c.zero
        through_spike = (g_s[m] + g_y[m]) + g_v[m] * (c.slope_1 + c.slope_h * h[m])
        g_v[m] = through_spike * d[m] + g_v[m] * (c.one - c.keep * spike)
    if kind == IF:
        g_i[:] = g_v
        return
    for m in range(len(h)):
        decayed = g_v[m] / c.tau
        g_i[m] = decayed if kind == LIF_DECAYING_INPUT else g_v[m]
        g_v[m] -= decayed


@_walk
def _neuron_forward(kind, feedback, x_seq, y0, v0, c, s_seq, h_seq, v_last):  # noqa: ANN001, ANN202
    T, M = x_seq.shape
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        v = v0[lo:hi].copy()
        current = np.empty_like(v)
        for t in range(T):
            if feedback:
                y = s_seq[t - 1, lo:hi] if t else y0[lo:hi]
                for m in range(hi - lo):
                    current[m] = x_seq[t, lo + m] + y[m]
                _forward_row(kind, current, v, h_seq[t, lo:hi], s_seq[t, lo:hi], c)
            else:
                _forward_row(kind, x_seq[t, lo:hi], v, h_seq[t, lo:hi], s_seq[t, lo:hi], c)
        v_last[lo:hi] = v


@_walk
def _neuron_backward(kind, surrogate, feedback, g_s_seq, g_v_last, h_seq, c, g_x_seq, g_y0, g_v0):  # noqa: ANN001, ANN202
    T, M = h_seq.shape
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        g_v = g_v_last[lo:hi].copy()
        g_y, scratch = np.zeros_like(g_v), np.empty_like(g_v)
        for t in range(T - 1, -1, -1):
            g_x = g_x_seq[t, lo:hi]
            _backward_row(kind, surrogate, h_seq[t, lo:hi], g_s_seq[t, lo:hi], g_y, g_v, g_x, scratch, c)
            if feedback:
                g_y[:] = g_x
        g_v0[lo:hi] = g_v
        g_y0[lo:hi] = g_y


@_row
def _add_spiking_rows(current, y, weight_t, index):  # noqa: ANN001, ANN202
    """Add to ``current`` the rows of ``weight_t`` whose neuron spiked, four at a time."""
    count = 0
    for k in range(len(y)):
        index[count] = k
        count += y[k] != 0
    done = 0
    while done + 3 < count:
        w0, w1 = weight_t[index[done]], weight_t[index[done + 1]]
        w2, w3 = weight_t[index[done + 2]], weight_t[index[done + 3]]
        for m in range(len(current)):
            current[m] += (w0[m] + w1[m]) + (w2[m] + w3[m])
        done += 4
    while done < count:
        w0 = weight_t[index[done]]
        for m in range(len(current)):
            current[m] += w0[m]
        done += 1


@_walk
def _recurrent_forward(kind, i_seq, y0, v0, weight_t, c, s_seq, h_seq, v_last):  # noqa: ANN001, ANN202
    T, N, H = i_seq.shape
    for block in prange((N + SAMPLES - 1) // SAMPLES):
        lo = block * SAMPLES
        hi = min(lo + SAMPLES, N)
        v = v0[lo:hi].copy().reshape(-1)
        current = np.empty((hi - lo, H), i_seq.dtype)
        index = np.empty(H, np.int64)
        for t in range(T):
            if t == 0:  # y0 may hold any number
                np.dot(y0[lo:hi], weight_t, current)
                current += i_seq[0, lo:hi]
            else:
                current[:] = i_seq[t, lo:hi]
                for n in range(lo, hi):
                    _add_spiking_rows(current[n - lo], s_seq[t - 1, n], weight_t, index)
            h, s = h_seq[t, lo:hi].reshape(-1), s_seq[t, lo:hi].reshape(-1)
            _forward_row(kind, current.reshape(-1), v, h, s, c)
        v_last[lo:hi] = v.reshape(hi - lo, H)


@_walk
def _recurrent_backward(kind, surrogate, g_s_seq, g_v_last, h_seq, weight, c, g_i_seq, g_y0, g_v0):  # noqa: ANN001, ANN202
    T, N, H = h_seq.shape
    for block in prange((N + SAMPLES - 1) // SAMPLES):
        lo = block * SAMPLES
        hi = min(lo + SAMPLES, N)
        g_v = g_v_last[lo:hi].copy().reshape(-1)
        g_y = np.zeros((hi - lo, H), h_seq.dtype)
        scratch = np.empty_like(g_v)
        for t in range(T - 1, -1, -1):
            h, g_s, g_i = h_seq[t, lo:hi], g_s_seq[t, lo:hi], g_i_seq[t, lo:hi]
            _backward_row(
                kind,
                surrogate,
                h.reshape(-1),
                g_s.reshape(-1),
                g_y.reshape(-1),
                g_v,
                g_i.reshape(-1),
                scratch,
                c,
            )
            np.dot(g_i, weight, g_y)
        g_v0[lo:hi] = g_v.reshape(hi - lo, H)
        g_y0[lo:hi] = g_y


@_walk
def _synapse_forward(s_seq, i0, inv_tau, i_seq):  # noqa: ANN001, ANN202
    T, M = s_seq.shape
    one = s_seq.dtype.type(1)
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        current, rate = i0[lo:hi].copy(), inv_tau[lo:hi]
        for t in range(T):
            s, i = s_seq[t, lo:hi], i_seq[t, lo:hi]
            for m in range(hi - lo):
                current[m] = current[m] - (one - s[m]) * current[m] * rate[m] + s[m]
                i[m] = current[m]


@_walk
def _synapse_backward(grad_i_seq, s_seq, i_seq, i0, inv_tau, grad_s_seq, grad_i, grad_inv_tau):  # noqa: ANN001, ANN202
    T, M = s_seq.shape
    one = s_seq.dtype.type(1)
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        rate = inv_tau[lo:hi]
        g, g_rate = np.zeros_like(rate), np.zeros_like(rate)
        for t in range(T - 1, -1, -1):
            g_out, s, g_s = grad_i_seq[t, lo:hi], s_seq[t, lo:hi], grad_s_seq[t, lo:hi]
            before = i_seq[t - 1, lo:hi] if t else i0[lo:hi]
            for m in range(hi - lo):
                g_i = g_out[m] + g[m]
                quiet = g_i * (one - s[m])
                g_s[m] = g_i + g_i * rate[m] * before[m]
                g_rate[m] -= quiet * before[m]
                g[m] = g_i - quiet * rate[m]
        grad_i[lo:hi] = g
        grad_inv_tau[lo:hi] = g_rate


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


def _in(*tensors: Tensor) -> list[np.ndarray]:
    """View inputs as arrays in the precision of the kernels, with neurons side by side; copy where they are not."""
    dtype = compute_dtype(tensors[0].dtype)
    return [tensor.detach().to(dtype).contiguous().numpy() for tensor in tensors]


def _constants(neuron: Neuron, array: np.ndarray) -> Constants:
    return Constants(*map(array.dtype.type, (*neuron.numbers(), 0.0, 1.0)))


def _out(dtype: torch.dtype, *arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array).to(dtype) for array in arrays)


def neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor | None, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward; see :mod:`snn_core.backend.ops` for the arguments of this and the functions below."""
    neuron = Neuron(*constants)
    x, v0, y0 = _in(x_seq, v, v if y is None else y)
    s, h, last = np.empty_like(x), np.empty_like(x), np.empty_like(v0)
    rows = (len(x), v0.size)
    _run(
        _neuron_forward,
        neuron.kind, y is not None, x.reshape(rows), y0.ravel(), v0.ravel(), _constants(neuron, x),
        s.reshape(rows), h.reshape(rows), last.ravel(),
    )  # fmt: skip
    return *_out(x_seq.dtype, s, last), torch.from_numpy(h)


def neuron_sequence_backward(
    grad_s_seq: Tensor, grad_v_last: Tensor, h_seq: Tensor, feedback: bool, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of x_seq, v and y."""
    neuron = Neuron(*constants)
    h, g_s, g_last = _in(h_seq, grad_s_seq, grad_v_last)
    g_x, g_v, g_y = np.empty_like(h), np.empty_like(g_last), np.empty_like(g_last)
    rows = (len(h), g_v.size)
    _run(
        _neuron_backward,
        neuron.kind, neuron.surrogate, feedback, g_s.reshape(rows), g_last.ravel(), h.reshape(rows),
        _constants(neuron, h), g_x.reshape(rows), g_y.ravel(), g_v.ravel(),
    )  # fmt: skip
    return _out(grad_s_seq.dtype, g_x, g_v, g_y)


def recurrent_neuron_sequence(
    i_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward with recurrent weights."""
    neuron = Neuron(*constants)
    i, v0, y0, w_t = _in(i_seq, v, y, weight.t())
    s, h, last = np.empty_like(i), np.empty_like(i), np.empty_like(v0)
    step = (-1, len(w_t))
    rows = (len(i), *step)
    _run(
        _recurrent_forward,
        neuron.kind, i.reshape(rows), y0.reshape(step), v0.reshape(step), w_t, _constants(neuron, i),
        s.reshape(rows), h.reshape(rows), last.reshape(step),
    )  # fmt: skip
    return *_out(i_seq.dtype, s, last), torch.from_numpy(h)


def recurrent_neuron_sequence_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor,
    h_seq: Tensor,
    s_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *constants: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Walk backward with recurrent weights: gradients of i_seq, v, y and weight."""
    neuron = Neuron(*constants)
    h, g_s, g_last, w = _in(h_seq, grad_s_seq, grad_v_last, weight)
    g_i, g_v, g_y = np.empty_like(h), np.empty_like(g_last), np.empty_like(g_last)
    step = (-1, len(w))
    rows = (len(h), *step)
    _run(
        _recurrent_backward,
        neuron.kind, neuron.surrogate, g_s.reshape(rows), g_last.reshape(step), h.reshape(rows), w,
        _constants(neuron, h), g_i.reshape(rows), g_y.reshape(step), g_v.reshape(step),
    )  # fmt: skip
    grad_i, grad_v, grad_y = _out(grad_s_seq.dtype, g_i, g_v, g_y)
    # y[t-1] belongs to i[t]: y before the first step, then the spikes of the first T - 1 steps.
    grad_rows, spike_rows = grad_i.flatten(0, -2), s_seq[:-1].flatten(0, -2)
    first = y.reshape(step).to(grad_i.dtype)  # under autocast the state may be wider
    grad_weight = grad_rows[len(first) :].t() @ spike_rows + grad_rows[: len(first)].t() @ first
    return grad_i, grad_v, grad_y, grad_weight


def synapse_filter_sequence(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Walk forward through a layer of synapse filters."""
    s, i0, rate = _in(s_seq, i, inv_tau)
    i_seq, rows = np.empty_like(s), (len(s), i0.size)
    _run(_synapse_forward, s.reshape(rows), i0.ravel(), rate.ravel(), i_seq.reshape(rows))
    return _out(s_seq.dtype, i_seq)[0]


def synapse_filter_sequence_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of s_seq, i and inv_tau."""
    g_out, s, i_all, i0, rate = _in(grad_i_seq, s_seq, i_seq, i, inv_tau)
    g_s, g_i, g_rate = np.empty_like(s), np.empty_like(i0), np.empty_like(i0)
    rows = (len(s), i0.size)
    _run(
        _synapse_backward,
        g_out.reshape(rows), s.reshape(rows), i_all.reshape(rows), i0.ravel(), rate.ravel(),
        g_s.reshape(rows), g_i.ravel(), g_rate.ravel(),
    )  # fmt: skip
    return _out(grad_i_seq.dtype, g_s, g_i, g_rate)
