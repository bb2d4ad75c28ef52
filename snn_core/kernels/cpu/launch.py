"""The scan of a plan on the CPU: tensors in, kernels compiled by numba, tensors out."""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels import shapes
from snn_core.kernels.cpu import rows, threads, tile
from snn_core.kernels.cpu import scan as kernels
from snn_core.kernels.cpu.compiled import kernel_at
from snn_core.kernels.plan import NUMBERS, Plan, Stage

#: Seconds after which a reader is told what keeps him waiting.
PATIENCE = 1.0

#: Shown once for each kernel; tools/run_notebooks.py keeps it off the pages.
COMPILING = "snn_core: compiling a CPU kernel, once; it is kept for the next time"

#: Numbers of gradients that are kept apart until they are summed.
GRADIENTS = 1 << 22
#: Bytes up to which what the backward pass needs is kept, and is not computed again; more with a weight matrix that is
#: large, see ``plan.py``, since its products take longer than memory does.
MOST_KEPT, MOST_KEPT_OF_LARGE = 8 << 20, 256 << 20
#: Bytes of a piece of it.
PIECE = 16 << 20


@contextmanager
def patiently() -> Iterator[None]:
    """Report that kernels are compiled if that takes long."""
    timer = threading.Timer(PATIENCE, print, [COMPILING], {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _address(kernel: Callable[..., None], dtype: Any) -> int:
    """Return the address of a kernel for a precision; all are compiled, or loaded, at the first call."""
    with patiently():
        for each in (kernels.pack_weights, kernels.scan_forward, kernels.scan_backward):
            kernel_at(each, dtype)
    return kernel_at(kernel, dtype)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which kernels compute for tensors of ``dtype``: half precisions are widened."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def in_memory(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` in ``dtype`` as numbers that lie side by side in memory, where a kernel reads them."""
    # Autograd's zeros have no memory, and a negative view holds the numbers with the other sign.
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=dtype, device=tensor.device)
    return tensor.resolve_neg().to(dtype).contiguous()


def _strided(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a sequence in the precision of the kernels, which read it however it lies in memory."""
    is_real = tensor.dtype is dtype and not (tensor.is_neg() or tensor._is_zerotensor())
    return tensor if is_real else in_memory(tensor, dtype)


def _out(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a result in the precision that the caller uses."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


class Layout:
    """Where everything of a plan lies, for one shape and dtype of its input; see ``scan.py``.

    Args:
        plan: the stages.
        x_seq, tensors: what goes into a scan.
    """

    def __init__(self, plan: Plan, x_seq: Tensor, tensors: Sequence[Tensor | None]) -> None:
        self.plan, self.dtype, (T, N, _) = plan, compute_dtype(x_seq.dtype), x_seq.shape
        self.T, self.N = T, N
        self.number: Any = np.float32 if self.dtype == torch.float32 else np.float64
        stages, S, itemsize = plan.stages, plan.samples(N), np.dtype(self.number).itemsize
        width = tile.width(itemsize)
        L, self.borders = plan.segments(T, N)
        table = np.zeros((len(stages), kernels.COLUMNS), np.int64)
        #: For each tensor its column in the flat table, and whether it is a state; then the sizes of states, and of all
        #: others, whose gradients lie apart.
        self.columns: list[int] = []
        self.are_states: list[bool] = []
        self.state_sizes: list[int] = []
        self.other_sizes: list[int] = []
        #: Columns of last states and of what is returned of all steps.
        self.written: list[int] = []
        left, states, at, work, weights = iter(tensors), 0, L * stages[0].inputs, 0, 0
        for k, (row, stage) in enumerate(zip(table, stages, strict=True)):
            J, K, D = stage.outputs, stage.states, stage.feedback
            of_stage = [next(left) for _ in range(stage.tensors)]
            own = [one.numel() for one in of_stage[stage.tensors - stage.parameters :] if one is not None]
            row[: kernels.FORWARD] = stage.program is not None, D, max(D, 1), stage.inputs, J
            row[[kernels.STATES, kernels.PARAMETERS]] = K, len(own)
            row[kernels.SIZE : kernels.SIZE + len(own)] = own
            row[kernels.GRADIENT], row[kernels.STATE] = sum(self.other_sizes), states
            if stage.is_dense:
                packed = [(kernels.TO_Y, stage.inputs, J), (kernels.FROM_Y, J, stage.inputs)]
                packed += [(kernels.OF_Y, J, J), (kernels.FROM_OF_Y, J, J)] if D else []
                for column, terms, columns in (*packed, (kernels.PACKED_BIAS, 1, J)):
                    row[column], weights = weights, weights + terms * -(-columns // width) * width
            if stage.program is not None:
                row[[kernels.FORWARD, kernels.BACKWARD]] = rows.addresses(stage.program, self.number)
            states += stage.state_size
            of_feedback = J if D else 0
            for column, size in (
                (kernels.Y, (L + max(D, 1)) * J), (kernels.V, (L + 1) * K * J), (kernels.P, len(own) * J),
                (kernels.CURRENT, L * of_feedback), (kernels.Z, L * J * stage.taps),
            ):  # fmt: skip
                row[column], at = at, at + size + 3
            for column, size in (
                (kernels.GV, K * J), (kernels.GP, len(own) * J),
                (kernels.GY, (L + D) * of_feedback), (kernels.GZ, J * stage.taps),
            ):  # fmt: skip
                row[column], work = work, work + size + 3
            self._add_tensors(k, stage, own)
        for k, stage in enumerate(stages):
            self.written += [k * kernels.COLUMNS + kernels.SEQ + s for s in stage.seqs]
        #: Columns of their gradients.
        self.of_gradients = [column + kernels.G_LAST - kernels.LAST for column in self.written]
        self.parts_of_seqs = [T * N * size for size in plan.seq_sizes]
        blocks, gradient = -(-N // S), sum(self.other_sizes)
        per = -(-blocks // max(4, min(64, GRADIENTS // max(gradient, 1)))) if blocks else 1
        self.items, self.gradient, self.states = -(-blocks // per), gradient, states
        self.weights, self.widest = weights, plan.widest
        # A strip of inputs and all gradients of a layer in whole tiles, for the gradient of a large weight.
        large = max([min(stage.inputs, stage.outputs) for stage in stages if stage.is_dense], default=0)
        self.packed_work = L * (width + plan.widest + tile.ROWS) if large > kernels.PACKED_FROM else 0
        work += (2 * L + 1) * plan.widest + self.packed_work
        #: Bytes of what a thread needs, forward and backward, and of what all blocks keep.
        self.forward_bytes, self.backward_bytes = at * S * itemsize, (at + work) * S * itemsize
        #: Bytes that a block keeps, 0 where all would keep too much.
        self.kept_bytes = (self.borders + 1) * self.forward_bytes
        if blocks * self.kept_bytes > (MOST_KEPT_OF_LARGE if plan.is_large else MOST_KEPT):
            self.kept_bytes = 0
        self.blocks = blocks
        self.zeros = np.append(np.zeros(plan.widest, self.number), self.number(1))
        self.zeros_address = self.zeros.ctypes.data
        self.table = array("q", table.tobytes())
        self.sizes = itemsize, self.items, len(stages), T, N, L, S, per
        self.scratch, self.work = at, work
        self._constants: tuple[Sequence[float] | None, np.ndarray, int] = None, np.empty(0), 0

    def _add_tensors(self, k: int, stage: Stage, own: Sequence[int]) -> None:
        """Note the tensors of a stage, of which ``own`` are the sizes of parameters."""
        N, J, D = self.N, stage.outputs, stage.feedback
        states = [(kernels.FIRST + s, N * J) for s in range(stage.states)]
        if D:
            states.append((kernels.FIRST + kernels.MOST_STATES, D * N * J))
        others = [(kernels.WEIGHT, stage.products), (kernels.BIAS, J)] if stage.is_dense else []
        others += [(kernels.TAPS, D * J)] if stage.taps else []
        others += [(kernels.PARAMETER + p, size) for p, size in enumerate(own)]
        self.columns += [k * kernels.COLUMNS + column for column, _ in (*states, *others)]
        self.are_states += [True] * len(states) + [False] * len(others)
        self.state_sizes += [size for _, size in states]
        self.other_sizes += [size for _, size in others]
        self.written += [k * kernels.COLUMNS + kernels.LAST + column - kernels.FIRST for column, _ in states]

    def make_room(self) -> list[Tensor]:
        """Return memory for what all blocks keep, in pieces that the C library takes from what was freed before."""
        if self.kept_bytes == 0:
            return []
        most = max(PIECE // self.kept_bytes, 1)
        counts = [min(most, self.blocks - at) for at in range(0, self.blocks, most)]
        return [torch.empty(count * self.kept_bytes, dtype=torch.uint8, device="cpu") for count in counts]

    def addresses(self, kept: Sequence[Tensor]) -> array[int]:
        """Return the address of what each block keeps."""
        found = array("q")
        for piece in kept:
            found.extend(range(piece.data_ptr(), piece.data_ptr() + len(piece), self.kept_bytes))
        return found

    def constants(self, numbers: Sequence[float]) -> tuple[np.ndarray, int]:
        """Return the numbers of all stages as kernels take them, each after 1 and 0, and their address."""
        known, found, address = self._constants
        if known is not numbers:
            found = np.zeros((len(self.plan.stages), kernels.NUMBERS), self.number)
            found[:, 0], found[:, 2:] = 1, np.reshape(numbers, (-1, NUMBERS))
            address = found.ctypes.data
            self._constants = numbers, found, address
        return found, address


def layout_of(
    x_seq: Tensor, tensors: Sequence[Tensor | None], plan: Plan, lengths: Tensor | None = None
) -> Layout:
    """Return the layout of a plan for these tensors, which are checked the first time.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    key = (
        (x_seq.shape, x_seq.dtype, x_seq.device),
        *[None if one is None else (one.shape, one.dtype, one.device) for one in tensors],
    )
    found = plan.layouts.get(key)
    if lengths is not None:
        shapes.check_lengths(lengths, x_seq)
    if found is None:
        shapes.check_scan(x_seq, tensors, plan)
        found = Layout(plan, x_seq, tensors)
        if len(plan.layouts) >= 64:
            plan.layouts.clear()
        plan.layouts[key] = found
    return found


class Call:
    """One call of a kernel: the layout of its plan, and the tensors as kernels read them.

    ``columns`` of the table get the addresses of ``others``, which must stay alive while it runs.
    """

    def __init__(
        self,
        layout: Layout,
        x_seq: Tensor,
        tensors: Sequence[Tensor | None],
        numbers: Sequence[float],
        columns: Sequence[int] = (),
        others: Sequence[Tensor | None] = (),
    ) -> None:
        self.layout = layout
        self.dtype = dtype = layout.dtype
        self.x = _strided(dtype, x_seq)
        self.tensors = [None if one is None else _strided(dtype, one).contiguous() for one in tensors]
        self.constants, self.at_constants = layout.constants(numbers)
        self.table = table = layout.table[:]
        for at, given in ((layout.columns, self.tensors), (columns, others)):
            for column, one in zip(at, given, strict=True):
                if one is not None:
                    table[column] = one.data_ptr()

    def arguments(
        self, weights: Tensor, is_backward: bool, kept: Sequence[Tensor] = (), **given: Any
    ) -> array[int]:
        """Return the arguments of a kernel; all that is given must stay alive while it runs.

        ``weights`` is memory for the packed weights, ``kept`` for what all blocks keep, see :meth:`Layout.make_room`.
        """
        own, x = self.layout, self.x
        arguments = array("q", [
            0, 0, 0, *own.sizes, x.data_ptr(), *x.stride(), self.table.buffer_info()[0], self.at_constants,
            own.scratch, own.work if is_backward else 0, own.packed_work, weights.data_ptr(), own.weights,
            own.states, own.widest, *_EMPTY,
        ])  # fmt: skip
        if kept:
            self.kept = own.addresses(kept)
            arguments[kernels.KEPT] = self.kept.buffer_info()[0]
        for argument, value in given.items():
            if value is not None:
                arguments[_PLACES[argument]] = value if type(value) is int else value.data_ptr()
        return arguments

    def run(self, kernel: Callable[..., None], arguments: array[int], with_packed: bool) -> None:
        """Run a kernel, ``with_packed`` weights, or after packing them."""
        own = self.layout
        size = own.backward_bytes if kernel is kernels.scan_backward else own.forward_bytes
        first = 0 if with_packed or not own.weights else _address(kernels.pack_weights, own.number)
        threads.run(_address(kernel, own.number), arguments, self.at_constants, own.items, size, first)

    def sums(self) -> Tensor:
        """Return memory for an item's gradients of weights and parameters and two numbers of the loss, in rows."""
        return self.empty(self.layout.items, self.layout.gradient + 2)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device="cpu")  # whatever torch's default device is


_PLACES = {name: getattr(kernels, name) for name in dir(kernels) if name.isupper()}
_EMPTY = [0] * (kernels.ARGUMENTS - kernels.KEPT)


def forward(
    layout: Layout,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    numbers: Sequence[float],
    lengths: Tensor | None,
    keep: bool,
    y_seq: Tensor,
    written: Sequence[Tensor],
) -> list[Tensor | None]:
    """Run a plan; ``y_seq`` gets the outputs ``[T, N, J]``, ``written`` last states and what is stored of all steps.

    Returns what the backward pass needs: the packed weights, the states at borders, and what is kept, nothing where it
    is computed again.
    """
    call = Call(layout, x_seq, tensors, numbers, layout.written, written)
    weights = call.empty(layout.weights)
    borders = call.empty(layout.borders * layout.N * layout.states) if layout.borders else None
    kept = layout.make_room() if keep else []
    arguments = call.arguments(weights, False, kept, Y_SEQ=y_seq, BORDERS=borders, LENGTHS=lengths)
    call.run(kernels.scan_forward, arguments, with_packed=False)
    return [weights, borders, *kept]


def backward(
    layout: Layout,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    numbers: Sequence[float],
    lengths: Tensor | None,
    weights: Tensor | None,
    borders: Tensor | None,
    kept: Sequence[Tensor],
    grad_y: Tensor | None,
    grads: Sequence[Tensor | None],
    needs_x: bool,
    needs_first: bool,
) -> list[Tensor | None]:
    """Return the gradients of x_seq and of all tensors, None where none is needed; see :func:`forward`.

    ``grads`` are those of what :func:`forward` has written besides outputs.
    """
    given = [None if one is None else _strided(layout.dtype, one).contiguous() for one in grads]
    call = Call(layout, x_seq, tensors, numbers, layout.of_gradients, given)
    g_y = None if grad_y is None else _strided(call.dtype, grad_y)
    g_x = call.empty(*x_seq.shape) if needs_x else None
    g_first = call.empty(layout.N * layout.states) if needs_first else None
    sums, (by_t, by_n, by_i) = call.sums(), (0, 0, 0) if g_y is None else g_y.stride()
    packed = call.empty(layout.weights) if weights is None else weights
    arguments = call.arguments(
        packed, True, kept, BORDERS=borders, LENGTHS=lengths, G_Y=g_y, G_T=by_t, G_N=by_n, G_I=by_i, G_X=g_x,
        G_FIRST=g_first, SUMS=sums, SUM_SIZE=sums.shape[1], ZEROS=layout.zeros_address,
    )  # fmt: skip
    call.run(kernels.scan_backward, arguments, with_packed=weights is not None)
    # By numpy, in their order: the threads of torch would not keep it.
    total = torch.from_numpy(np.add.reduce(sums.numpy(), axis=0))
    states = None if g_first is None else iter(g_first.split_with_sizes(layout.state_sizes))
    others = iter(total[: layout.gradient].split_with_sizes(layout.other_sizes))
    found: list[Tensor | None] = [None if g_x is None else _out(x_seq.dtype, g_x)]
    for tensor, is_state in zip(tensors, layout.are_states, strict=True):
        pieces = states if is_state else others
        piece = None if pieces is None else next(pieces)
        found.append(
            None if tensor is None or piece is None else _out(tensor.dtype, piece.view(tensor.shape))
        )
    return found


def scan(
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    plan: Plan,
    numbers: Sequence[float],
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return outputs, last states, what is stored of all steps, and states at borders; see :mod:`snn_core.kernels.op`.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    layout = layout_of(x_seq, tensors, plan, lengths)
    last = torch.empty(layout.N * layout.states, dtype=layout.dtype, device="cpu")
    y_seq = last.new_empty(layout.T, layout.N, plan.stages[-1].outputs)
    seqs = last.new_empty(layout.T * layout.N * sum(plan.seq_sizes))
    written = [*last.split_with_sizes(layout.state_sizes), *seqs.split_with_sizes(layout.parts_of_seqs)]
    _, borders = forward(layout, x_seq, tensors, numbers, lengths, False, y_seq, written)
    borders = last.new_empty(0) if borders is None else borders
    return *[_out(x_seq.dtype, one) for one in (y_seq, last, seqs)], borders


def scan_backward(
    grad_y: Tensor | None,
    grad_last: Tensor | None,
    grad_seqs: Tensor | None,
    x_seq: Tensor,
    borders: Tensor,
    tensors: Sequence[Tensor | None],
    plan: Plan,
    numbers: Sequence[float],
    needs_x: bool = True,
    lengths: Tensor | None = None,
) -> list[Tensor]:
    """Return the gradients of x_seq and of all tensors; see :func:`scan`."""
    layout = layout_of(x_seq, tensors, plan, lengths)
    shapes.check_backward(grad_y, grad_last, grad_seqs, x_seq, plan, borders)
    grads: list[Tensor | None] = []
    for together, sizes in ((grad_last, layout.state_sizes), (grad_seqs, layout.parts_of_seqs)):
        grads += [None] * len(sizes) if together is None else together.split_with_sizes(sizes)
    found = backward(
        layout, x_seq, tensors, numbers, lengths, None, borders, [], grad_y, grads, needs_x, True
    )
    return [x_seq.new_empty(0) if one is None else one for one in found]
