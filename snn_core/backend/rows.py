"""The CPU's part of every cell and surrogate function, compiled by numba on first use.

A cell has a forward and a backward function, found by its name. They go through a row of ``n`` neurons that lie side
by side, and get pointers:

``NAME_forward(n, c, p, x, v, w, y, u)``
    reads the input ``x`` and the states ``v`` before the step, writes the states ``w`` after it, the output ``y`` and,
    if the cell fires, the distance ``u`` = h - v_threshold.
``NAME_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p)``
    reads the same, the surrogate derivative ``d`` and the gradients ``g_y`` of the output and ``g_v`` of the states
    after the step; writes the gradient ``g_x`` of the input, turns ``g_v`` into that of the states before the step,
    and adds the gradients of the parameters to ``g_p``.
``NAME_derivative(n, c, u)``
    replaces each ``u`` by the derivative of a surrogate function there.

``c`` are 1, 0, the numbers of :data:`snn_core.backend.plan.FIRE`, and from :data:`OWN` on those of the cell itself.
``p``, ``v``, ``w``, ``g_v`` and ``g_p`` hold one row of ``n`` numbers for each parameter or state, one after the other.

The arithmetic is that of :mod:`snn_core.cells`, in its order and without fused multiply-add, so spikes equal those of
the torch loop to the bit. Constants such as 1 come from ``c``: Python's would widen everything to double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from snn_core.backend.compiled import function_at, row
from snn_core.backend.plan import FIRE

#: Where the numbers of the cell itself begin: after 1, 0 and those of :data:`snn_core.backend.plan.FIRE`.
OWN = 2 + len(FIRE)


@row
def fire_constants(c):
    return c[0], c[1], c[3], c[4], c[5], c[6], c[7]


@row
def fire_and_reset(h, k):
    """Return v after the step, the spike, and the distance from the threshold."""
    one, zero, threshold, keep, jump, _, _ = k
    u = h - threshold
    s = one if u >= zero else zero
    return (one - keep * s) * h + jump * s, s, u


@row
def through_spike(h, s, d, g_s, g_v, k):
    """Return the gradient of h from those of s and v, given the surrogate derivative d."""
    one, _, _, keep, _, slope_1, slope_h = k
    return (g_s + g_v * (slope_1 + slope_h * h)) * d + g_v * (one - keep * s)


def if_forward(n, c, p, x, v, w, y, u):
    k = fire_constants(c)
    for m in range(n):
        w[m], y[m], u[m] = fire_and_reset(v[m] + x[m], k)


def if_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
    k = fire_constants(c)
    for m in range(n):
        g_h = through_spike(v[m] + x[m], y[m], d[m], g_y[m], g_v[m], k)
        g_x[m] = g_h
        g_v[m] = g_h


def lif_forward(n, c, p, x, v, w, y, u):
    k, rest, tau = fire_constants(c), c[OWN], c[OWN + 1]
    for m in range(n):
        w[m], y[m], u[m] = fire_and_reset(v[m] + (x[m] - (v[m] - rest)) / tau, k)


def lif_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
    k, rest, tau = fire_constants(c), c[OWN], c[OWN + 1]
    for m in range(n):
        g_h = through_spike(v[m] + (x[m] - (v[m] - rest)) / tau, y[m], d[m], g_y[m], g_v[m], k)
        g_x[m] = g_h / tau
        g_v[m] = g_h - g_h / tau


def lif_whole_input_forward(n, c, p, x, v, w, y, u):
    k, rest, tau = fire_constants(c), c[OWN], c[OWN + 1]
    for m in range(n):
        w[m], y[m], u[m] = fire_and_reset(v[m] - (v[m] - rest) / tau + x[m], k)


def lif_whole_input_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
    k, rest, tau = fire_constants(c), c[OWN], c[OWN + 1]
    for m in range(n):
        g_h = through_spike(v[m] - (v[m] - rest) / tau + x[m], y[m], d[m], g_y[m], g_v[m], k)
        g_x[m] = g_h
        g_v[m] = g_h - g_h / tau


def plif_forward(n, c, p, x, v, w, y, u):
    k, rest = fire_constants(c), c[OWN]
    for m in range(n):
        w[m], y[m], u[m] = fire_and_reset(v[m] + (x[m] - (v[m] - rest)) * p[m], k)


def plif_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
    k, rest = fire_constants(c), c[OWN]
    for m in range(n):
        gap = x[m] - (v[m] - rest)
        g_h = through_spike(v[m] + gap * p[m], y[m], d[m], g_y[m], g_v[m], k)
        g_p[m] += g_h * gap
        g_x[m] = g_h * p[m]
        g_v[m] = g_h - g_h * p[m]


def synapse_filter_forward(n, c, p, x, v, w, y, u):
    one = c[0]
    for m in range(n):
        i = v[m] - (one - x[m]) * v[m] * p[m] + x[m]
        w[m] = i
        y[m] = i


def synapse_filter_backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
    one = c[0]
    for m in range(n):
        g_i = g_y[m] + g_v[m]
        quiet = g_i * (one - x[m])
        g_x[m] = g_i + g_i * p[m] * v[m]
        g_p[m] -= quiet * v[m]
        g_v[m] = g_i - quiet * p[m]


def sigmoid_derivative(n, c, u):
    one, a, b = c[0], c[8], c[9]
    for m in range(n):
        sigma = one / (one + np.exp(-a * u[m]))
        u[m] = b * sigma * (one - sigma)


def atan_derivative(n, c, u):
    one, a, b = c[0], c[8], c[9]
    for m in range(n):
        u[m] = b / (one + (a * u[m]) * (a * u[m]))


def erf_derivative(n, c, u):
    a, b = c[8], c[9]
    for m in range(n):
        u[m] = b * np.exp(-((a * u[m]) * (a * u[m])))


def fast_sigmoid_derivative(n, c, u):
    one, a, b = c[0], c[8], c[9]
    for m in range(n):
        u[m] = b / ((one + a * abs(u[m])) * (one + a * abs(u[m])))


def triangle_derivative(n, c, u):
    one, zero, a, b = c[0], c[1], c[8], c[9]
    for m in range(n):
        height = one - a * abs(u[m])
        u[m] = zero if height < zero else b * height  # NaN stays NaN


def rectangle_derivative(n, c, u):
    zero, a, b = c[1], c[8], c[9]
    for m in range(n):
        u[m] = b if abs(u[m]) < a else zero


@cache
def address(name: str, dtype: Any) -> int:
    """Return where the compiled row function ``name`` for numbers of this numpy dtype lies.

    Raises:
        ValueError: there is none of this name.
    """
    function: Callable[..., None] | None = globals().get(name)
    if function is None:
        raise ValueError(f"no CPU kernel has a row function {name!r}")
    pointer = types.CPointer(types.float64 if dtype == np.float64 else types.float32)
    return function_at(function, types.void(types.intp, *[pointer] * (function.__code__.co_argcount - 1)))
