"""Steps of training in the threads of :mod:`snn_core.kernels.cpu.threads`, without Python in between.

A step is three jobs: the backward pass, :func:`sum_gradients`, and :func:`descend`, with the equations of SGD and Adam
in ``torch.optim``. The latter two take pieces of at most :data:`PIECE` numbers of a weight. The norm for clipping is
summed over pieces in their order, so that results do not depend on the number of threads. With a scale, a step is left
out whose scaled gradient overflows float16, as ``torch.amp.GradScaler`` leaves it out.
"""

from __future__ import annotations

import numpy as np

from snn_core.kernels.cpu import passes
from snn_core.kernels.cpu.compiled import helper
from snn_core.kernels.cpu.threads import HELPERS, JOB, SIZE, add, share
from snn_core.kernels.cpu.tile import address_of, array_at, invoke

PIECE = 4096
SGD, ADAM = range(1, 3)
#: The arguments of the kernels, integers and addresses; the first three as ``threads.py`` wants them.
(
    COUNTER, _JOB, _HELPERS, SCAN, STEPS, PIECES, TABLE, PARTS, SETTINGS, RECORD, OPTIMIZER,
    PACK, BACKWARD, SUM, DESCEND, ARGUMENTS,
) = range(16)  # fmt: skip
#: Columns of the table of pieces: where the gradient begins and how long it is; addresses of the weight, of what the
#: optimizer keeps, and of the weight's sigmoid if that is what the plan takes.
AT, COUNT, WEIGHT, FIRST, SECOND, SIGMOID, COLUMNS = range(7)
#: Numbers in double precision; the last are the factor by which gradients are clipped, the scale, 0 for none, and how
#: many good steps it has seen.
LEARNING_RATE, DECAY, BETA_1, BETA_2, EPSILON, TAKEN, MOST_NORM, FACTOR, SCALE, GOOD, NUMBERS = range(11)
#: What is recorded of a step: the mean loss, how many samples were right, 0 where all weights are finite, else NaN, and
#: whether it was left out.
LOSS, RIGHT, BAD, SKIPPED, RECORDS = range(5)
#: Of each piece: its gradient's sum of squares, and later 0 or NaN; its gradient's largest number.
SQUARES, LARGEST, NOTES = range(3)
#: The largest number of float16, and the good steps after which the scale doubles.
MOST_OF_HALF, INTERVAL = 65504.0, 2000


@helper
def _open(arguments, numbers):
    """Return the arguments, those of the scan, the table of pieces, and what is noted of each piece."""
    u, one = array_at(arguments, (ARGUMENTS,), arguments), numbers[0]
    a = array_at(u[SCAN], (passes.ARGUMENTS,), arguments)
    table = array_at(u[TABLE], (u[PIECES], COLUMNS), arguments)
    settings = array_at(u[SETTINGS], (NUMBERS,), 1.0)
    return u, a, one, table, array_at(u[PARTS], (u[PIECES], NOTES), 1.0), settings


def sum_gradients(arguments, numbers):
    """Sum the gradients over items, in their order, into the first; note each piece's sum of squares and largest."""
    u, a, one, table, parts, s = _open(arguments, numbers)
    sums = array_at(a[passes.SUMS], (a[passes.ITEMS], a[passes.SUM_SIZE]), one)
    while True:
        piece = add(address_of(u, COUNTER), 1)
        if piece >= u[PIECES]:
            break
        st, squares, largest = table[piece], 0.0, 0.0
        total = sums[0, st[AT] : st[AT] + st[COUNT]]
        for item in range(1, a[passes.ITEMS]):
            more = sums[item, st[AT] : st[AT] + st[COUNT]]
            for m in range(st[COUNT]):
                total[m] += more[m]
        if st[SIGMOID]:
            value = array_at(st[SIGMOID], (st[COUNT],), one)
            for m in range(st[COUNT]):
                total[m] = total[m] * (one - value[m]) * value[m]
        if s[MOST_NORM] < np.inf:
            for m in range(st[COUNT]):
                squares += total[m] * total[m]
        if s[SCALE] > 0:
            for m in range(st[COUNT]):
                size = abs(total[m])
                largest = largest if size <= largest else size  # NaN counts as larger
        parts[piece, SQUARES], parts[piece, LARGEST] = squares, largest


def descend(arguments, numbers):
    """Change the weights; note NaN for each piece that is no longer finite."""
    u, a, one, table, parts, s = _open(arguments, numbers)
    sums = array_at(a[passes.SUMS], (a[passes.ITEMS], a[passes.SUM_SIZE]), one)
    rate, decay, factor = type(one)(s[LEARNING_RATE]), type(one)(s[DECAY]), type(one)(s[FACTOR])
    keep_1, keep_2, epsilon = type(one)(s[BETA_1]), type(one)(s[BETA_2]), type(one)(s[EPSILON])
    if u[OPTIMIZER] == ADAM:
        new_1, new_2 = type(one)(1 - s[BETA_1]), type(one)(1 - s[BETA_2])
        rate = type(one)(s[LEARNING_RATE] / (1 - s[BETA_1] ** s[TAKEN]))
        root = type(one)((1 - s[BETA_2] ** s[TAKEN]) ** 0.5)
    while True:
        piece = add(address_of(u, COUNTER), 1)
        if piece >= u[PIECES]:
            break
        st, bad = table[piece], one - one
        count = st[COUNT]
        weight, first = array_at(st[WEIGHT], (count,), one), array_at(st[FIRST], (count,), one)
        gradient = sums[0, st[AT] : st[AT] + count]
        if s[FACTOR] < 1:
            for m in range(count):
                gradient[m] *= factor
        if u[OPTIMIZER] == SGD:
            for m in range(count):
                step = gradient[m] + decay * weight[m]
                if st[FIRST]:
                    step = first[m] = keep_1 * first[m] + step
                weight[m] -= rate * step
        else:
            second = array_at(st[SECOND], (count,), one)
            for m in range(count):
                g = gradient[m] + decay * weight[m]
                first[m] += new_1 * (g - first[m])
                second[m] = keep_2 * second[m] + new_2 * g * g
                weight[m] -= rate * first[m] / (np.sqrt(second[m]) / root + epsilon)
        for m in range(count):
            bad += weight[m] - weight[m]
        if st[SIGMOID]:
            value = array_at(st[SIGMOID], (count,), one)
            for m in range(count):
                value[m] = one / (one + np.exp(-weight[m]))
        parts[piece, SQUARES] = bad


@helper
def _overflows(s, parts):
    """Say whether a scaled gradient overflows float16, and change the scale: half of it, or twice after good steps."""
    if s[SCALE] == 0:
        return False
    is_good = True
    for piece in range(len(parts) - 1):
        is_good = is_good and parts[piece, LARGEST] * s[SCALE] <= MOST_OF_HALF
    s[GOOD] = s[GOOD] + 1 if is_good else 0
    if not is_good:
        s[SCALE] *= 0.5
    elif s[GOOD] == INTERVAL:
        s[SCALE], s[GOOD] = s[SCALE] * 2, 0
    return not is_good


def take_steps(arguments, numbers):
    """Take one step after the other, each with the next samples of the index."""
    u, a, one, _, parts, s = _open(arguments, numbers)
    job, record = array_at(u[JOB], (SIZE,), arguments), array_at(u[RECORD], (u[STEPS], RECORDS), 1.0)
    sums = array_at(a[passes.SUMS], (a[passes.SUM_SIZE],), one)
    scan, own, constants, N = address_of(a, 0), address_of(u, 0), a[passes.CONSTANTS], a[passes.SAMPLES_OF]
    at = a[passes.SUM_SIZE]
    helpers = u[HELPERS] if at > 2 * PIECE else 0
    for step in range(u[STEPS]):
        a[passes.COUNTER] = a[passes.THREADS] = u[COUNTER] = 0
        invoke(u[PACK], (scan, constants))
        share(job, u[BACKWARD], scan, constants, u[HELPERS])
        share(job, u[SUM], own, constants, helpers)
        row = record[step]
        row[LOSS], row[RIGHT], row[BAD] = sums[at - 2] / type(one)(N), sums[at - 1], 0.0
        row[SKIPPED] = 1.0 if _overflows(s, parts) else 0.0
        if row[SKIPPED] == 0:
            s[FACTOR] = min(1.0, s[MOST_NORM] / (np.sqrt(np.sum(parts[:-1, SQUARES])) + 1e-6))
            s[TAKEN] += 1
            u[COUNTER] = 0
            u[PIECES] -= 1  # the last is no weight's
            share(job, u[DESCEND], own, constants, helpers)
            u[PIECES] += 1
            row[BAD] = np.sum(parts[:-1, SQUARES])
        a[passes.INDEX] += 8 * N
