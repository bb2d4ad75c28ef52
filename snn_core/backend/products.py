"""Matrix products for the CPU kernels.

A layer here has tens of neurons: its products are so small that a library's call costs as much as its work. They are
computed in tiles, see :mod:`snn_core.backend.tile`. No sum depends on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from snn_core.backend.compiled import row, walk
from snn_core.backend.tile import ROWS, VECTORS, add_narrow_tile, add_wide_tile, array_at, lanes

#: Rows of the input that one thread takes at a time.
BLOCK = 128
#: Parts of a sum over all rows, computed side by side.
PARTS = 8


@row
def add_product(  # noqa: ANN201
    a, p, a_row, step, rows, terms, b, q, b_row, columns, first, f, f_row, out, o, out_row  # noqa: ANN001
):  # fmt: skip
    """Write out[r, j] = first[r, j] + sum over k of a[r, k] b[k, j].

    All arrays are flat; ``p``, ``q``, ``f`` and ``o`` are where the matrices begin in them, ``a_row``, ``b_row``,
    ``f_row`` and ``out_row`` the distances between rows, ``step`` that between the columns of a. So a may be
    transposed, ``first`` one row for all, and ``first`` and ``out`` the same matrix.
    """
    width = lanes(out)
    for j in range(0, columns, VECTORS * width):
        left = columns - j
        for r in range(0, rows, ROWS):
            start, high = p + r * a_row, min(ROWS, rows - r)
            source, target = f + r * f_row + j, o + r * out_row + j
            if left > width:
                add_wide_tile(
                    a,
                    start,
                    a_row,
                    step,
                    terms,
                    b,
                    q + j,
                    b_row,
                    first,
                    source,
                    f_row,
                    out,
                    target,
                    out_row,
                    high,
                    left,
                )
            else:
                add_narrow_tile(
                    a,
                    start,
                    a_row,
                    step,
                    terms,
                    b,
                    q + j,
                    b_row,
                    first,
                    source,
                    f_row,
                    out,
                    target,
                    out_row,
                    high,
                    left,
                )


@row
def part(share, rows):  # noqa: ANN001, ANN201
    """Return where the part number ``share`` of so many rows begins and ends."""
    size = (rows + PARTS - 1) // PARTS
    return min(share * size, rows), min((share + 1) * size, rows)


@row
def add_weight_gradient(g, lo, hi, J, x, delay, K, out, o, out_row):  # noqa: ANN001, ANN201
    """Add to ``out[o:]`` the sum over rows lo <= m < hi of g[m]^T x[m - delay], for g ``[M, J]`` and x ``[M, K]``."""
    for m in range(lo, hi, BLOCK):
        count = min(BLOCK, hi - m)
        add_product(g, m * J, 1, J, J, count, x, (m - delay) * K, K, K, out, o, out_row, out, o, out_row)


@row
def add_rows(g, lo, hi, J, out):  # noqa: ANN001, ANN201
    """Add the rows lo <= m < hi of g ``[M, J]`` to ``out``."""
    one = np.ones(1, g.dtype)
    add_product(one, 0, 0, 0, 1, hi - lo, g, lo * J, J, J, out, 0, 0, out, 0, 0)


@row
def add_parts(parts, out):  # noqa: ANN001, ANN201
    """Write the sum of the parts, in their order."""
    out[:] = parts[0]
    for share in range(1, len(parts)):
        for m in range(len(out)):
            out[m] += parts[share, m]


@walk
def linear_forward(M, K, J, one, x, weight_t, bias, out):  # noqa: ANN001, ANN201
    """Write out = x W^T + bias for x ``[M, K]`` and W^T ``[K, J]``; ``one`` has the dtype of all."""
    a, b, first, o = (
        array_at(x, (M * K,), one),
        array_at(weight_t, (K * J,), one),
        array_at(bias, (J,), one),
        array_at(out, (M * J,), one),
    )
    for block in prange((M + BLOCK - 1) // BLOCK):
        lo = block * BLOCK
        add_product(a, lo * K, K, 1, min(BLOCK, M - lo), K, b, 0, J, J, first, 0, 0, o, lo * J, J)


@walk
def linear_backward_weight(M, K, J, one, grad, x, g_weight, g_bias):  # noqa: ANN001, ANN201
    """Write grad^T x and the sum of grad's rows, for grad ``[M, J]`` and x ``[M, K]``."""
    g, a = array_at(grad, (M * J,), one), array_at(x, (M * K,), one)
    weights, biases = np.zeros((PARTS, J * K), g.dtype), np.zeros((PARTS, J), g.dtype)
    for share in prange(PARTS):
        lo, hi = part(share, M)
        add_weight_gradient(g, lo, hi, J, a, 0, K, weights[share], 0, K)
        add_rows(g, lo, hi, J, biases[share])
    add_parts(weights, array_at(g_weight, (J * K,), one))
    add_parts(biases, array_at(g_bias, (J,), one))
