"""The scan of a whole plan on the CPU, forward and backward, compiled by numba on first use and cached on disk.

``README.md`` in the folder above draws its three loops, what lies where, and what is kept for the backward pass. A
stage is a row of the table of ``launch.py``; its columns are the constants below. Offsets in ``w``, which holds what
the forward pass computes, and in ``u``, which holds what the backward pass does, are in numbers for each sample. Slot 0
of states is the one before the segment's first step. So is slot D - 1 of outputs, of which ``BEFORE`` = D go back, at
least one; slots before hold those of earlier steps. With taps those of each neuron are first added up, to the sum Z;
without, D is 1.

Where sequences have different lengths, samples are sorted, the longest first. So those that take part in a step are the
first of a block; for the others the states stay what they were at their own end, outputs and gradients are 0.
"""

from __future__ import annotations

import numpy as np

from snn_core.kernels import plan
from snn_core.kernels.cpu.compiled import row
from snn_core.kernels.cpu.products import add_product, pack
from snn_core.kernels.cpu.threads import add
from snn_core.kernels.cpu.tile import ROWS, address_of, array_at, call, copy, width_of
from snn_core.kernels.limits import MOST_PARAMETERS, MOST_STATES

LINEAR, CELL = range(2)
NO_LOSS, MSE, CROSS_ENTROPY = range(3)
(
    KIND, FEEDBACK, BEFORE, INPUTS, OUTPUTS, FORWARD, BACKWARD, STATES, PARAMETERS, Y, V, CURRENT, Z, GZ, P, GP, GV, GY,
    TO_Y, FROM_Y, OF_Y, FROM_OF_Y, PACKED_BIAS, GRADIENT, STATE, WEIGHT, BIAS, TAPS, PARAMETER,
) = range(29)  # fmt: skip
SIZE = PARAMETER + MOST_PARAMETERS
FIRST = SIZE + MOST_PARAMETERS  # addresses of states before the first step, then of y
LAST = FIRST + MOST_STATES + 1  # after the last step
SEQ = LAST + MOST_STATES + 1  # of all steps of states, and last of outputs, where they are returned
G_LAST = SEQ + MOST_STATES + 1  # of the gradients of both
G_SEQ = G_LAST + MOST_STATES + 1
COLUMNS = G_SEQ + MOST_STATES + 1
#: A layer has its inputs packed for the gradient of its weights if it has more inputs and outputs than this.
PACKED_FROM = 128
#: Numbers of a stage: one, zero, and those of :mod:`snn_core.kernels.plan`.
NUMBERS = 2 + plan.NUMBERS


@row
def _copy_strided(source, at, by, to, target, count):
    if by == 1:
        copy(source, at, to, target, count)
    else:
        for m in range(count):
            target[to + m] = source[at + m * by]


@row
def _fill(w, at, count, value):
    # Of a slice from 0 on numba need not ask whether an index is negative, here and below.
    target = w[at : at + count]
    for m in range(count):
        target[m] = value


@row
def _add(w, at, to, count):
    more, target = w[at : at + count], w[to : to + count]
    for m in range(count):
        target[m] += more[m]


@row
def _load(source, by_t, by_n, by_i, index, t0, steps, lo, n, features, one, to, w):
    """Copy a block of a sequence for some steps, ``[steps, n, features]``; with an index, its samples."""
    if index == 0 and (features == 1 or (by_i == 1 and by_n == features)):
        last = (t0 + steps - 1) * by_t + (lo + n - 1) * by_n + features - 1
        numbers, by = array_at(source, (last + 1,), one), by_n if features == 1 else 1
        for t in range(steps):
            at = (t0 + t) * by_t + lo * by_n
            _copy_strided(numbers, at, by, to + t * n * features, w, n * features)
        return
    samples = array_at(index, (lo + n,), by_t)
    for m in range(n):  # outside, since the steps of a sample often lie side by side
        sample = samples[lo + m] if index else lo + m
        last = (t0 + steps - 1) * by_t + sample * by_n + (features - 1) * by_i
        numbers = array_at(source, (last + 1,), one)
        for t in range(steps):
            at = (t0 + t) * by_t + sample * by_n
            _copy_strided(numbers, at, by_i, to + (t * n + m) * features, w, features)


@row
def _load_given(st, given, v, y, N, lo, n, one, w):
    """Load the states of a stage whose addresses are given, from that column on; see :func:`_move_states`."""
    J, S, count = st[OUTPUTS], st[STATES], n * st[OUTPUTS]
    for s in range(S + (1 if st[FEEDBACK] else 0)):
        address, D = st[given + (s if s < S else MOST_STATES)], 1 if s < S else st[FEEDBACK]
        source = array_at(address, (D * N * J,), one)
        for d in range(D if address else 0):
            to = (st[v] * n + s * count) if s < S else (st[y] * n + (D - 1 - d) * count)
            copy(source, (d * N + lo) * J, to, w, count)


@row
def _begin(table, numbers, N, lo, n, one, w):
    """Load the parameters and the states before the first step of a block."""
    for k, st in enumerate(table):
        J, count = st[OUTPUTS], n * st[OUTPUTS]
        for p in range(st[PARAMETERS]):
            size, to = st[SIZE + p], st[P] * n + p * count
            parameter = array_at(st[PARAMETER + p], (size,), one)
            if size == 1:
                _fill(w, to, count, parameter[0])
            elif size == J:
                for m in range(n):
                    copy(parameter, 0, to + m * J, w, J)
            else:
                for m in range(count):
                    w[to + m] = parameter[(lo * J + m) % size]
        for s in range(st[STATES]):
            _fill(w, st[V] * n + s * count, count, numbers[k * NUMBERS + 2 + s])
        _fill(w, st[Y] * n, st[FEEDBACK] * count, one - one)
        _load_given(st, FIRST, V, Y, N, lo, n, one, w)


@row
def _taking_part(lengths, t, n):
    """Return how many samples of a block, the first, take part in a step; all where there are no lengths."""
    while len(lengths) and n > 0 and lengths[n - 1] <= t:
        n -= 1
    return n


@row
def _lengths_of(a, lo, n):
    """Return the lengths of a block's samples, none where all take all steps, and the number of its steps."""
    lengths = array_at(a[LENGTHS], (lo + n,), n)[lo : lo + (n if a[LENGTHS] else 0)]
    return lengths, lengths[0] if a[LENGTHS] else a[STEPS]


@row
def _move_states(table, v, y, states, is_load, N, lo, n, w):
    """Load the states of every stage, ``[state, N, J]``, or store them; columns ``v`` and ``y`` say where they are.

    Outputs that go back are the last of a stage's states, the newest of them first.
    """
    for st in table:
        J, count = st[OUTPUTS], n * st[OUTPUTS]
        S, D = st[STATES], st[FEEDBACK]
        for s in range(S + D):
            here = (st[v] * n + s * count) if s < S else (st[y] * n + (D - 1 - s + S) * count)
            there = (st[STATE] + s * J) * N + lo * J
            if is_load:
                copy(states, there, here, w, count)
            else:
                copy(w, here, there, states, count)


@row
def _store_last(table, t0, steps, N, lo, n, lengths, one, w):
    """Store the states after a segment that is the last, or after each sample's own end."""
    for st in table:
        J, S, count = st[OUTPUTS], st[STATES], n * st[OUTPUTS]
        together = len(lengths) == 0 or lengths[n - 1] >= t0 + steps
        for s in range(S + (1 if st[FEEDBACK] else 0)):
            D = 1 if s < S else st[FEEDBACK]
            last = array_at(st[LAST + (s if s < S else MOST_STATES)], (D * N * J,), one)
            for d in range(D):
                at, by = (
                    (st[V] * n + s * count, S * count) if s < S else (st[Y] * n + (D - 1 - d) * count, count)
                )
                to = (d * N + lo) * J
                if together:
                    copy(w, at + steps * by, to, last, count)
                    continue
                for m in range(n):
                    end = max(min(lengths[m] - t0, steps), 0)
                    copy(w, at + end * by + m * J, to + m * J, last, J)


@row
def _store_seqs(table, t0, steps, N, lo, n, one, w):
    """Store what is returned of each step: states after it, and outputs, ``[T, N, J]``."""
    for st in table:
        J, S, count = st[OUTPUTS], st[STATES], n * st[OUTPUTS]
        for s in range(MOST_STATES + 1):
            if st[SEQ + s] == 0:
                continue
            at, by = (
                (st[V] * n + (S + s) * count, S * count)
                if s < MOST_STATES
                else (st[Y] * n + st[BEFORE] * count, count)
            )
            target = array_at(st[SEQ + s], ((t0 + steps) * N * J,), one)
            for t in range(steps):
                copy(w, at + t * by, ((t0 + t) * N + lo) * J, target, count)


@row
def _add_seq_gradients(st, at, live, count, n, out, one, u):
    """Add the gradients of what was returned of a step, from ``at`` on, to those of its states and outputs."""
    for s in range(MOST_STATES + 1):
        if st[G_SEQ + s]:
            g, to = array_at(st[G_SEQ + s], (at + live,), one), st[GV] * n + s * count
            target = u[out if s == MOST_STATES else to :]
            for m in range(live):
                target[m] += g[at + m]


@row
def _carry(table, t0, steps, n, lengths, w):
    """Make the states after a segment, or after each sample's own end in it, those before the next."""
    for st in table:
        J, S, count = st[OUTPUTS], st[STATES], n * st[OUTPUTS]
        size, v, y = S * count, st[V] * n, st[Y] * n
        for m in range(_taking_part(lengths, t0, n)):
            end = min(lengths[m] - t0, steps) if len(lengths) else steps
            for s in range(S):
                copy(w, v + end * size + s * count + m * J, v + s * count + m * J, w, J)
            for d in range(st[FEEDBACK]):
                copy(w, y + (end + d) * count + m * J, y + d * count + m * J, w, J)


@row
def _input_of(table, k, n):
    """Return where the input of stage k, which is the output of the one before, begins in scratch."""
    return 0 if k == 0 else table[k - 1, Y] * n + n * table[k - 1, OUTPUTS] * table[k - 1, BEFORE]


@row
def _delay(w, y, taps, D, count, samples, J, to):
    """Write the sum of each neuron's outputs y[t-1], y[t-2], ... times its taps; y[t-1] begins at ``y``."""
    _fill(w, to, samples * J, taps[0] - taps[0])
    for m in range(samples):
        target = w[to + m * J : to + (m + 1) * J]
        for d in range(D):
            at = y + m * J - d * count
            outputs, factors = w[at : at + J], taps[d * J : (d + 1) * J]
            for j in range(J):
                target[j] += factors[j] * outputs[j]


@row
def _delay_backward(w, u, y, g_y, g_z, taps, D, count, samples, J, g_taps):
    """Take the gradient of the sum to the outputs, of which the earliest has none yet, and to the taps."""
    _fill(u, g_y - (D - 1) * count, samples * J, taps[0] - taps[0])
    for m in range(samples):
        g = u[g_z + m * J : g_z + (m + 1) * J]
        for d in range(D):
            at = m * J - d * count
            outputs, target = w[y + at : y + at + J], u[g_y + at : g_y + at + J]
            factors, sums = taps[d * J : (d + 1) * J], g_taps[d * J : (d + 1) * J]
            for j in range(J):
                sums[j] += g[j] * outputs[j]
                target[j] += g[j] * factors[j]


@row
def _forward(table, numbers, t0, steps, n, lengths, weights, w):
    """Take a block through some steps of all stages."""
    zero, width = numbers[1], width_of(w)
    for k, st in enumerate(table):
        I_, J, D, x = st[INPUTS], st[OUTPUTS], st[FEEDBACK], _input_of(table, k, n)
        count, y, strip = n * J, _input_of(table, k + 1, n), I_ * width
        sums, bias = y if st[KIND] == LINEAR else st[CURRENT] * n, st[PACKED_BIAS]
        if st[KIND] == LINEAR or D:
            add_product(
                w, x, I_, 1, steps * n, I_, weights, st[TO_Y], width, strip, J, weights, bias, 0, w, sums, J
            )  # fmt: skip
        if st[KIND] == LINEAR:
            continue
        taps = array_at(st[TAPS], (D * J,), zero)
        for t in range(steps):
            i, before, live = x + t * count, y + (t - 1) * count, _taking_part(lengths, t0 + t, n)
            if D:
                i = sums + t * count
                if st[TAPS]:
                    z = st[Z] * n + t * count
                    _delay(w, before, taps, D, count, live, J, z)
                    _fill(w, z + live * J, count - live * J, zero)
                    before = z
                add_product(w, before, J, 1, live, J, weights, st[OF_Y], width, strip, J, w, i, J, w, i, J)
            _fill(w, y + t * count + live * J, count - live * J, zero)
            v = st[V] * n + t * st[STATES] * count
            call(
                st[FORWARD],
                (
                    live * J, count, address_of(numbers, k * NUMBERS), address_of(w, st[P] * n), address_of(w, i),
                    address_of(w, v), address_of(w, v + st[STATES] * count), address_of(w, y + t * count),
                ),
            )  # fmt: skip


@row
def _feedback_backward(st, weights, g_i, slot, n, live, one, zeros, g_taps, w, u):
    """Take the gradient of a step's input to the outputs that went into it, of which the last has this slot.

    The earliest of them gets its first gradient here.
    """
    J, D, width = st[OUTPUTS], st[FEEDBACK], width_of(w)
    to = st[GY] * n + slot * n * J
    target = st[GZ] * n if st[TAPS] else to
    add_product(u, g_i, J, 1, live, J, weights, st[FROM_OF_Y], width, J * width, J, zeros, 0, 0, u, target, J)
    if st[TAPS]:
        taps = array_at(st[TAPS], (D * J,), one)
        _delay_backward(w, u, st[Y] * n + slot * n * J, to, target, taps, D, n * J, live, J, g_taps)


@row
def _carry_back(table, t0, steps, n, lengths, u):
    """Make the gradients of the outputs before a segment those at the end of the one before, or at samples' ends."""
    for st in table:
        J, D, g_y = st[OUTPUTS], st[FEEDBACK], st[GY] * n
        count = n * J
        for m in range(_taking_part(lengths, t0, n) if D else 0):
            end = min(lengths[m] - t0, steps) if len(lengths) else steps
            for d in range(D - 1, -1, -1):
                copy(u, g_y + d * count + m * J, g_y + (end + d) * count + m * J, u, J)


@row
def _weight_gradient(u, g, J, rows, w, x, I_, gradient, at, by, packed):
    """Add the product of gradients ``[rows, J]`` and inputs ``[rows, I]`` to the gradient ``[J, I]`` of a weight.

    Those of large layers are packed first, at ``packed``: the inputs strip by strip, the gradients at once behind.
    """
    width = width_of(w)
    if I_ <= PACKED_FROM or J <= PACKED_FROM:
        add_product(u, g, 1, J, J, rows, w, x, I_, 0, I_, gradient, at, by, gradient, at, by)
        return
    gradients, group = packed + rows * width, rows * ROWS
    pack(u[g:], J, 1, rows, J, ROWS, u, gradients)
    for i in range(0, I_, width):
        wide = min(width, I_ - i)
        pack(w[x + i :], I_, 1, rows, wide, width, u, packed)
        add_product(
            u, gradients, 1, ROWS, J, rows, u, packed, width, 0, wide, gradient, at + i, by, gradient, at + i, by,
            group,
        )  # fmt: skip


@row
def _backward(
    table, numbers, t0, steps, N, lo, n, lengths, one, zeros, weights, gradient, needs_x, a, b, packed, w, u
):  # fmt: skip
    """Take the gradient of a block's outputs at ``a`` back through all stages; return where that of its input is.

    ``zeros`` ends with a 1, by which rows are summed.
    """
    last, width = len(zeros) - 1, width_of(w)
    for k in range(len(table) - 1, -1, -1):
        st = table[k]
        I_, J, D, x = st[INPUTS], st[OUTPUTS], st[FEEDBACK], _input_of(table, k, n)
        count, rows, g, columns = n * J, steps * n, st[GRADIENT], 2 * J if D else I_
        bias = g + J * columns
        if st[KIND] == CELL:
            c, y, i = address_of(numbers, k * NUMBERS), st[Y] * n, st[CURRENT] * n if D else x
            g_taps = gradient[bias + J : bias + J + (D * J if st[TAPS] else 0)]
            for t in range(steps - 1, -1, -1):
                out, live = a + t * count, _taking_part(lengths, t0 + t, n)
                if D:
                    _add(u, st[GY] * n + (D + t) * count, out, live * J)
                _add_seq_gradients(st, ((t0 + t) * N + lo) * J, live * J, count, n, out, one, u)
                v = st[V] * n + t * st[STATES] * count
                call(
                    st[BACKWARD],
                    (
                        live * J, count, c, address_of(w, st[P] * n), address_of(w, i + t * count), address_of(w, v),
                        address_of(u, out), address_of(u, st[GV] * n), address_of(u, b + t * count),
                        address_of(u, st[GP] * n),
                    ),
                )  # fmt: skip
                _fill(u, b + t * count + live * J, count - live * J, one - one)
                if D:
                    _feedback_backward(
                        st, weights, b + t * count, D + t - 1, n, live, one, zeros, g_taps, w, u
                    )
            a, b = b, a
            if D == 0:
                continue
            before = st[Z] * n if st[TAPS] else y + (D - 1) * count
            _weight_gradient(u, a, J, rows, w, before, J, gradient, g + J, columns, packed)
        _weight_gradient(u, a, J, rows, w, x, I_, gradient, g, columns, packed)
        add_product(zeros, last, 0, 0, 1, rows, u, a, J, 0, J, gradient, bias, 0, gradient, bias, 0)
        if k > 0 or needs_x:
            add_product(u, a, J, 1, rows, J, weights, st[FROM_Y], width, J * width, I_, zeros, 0, 0, u, b, I_)
            a, b = b, a
    return a


@row
def _begin_backward(table, N, lo, n, one, u):
    """Load the gradients of the states after the last step, and clear those of parameters."""
    for st in table:
        count = n * st[OUTPUTS]
        _fill(u, st[GP] * n, st[PARAMETERS] * count, one - one)
        _fill(u, st[GV] * n, st[STATES] * count, one - one)
        _fill(u, st[GY] * n, st[FEEDBACK] * count, one - one)
        _load_given(st, G_LAST, GV, GY, N, lo, n, one, u)


@row
def _end_backward(table, N, lo, n, one, size, g_first, gradient, u):
    """Store the gradients of the states before the first step, and add those of parameters."""
    if g_first:
        _move_states(table, GV, GY, array_at(g_first, (size,), one), False, N, lo, n, u)
    for st in table:
        J, D, count = st[OUTPUTS], st[FEEDBACK], n * st[OUTPUTS]
        g = st[GRADIENT] + ((2 * J + 1) * J + (D * J if st[TAPS] else 0) if D else 0)
        for p in range(st[PARAMETERS]):
            size, at = st[SIZE + p], st[GP] * n + p * count
            for m in range(count):
                gradient[g + (lo * J + m) % size] += u[at + m]
            g += size


#: The arguments of the kernels, integers and addresses, in their order; ``COUNTER`` is the next item of work.
(
    COUNTER, THREADS, _SCRATCH, NUMBER_BYTES, ITEMS, STAGES_OF, STEPS, SAMPLES_OF, SEGMENT, BLOCK, PER_ITEM, X, X_T,
    X_N, X_I, TABLE, CONSTANTS, SCRATCH_SIZE, WORK_SIZE, PACKED_WORK, PACKED, PACKED_SIZE, STATE_SIZE, WIDEST, KEPT,
    BORDERS, LENGTHS, Y_SEQ, G_Y, G_T, G_N, G_I, G_X, G_FIRST, SUMS, SUM_SIZE, ZEROS, LOSS, LABELS, OUT,
    INDEX, ARGUMENTS,
) = range(42)  # fmt: skip


@row
def _open(arguments, numbers):
    """Return what both directions read of the arguments; the last is the number of all samples' states."""
    a, one = array_at(arguments, (ARGUMENTS,), arguments), numbers[0]
    table = array_at(a[TABLE], (a[STAGES_OF], COLUMNS), arguments)
    constants = array_at(a[CONSTANTS], (len(table) * NUMBERS,), one)
    weights = array_at(a[PACKED], (a[PACKED_SIZE],), one)
    size = a[STATE_SIZE] * a[SAMPLES_OF]
    return a, one, a[STEPS], a[SAMPLES_OF], a[SEGMENT], a[BLOCK], table, constants, weights, size


@row
def _blocks_of(a, item):
    """Return the first block of an item of work, and the one after its last."""
    per, blocks = a[PER_ITEM], (a[SAMPLES_OF] + a[BLOCK] - 1) // a[BLOCK]
    return item * per, min((item + 1) * per, blocks)


@row
def _scratch(a, one):
    """Return arrays ``w`` and ``u`` that no other thread has."""
    size, work = a[SCRATCH_SIZE] * a[BLOCK], a[WORK_SIZE] * a[BLOCK]
    at = a[_SCRATCH] + add(address_of(a, THREADS), 1) * (size + work) * a[NUMBER_BYTES]
    return array_at(at, (size,), one), array_at(at + size * a[NUMBER_BYTES], (work,), one)


@row
def _kept(a, block, t0, one, w):
    """Return the array ``w`` of a block and a segment that is kept for the backward pass, or ``w`` itself.

    ``KEPT`` is the address of the addresses of what all blocks keep.
    """
    if a[KEPT] == 0:
        return w
    size, addresses = a[SCRATCH_SIZE] * a[BLOCK], array_at(a[KEPT], (block + 1,), block)
    return array_at(addresses[block] + t0 // a[SEGMENT] * size * a[NUMBER_BYTES], (size,), one)


def pack_weights(arguments, numbers):
    """Write the weights of every stage in strips, for the forward and for the backward pass, and its bias.

    ``TO_Y`` is where the matrix from the input to the stage's product begins, ``FROM_Y`` its transpose; ``OF_Y`` and
    ``FROM_OF_Y`` are those of outputs that go back.
    """
    _, one, _, _, _, _, table, _, out, _ = _open(arguments, numbers)
    for st in table:
        if st[KIND] != LINEAR and st[FEEDBACK] == 0:
            continue
        I_, J, width = st[INPUTS], st[OUTPUTS], width_of(out)
        columns = I_ if st[KIND] == LINEAR else 2 * J
        weight = array_at(st[WEIGHT], (J * columns,), one)
        pack(weight, 1, columns, I_, J, width, out, st[TO_Y])
        pack(weight, columns, 1, J, I_, width, out, st[FROM_Y])
        if st[KIND] != LINEAR:
            pack(weight[J:], 1, columns, J, J, width, out, st[OF_Y])
            pack(weight[J:], columns, 1, J, J, width, out, st[FROM_OF_Y])
        bias, at = array_at(st[BIAS], (J,), one), st[PACKED_BIAS]
        for j in range(J):
            out[at + j] = bias[j] if st[BIAS] else one - one


@row
def _forward_segment(a, table, c, weights, between, block, t0, steps, lo, n, lengths, one, own, w):
    """Take a block through the segment at t0, with the states before it noted; return the array where it is."""
    N, L, size = a[SAMPLES_OF], a[SEGMENT], a[STATE_SIZE] * a[SAMPLES_OF]
    if t0:
        border = between[(t0 // L - 1) * size :]
        _carry(table, t0 - L, L, n, lengths, w)
        _move_states(table, V, Y, border, False, N, lo, n, w)
        if a[KEPT]:
            w = _kept(a, block, t0, one, own)
            _begin(table, c, N, lo, n, one, w)
            _move_states(table, V, Y, border, True, N, lo, n, w)
    _load(a[X], a[X_T], a[X_N], a[X_I], a[INDEX], t0, steps, lo, n, table[0, INPUTS], one, 0, w)
    _forward(table, c, t0, steps, n, lengths, weights, w)
    return w


def scan_forward(arguments, numbers):
    """Take samples through all stages; write outputs ``[T, N, J]``, the last states and those at borders."""
    a, one, T, N, L, S, st, c, weights, size = _open(arguments, numbers)
    J = st[-1, OUTPUTS]
    out = array_at(a[Y_SEQ], (T * N * J,), one)
    between = array_at(a[BORDERS], (((T + L - 1) // L - 1) * size,), one)
    own, _ = _scratch(a, one)
    while True:
        item = add(address_of(a, COUNTER), 1)
        if item >= a[ITEMS]:
            break
        first, end = _blocks_of(a, item)
        for block in range(first, end):
            lo, w = block * S, _kept(a, block, 0, one, own)
            n = min(S, N - lo)
            lengths, end = _lengths_of(a, lo, n)
            _begin(st, c, N, lo, n, one, w)
            t0, steps = 0, 0
            for t0 in range(0, end, L):
                steps = min(L, end - t0)
                w = _forward_segment(
                    a, st, c, weights, between, block, t0, steps, lo, n, lengths, one, own, w
                )
                y = _input_of(st, len(st), n)
                for t in range(steps):
                    copy(w, y + t * n * J, ((t0 + t) * N + lo) * J, out, n * J)
                _store_seqs(st, t0, steps, N, lo, n, one, w)
            _store_last(st, t0, steps, N, lo, n, lengths, one, w)


@row
def _loss(a, lo, n, J, one, total, g):
    """Turn the sum of outputs over time into their mean; return the sum of the losses and how many samples are right.

    ``g`` becomes the gradient of the mean loss over all samples to each of the outputs.
    """
    zero, lost, right, N, T = one - one, 0.0, 0.0, a[SAMPLES_OF], type(one)(a[STEPS])
    index = array_at(a[INDEX], (N,), N)
    for m in range(len(total)):
        total[m] = total[m] / T
    for m in range(n):
        sample = index[lo + m] if a[INDEX] else lo + m
        target = array_at(a[LABELS], (sample + 1,), N)[sample]
        at, best, exponentials = m * J, 0, zero
        for j in range(J):
            best = j if total[at + j] > total[at + best] else best
        right += best == target
        if a[LOSS] == CROSS_ENTROPY:
            for j in range(J):
                g[at + j] = np.exp(total[at + j] - total[at + best])
                exponentials += g[at + j]
            lost += np.log(exponentials) + total[at + best] - total[at + target]
        for j in range(J):
            goal = one if j == target else zero
            if a[LOSS] == MSE:
                error = total[at + j] - goal
                lost += error * error / J
                g[at + j] = (error + error) / type(one)(N * J) / T
            else:
                g[at + j] = (g[at + j] / exponentials - goal) / type(one)(N) / T
    return lost, right


@row
def _read_out(a, table, c, weights, block, lo, n, one, between, g, w):
    """Take a block forward through all segments; return its losses, and how many samples are right, see `_loss`.

    Afterwards the last segment is in ``w``, and the states before each are kept.
    """
    T, L, J = a[STEPS], a[SEGMENT], table[-1, OUTPUTS]
    total = array_at(a[OUT], (a[SAMPLES_OF] * J,), one)[lo * J : (lo + n) * J]
    lengths, _ = _lengths_of(a, lo, n)
    _fill(total, 0, n * J, one - one)
    for t0 in range(0, T, L):
        steps = min(L, T - t0)
        _forward_segment(a, table, c, weights, between, block, t0, steps, lo, n, lengths, one, w, w)
        y = _input_of(table, len(table), n)
        for t in range(steps):
            outputs = w[y + t * n * J : y + (t + 1) * n * J]
            for m in range(n * J):
                total[m] += outputs[m]
    return _loss(a, lo, n, J, one, total, g)


def scan_backward(arguments, numbers):
    """Take samples back, forward again before unless that was kept: gradients of all that went into the scan.

    With a loss the gradient of the outputs is computed here, from their mean over time; the sum of the losses and the
    number of samples that are right follow the gradients of weights and parameters.
    """
    a, one, T, N, L, S, st, c, weights, size = _open(arguments, numbers)
    features, J = st[0, INPUTS], st[-1, OUTPUTS]
    between = array_at(a[BORDERS], (((T + L - 1) // L - 1) * size,), one)
    zeros, sums = array_at(a[ZEROS], (a[WIDEST] + 1,), one), array_at(a[SUMS], (a[ITEMS], a[SUM_SIZE]), one)
    g_input = array_at(a[G_X], (T * N * features,), one)
    own, u = _scratch(a, one)
    while True:
        item = add(address_of(a, COUNTER), 1)
        if item >= a[ITEMS]:
            break
        first, end = _blocks_of(a, item)
        gradient, lost, right = sums[item], 0.0, 0.0
        _fill(gradient, 0, a[SUM_SIZE], one - one)
        for block in range(first, end):
            lo, w = block * S, own
            n = min(S, N - lo)
            if a[KEPT] == 0:
                _begin(st, c, N, lo, n, one, w)
            _begin_backward(st, N, lo, n, one, u)
            one_side, other = (a[WORK_SIZE] - 2 * L * a[WIDEST]) * n, (a[WORK_SIZE] - L * a[WIDEST]) * n
            mean = u[one_side - a[WIDEST] * n : one_side]
            packed = one_side - (a[WIDEST] + a[PACKED_WORK]) * n
            if a[LOSS]:
                more = _read_out(a, st, c, weights, block, lo, n, one, between, mean, w)
                lost, right = lost + more[0], right + more[1]
            lengths, end = _lengths_of(a, lo, n)
            first_of_last = (end - 1) // L * L
            for t0 in range(first_of_last, -1, -L):
                steps = min(L, end - t0)
                w = _kept(a, block, t0, one, own)
                if t0 < first_of_last or a[LOSS] == NO_LOSS:
                    # The forward pass has put the states at its end where those before the segment were.
                    if t0:
                        _move_states(st, V, Y, between[(t0 // L - 1) * size :], True, N, lo, n, w)
                    elif first_of_last:
                        _begin(st, c, N, lo, n, one, w)
                    if a[KEPT] == 0:
                        _load(a[X], a[X_T], a[X_N], a[X_I], a[INDEX], t0, steps, lo, n, features, one, 0, w)
                        _forward(st, c, t0, steps, n, lengths, weights, w)
                _carry_back(st, t0, steps, n, lengths, u)
                if a[LOSS]:
                    for t in range(steps):
                        copy(mean, 0, one_side + t * n * J, u, n * J)
                elif a[G_Y] == 0:
                    _fill(u, one_side, steps * n * J, one - one)
                else:
                    _load(a[G_Y], a[G_T], a[G_N], a[G_I], 0, t0, steps, lo, n, J, one, one_side, u)
                g = _backward(
                    st, c, t0, steps, N, lo, n, lengths, one, zeros, weights, gradient, a[G_X] != 0, one_side, other,
                    packed, w, u,
                )  # fmt: skip
                if a[G_X]:
                    for t in range(steps):
                        copy(u, g + t * n * features, ((t0 + t) * N + lo) * features, g_input, n * features)
            _end_backward(st, N, lo, n, one, size, a[G_FIRST], gradient, u)
        gradient[a[SUM_SIZE] - 2], gradient[a[SUM_SIZE] - 1] = lost, right
