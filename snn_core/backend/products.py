"""Matrix products for the CPU kernels.

A layer here has tens of neurons: its products are so small that a library's call costs as much as its work. They are
computed in tiles, see :mod:`snn_core.backend.tile`. No sum depends on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from snn_core.backend.compiled import row, walk
from snn_core.backend.tile import ROWS, VECTORS, add_tile, array_at, lanes

#: Rows of the input that one thread takes at a time.
BLOCK = 128
#: Parts of a sum over all rows, computed side by side.
PARTS = 8


@row
def add_product(
    a, p, a_row, step, rows, terms, b, q, b_row, columns, first, f, f_row, out, o, out_row
):  # fmt: skip
    """Write out[r, j] = first[r, j] + sum over k of a[r, k] b[k, j].

    All arrays are flat; ``p``, ``q``, ``f`` and ``o`` are where the matrices begin in them, ``a_row``, ``b_row``,
    ``f_row`` and ``out_row`` the distances between rows, ``step`` that between the columns of a. So a may be
    transposed, ``first`` one row for all, and ``first`` and ``out`` the same matrix.
    """
    width = VECTORS * lanes(out)
    for j in range(0, columns, width):
        for r in range(0, rows, ROWS):
            start, source, target = p + r * a_row, f + r * f_row + j, o + r * out_row + j
            high, wide = min(ROWS, rows - r), columns - j
            add_tile(
                a, start, a_row, step, terms, b, q + j, b_row, first, source, f_row, out, target, out_row, high, wide
            )  # fmt: skip


@row
def _add_weight_gradient(g, lo, hi, J, x, K, weights, biases):
    """Add g^T x and the sum of g's rows, for the rows lo <= m < hi of g ``[M, J]`` and x ``[M, K]``."""
    one = np.ones(1, g.dtype)
    for m in range(lo, hi, BLOCK):
        count = min(BLOCK, hi - m)
        add_product(g, m * J, 1, J, J, count, x, m * K, K, K, weights, 0, K, weights, 0, K)
        add_product(one, 0, 0, 0, 1, count, g, m * J, J, J, biases, 0, 0, biases, 0, 0)


@walk
def linear_forward(M, K, J, one, x, weight_t, bias, out):
    """Write out = x W^T + bias for x ``[M, K]`` and W^T ``[K, J]``; ``one`` has the dtype of all."""
    a, b = array_at(x, (M * K,), one), array_at(weight_t, (K * J,), one)
    first, o = array_at(bias, (J,), one), array_at(out, (M * J,), one)
    for block in prange((M + BLOCK - 1) // BLOCK):
        lo = block * BLOCK
        add_product(a, lo * K, K, 1, min(BLOCK, M - lo), K, b, 0, J, J, first, 0, 0, o, lo * J, J)


@walk
def linear_backward_weight(M, K, J, one, grad, x, g_weight, row_size, g_bias):
    """Add grad^T x to the first K columns of rows of ``row_size``, and the sum of grad's rows to ``g_bias``."""
    g, a = array_at(grad, (M * J,), one), array_at(x, (M * K,), one)
    weights, biases = np.zeros((PARTS, J * K), g.dtype), np.zeros((PARTS, J), g.dtype)
    size = (M + PARTS - 1) // PARTS
    for part in prange(PARTS):
        lo = min(part * size, M)
        _add_weight_gradient(g, lo, min(lo + size, M), J, a, K, weights[part], biases[part])
    out, total = array_at(g_weight, ((J - 1) * row_size + K,), one), array_at(g_bias, (J,), one)
    for part in range(PARTS):  # in their order, whichever thread was first
        for j in range(J):
            total[j] += biases[part, j]
            for k in range(K):
                out[j * row_size + k] += weights[part, j * K + k]
