"""The kernels for a GPU, ``plan.cu``, as an executor: :func:`forward` and :func:`backward` of a plan.

CuPy compiles them on first use and keeps them on disk. The head of ``plan.cu`` explains how a kernel works. This module
puts the structures and the cells of a plan into it (:func:`source`) and decides which stages one launch takes, on how
many blocks of how many threads (:class:`Launch`). Outputs come from torch's allocator and kernels go onto torch's
current stream without waiting for anything, so a training step can be captured in a CUDA graph, once its kernels have
been compiled by an ordinary step.

Half precisions are widened in registers: all arithmetic and the states that are passed in are float32, for float64
float64. CuPy compiles everything with ``-ftz=true``: single-precision numbers below 1.2e-38 count as 0.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels import fields
from snn_core.kernels import limits as most
from snn_core.kernels.plan import Kind, Plan, in_memory
from snn_core.kernels.record.equations import Code
from snn_core.kernels.record.symbols import Statement

SOURCE = Path(__file__).with_name("plan.cu")
#: What cells call, here and on a CPU.
FUNCTIONS = Path(__file__).parents[1] / "engine" / "functions.h"

#: What ``plan.cu`` calls each dtype.
SCALARS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
}

# As in plan.cu: most threads of a block that shares neurons, and its samples.
THREADS, SAMPLES = 512, 4
#: Threads of a block, and its samples, where no neurons are connected.
ELEMENTS = 128
#: Bytes of shared memory that a block gets without having asked for more.
UNASKED_SHARED_BYTES = 48 << 10
#: Columns of the structures that kernels take, in words.
HEAD, STAGE = fields.columns(fields.HEAD), fields.columns(fields.CUDA)


class Launch(NamedTuple):
    """A kernel's name, the size of the grid and of a block, a block's bytes of dynamic shared memory, and its cells."""

    kernel: str
    blocks: int
    threads: int
    shared_bytes: int = 0
    cells: tuple[Code, ...] = ()


def _function(
    head: str, names: dict[str, str], statements: Sequence[Statement], results: dict[str, str]
) -> str:
    """Return a function of a cell: what names stand for, its statements, and where results go."""
    written = list(map(str, statements))
    used = set(re.findall(r"\w+", " ".join([*written, *results.values()])))
    lines = [
        f"const Compute {name} = {value};" for name, value in names.items() if name in used and name != value
    ]
    lines += [f"const {'bool' if text[0] == 'f' else 'Compute'} {text};" for text in written]
    lines += [f"{place} {value};" for place, value in results.items()]
    return "\n".join(
        [f"    __device__ static void {head} {{", *(f"        {line}" for line in lines), "    }"]
    )


def cell_source(number: int, code: Code) -> str:
    """Return the structure of a cell, see ``plan.cu``."""
    states, parameters = range(code.states), range(code.parameters)
    names = {"one": "1", "zero": "0"} | {f"v{k}": f"v[{k}]" for k in states}
    names |= {f"p{k}": f"p[{k}]" for k in parameters} | {f"c{k}": f"n.c[{k}]" for k in range(code.constants)}
    y, *after = code.outputs
    forward = _function(
        "forward(const Numbers& n, const Compute* p, Compute x, Compute* v, Compute& y)",
        names, code.forward, {"y =": y} | {f"v[{k}] =": value for k, value in enumerate(after)},
    )  # fmt: skip
    g_x, *rest = code.gradients
    results = {"g_x =": g_x} | {f"g_v[{k}] =": value for k, value in enumerate(rest[: code.states])}
    results |= {f"g_p[{k}] +=": value for k, value in enumerate(rest[code.states :])}
    backward = _function(
        "backward(const Numbers& n, const Compute* p, Compute x, const Compute* v, Compute g_y, Compute* g_v, "
        "Compute& g_x, Compute* g_p)",
        names | {f"g_v{k}": f"g_v[{k}]" for k in states}, code.backward, results,
    )  # fmt: skip
    sizes = f"    enum {{ STATES = {code.states}, PARAMETERS = {code.parameters} }};"
    return "\n".join([f"struct Cell{number} {{", sizes, forward, backward, "};\n"])


def cells(codes: Sequence[Code]) -> str:
    """Return what ``plan.cu`` includes: its structures, those of all cells of a plan, and the list of these."""
    listed = " ".join(f"CELL({k}, Cell{k})" for k in range(len(codes)))
    structures = [
        fields.struct("Stage", fields.CUDA, "Numbers c;"),
        fields.struct("Plan", fields.HEAD, "Stage stages[MOST_STAGES];"),
        *[cell_source(number, code) for number, code in enumerate(codes)],
    ]
    return "\n".join([*structures, f"#define CELLS(CELL) {listed}\n"])


def source(codes: Sequence[Code]) -> str:
    """Return what is compiled: ``plan.cu`` with what it includes in it, since CuPy's cache knows no other files."""
    text = SOURCE.read_text().replace('#include "functions.h"\n', FUNCTIONS.read_text())
    return text.replace('#include "cells.cuh"\n', cells(codes))


def definitions(dtype: torch.dtype) -> dict[str, Any]:
    """Return what ``plan.cu`` wants defined."""
    return {name: value for name, value in vars(most).items() if name.isupper()} | {"SCALAR": SCALARS[dtype]}


def compile_options(dtype: torch.dtype) -> tuple[str, ...]:
    """Return NVRTC's options for sequences of ``dtype``; CuPy adds the architecture and ``-ftz=true``."""
    # Without fused multiply-add every step rounds as torch does.
    defined = [f"-D{name}={value}" for name, value in definitions(dtype).items()]
    return "--std=c++14", "--fmad=false", *defined


@cache
def _module(dtype: torch.dtype, codes: tuple[Code, ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(codes), options=compile_options(dtype))


class _StreamHandle:
    """A stream under the protocol that CuPy 14 asks for; torch's own streams speak it only since a late release."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def _current_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Return torch's current stream as CuPy's; asked for at every launch, since it may change between two."""
    import cupy

    pointer = torch.cuda.current_stream(device).cuda_stream
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_StreamHandle(pointer))
    return cupy.cuda.ExternalStream(pointer, device.index)  # CuPy 13


@cache
def _shared_limit(device: torch.device) -> int:
    import cupy

    runtime = cupy.cuda.runtime
    return runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, device.index)


@cache
def _kernel(
    name: str,
    codes: tuple[Code, ...],
    dtype: torch.dtype,
    device: torch.device,
    much_shared_memory: bool,
) -> Any:
    """Return a kernel for the current device."""
    kernel = _module(dtype, codes).get_function(name)
    if much_shared_memory:
        kernel.max_dynamic_shared_size_bytes = _shared_limit(device)
    return kernel


class Device:
    """Starts kernels on GPUs. Tests replace :data:`device` by another, which runs them on a CPU."""

    def shared_limit(self, place: torch.device) -> int:
        """Return the bytes of shared memory that a block may ask for."""
        return _shared_limit(place)

    def start(self, launch: Launch, dtype: torch.dtype, place: torch.device, plan: np.ndarray) -> None:
        """Start a kernel for sequences of ``dtype`` on torch's current stream.

        Args:
            launch: what to start.
            dtype: dtype of the sequences.
            place: the GPU they are on.
            plan: the kernel's argument, a structure that is passed by value, as an array of one element.
        """
        with torch.cuda.device(place), _current_stream(place):
            much = launch.shared_bytes > UNASKED_SHARED_BYTES
            kernel = _kernel(launch.kernel, launch.cells, dtype, place, much)
            kernel((launch.blocks,), (launch.threads,), (plan,), shared_mem=launch.shared_bytes)


device = Device()


def _quotient(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


class Group(NamedTuple):
    """Stages that one launch takes: with how many samples and threads in a block, and its bytes of shared memory.

    ``columns`` threads share the neurons of a row. Where no stage connects neurons, each neuron of a sample is a
    sample of its own, ``neurons`` of them; otherwise ``neurons`` is 1.
    """

    kinds: tuple[Kind, ...]
    neurons: int
    samples: int
    threads: int
    columns: int
    shared_bytes: int

    @property
    def is_linear(self) -> bool:
        """Whether this is a linear layer by itself, for which torch has a faster product."""
        return len(self.kinds) == 1 and self.kinds[0].program is None

    @property
    def cells(self) -> tuple[Code, ...]:
        """The different cells of the group."""
        return tuple(dict.fromkeys(kind.program.code for kind in self.kinds if kind.program))


def _ring(kind: Kind) -> int:
    """Return how many rows of outputs a stage has in shared memory."""
    return max(2, 1 + kind.feedback)


def _rows(kind: Kind) -> int:
    """Return how many numbers of one sample a stage has in shared memory, see ``Block`` in ``plan.cu``."""
    own = kind.states + 2 * len(kind.sizes) + kind.feedback + kind.taps * (3 + kind.feedback)
    return (_ring(kind) + own) * kind.outputs


def _group(kinds: Sequence[Kind], itemsize: int, limit: int) -> Group:
    is_dense = any(kind.is_dense for kind in kinds)
    flat = tuple(kinds) if is_dense else tuple([kind._replace(inputs=1, outputs=1) for kind in kinds])
    one = itemsize * (2 * flat[0].inputs + sum(map(_rows, flat)))
    if not is_dense:
        samples = max(1, min(ELEMENTS, limit // one))
        return Group(flat, kinds[0].outputs, samples, ELEMENTS, 1, samples * one)
    widest = max(1, *(max(kind.inputs, kind.outputs) for kind in kinds))
    samples = SAMPLES if SAMPLES * one <= limit else 1
    threads = min(THREADS, 32 * _quotient(widest, 32))
    return Group(flat, 1, samples, threads, threads, samples * one)


def _itemsize(dtype: torch.dtype) -> int:
    return 8 if dtype == torch.float64 else 4


@lru_cache(maxsize=256)
def too_large(kind: Kind, dtype: torch.dtype, limit: int) -> str:
    """Return why a block has too little shared memory for the neurons of a stage, "" if it has enough."""
    group = _group([kind], _itemsize(dtype), limit)
    if group.shared_bytes <= limit or group.is_linear:
        return ""
    has_delays = kind.feedback > 1
    return (
        f"{kind.outputs} recurrent neurons{f' with delays up to {kind.feedback} steps' * has_delays} need "
        f"{group.shared_bytes:,} bytes of shared memory, the device has {limit:,}: use fewer"
        f"{', or a smaller max_delay' * has_delays}"
    )


@lru_cache(maxsize=256)
def groups(plan: Plan, limit: int) -> tuple[Group, ...]:
    """Divide a plan into launches: one, unless it has too many stages or too many neurons for shared memory."""
    itemsize = _itemsize(plan.compute)
    launches: list[Group] = []
    rest: list[Kind] = []
    for kind in plan.kinds:
        fits = len(rest) < most.MOST_STAGES and _group([*rest, kind], itemsize, limit).shared_bytes <= limit
        if rest and not fits:
            launches.append(_group(rest, itemsize, limit))
            rest = []
        rest.append(kind)
    return *launches, _group(rest, itemsize, limit)


@lru_cache(maxsize=256)
def _words(group: Group, itemsize: int) -> np.ndarray:
    """Return the structure ``Plan`` of ``plan.cu`` for a group, still without sequences, tensors and numbers."""
    numbers = (most.MOST_STATES + most.MOST_CONSTANTS) * itemsize // 8
    words = np.zeros(HEAD["COLUMNS"] + most.MOST_STAGES * (STAGE["COLUMNS"] + numbers), np.int64)
    source_at, source_rows, at = 0, 2, 2 * group.kinds[0].inputs
    for row, kind in zip(_stages(words), group.kinds, strict=False):
        cell = -1 if kind.program is None else group.cells.index(kind.program.code)
        sizes = {"FEEDBACK": kind.feedback, "TAPS": kind.taps, "INPUTS": kind.inputs, "OUTPUTS": kind.outputs}
        sizes |= {"STATES": kind.states, "PARAMETERS": len(kind.sizes), "CELL": cell}
        sizes |= {"FROM": source_at, "FROM_ROWS": source_rows, "AT": at, "ROWS": _ring(kind)}
        for name, value in sizes.items():
            row[STAGE[name]] = value
        row[STAGE["SIZE"] : STAGE["SIZE"] + len(kind.sizes)] = kind.sizes
        source_at, source_rows, at = at, _ring(kind), at + _rows(kind)
    return words


def _stages(words: np.ndarray) -> np.ndarray:
    return words[HEAD["COLUMNS"] :].reshape(most.MOST_STAGES, -1)


#: Tensors of a stage by their field and the place in it.
Own = dict[tuple[str, int], Any]


class _Call:
    """A group with its input, its tensors and its numbers."""

    def __init__(self, plan: Plan, group: Group, x: Tensor, own: Sequence[Own], numbers: np.ndarray) -> None:
        self.plan, self.group, self.x, self.own, self.numbers = plan, group, x, own, numbers
        self.T, self.N = plan.T, plan.N * group.neurons
        self.y_shape = plan.T, plan.N, group.neurons * group.kinds[-1].outputs

    def _new(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.empty(shape, dtype=dtype or self.plan.compute, device=self.x.device)

    def _start(self, kernel: str, head: dict[str, Any], more: Sequence[Own]) -> None:
        """Start a kernel; ``more`` are tensors of each stage besides its own."""
        group, words = self.group, _words(self.group, _itemsize(self.plan.compute)).copy()
        blocks = _quotient(self.N, group.samples)
        if blocks == 0:
            return
        head |= {"STEPS": self.T, "ALL": self.N, "SAMPLES": group.samples, "THREADS": group.columns}
        head |= {"COUNT": len(group.kinds), "X": self.x}
        for name, value in head.items():
            words[HEAD[name]] = value.data_ptr() if isinstance(value, Tensor) else value or 0
        tensors = [one | others for one, others in zip(self.own, more, strict=True)]
        for own in tensors:  # alive until it starts
            if own.get(("WEIGHT", 0)) is not None:
                own["WEIGHT_T", 0] = own["WEIGHT", 0].t().contiguous()
        numbers_of = np.ascontiguousarray(self.numbers[:, 2:]).view(np.int64)  # without one and zero
        for row, own, numbers in zip(_stages(words), tensors, numbers_of, strict=False):
            for (name, place), value in own.items():
                if value is not None:
                    row[STAGE[name] + place] = value.data_ptr() if isinstance(value, Tensor) else value
            row[STAGE["COLUMNS"] :] = numbers
        launch = Launch(kernel, blocks, group.threads, group.shared_bytes, group.cells)
        device.start(launch, self.plan.dtype, self.x.device, words.view(f"V{words.nbytes}"))

    def forward(self, results: Sequence[Own]) -> Tensor:
        """Return outputs; ``results`` has memory for last states and for what is stored of all steps."""
        y = self._new(*self.y_shape, dtype=self.plan.dtype)
        if self.group.is_linear:
            weight, bias = self.own[0]["WEIGHT", 0], self.own[0]["BIAS", 0]
            return y.copy_(torch.nn.functional.linear(self.x.to(self.plan.compute), weight, bias))
        self._start("forward_pass", {"Y": y}, results)
        return y

    def backward(self, g_y: Tensor | None, grads: Sequence[Own]) -> tuple[Tensor, list[Own]]:
        """Return the gradients of the input and of all tensors; ``grads`` are those of results besides outputs."""
        g_x, kept = self._new(*self.x.shape, dtype=self.plan.dtype), self._keep()
        if self.group.is_linear:
            g_i = kept[0]["G_I", 0]
            g_i.zero_() if g_y is None else g_i.copy_(g_y)
            g_x.copy_(g_i @ self.own[0]["WEIGHT", 0])
        else:
            more = [one | own for one, own in zip(grads, kept, strict=True)]
            self._start("backward_pass", {"G_Y": g_y, "G_X": g_x}, more)
        inputs = [self.x.to(self.plan.compute), *(one["KEPT_Y", 0] for one in kept)]
        parts = zip(self.group.kinds, self.own, kept, inputs, strict=False)
        return g_x, [self._gradients(*part) for part in parts]

    def _keep(self) -> list[Own]:
        """Make room for what the backward kernel keeps, and for the gradients that it writes."""
        kept: list[Own] = []
        before = None
        for k, kind in enumerate(self.group.kinds):
            sequence, D = (self.T, self.N, kind.outputs), kind.feedback
            own: Own = {("KEPT_V", 0): self._new(kind.states, *sequence)}
            own["G_P", 0] = self._new(len(kind.sizes), *sequence[1:])
            own["KEPT_I", 0] = self._new(*sequence) if D else None
            own["KEPT_Y", 0] = self._new(*sequence) if k + 1 < len(self.own) or D else None
            own["G_I", 0] = self._new(*sequence) if kind.is_dense else None
            own["INPUT", 0] = own["KEPT_I", 0] if D else before
            if kind.taps:
                own["KEPT_Z", 0], own["G_TAPS", 0] = self._new(*sequence), self._new(D, *sequence[1:])
            own["LAST", 0] = self._new(kind.states + D, *sequence[1:])
            before = own["KEPT_Y", 0]
            kept.append(own)
        return kept

    def _gradients(self, kind: Kind, own: Own, kept: Own, x: Tensor) -> Own:
        """Return the gradients of a stage's tensors."""
        N, J, D = self.N, kind.outputs, kind.feedback
        first = kept["LAST", 0]
        gradients: Own = {("FIRST", k): first[k] for k in range(kind.states)} | {
            ("FIRST", most.MOST_STATES): first[kind.states :]
        }
        if kind.is_dense:  # g_i belongs to the sum of what comes from x[t] and from earlier outputs
            g = kept["G_I", 0].flatten(0, 1).t()
            fed = [x]
            if kind.taps:
                fed.append(kept["KEPT_Z", 0])
            elif D:
                y = own["FIRST", most.MOST_STATES]
                y = self._new(1, N, J).zero_() if y is None else y.view(1, N, J)
                fed.append(torch.cat([y, kept["KEPT_Y", 0][:-1]]))
            gradients["WEIGHT", 0] = torch.cat([g @ one.flatten(0, 1) for one in fed], 1)
            gradients["BIAS", 0] = g.sum(1)
        if kind.taps:
            gradients["TAP", 0] = kept["G_TAPS", 0].sum(1)
        for k, (size, g) in enumerate(zip(kind.sizes, kept["G_P", 0], strict=True)):
            gradients["PARAMETER", k] = g.view(g.numel() // max(size, 1), size).sum(0)
        return gradients


def _of_stages(plan: Plan, names: Sequence[tuple[int, str, int]], values: Sequence[Any]) -> list[Own]:
    """Return values by their stage, field and place."""
    by_stage: list[Own] = [{} for _ in plan.kinds]
    for (k, name, place), value in zip(names, values, strict=True):
        by_stage[k][name, place] = value
    return by_stage


def _alias(memory: Tensor, k: int, shape: tuple[int, ...]) -> Tensor:
    """Return part k of memory as a tensor of its own: autograd refuses to change a view of another one in place."""
    offset = memory[k].storage_offset() if memory[k:].numel() else 0
    alias = torch.empty(0, dtype=memory.dtype, device=memory.device)
    return alias.set_(memory.untyped_storage(), offset, shape)  # type: ignore[call-overload]


def _calls(
    plan: Plan,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    numbers: array[float],
    results: Sequence[Own],
    is_whole: bool,
) -> tuple[list[_Call], Tensor]:
    """Return the launches of a plan, and the outputs of the last that ran: all, or all but the last."""
    wide = [None if one is None else in_memory(one.detach(), plan.compute) for one in tensors]
    own, y, at = (
        _of_stages(plan, plan.tensors, wide),
        in_memory(x_seq.detach().reshape(plan.rows), plan.dtype),
        0,
    )
    calls, rows = [], np.frombuffer(numbers, numbers.typecode).reshape(len(plan.kinds), -1)
    divided = groups(plan, device.shared_limit(x_seq.device))
    for k, group in enumerate(divided):
        end = at + len(group.kinds)
        calls.append(_Call(plan, group, y, own[at:end], rows[at:end]))
        if is_whole or k + 1 < len(divided):
            y = calls[-1].forward(results[at:end])
        at = end
    return calls, y


def forward(
    plan: Plan, x_seq: Tensor, tensors: Sequence[Tensor | None], numbers: array[float], keep: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Run a plan, see :func:`snn_core.kernels.autograd.run`; nothing is kept for the backward pass."""
    own, lasts, seqs = [], [], []
    for k, kind in enumerate(plan.kinds):
        N = math.prod(kind.shape) // max(kind.outputs, 1)
        rows = N, kind.outputs
        last = torch.empty(kind.states + kind.feedback, *rows, dtype=plan.compute, device=x_seq.device)
        seq = torch.empty(len(kind.seqs), plan.T, *rows, dtype=plan.compute, device=x_seq.device)
        own.append({("LAST", 0): last, ("SEQ", 0): seq, ("STORED", 0): kind.stored})
        places = [min(place, kind.states) for at, name, place in plan.tensors if at == k and name == "FIRST"]
        lasts += [(last, place) for place in places]
        seqs += [(seq, n) for n in range(len(kind.seqs))]
    _, y = _calls(plan, x_seq, tensors, numbers, own, True)
    pieces = zip((*lasts, *seqs), plan.result_shapes[1:], strict=True)
    results = [_alias(memory, place, shape).to(plan.dtype) for (memory, place), shape in pieces]
    return [y.view(plan.result_shapes[0]), *results], []


def backward(
    plan: Plan,
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    numbers: array[float],
    kept: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of x_seq and of all tensors, see the one for the CPU."""
    nothing: list[Own] = [{} for _ in plan.kinds]
    calls, _ = _calls(plan, x_seq, tensors, numbers, nothing, False)
    grad_y, *others = grads
    wide = iter([None if one is None else in_memory(one, plan.compute) for one in others])
    given: list[Own] = [{} for _ in plan.kinds]
    for k, name, place in plan.tensors:
        if name == "FIRST":
            given[k]["G_LAST", place] = next(wide)
    for k, kind in enumerate(plan.kinds):
        of_seqs = [next(wide) for _ in kind.seqs]
        if any(one is not None for one in of_seqs):
            zeros = torch.zeros(plan.T, *kind.shape, dtype=plan.compute, device=x_seq.device)
            seq = torch.stack([zeros if one is None else one for one in of_seqs])
            given[k] |= {("SEQ", 0): seq, ("STORED", 0): kind.stored}
    gradient = None if grad_y is None else in_memory(grad_y.reshape(plan.y_rows), plan.dtype)
    of_stages: list[Own] = []
    with torch.autocast(x_seq.device.type, enabled=False):  # no product in half precision
        for call in reversed(calls):
            at = len(plan.kinds) - len(of_stages) - len(call.own)
            gradient, own = call.backward(gradient, given[at : at + len(call.own)])
            of_stages[:0] = own
    results: list[Tensor | None] = [None if gradient is None else gradient.view(x_seq.shape)]
    for tensor, (k, name, place) in zip(tensors, plan.tensors, strict=True):
        results.append(
            None if tensor is None else of_stages[k][name, place].view(tensor.shape).to(tensor.dtype)
        )
    return results
