"""Matrix products for the CPU kernels.

A layer here has tens of neurons: its products are so small that a library's call costs as much as its work. They are
computed in tiles, see :mod:`snn_core.kernels.cpu.tile`. Each sum runs over its terms in their order, whatever its tile.
"""

from __future__ import annotations

from snn_core.kernels.cpu.compiled import helper
from snn_core.kernels.cpu.tile import ROWS, add_tile, width_of


@helper
def add_product(
    a, p, a_row, step, rows, terms, b, q, b_row, strip, columns, first, f, f_row, out, o, out_row, group=0
):  # fmt: skip
    """Write out[r, j] = first[r, j] + sum over k of a[r, k] b[k, j].

    All arrays are flat; ``p``, ``q``, ``f`` and ``o`` are where the matrices begin in them, ``a_row``, ``b_row``,
    ``f_row`` and ``out_row`` the distances between rows, ``step`` that between the columns of a. So a may be
    transposed, ``first`` one row for all, and ``first`` and ``out`` the same matrix. ``strip`` is the distance between
    two strips of b as wide as a tile, ``group`` that between two of a as high as a tile; 0 where they lie side by side.
    """
    width = width_of(out)
    for j in range(0, columns, width):
        at = q + (j // width * strip if strip else j)
        for r in range(0, rows, ROWS):
            start = p + (r // ROWS * group if group else r * a_row)
            source, target = f + r * f_row + j, o + r * out_row + j
            high, wide = min(ROWS, rows - r), columns - j
            add_tile(
                a, start, a_row, step, terms, b, at, b_row, first, source, f_row, out, target, out_row, high, wide
            )  # fmt: skip


@helper
def pack(source, row, column, terms, columns, width, out, to):
    """Write the matrix ``source[k * row + j * column]`` in strips of ``width``, one after the other, at ``to``.

    So a product reads numbers that lie side by side: rows that are thousands of numbers apart share few places in a
    core's cache.
    """
    for j in range(0, columns, width):
        wide = min(width, columns - j)
        for k in range(terms):
            at = to + j * terms + k * width
            for m in range(wide):
                out[at + m] = source[k * row + (j + m) * column]
