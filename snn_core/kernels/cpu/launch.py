"""The scan of a plan on the CPU: tensors in, kernels compiled by numba, tensors out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels import shapes
from snn_core.kernels.cpu import rows, threads
from snn_core.kernels.cpu import scan as kernels
from snn_core.kernels.plan import Plan, Stage

#: Seconds after which a reader is told what keeps him waiting.
PATIENCE = 1.0

#: Shown once for each kernel; tools/run_notebooks.py keeps it off the pages.
COMPILING = "snn_core: compiling a CPU kernel, once; it is kept for the next time"


def _say_what_takes_long() -> None:
    print(COMPILING, file=sys.stderr, flush=True)


@contextmanager
def patiently() -> Iterator[None]:
    """Report that kernels are compiled if that takes long."""
    timer = threading.Timer(PATIENCE, _say_what_takes_long)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


#: Numbers of gradients that are kept apart until they are summed.
GRADIENTS = 1 << 22


@cache
def _ready_to_run(dtype: Any) -> None:
    """Compile the kernels of a scan for a precision, or load them."""
    with patiently():
        for name in ("transpose_weights", "scan_forward", "scan_read_out", "scan_backward"):
            kernels.address(name, dtype)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which kernels compute for tensors of ``dtype``: half precisions are widened."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _strided(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a sequence in the precision of the kernels, which read it however it lies in memory."""
    is_real = tensor.dtype is dtype and not (tensor.is_neg() or tensor._is_zerotensor())
    return tensor if is_real else in_memory(tensor, dtype)


def _in(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return an input in the precision of the kernels, with neurons side by side; a copy where it is not so."""
    return _strided(dtype, tensor).contiguous()


def in_memory(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` in ``dtype`` as numbers that lie side by side in memory, where a kernel reads them."""
    # Autograd's zeros have no memory, and a negative view holds the numbers with the other sign.
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=dtype, device=tensor.device)
    return tensor.resolve_neg().to(dtype).contiguous()


def _out(dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return results in the precision that the caller uses."""
    return tensors if tensors[0].dtype is dtype else tuple(tensor.to(dtype) for tensor in tensors)


class Layout(NamedTuple):
    """Where everything of a plan lies, for one shape and dtype of its input; see :mod:`snn_core.kernels.cpu.scan`."""

    table: np.ndarray
    numbers: np.ndarray
    steps: int
    samples: int
    per: int
    scratch: int
    weights: int
    states: int
    widest: int
    gradient: int
    items: int
    borders: int
    zeros: np.ndarray
    at_numbers: int
    at_zeros: int


def _clamp(value: int, lowest: int, highest: int) -> int:
    return max(lowest, min(value, highest))


@lru_cache(maxsize=256)
def _layout(plan: Plan, dtype: torch.dtype, T: int, N: int, sizes: tuple[int, ...]) -> Layout:
    """Lay a plan out; ``sizes`` are the numbers of elements of its parameters."""
    number: Any = np.float32 if dtype == torch.float32 else np.float64
    stages, S = plan.stages, plan.samples
    L, borders = plan.segments(T)
    table = np.zeros((len(stages), kernels.COLUMNS), np.int64)
    numbers = np.zeros((len(stages), kernels.NUMBERS), number)
    at, weights, gradient, states, left = L * stages[0].inputs, 0, 0, 0, list(sizes)
    for row, values, stage in zip(table, numbers, stages, strict=True):
        J, K = stage.outputs, stage.states
        values[: 2 + len(stage.numbers)] = (1, 0, *stage.numbers)
        own = [left.pop(0) for _ in range(stage.parameters)]
        D, matrices = stage.feedback, 1 if stage.taps else stage.feedback
        row[: kernels.FORWARD] = stage.kernel != "linear", D, max(D, 1), matrices, stage.inputs, J
        row[[kernels.STATES, kernels.PARAMETERS]] = K, len(own)
        row[kernels.SIZE : kernels.SIZE + len(own)] = own
        row[kernels.WEIGHT_T], row[kernels.GRADIENT], row[kernels.STATE] = weights, gradient, states
        places = [(kernels.Y, (L + max(D, 1)) * J)]
        if stage.is_dense:
            weights += stage.products + J
            gradient += stage.products + J + stage.taps * D * J
        if stage.kernel != "linear":
            row[[kernels.FORWARD, kernels.BACKWARD]] = rows.addresses(stage.kernel, number)
            places += [(kernels.V, (L + 1) * K * J), (kernels.GV, K * J)]
            places += [(kernels.P, len(own) * J), (kernels.GP, len(own) * J)]
            if D:
                places += [(kernels.CURRENT, L * J), (kernels.GY, (L + D) * J)]
            if stage.taps:
                places += [(kernels.Z, L * J), (kernels.GZ, J)]
        gradient += sum(own)
        states += stage.state_size
        for column, size in places:
            row[column] = at
            at += size + 3
    scratch = at + (2 * L + 1) * plan.widest
    blocks = -(-N // S)
    per = -(-blocks // _clamp(GRADIENTS // max(gradient, 1), 4, 64)) if blocks else 1
    zeros = np.append(np.zeros(plan.widest, number), number(1))
    return Layout(
        table, numbers, L, S, per, scratch, weights, states, plan.widest, gradient, -(-blocks // per), borders,
        zeros, numbers.ctypes.data, zeros.ctypes.data,
    )  # fmt: skip


def _columns(stage: Stage) -> list[int]:
    """Return the columns of the table for the tensors of a stage."""
    if stage.kernel == "linear":
        return [kernels.WEIGHT, kernels.BIAS]
    feedback = [kernels.FIRST + kernels.MOST_STATES, kernels.WEIGHT, kernels.BIAS, kernels.TAPS]
    return [
        *range(kernels.FIRST, kernels.FIRST + stage.states),
        *feedback[: (3 + stage.taps) * (stage.feedback > 0)],
        *range(kernels.PARAMETER, kernels.PARAMETER + stage.parameters),
    ]


@lru_cache(maxsize=256)
def _places(plan: Plan) -> tuple[np.ndarray, list[int]]:
    """Return the places of a plan's tensors in its table, and which of them are parameters."""
    columns = [(k, column) for k, stage in enumerate(plan.stages) for column in _columns(stage)]
    parameters = [n for n, (_, column) in enumerate(columns) if kernels.PARAMETER <= column < kernels.SIZE]
    return np.array([k * kernels.COLUMNS + column for k, column in columns]), parameters


@lru_cache(maxsize=256)
def _pieces(plan: Plan, N: int, sizes: tuple[int, ...]) -> list[tuple[bool, int, int]]:
    found, ends, left = [], [0, 0], list(sizes)
    for stage in plan.stages:
        for column in _columns(stage):
            is_state, J = column >= kernels.FIRST, stage.outputs
            if kernels.PARAMETER <= column < kernels.SIZE:
                size = left.pop(0)
            elif column == kernels.FIRST + kernels.MOST_STATES:
                size = stage.feedback * N * J
            elif is_state:
                size = N * J
            else:
                size = {kernels.BIAS: J, kernels.TAPS: stage.feedback * J}.get(column, stage.products)
            found.append((is_state, ends[is_state], ends[is_state] + size))
            ends[is_state] += size
    return found


class Call:
    """What both directions have in common: the layout of the plan, and the tensors as kernels read them."""

    def __init__(
        self, x_seq: Tensor, tensors: Sequence[Tensor | None], plan: Plan, lengths: Tensor | None = None
    ) -> None:
        shapes.check_scan(x_seq, tensors, lengths, plan)
        self.dtype, self.plan = compute_dtype(x_seq.dtype), plan
        self.x = _strided(self.dtype, x_seq)
        self.tensors = [None if one is None else _in(self.dtype, one) for one in tensors]
        self.T, self.N, _ = x_seq.shape
        places, parameters = _places(plan)
        self.sizes = tuple([tensors[n].numel() for n in parameters])  # type: ignore[union-attr]
        self.layout = own = _layout(plan, self.dtype, self.T, self.N, self.sizes)
        self.table = own.table.copy()
        self.table.ravel()[places] = [0 if one is None else one.data_ptr() for one in self.tensors]
        self.weights = self.empty(own.weights)
        self.arguments = np.array(
            [
                0, 0, 0, own.numbers.itemsize, own.items, len(plan.stages), self.T, self.N,
                own.steps, own.samples, own.per,
                self.x.data_ptr(), *self.x.stride(), self.table.ctypes.data, own.at_numbers,
                own.scratch, self.weights.data_ptr(), own.weights, own.states, own.widest,
                *[0] * (kernels.ARGUMENTS - kernels.BORDERS),
            ],
            np.int64,
        )  # fmt: skip

    def run(
        self, name: str, lead: tuple[int, np.ndarray] | None = None, **arguments: Tensor | int | None
    ) -> None:
        """Run a kernel, or ``lead``, see :func:`threads.run`; ``arguments`` keeps what is at their addresses alive."""
        own = self.layout
        number: Any = own.numbers.dtype.type
        for argument, value in arguments.items():
            at = value.data_ptr() if isinstance(value, Tensor) else value or 0
            self.arguments[getattr(kernels, argument)] = at
        _ready_to_run(number)
        if len(self.weights) and lead is None:
            threads.run(kernels.address("transpose_weights", number), self.arguments, own.at_numbers, 1, 0)
        size = own.scratch * own.samples * own.numbers.itemsize
        threads.run(kernels.address(name, number), self.arguments, own.at_numbers, own.items, size, lead)

    def run_backward(
        self, sums: Tensor, lead: tuple[int, np.ndarray] | None = None, **arguments: Any
    ) -> None:
        """Write the gradients of weights and parameters, and two numbers of the loss, into a row for each item."""
        given: Any = {"ZEROS": self.layout.at_zeros, "SUMS": sums, "SUM_SIZE": sums.shape[1]}
        self.run("scan_backward", lead, **given, **arguments)

    def sums(self) -> Tensor:
        return self.empty(self.layout.items, self.layout.gradient + 2)

    def pieces(self) -> list[tuple[bool, int, int]]:
        """Return whether the gradient of each tensor lies among those of first states, and from where to where."""
        return _pieces(self.plan, self.N, self.sizes)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device="cpu")  # whatever torch's default device is


def scan(
    x_seq: Tensor, tensors: Sequence[Tensor | None], plan: Plan, lengths: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Return outputs, last states and states at borders; see :mod:`snn_core.kernels.op`.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    call = Call(x_seq, tensors, plan, lengths)
    y_seq = call.empty(call.T, call.N, plan.stages[-1].outputs)
    last, borders = (call.empty(k * call.N * plan.state_size) for k in (1, call.layout.borders))
    call.run("scan_forward", Y_SEQ=y_seq, LAST=last, BORDERS=borders, LENGTHS=lengths)
    return *_out(x_seq.dtype, y_seq, last), borders


def scan_backward(
    grad_y: Tensor | None,
    grad_last: Tensor | None,
    x_seq: Tensor,
    borders: Tensor,
    tensors: Sequence[Tensor | None],
    plan: Plan,
    needs_x: bool = True,
    lengths: Tensor | None = None,
) -> list[Tensor]:
    """Return the gradients of x_seq and of all tensors; see :func:`scan`."""
    call = Call(x_seq, tensors, plan, lengths)
    shapes.check_backward(grad_y, grad_last, x_seq, plan, borders)
    g_y = None if grad_y is None else _strided(call.dtype, grad_y)
    g_last = None if grad_last is None else _in(call.dtype, grad_last)
    g_x = call.empty(*x_seq.shape) if needs_x else call.empty(0)
    g_first = call.empty(call.N * plan.state_size)
    by = (0, 0, 0) if g_y is None else g_y.stride()
    sums = call.sums()
    call.run_backward(
        sums,
        BORDERS=borders,
        G_Y=g_y,
        G_T=by[0],
        G_N=by[1],
        G_I=by[2],
        G_LAST=g_last,
        G_X=g_x if needs_x else None,
        G_FIRST=g_first,
        LENGTHS=lengths,
    )
    # By numpy, in their order: the threads of torch would compete with those of the kernels.
    total = torch.from_numpy(np.add.reduce(sums.numpy(), axis=0))
    return [*_out(x_seq.dtype, g_x), *_split(call, tensors, total, g_first)]


def _split(call: Call, tensors: Sequence[Tensor | None], sums: Tensor, first: Tensor) -> list[Tensor]:
    """Return the gradients of a plan's tensors, which lie one after the other in ``sums`` and ``first``."""
    found = []
    for tensor, (is_state, start, end) in zip(tensors, call.pieces(), strict=True):
        if tensor is None:
            found.append(sums.new_empty(0))
        else:
            gradient = (first if is_state else sums)[start:end].view(tensor.shape)
            found.append(gradient if tensor.dtype is call.dtype else gradient.to(tensor.dtype))
    return found
