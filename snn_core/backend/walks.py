"""The walks through time for the CPU, compiled by numba on first use and cached on disk.

How a kernel walks. The first axis of every array is time. A block of neurons goes through all T steps with its state
in the first-level cache, then comes the next block; blocks are shared out among threads. Inner loops run over
neurons, which lie side by side, so that they become vector instructions. What is summed over blocks is summed
in their order: the result does not depend on the number of threads.

What it keeps. The charged potential h[t] and nothing else: the spike is h[t] >= v_threshold, the surrogate derivative
is a function of h[t], and so is the reset. The backward walk goes from T - 1 to 0 and carries one number for each
neuron, the gradient of v[t].

Recurrent weights. A block of samples takes its product with the weights inside the walk, while its spikes are still in
the cache. In a small layer the product is dense, in tiles that live in registers (:mod:`snn_core.backend.tile`). In a
large one it is a sum of the rows of W^T whose neuron spiked, since y[t-1] is 0 or 1 from the second step on. In the
backward walk the gradient is dense, and so is its product. The gradient of W is one product after the walk.

The arithmetic is that of :mod:`snn_core.functional`, in its order and without fused multiply-add, so spikes equal those
of the torch loop to the bit; only a matrix product adds in another order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from snn_core.backend.compiled import row, walk
from snn_core.backend.products import add_product
from snn_core.backend.tile import array_at

#: Neurons in a block of an element-wise walk.
COLUMNS = 1024
#: Samples in a block of a recurrent walk.
SAMPLES = 64
#: Neurons from which on finding the spikes costs less than a dense product.
EVENT_DRIVEN_FROM = 128

IF, LIF_DECAYING_INPUT, LIF = range(3)
#: How many surrogate functions the backward row knows.
SURROGATES = 5


class Constants(NamedTuple):
    """A neuron's numbers, :meth:`snn_core.backend.constants.Neuron.numbers`, in the precision of the walk.

    ``input_gain`` and 1 - ``leak`` are the derivatives of h[t] to x[t] and v[t-1].
    """

    v_threshold: np.floating
    v_reset: np.floating
    tau: np.floating
    keep: np.floating
    jump: np.floating
    slope_1: np.floating
    slope_h: np.floating
    a: np.floating
    b: np.floating
    input_gain: np.floating
    leak: np.floating
    zero: np.floating
    one: np.floating


@row
def _forward_row(kind, x, v, h, s, c):
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


@row
def _backward_step(h, g_s, g_v, derivative, c):
    """Return the gradient of h from those of s and v, given the surrogate derivative at h."""
    spike = c.one if h - c.v_threshold >= c.zero else c.zero
    return (g_s + g_v * (c.slope_1 + c.slope_h * h)) * derivative + g_v * (c.one - c.keep * spike)


@row
def _backward_row(surrogate, h, g_s, g_y, g_v, g_i, c):
    """Take the gradients of s + y and v of a row through one step: writes g_i, updates g_v.

    One loop for each surrogate, each as a whole: a pass of its own for the derivatives would double the time.
    """
    if surrogate == 0:  # Sigmoid
        for m in range(len(h)):
            sigma = c.one / (c.one + np.exp(-c.a * (h[m] - c.v_threshold)))
            g_h = _backward_step(h[m], g_s[m] + g_y[m], g_v[m], c.b * sigma * (c.one - sigma), c)
            g_i[m], g_v[m] = g_h * c.input_gain, g_h - g_h * c.leak
    elif surrogate == 1:  # ATan
        for m in range(len(h)):
            u = c.a * (h[m] - c.v_threshold)
            g_h = _backward_step(h[m], g_s[m] + g_y[m], g_v[m], c.b / (c.one + u * u), c)
            g_i[m], g_v[m] = g_h * c.input_gain, g_h - g_h * c.leak
    elif surrogate == 2:  # FastSigmoid
        for m in range(len(h)):
            u = c.one + c.a * abs(h[m] - c.v_threshold)
            g_h = _backward_step(h[m], g_s[m] + g_y[m], g_v[m], c.b / (u * u), c)
            g_i[m], g_v[m] = g_h * c.input_gain, g_h - g_h * c.leak
    elif surrogate == 3:  # Triangle
        for m in range(len(h)):
            u = c.one - c.a * abs(h[m] - c.v_threshold)
            g_h = _backward_step(h[m], g_s[m] + g_y[m], g_v[m], c.zero if u < c.zero else c.b * u, c)
            g_i[m], g_v[m] = g_h * c.input_gain, g_h - g_h * c.leak
    else:  # Rectangle
        for m in range(len(h)):
            inside = abs(h[m] - c.v_threshold) < c.a
            g_h = _backward_step(h[m], g_s[m] + g_y[m], g_v[m], c.b if inside else c.zero, c)
            g_i[m], g_v[m] = g_h * c.input_gain, g_h - g_h * c.leak


@walk
def neuron_forward(kind, feedback, T, M, c, x_seq, y0, v0, s_seq, h_seq, v_last):
    """Walk M neurons through T steps, each input x[t] or, with feedback, x[t] + y[t-1]. Arrays are addresses."""
    x_seq, s_seq, h_seq = (
        array_at(x_seq, (T, M), c.one),
        array_at(s_seq, (T, M), c.one),
        array_at(h_seq, (T, M), c.one),
    )
    y0, v0, v_last = array_at(y0, (M,), c.one), array_at(v0, (M,), c.one), array_at(v_last, (M,), c.one)
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


@walk
def neuron_backward(surrogate, feedback, T, M, c, g_s_seq, g_v_last, h_seq, g_x_seq, g_y0, g_v0):
    """Walk M neurons back: gradients of x, and of y and v before the first step. ``g_v_last`` may be 0, for zeros."""
    g_s_seq, h_seq, g_x_seq = (
        array_at(g_s_seq, (T, M), c.one),
        array_at(h_seq, (T, M), c.one),
        array_at(g_x_seq, (T, M), c.one),
    )
    has_last = g_v_last != 0
    g_v_last, g_y0, g_v0 = (
        array_at(g_v_last, (M,), c.one),
        array_at(g_y0, (M,), c.one),
        array_at(g_v0, (M,), c.one),
    )
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        g_v, g_y = np.zeros(hi - lo, h_seq.dtype), np.zeros(hi - lo, h_seq.dtype)
        if has_last:
            g_v[:] = g_v_last[lo:hi]
        for t in range(T - 1, -1, -1):
            g_x = g_x_seq[t, lo:hi]
            _backward_row(surrogate, h_seq[t, lo:hi], g_s_seq[t, lo:hi], g_y, g_v, g_x, c)
            if feedback:
                g_y[:] = g_x
        g_v0[lo:hi] = g_v
        g_y0[lo:hi] = g_y


@row
def _add_spiking_rows(current, y, weight_t, index):
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


@row
def _add_recurrent_input(current, y_seq, y, samples, H, weight_t, index):
    """Add y W^T, where y are the spikes ``y_seq[y:]`` of ``samples`` rows; the rows of W^T follow those for x."""
    if H < EVENT_DRIVEN_FROM:
        add_product(y_seq, y, H, 1, samples, H, weight_t, H * H, H, H, current, 0, H, current, 0, H)
        return
    rows = weight_t.reshape(2 * H, H)[H:]
    for n in range(samples):
        spikes = y_seq[y + n * H : y + (n + 1) * H]
        _add_spiking_rows(current[n * H : (n + 1) * H], spikes, rows, index)


@walk
def recurrent_forward(kind, T, N, H, c, x_seq, y0, v0, weight_t, bias, s_seq, h_seq, v_last):
    """Walk N samples of H neurons with i[t] = [x[t]; y[t-1]] W^T + b for W^T ``[2 H, H]``."""
    size = T * N * H
    x, s, h = (
        array_at(x_seq, (size,), c.one),
        array_at(s_seq, (size,), c.one),
        array_at(h_seq, (size,), c.one),
    )
    first_y, first_v = array_at(y0, (N * H,), c.one), array_at(v0, (N * H,), c.one)
    w, b = array_at(weight_t, (2 * H * H,), c.one), array_at(bias, (H,), c.one)
    last_v = array_at(v_last, (N * H,), c.one)
    for block in prange((N + SAMPLES - 1) // SAMPLES):
        lo = block * SAMPLES
        samples = min(SAMPLES, N - lo)
        v = first_v[lo * H : (lo + samples) * H].copy()
        current, index = np.empty_like(v), np.empty(H, np.int64)
        for t in range(T):
            at, end = (t * N + lo) * H, (t * N + lo + samples) * H
            add_product(x, at, H, 1, samples, H, w, 0, H, H, b, 0, 0, current, 0, H)
            if t == 0:  # y0 may hold any number
                add_product(first_y, lo * H, H, 1, samples, H, w, H * H, H, H, current, 0, H, current, 0, H)
            else:
                _add_recurrent_input(current, s, at - N * H, samples, H, w, index)
            _forward_row(kind, current, v, h[at:end], s[at:end], c)
        last_v[lo * H : (lo + samples) * H] = v


@walk
def recurrent_backward(
    surrogate, T, N, H, c, g_s_seq, g_v_last, h_seq, weight, g_i_seq, g_x_seq, g_y0, g_v0
):  # fmt: skip
    """Walk back with W ``[H, 2 H]``: gradients of i, x, and of y and v before the first step."""
    size = T * N * H
    h, g_s = array_at(h_seq, (size,), c.one), array_at(g_s_seq, (size,), c.one)
    g_i, g_x = array_at(g_i_seq, (size,), c.one), array_at(g_x_seq, (size,), c.one)
    has_last = g_v_last != 0
    last_g_v, w = array_at(g_v_last, (N * H,), c.one), array_at(weight, (2 * H * H,), c.one)
    first_g_y, first_g_v = array_at(g_y0, (N * H,), c.one), array_at(g_v0, (N * H,), c.one)
    for block in prange((N + SAMPLES - 1) // SAMPLES):
        lo = block * SAMPLES
        samples = min(SAMPLES, N - lo)
        g_v, g_y, zero = np.zeros(samples * H, h.dtype), np.zeros(samples * H, h.dtype), np.zeros(H, h.dtype)
        if has_last:
            g_v[:] = last_g_v[lo * H : (lo + samples) * H]
        for t in range(T - 1, -1, -1):
            at, end = (t * N + lo) * H, (t * N + lo + samples) * H
            _backward_row(surrogate, h[at:end], g_s[at:end], g_y, g_v, g_i[at:end], c)
            add_product(g_i, at, H, 1, samples, H, w, 0, 2 * H, H, zero, 0, 0, g_x, at, H)
            add_product(g_i, at, H, 1, samples, H, w, H, 2 * H, H, zero, 0, 0, g_y, 0, H)
        first_g_v[lo * H : (lo + samples) * H] = g_v
        first_g_y[lo * H : (lo + samples) * H] = g_y


@walk
def synapse_forward(T, M, one, s_seq, i0, inv_tau, rates, i_seq):
    """Walk M synapse filters through T steps; ``rates`` is M, or 1 where all share one 1/tau."""
    s_seq, i_seq = array_at(s_seq, (T, M), one), array_at(i_seq, (T, M), one)
    i0, inv_tau = array_at(i0, (M,), one), array_at(inv_tau, (rates,), one)
    for block in prange((M + COLUMNS - 1) // COLUMNS):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        current, rate = i0[lo:hi].copy(), np.empty(hi - lo, i0.dtype)
        rate[:] = inv_tau[lo:hi] if rates == M else inv_tau
        for t in range(T):
            s, i = s_seq[t, lo:hi], i_seq[t, lo:hi]
            for m in range(hi - lo):
                current[m] = current[m] - (one - s[m]) * current[m] * rate[m] + s[m]
                i[m] = current[m]


@walk
def synapse_backward(
    T, M, one, grad_i_seq, s_seq, i_seq, i0, inv_tau, rates, grad_s_seq, grad_i, grad_inv_tau
):  # fmt: skip
    """Walk M synapse filters back: gradients of s, of the current before the first step and of 1/tau."""
    grad_i_seq, grad_s_seq = array_at(grad_i_seq, (T, M), one), array_at(grad_s_seq, (T, M), one)
    s_seq, i_seq = array_at(s_seq, (T, M), one), array_at(i_seq, (T, M), one)
    i0, inv_tau = array_at(i0, (M,), one), array_at(inv_tau, (rates,), one)
    grad_i, grad_inv_tau = array_at(grad_i, (M,), one), array_at(grad_inv_tau, (rates,), one)
    blocks = (M + COLUMNS - 1) // COLUMNS
    shares = np.zeros(blocks, i0.dtype)
    for block in prange(blocks):
        lo = block * COLUMNS
        hi = min(lo + COLUMNS, M)
        rate = np.empty(hi - lo, i0.dtype)
        rate[:] = inv_tau[lo:hi] if rates == M else inv_tau
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
        if rates == M:
            grad_inv_tau[lo:hi] = g_rate
        else:
            shares[block] = g_rate.sum()
    if rates != M:
        grad_inv_tau[0] = shares.sum()
