"""The kernels for the CPU as an executor: :func:`forward` and :func:`backward` of a plan, tensors in, tensors out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels import fields
from snn_core.kernels.cpu import cells, load, threads
from snn_core.kernels.plan import Kind, Plan, in_memory

#: Columns of the structures that kernels take.
STAGE, CALL = fields.columns(fields.CPU), fields.columns(fields.CALL)
#: Samples of a block, two or four times as many where a matrix of ``LARGE`` numbers is too large for a core's cache and
#: is read anew for each, see :func:`_samples`; neurons of a block where none are connected.
SAMPLES, LARGE, COLUMNS = 16, 1 << 18, 256
#: Numbers that a block may have in a core's cache, and the fewest steps of a segment nevertheless.
SCRATCH, FEWEST_STEPS = 1 << 20, 8
#: Numbers of gradients that are kept apart until they are summed.
GRADIENTS = 1 << 22
#: Bytes up to which what the backward pass needs is kept, and is not computed again; more with a weight matrix that is
#: large, since its products take longer than memory does.
MOST_KEPT, MOST_KEPT_OF_LARGE = 8 << 20, 256 << 20
#: Bytes of a piece of it.
PIECE = 16 << 20
#: As in engine/plan.h: from which size on the inputs of a layer are packed, and the rows of a tile at most.
PACKED_FROM, ROWS = 128, 8
# Until a program has freed a block of nearly 32 MiB, glibc returns the memory of sequences to the system after each
# step, and to get it anew takes as long as a kernel does. So free such a block, which nothing has touched.
torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class Layout:
    """Where everything of a plan lies; ``README.md`` in the folder above draws it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, kinds, T, N = plan, plan.kinds, plan.T, plan.N
        #: The numbers' type in C.
        self.number = "float" if plan.compute == torch.float32 else "double"
        itemsize, wide = plan.compute.itemsize, load.width(self.number)
        is_large = max(kind.products for kind in kinds) >= LARGE
        S = _samples(N, is_large) if plan.is_dense else COLUMNS
        widest = max(max(kind.inputs, kind.outputs) for kind in kinds)
        L = _steps(T, S * (kinds[0].inputs + sum(kind.width for kind in kinds) + 2 * widest))
        self.cells: list[load.Functions] = []  # whose code lives as long as they do
        table = np.zeros((len(kinds), STAGE["COLUMNS"]), np.int64)
        #: For each tensor that is no state how many numbers it has.
        self.sizes = [kinds[k].size(name, place) for k, name, place in plan.tensors if name != "FIRST"]
        states, gradient, scratch, work, weights = 0, 0, L * kinds[0].inputs, 0, 0
        for row, kind in zip(table, kinds, strict=True):
            row[STAGE["STATE"]], row[STAGE["GRADIENT"]] = states, gradient
            ends = scratch, work, weights
            scratch, work, weights = self._fill(row, kind, L, ends, wide, 3 if plan.is_dense else 0)
            states += (kind.states + kind.feedback) * kind.outputs
            gradient += sum([kind.size(name, place) for name, place in kind.tensors() if name != "FIRST"])
        #: Columns of the flat table: of tensors; of last states and what is stored, and of their gradients; of the
        #: gradients of states before the first step.
        words = STAGE["COLUMNS"]
        self.columns = [k * words + STAGE[name] + place for k, name, place in plan.tensors]
        firsts = [k * words + place for k, name, place in plan.tensors if name == "FIRST"]
        seqs = [k * words + place for k, place in plan.seqs]
        self.written = [at + STAGE["LAST"] for at in firsts] + [at + STAGE["SEQ"] for at in seqs]
        self.of_gradients = [at + STAGE["G_LAST"] for at in firsts] + [at + STAGE["G_SEQ"] for at in seqs]
        self.of_firsts = [at + STAGE["G_FIRST"] for at in firsts]
        blocks = -(-N // S)
        per = -(-blocks // max(4, min(64, GRADIENTS // max(gradient, 1)))) if blocks else 1
        self.blocks, self.items, self.gradient, self.weights = blocks, -(-blocks // per), gradient, weights
        #: Numbers of the states at the borders between segments.
        self.borders = (-(-T // L) - 1) * N * states
        # A strip of inputs and all gradients of a layer in whole tiles, for the gradient of a large weight.
        large = max([min(kind.inputs, kind.outputs) for kind in kinds if kind.is_dense], default=0)
        packed = L * (wide + widest + ROWS) if large > PACKED_FROM else 0
        sides = work + packed + widest
        # Behind the last matrix is memory for a tile, see engine/product.h. The memory of each thread, and what is kept
        # of each segment, begins at a line of a cache.
        behind, unit = -(-wide // S), max(threads.LINE // (S * itemsize), 1)
        scratch, work = scratch + behind, sides + 2 * L * widest + behind
        scratch, work = (-(-size // unit) * unit for size in (scratch, work))
        #: Bytes of what a thread needs, and of what a block keeps, 0 where all keep too much.
        self.bytes_of_thread = (scratch + work) * S * itemsize
        self.kept_bytes = -(-T // L) * scratch * S * itemsize
        if blocks * self.kept_bytes > (MOST_KEPT_OF_LARGE if is_large else MOST_KEPT):
            self.kept_bytes = 0
        self.table = array("q", table.tobytes())
        #: The structure ``Call``, still without addresses.
        self.call = array("q", [0] * CALL["COLUMNS"])
        known = {
            "ITEMS": self.items, "COUNT": len(kinds), "STEPS": T, "ALL": N, "SEGMENT": L, "BLOCK": S, "PER_ITEM": per,
            "SCRATCH_SIZE": scratch, "WORK_SIZE": work, "PACKED_WORK": packed, "STATE_SIZE": states, "WIDEST": widest,
            "SIDES": sides, "SUM_SIZE": gradient + 2,
        }  # fmt: skip
        for name, value in known.items():
            self.call[CALL[name]] = value

    def _fill(
        self, row: np.ndarray, kind: Kind, L: int, at: tuple[int, int, int], width: int, gap: int
    ) -> tuple[int, int, int]:
        """Fill the row of a stage, whose numbers begin here in w, in u and among packed weights; return their ends.

        Each array in w and u ends with a gap of so many numbers of each sample.
        """
        scratch, work, weights = at
        known = {
            "KIND": kind.number, "FEEDBACK": kind.feedback, "TAPS": kind.taps, "BEFORE": max(kind.feedback, 1),
            "INPUTS": kind.inputs, "OUTPUTS": kind.outputs, "STATES": kind.states, "PARAMETERS": len(kind.sizes),
        }  # fmt: skip
        if kind.program is not None:
            made = cells.functions(kind.program.code, self.number)
            known["FORWARD"], known["BACKWARD"] = made.addresses
            self.cells.append(made)
        for name, (terms, columns) in kind.matrices().items():
            known[name], weights = weights, weights + terms * -(-columns // width) * width
        forward, back = kind.room(L)
        for name, size in forward.items():
            known[name], scratch = scratch, scratch + size + gap
        for name, size in back.items():
            known[name], work = work, work + size + gap
        for name, value in known.items():
            row[STAGE[name]] = value
        row[STAGE["SIZE"] : STAGE["SIZE"] + len(kind.sizes)] = kind.sizes
        return scratch, work, weights

    def make_room(self) -> list[Tensor]:
        """Return memory for what all blocks keep, in pieces that the C library takes from what was freed before."""
        if self.kept_bytes == 0:
            return []
        most = max(PIECE // self.kept_bytes, 1)
        counts = [min(most, self.blocks - at) for at in range(0, self.blocks, most)]
        return [torch.empty(count * self.kept_bytes, dtype=torch.uint8, device="cpu") for count in counts]

    def addresses(self, kept: Sequence[Tensor]) -> array[int]:
        """Return the address of what each block keeps."""
        addresses = array("q")
        for piece in kept:
            at = piece.data_ptr()
            addresses.extend(range(at, at + piece.numel(), self.kept_bytes))
        return addresses


def _samples(N: int, is_large: bool) -> int:
    """Return the samples of a block: fewer than usual where two threads would else share one block."""
    usual = SAMPLES * (1 if not is_large else 4 if N >= 8 * SAMPLES else 2)
    half = SAMPLES // 2
    return min(usual, max(-(-N // SAMPLES), 1) * half)


def _steps(T: int, width: int) -> int:
    """Return the steps of a segment: as many as fit into a cache, and about equally many in each."""
    steps = max(min(T, SCRATCH // max(width, 1)), min(T, FEWEST_STEPS))
    return -(-T // -(-T // steps))


@lru_cache(maxsize=256)
def layout_of(plan: Plan) -> Layout:
    """Return the layout of a plan; the same one every time."""
    return Layout(plan)


def strided(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a sequence in the precision of the kernels, which read it however it lies in memory."""
    is_real = tensor.dtype is dtype and not (tensor.is_neg() or tensor._is_zerotensor())
    return tensor if is_real else in_memory(tensor, dtype)


class Call:
    """One call of a kernel: the layout of its plan, and the tensors as kernels read them.

    Args:
        plan: the stages.
        x_seq: the input, in the caller's shape.
        tensors: of all stages.
        numbers: of all stages, as :meth:`Plan.numbers` returns them.
    """

    def __init__(
        self, plan: Plan, x_seq: Tensor, tensors: Sequence[Tensor | None], numbers: array[float]
    ) -> None:
        self.layout = layout = layout_of(plan)
        self.dtype = plan.compute
        self.x = strided(self.dtype, x_seq if x_seq.shape == plan.rows else x_seq.reshape(plan.rows))
        self.numbers, self.table = numbers, layout.table[:]
        self.entered: list[Any] = []  # alive until the kernel has run
        self.tensors = self.enter(layout.columns, tensors)

    def enter(self, columns: Sequence[int], tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Write the addresses of tensors into columns of the table; return the tensors as kernels read them."""
        table, dtype, pieces = self.table, self.dtype, []
        for column, one in zip(columns, tensors, strict=True):
            if one is not None:
                is_ready = one.dtype is dtype and one.is_contiguous() and not one.is_neg()
                address = one.data_ptr() if is_ready else 0
                if address == 0:  # that of autograd's zeros, too
                    one = in_memory(one, dtype)
                    address = one.data_ptr()
                table[column] = address
            pieces.append(one)
        self.entered.append(pieces)
        return pieces

    def structure(self, weights: Tensor, kept: Sequence[Tensor] = (), **given: Any) -> array[int]:
        """Return the structure ``Call``; all that is given must stay alive while a kernel runs.

        ``weights`` is memory for the packed weights, ``kept`` for what all blocks keep, see :meth:`Layout.make_room`.
        """
        call, x = self.layout.call[:], self.x
        call[CALL["X"]] = x.data_ptr()
        call[CALL["X_T"]], call[CALL["X_N"]], call[CALL["X_I"]] = x.stride()
        call[CALL["STAGES"]], _ = self.table.buffer_info()
        call[CALL["NUMBERS"]], _ = self.numbers.buffer_info()
        call[CALL["PACKED"]] = weights.data_ptr()
        if kept:
            self.kept = self.layout.addresses(kept)
            call[CALL["KEPT"]], _ = self.kept.buffer_info()
        for name, value in given.items():
            if value is not None:
                call[CALL[name]] = value if type(value) is int else value.data_ptr()
        return call

    def run(self, kernel: str, call: array[int]) -> None:
        """Run a kernel."""
        layout = self.layout
        threads.run(load.engine(layout.number)[kernel], call, layout.items, layout.bytes_of_thread)

    def sums(self) -> Tensor:
        """Return memory for an item's gradients of weights and parameters and two numbers of the loss, in rows."""
        return self.empty(self.layout.items, self.layout.gradient + 2)

    def empty(self, *shape: int) -> Tensor:
        """Return memory for a tensor, whatever torch's default device is."""
        return torch.empty(shape, dtype=self.dtype, device="cpu")


def forward(
    plan: Plan, x_seq: Tensor, tensors: Sequence[Tensor | None], numbers: array[float], keep: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Run a plan, see :func:`snn_core.kernels.autograd.run`.

    Returns:
        Outputs, last states and what is stored of all steps; and what the backward pass needs: the packed weights, the
        states at borders, and what is kept, nothing where it is computed again.
    """
    dtype = plan.compute
    results = [torch.empty(shape, dtype=dtype, device="cpu") for shape in plan.result_shapes]
    layout = layout_of(plan)
    call = Call(plan, x_seq, tensors, numbers)
    call.enter(layout.written, results[1:])
    weights = call.empty(layout.weights)
    borders = call.empty(layout.borders) if layout.borders else None
    kept = layout.make_room() if keep else []
    call.run("scan_forward", call.structure(weights, kept, Y_SEQ=results[0], BORDERS=borders))
    if plan.dtype is not dtype:
        results = [one.to(plan.dtype) for one in results]
    return results, [weights, borders, *kept]


def backward(
    plan: Plan,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    numbers: array[float],
    kept: Sequence[Any],
    grads: Sequence[Tensor | None],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of x_seq and of all tensors, None where none is needed.

    ``kept`` is what :func:`forward` returned, ``grads`` are the gradients of its results, and ``needs`` says of x_seq
    and of each tensor whether its gradient is needed.
    """
    layout, (grad_y, *others) = layout_of(plan), grads
    weights, borders, *pieces = kept
    call = Call(plan, x_seq, tensors, numbers)
    call.enter(layout.of_gradients, others)
    g_y = None if grad_y is None else strided(call.dtype, grad_y.reshape(plan.y_rows))
    g_x = call.empty(*plan.rows) if needs[0] else None
    shapes = zip(plan.state_shapes, plan.of_states(needs[1:]), strict=True)
    firsts = [call.empty(*shape) if need else None for shape, need in shapes]
    call.enter(layout.of_firsts, firsts)
    sums, (by_t, by_n, by_i) = call.sums(), (0, 0, 0) if g_y is None else g_y.stride()
    given = {"G_Y": g_y, "G_T": by_t, "G_N": by_n, "G_I": by_i, "G_X": g_x, "SUMS": sums, "BORDERS": borders}
    call.run("scan_backward", call.structure(weights, pieces, **given))
    # By numpy, in their order: the threads of torch would not keep it.
    total = torch.from_numpy(np.add.reduce(sums.numpy(), axis=0))
    states, rest = iter(firsts), iter(total[: layout.gradient].split_with_sizes(layout.sizes))
    gradients: list[Tensor | None] = [None if g_x is None else g_x.view(x_seq.shape).to(x_seq.dtype)]
    for tensor, (_, name, _) in zip(tensors, plan.tensors, strict=True):
        piece = next(states if name == "FIRST" else rest)
        if tensor is not None and piece is not None:
            piece = piece.view(tensor.shape)
            gradients.append(piece if piece.dtype is tensor.dtype else piece.to(tensor.dtype))
        else:
            gradients.append(None)
    return gradients
