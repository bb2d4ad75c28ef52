"""A sequence through a whole plan on the CPU, forward and back, compiled by numba on first use and cached on disk.

``README.md`` in the folder above draws its three loops, what lies where, and what is kept for the backward pass. A
stage is a row of the table of ``launch.py``, whose columns ``fields.py`` lists. Offsets in ``w``, which holds what the
forward pass computes, and in ``u``, which holds what the backward pass does, are in numbers for each sample. Slot 0 of
states is the one before the segment's first step. So is slot D - 1 of outputs, of which ``BEFORE`` = D go back, at
least one; slots before hold those of earlier steps. With taps those of each neuron are first added up, to the sum Z;
without, D is 1.
"""

from __future__ import annotations

import numpy as np

from snn_core.kernels import fields as f
from snn_core.kernels.cpu.compiled import helper
from snn_core.kernels.cpu.products import add_product, pack
from snn_core.kernels.cpu.threads import add
from snn_core.kernels.cpu.tile import ROWS, address_of, array_at, copy, invoke, width_of
from snn_core.kernels.limits import MOST_CONSTANTS, MOST_STATES

NO_LOSS, MSE, CROSS_ENTROPY = range(3)
#: A layer has its inputs packed for the gradient of its weights if it has more inputs and outputs than this.
PACKED_FROM = 128
#: Numbers of a stage: one, zero, the first values of its states, and the constants of its program.
NUMBERS = 2 + MOST_STATES + MOST_CONSTANTS


@helper
def _copy_strided(source, at, by, to, target, count):
    if by == 1:
        copy(source, at, to, target, count)
    else:
        for m in range(count):
            target[to + m] = source[at + m * by]


@helper
def _fill(w, at, count, value):
    # Of a slice from 0 on numba need not ask whether an index is negative, here and below.
    target = w[at : at + count]
    for m in range(count):
        target[m] = value


@helper
def _add(w, at, to, count):
    more, target = w[at : at + count], w[to : to + count]
    for m in range(count):
        target[m] += more[m]


@helper
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


@helper
def _move_given(st, given, v, y, slot, N, lo, n, one, is_load, w):
    """Load the states of a stage from the addresses that begin in a column, where there are any, or store them there.

    Columns ``v`` and ``y`` say where states and outputs that go back begin in ``w``; those of step ``slot`` move.
    """
    J, S, count = st[f.OUTPUTS], st[f.STATES], n * st[f.OUTPUTS]
    for s in range(S + (1 if st[f.FEEDBACK] else 0)):
        address, D = st[given + (s if s < S else MOST_STATES)], 1 if s < S else st[f.FEEDBACK]
        outside = array_at(address, (D * N * J,), one)
        for d in range(D if address else 0):
            here = st[v] * n + (slot * S + s) * count if s < S else st[y] * n + (slot + D - 1 - d) * count
            if is_load:
                copy(outside, (d * N + lo) * J, here, w, count)
            else:
                copy(w, here, (d * N + lo) * J, outside, count)


@helper
def _begin(table, numbers, N, lo, n, one, w):
    """Load the parameters and the states before the first step of a block."""
    for k, st in enumerate(table):
        J, count = st[f.OUTPUTS], n * st[f.OUTPUTS]
        for p in range(st[f.PARAMETERS]):
            size, to = st[f.SIZE + p], st[f.P] * n + p * count
            parameter = array_at(st[f.PARAMETER + p], (size,), one)
            if size == 1:
                _fill(w, to, count, parameter[0])
            elif size == J:
                for m in range(n):
                    copy(parameter, 0, to + m * J, w, J)
            else:
                for m in range(count):
                    w[to + m] = parameter[(lo * J + m) % size]
        for s in range(st[f.STATES]):
            _fill(w, st[f.V] * n + s * count, count, numbers[k * NUMBERS + 2 + s])
        _fill(w, st[f.Y] * n, st[f.FEEDBACK] * count, one - one)
        _move_given(st, f.FIRST, f.V, f.Y, 0, N, lo, n, one, True, w)


@helper
def _move_states(table, states, is_load, N, lo, n, w):
    """Load the states of every stage at a border, ``[state, N, J]``, or store them.

    Outputs that go back are the last of a stage's states, the newest of them first.
    """
    for st in table:
        J, count = st[f.OUTPUTS], n * st[f.OUTPUTS]
        S, D = st[f.STATES], st[f.FEEDBACK]
        for s in range(S + D):
            here = (st[f.V] * n + s * count) if s < S else (st[f.Y] * n + (D - 1 - s + S) * count)
            there = (st[f.STATE] + s * J) * N + lo * J
            if is_load:
                copy(states, there, here, w, count)
            else:
                copy(w, here, there, states, count)


@helper
def _store_seqs(table, t0, steps, N, lo, n, one, w):
    """Store what is returned of each step: states after it, and outputs, ``[T, N, J]``."""
    for st in table:
        J, S, count = st[f.OUTPUTS], st[f.STATES], n * st[f.OUTPUTS]
        for s in range(MOST_STATES + 1):
            if st[f.SEQ + s] == 0:
                continue
            at, by = (
                (st[f.V] * n + (S + s) * count, S * count)
                if s < MOST_STATES
                else (st[f.Y] * n + st[f.BEFORE] * count, count)
            )
            target = array_at(st[f.SEQ + s], ((t0 + steps) * N * J,), one)
            for t in range(steps):
                copy(w, at + t * by, ((t0 + t) * N + lo) * J, target, count)


@helper
def _add_seq_gradients(st, at, count, n, out, one, u):
    """Add the gradients of what was returned of a step, from ``at`` on, to those of its states and outputs."""
    for s in range(MOST_STATES + 1):
        if st[f.G_SEQ + s]:
            g, to = array_at(st[f.G_SEQ + s], (at + count,), one), st[f.GV] * n + s * count
            target = u[out if s == MOST_STATES else to :]
            for m in range(count):
                target[m] += g[at + m]


@helper
def _carry(table, steps, n, w):
    """Make the states after a segment those before the next."""
    for st in table:
        S, D, count = st[f.STATES], st[f.FEEDBACK], n * st[f.OUTPUTS]
        v, y = st[f.V] * n, st[f.Y] * n
        copy(w, v + steps * S * count, v, w, S * count)
        for d in range(D):
            copy(w, y + (steps + d) * count, y + d * count, w, count)


@helper
def _input_of(table, k, n):
    """Return where the input of stage k, which is the output of the one before, begins in scratch."""
    return 0 if k == 0 else table[k - 1, f.Y] * n + n * table[k - 1, f.OUTPUTS] * table[k - 1, f.BEFORE]


@helper
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


@helper
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


@helper
def _forward(table, numbers, steps, n, weights, w):
    """Take a block through some steps of all stages."""
    zero, width = numbers[1], width_of(w)
    for k, st in enumerate(table):
        I_, J, D, x = st[f.INPUTS], st[f.OUTPUTS], st[f.FEEDBACK], _input_of(table, k, n)
        count, y, strip = n * J, _input_of(table, k + 1, n), I_ * width
        sums, bias = y if st[f.FORWARD] == 0 else st[f.CURRENT] * n, st[f.PACKED_BIAS]
        if st[f.FORWARD] == 0 or D:
            add_product(
                w, x, I_, 1, steps * n, I_, weights, st[f.TO_Y], width, strip, J, weights, bias, 0, w, sums, J
            )  # fmt: skip
        if st[f.FORWARD] == 0:
            continue
        taps = array_at(st[f.TAP], (D * J,), zero)
        for t in range(steps):
            i, before = x + t * count, y + (t - 1) * count
            if D:
                i = sums + t * count
                if st[f.TAP]:
                    z = st[f.Z] * n + t * count
                    _delay(w, before, taps, D, count, n, J, z)
                    before = z
                add_product(w, before, J, 1, n, J, weights, st[f.OF_Y], width, strip, J, w, i, J, w, i, J)
            v = st[f.V] * n + t * st[f.STATES] * count
            invoke(
                st[f.FORWARD],
                (
                    count, count, address_of(numbers, k * NUMBERS), address_of(w, st[f.P] * n), address_of(w, i),
                    address_of(w, v), address_of(w, v + st[f.STATES] * count), address_of(w, y + t * count),
                ),
            )  # fmt: skip


@helper
def _feedback_backward(st, weights, g_i, slot, n, one, zeros, g_taps, w, u):
    """Take the gradient of a step's input to the outputs that went into it, of which the last has this slot.

    The earliest of them gets its first gradient here.
    """
    J, D, width = st[f.OUTPUTS], st[f.FEEDBACK], width_of(w)
    to = st[f.GY] * n + slot * n * J
    target = st[f.GZ] * n if st[f.TAP] else to
    add_product(u, g_i, J, 1, n, J, weights, st[f.FROM_OF_Y], width, J * width, J, zeros, 0, 0, u, target, J)
    if st[f.TAP]:
        taps = array_at(st[f.TAP], (D * J,), one)
        _delay_backward(w, u, st[f.Y] * n + slot * n * J, to, target, taps, D, n * J, n, J, g_taps)


@helper
def _carry_back(table, steps, n, u):
    """Make the gradients of the outputs before a segment those at the end of the one before."""
    for st in table:
        D, g_y, count = st[f.FEEDBACK], st[f.GY] * n, n * st[f.OUTPUTS]
        for d in range(D - 1, -1, -1):
            copy(u, g_y + d * count, g_y + (steps + d) * count, u, count)


@helper
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


@helper
def _backward(
    table, numbers, t0, steps, N, lo, n, one, zeros, weights, gradient, needs_x, a, b, packed, w, u
):
    """Take the gradient of a block's outputs at ``a`` back through all stages; return where that of its input is.

    ``zeros`` ends with a 1, by which rows are summed.
    """
    last, width = len(zeros) - 1, width_of(w)
    for k in range(len(table) - 1, -1, -1):
        st = table[k]
        I_, J, D, x = st[f.INPUTS], st[f.OUTPUTS], st[f.FEEDBACK], _input_of(table, k, n)
        count, rows, g, columns = n * J, steps * n, st[f.GRADIENT], 2 * J if D else I_
        bias = g + J * columns
        if st[f.FORWARD] != 0:
            c, y, i = address_of(numbers, k * NUMBERS), st[f.Y] * n, st[f.CURRENT] * n if D else x
            g_taps = gradient[bias + J : bias + J + (D * J if st[f.TAP] else 0)]
            for t in range(steps - 1, -1, -1):
                out = a + t * count
                if D:
                    _add(u, st[f.GY] * n + (D + t) * count, out, count)
                _add_seq_gradients(st, ((t0 + t) * N + lo) * J, count, n, out, one, u)
                v = st[f.V] * n + t * st[f.STATES] * count
                invoke(
                    st[f.BACKWARD],
                    (
                        count, count, c, address_of(w, st[f.P] * n), address_of(w, i + t * count), address_of(w, v),
                        address_of(u, out), address_of(u, st[f.GV] * n), address_of(u, b + t * count),
                        address_of(u, st[f.GP] * n),
                    ),
                )  # fmt: skip
                if D:
                    _feedback_backward(st, weights, b + t * count, D + t - 1, n, one, zeros, g_taps, w, u)
            a, b = b, a
            if D == 0:
                continue
            before = st[f.Z] * n if st[f.TAP] else y + (D - 1) * count
            _weight_gradient(u, a, J, rows, w, before, J, gradient, g + J, columns, packed)
        _weight_gradient(u, a, J, rows, w, x, I_, gradient, g, columns, packed)
        add_product(zeros, last, 0, 0, 1, rows, u, a, J, 0, J, gradient, bias, 0, gradient, bias, 0)
        if k > 0 or needs_x:
            add_product(
                u, a, J, 1, rows, J, weights, st[f.FROM_Y], width, J * width, I_, zeros, 0, 0, u, b, I_
            )
            a, b = b, a
    return a


@helper
def _begin_backward(table, N, lo, n, one, u):
    """Load the gradients of the states after the last step, and clear those of parameters."""
    for st in table:
        count = n * st[f.OUTPUTS]
        _fill(u, st[f.GP] * n, st[f.PARAMETERS] * count, one - one)
        _fill(u, st[f.GV] * n, st[f.STATES] * count, one - one)
        _fill(u, st[f.GY] * n, st[f.FEEDBACK] * count, one - one)
        _move_given(st, f.G_LAST, f.GV, f.GY, 0, N, lo, n, one, True, u)


@helper
def _end_backward(table, N, lo, n, one, gradient, u):
    """Store the gradients of the states before the first step, and add those of parameters."""
    for st in table:
        _move_given(st, f.G_FIRST, f.GV, f.GY, 0, N, lo, n, one, False, u)
        J, D, count = st[f.OUTPUTS], st[f.FEEDBACK], n * st[f.OUTPUTS]
        g = st[f.GRADIENT] + ((2 * J + 1) * J + (D * J if st[f.TAP] else 0) if D else 0)
        for p in range(st[f.PARAMETERS]):
            size, at = st[f.SIZE + p], st[f.GP] * n + p * count
            for m in range(count):
                gradient[g + (lo * J + m) % size] += u[at + m]
            g += size


#: The arguments of the kernels, integers and addresses, in their order; ``COUNTER`` is the next item of work.
(
    COUNTER, THREADS, _SCRATCH, NUMBER_BYTES, ITEMS, STAGES_OF, STEPS, SAMPLES_OF, SEGMENT, BLOCK, PER_ITEM, X, X_T,
    X_N, X_I, TABLE, CONSTANTS, SCRATCH_SIZE, WORK_SIZE, PACKED_WORK, PACKED, PACKED_SIZE, STATE_SIZE, WIDEST, KEPT,
    BORDERS, Y_SEQ, G_Y, G_T, G_N, G_I, G_X, SUMS, SUM_SIZE, ZEROS, LOSS, LABELS, OUT, INDEX, ARGUMENTS,
) = range(40)  # fmt: skip


@helper
def _open(arguments, numbers):
    """Return what both directions read of the arguments; the last is the number of all samples' states."""
    a, one = array_at(arguments, (ARGUMENTS,), arguments), numbers[0]
    table = array_at(a[TABLE], (a[STAGES_OF], f.COLUMNS), arguments)
    constants = array_at(a[CONSTANTS], (len(table) * NUMBERS,), one)
    weights = array_at(a[PACKED], (a[PACKED_SIZE],), one)
    size = a[STATE_SIZE] * a[SAMPLES_OF]
    return a, one, a[STEPS], a[SAMPLES_OF], a[SEGMENT], a[BLOCK], table, constants, weights, size


@helper
def _blocks_of(a, item):
    """Return the first block of an item of work, and the one after its last."""
    per, blocks = a[PER_ITEM], (a[SAMPLES_OF] + a[BLOCK] - 1) // a[BLOCK]
    return item * per, min((item + 1) * per, blocks)


@helper
def _scratch(a, one):
    """Return arrays ``w`` and ``u`` that no other thread has."""
    size, work = a[SCRATCH_SIZE] * a[BLOCK], a[WORK_SIZE] * a[BLOCK]
    at = a[_SCRATCH] + add(address_of(a, THREADS), 1) * (size + work) * a[NUMBER_BYTES]
    return array_at(at, (size,), one), array_at(at + size * a[NUMBER_BYTES], (work,), one)


@helper
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
        if st[f.FORWARD] != 0 and st[f.FEEDBACK] == 0:
            continue
        I_, J, width = st[f.INPUTS], st[f.OUTPUTS], width_of(out)
        columns = I_ if st[f.FORWARD] == 0 else 2 * J
        weight = array_at(st[f.WEIGHT], (J * columns,), one)
        pack(weight, 1, columns, I_, J, width, out, st[f.TO_Y])
        pack(weight, columns, 1, J, I_, width, out, st[f.FROM_Y])
        if st[f.FORWARD] != 0:
            pack(weight[J:], 1, columns, J, J, width, out, st[f.OF_Y])
            pack(weight[J:], columns, 1, J, J, width, out, st[f.FROM_OF_Y])
        bias, at = array_at(st[f.BIAS], (J,), one), st[f.PACKED_BIAS]
        for j in range(J):
            out[at + j] = bias[j] if st[f.BIAS] else one - one


@helper
def _forward_segment(a, table, c, weights, between, block, t0, steps, lo, n, one, scratch, w):
    """Take a block through the segment at t0, with the states before it noted; return the array where it is."""
    N, L, size = a[SAMPLES_OF], a[SEGMENT], a[STATE_SIZE] * a[SAMPLES_OF]
    if t0:
        border = between[(t0 // L - 1) * size :]
        _carry(table, L, n, w)
        _move_states(table, border, False, N, lo, n, w)
        if a[KEPT]:
            w = _kept(a, block, t0, one, scratch)
            _begin(table, c, N, lo, n, one, w)
            _move_states(table, border, True, N, lo, n, w)
    _load(a[X], a[X_T], a[X_N], a[X_I], a[INDEX], t0, steps, lo, n, table[0, f.INPUTS], one, 0, w)
    _forward(table, c, steps, n, weights, w)
    return w


def forward_pass(arguments, numbers):
    """Take samples through all stages; write outputs ``[T, N, J]``, the last states and those at borders."""
    a, one, T, N, L, S, table, c, weights, size = _open(arguments, numbers)
    J = table[-1, f.OUTPUTS]
    out = array_at(a[Y_SEQ], (T * N * J,), one)
    between = array_at(a[BORDERS], (((T + L - 1) // L - 1) * size,), one)
    scratch, _ = _scratch(a, one)
    while True:
        item = add(address_of(a, COUNTER), 1)
        if item >= a[ITEMS]:
            break
        first, end = _blocks_of(a, item)
        for block in range(first, end):
            lo, w = block * S, _kept(a, block, 0, one, scratch)
            n, steps = min(S, N - lo), 0
            _begin(table, c, N, lo, n, one, w)
            for t0 in range(0, T, L):
                steps = min(L, T - t0)
                w = _forward_segment(a, table, c, weights, between, block, t0, steps, lo, n, one, scratch, w)
                y = _input_of(table, len(table), n)
                for t in range(steps):
                    copy(w, y + t * n * J, ((t0 + t) * N + lo) * J, out, n * J)
                _store_seqs(table, t0, steps, N, lo, n, one, w)
            for st in table:
                _move_given(st, f.LAST, f.V, f.Y, steps, N, lo, n, one, False, w)


@helper
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


@helper
def _read_out(a, table, c, weights, block, lo, n, one, between, g, w):
    """Take a block forward through all segments; return its losses, and how many samples are right, see `_loss`.

    Afterwards the last segment is in ``w``, and the states before each are kept.
    """
    T, L, J = a[STEPS], a[SEGMENT], table[-1, f.OUTPUTS]
    total = array_at(a[OUT], (a[SAMPLES_OF] * J,), one)[lo * J : (lo + n) * J]
    _fill(total, 0, n * J, one - one)
    for t0 in range(0, T, L):
        steps = min(L, T - t0)
        _forward_segment(a, table, c, weights, between, block, t0, steps, lo, n, one, w, w)
        y = _input_of(table, len(table), n)
        for t in range(steps):
            outputs = w[y + t * n * J : y + (t + 1) * n * J]
            for m in range(n * J):
                total[m] += outputs[m]
    return _loss(a, lo, n, J, one, total, g)


def backward_pass(arguments, numbers):
    """Take samples back, forward again before unless that was kept: gradients of all that went into the scan.

    With a loss the gradient of the outputs is computed here, from their mean over time; the sum of the losses and the
    number of samples that are right follow the gradients of weights and parameters.
    """
    a, one, T, N, L, S, table, c, weights, size = _open(arguments, numbers)
    features, J = table[0, f.INPUTS], table[-1, f.OUTPUTS]
    between = array_at(a[BORDERS], (((T + L - 1) // L - 1) * size,), one)
    zeros, sums = array_at(a[ZEROS], (a[WIDEST] + 1,), one), array_at(a[SUMS], (a[ITEMS], a[SUM_SIZE]), one)
    g_input = array_at(a[G_X], (T * N * features,), one)
    scratch, u = _scratch(a, one)
    while True:
        item = add(address_of(a, COUNTER), 1)
        if item >= a[ITEMS]:
            break
        first, end = _blocks_of(a, item)
        gradient, lost, right = sums[item], 0.0, 0.0
        _fill(gradient, 0, a[SUM_SIZE], one - one)
        for block in range(first, end):
            lo, w = block * S, scratch
            n = min(S, N - lo)
            if a[KEPT] == 0:
                _begin(table, c, N, lo, n, one, w)
            _begin_backward(table, N, lo, n, one, u)
            one_side, other = (a[WORK_SIZE] - 2 * L * a[WIDEST]) * n, (a[WORK_SIZE] - L * a[WIDEST]) * n
            mean = u[one_side - a[WIDEST] * n : one_side]
            packed = one_side - (a[WIDEST] + a[PACKED_WORK]) * n
            if a[LOSS]:
                more = _read_out(a, table, c, weights, block, lo, n, one, between, mean, w)
                lost, right = lost + more[0], right + more[1]
            first_of_last = (T - 1) // L * L
            for t0 in range(first_of_last, -1, -L):
                steps = min(L, T - t0)
                w = _kept(a, block, t0, one, scratch)
                if t0 < first_of_last or a[LOSS] == NO_LOSS:
                    # The forward pass has put the states at its end where those before the segment were.
                    if t0:
                        _move_states(table, between[(t0 // L - 1) * size :], True, N, lo, n, w)
                    elif first_of_last:
                        _begin(table, c, N, lo, n, one, w)
                    if a[KEPT] == 0:
                        _load(a[X], a[X_T], a[X_N], a[X_I], a[INDEX], t0, steps, lo, n, features, one, 0, w)
                        _forward(table, c, steps, n, weights, w)
                _carry_back(table, steps, n, u)
                if a[LOSS]:
                    for t in range(steps):
                        copy(mean, 0, one_side + t * n * J, u, n * J)
                elif a[G_Y] == 0:
                    _fill(u, one_side, steps * n * J, one - one)
                else:
                    _load(a[G_Y], a[G_T], a[G_N], a[G_I], 0, t0, steps, lo, n, J, one, one_side, u)
                g = _backward(
                    table, c, t0, steps, N, lo, n, one, zeros, weights, gradient, a[G_X] != 0, one_side, other,
                    packed, w, u,
                )  # fmt: skip
                if a[G_X]:
                    for t in range(steps):
                        copy(u, g + t * n * features, ((t0 + t) * N + lo) * features, g_input, n * features)
            _end_backward(table, N, lo, n, one, gradient, u)
        gradient[a[SUM_SIZE] - 2], gradient[a[SUM_SIZE] - 1] = lost, right
