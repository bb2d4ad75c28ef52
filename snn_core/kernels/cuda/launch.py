"""The scan of a plan on a GPU: the kernels of ``plan.cu``, compiled by CuPy on first use and cached on disk.

The head of ``plan.cu`` explains how a kernel works. This module puts the cells of a plan into it (:func:`source`) and
decides which stages one launch takes, on how many blocks of how many threads (:class:`Launch`), and which tensors it
reads and writes. Outputs come from torch's allocator and kernels go onto torch's current stream without waiting for
anything, so a training step can be captured in a CUDA graph, once its kernels have been compiled by an ordinary step.

Half precisions are widened in registers: all arithmetic and the states that are passed in are float32, for float64
float64. CuPy compiles everything with ``-ftz=true``: single-precision numbers below 1.2e-38 count as 0.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels import shapes
from snn_core.kernels.cpu.launch import compute_dtype, in_memory
from snn_core.kernels.limits import MOST_PARAMETERS, MOST_STATES
from snn_core.kernels.plan import NUMBERS, OUTPUT, Plan, Stage
from snn_core.kernels.record.symbols import Program

SOURCE = Path(__file__).with_name("plan.cu")

#: What ``plan.cu`` calls each dtype.
SCALARS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
}

# These must be as in plan.cu: limits, and how many words of 64 bits its structures have: `Plan` up to its stages, a
# `Stage` up to its tensors, and these. The numbers of a stage come last.
THREADS, SAMPLES, MOST_STAGES = 512, 4, 6
HEAD, LAYOUT, TENSORS = 13, 12, 4 + (MOST_STATES + 1) + 2 * MOST_PARAMETERS + 9

#: Threads of a block, and its samples, where no neurons are connected.
ELEMENTS = 128
#: Bytes of shared memory that a block gets without having asked for more.
UNASKED_SHARED_BYTES = 48 << 10


class Launch(NamedTuple):
    """A kernel's name, the size of the grid and of a block, a block's bytes of dynamic shared memory, and its cells."""

    kernel: str
    blocks: int
    threads: int
    shared_bytes: int = 0
    programs: tuple[Program, ...] = ()


def _function(head: str, names: dict[str, str], statements: Sequence[str], results: dict[str, str]) -> str:
    """Return a function of a cell: what names stand for, its statements, and where results go."""
    text = " ".join([*names.values(), *statements, *results.values()])
    used = set(re.findall(r"\w+", text))
    lines = [
        f"const Compute {name} = {value};" for name, value in names.items() if name in used and name != value
    ]
    for statement in statements:
        lines.append(f"const {'bool' if statement[0] == 'f' else 'Compute'} {statement};")
    lines += [f"{place} {value};" for place, value in results.items()]
    return "\n".join(
        [f"    __device__ static void {head} {{", *(f"        {line}" for line in lines), "    }"]
    )


def cell_source(number: int, program: Program) -> str:
    """Return the structure of a cell, see ``plan.cu``."""
    states, parameters = range(program.states), range(program.parameters)
    names = {"one": "1", "zero": "0"} | {f"v{k}": f"v[{k}]" for k in states}
    names |= {f"p{k}": f"p[{k}]" for k in parameters} | {
        f"c{k}": f"n.c[{k}]" for k in range(program.constants)
    }
    y, *after = program.outputs
    forward = _function(
        "forward(const Numbers& n, const Compute* p, Compute x, Compute* v, Compute& y)",
        names, program.forward, {"y =": y} | {f"v[{k}] =": value for k, value in enumerate(after)},
    )  # fmt: skip
    g_x, *rest = program.gradients
    results = {"g_x =": g_x} | {f"g_v[{k}] =": value for k, value in enumerate(rest[: program.states])}
    results |= {f"g_p[{k}] +=": value for k, value in enumerate(rest[program.states :])}
    backward = _function(
        "backward(const Numbers& n, const Compute* p, Compute x, const Compute* v, Compute g_y, Compute* g_v, "
        "Compute& g_x, Compute* g_p)",
        names | {f"g_v{k}": f"g_v[{k}]" for k in states}, program.backward, results,
    )  # fmt: skip
    sizes = f"    enum {{ STATES = {program.states}, PARAMETERS = {program.parameters} }};"
    return "\n".join([f"struct Cell{number} {{", sizes, forward, backward, "};\n"])


def cells(programs: Sequence[Program]) -> str:
    """Return the structures of all cells of a plan and their list, which ``plan.cu`` includes."""
    structures = [cell_source(number, program) for number, program in enumerate(programs)]
    return "\n".join(
        [
            *structures,
            f"#define CELLS(CELL) {' '.join(f'CELL({k}, Cell{k})' for k in range(len(programs)))}\n",
        ]
    )


def source(programs: Sequence[Program]) -> str:
    """Return what is compiled: ``plan.cu`` with its cells in it, since CuPy's cache knows no other files."""
    return SOURCE.read_text().replace('#include "cells.cuh"\n', cells(programs))


def compile_options(dtype: torch.dtype) -> tuple[str, ...]:
    """Return NVRTC's options for sequences of ``dtype``; CuPy adds the architecture and ``-ftz=true``."""
    # Without fused multiply-add every step rounds as torch does.
    return "--std=c++14", "--fmad=false", f"-DSCALAR={SCALARS[dtype]}"


@cache
def _module(dtype: torch.dtype, programs: tuple[Program, ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(programs), options=compile_options(dtype))


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
    programs: tuple[Program, ...],
    dtype: torch.dtype,
    device: torch.device,
    much_shared_memory: bool,
) -> Any:
    """Return a kernel for the current device."""
    kernel = _module(dtype, programs).get_function(name)
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
            kernel = _kernel(launch.kernel, launch.programs, dtype, place, much)
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

    stages: tuple[Stage, ...]
    neurons: int
    samples: int
    threads: int
    columns: int
    shared_bytes: int

    @property
    def is_linear(self) -> bool:
        """Whether this is a linear layer by itself, for which torch has a faster product."""
        return len(self.stages) == 1 and self.stages[0].program is None

    @property
    def state_size(self) -> int:
        return sum(stage.state_size for stage in self.stages)

    @property
    def programs(self) -> tuple[Program, ...]:
        """The different cells of the group."""
        return tuple(dict.fromkeys(stage.program for stage in self.stages if stage.program))

    def launch(self, direction: str, N: int) -> Launch:
        blocks = _quotient(N, self.samples)
        return Launch(f"scan_{direction}", blocks, self.threads, self.shared_bytes, self.programs)


def _ring(stage: Stage) -> int:
    """Return how many rows of outputs a stage has in shared memory."""
    return max(2, 1 + stage.feedback)


def _rows(stage: Stage) -> int:
    """Return how many numbers of one sample a stage has in shared memory, see ``Block`` in ``plan.cu``."""
    own = stage.states + 2 * stage.parameters + stage.feedback + stage.taps * (3 + stage.feedback)
    return (_ring(stage) + own) * stage.outputs


def _numbers(stages: Sequence[Stage]) -> int:
    """Return how many numbers of one sample stages have there, with their input."""
    return 2 * stages[0].inputs + sum(map(_rows, stages))


def _group(stages: Sequence[Stage], itemsize: int, limit: int) -> Group:
    if not any(stage.is_dense for stage in stages):
        flat = tuple(stage._replace(inputs=1, outputs=1) for stage in stages)
        one = itemsize * _numbers(flat)
        samples = max(1, min(ELEMENTS, limit // one))
        return Group(flat, stages[0].outputs, samples, ELEMENTS, 1, samples * one)
    one = itemsize * _numbers(stages)
    widest = max(1, *(max(stage.inputs, stage.outputs) for stage in stages))
    samples = SAMPLES if SAMPLES * one <= limit else 1
    threads = min(THREADS, 32 * _quotient(widest, 32))
    return Group(tuple(stages), 1, samples, threads, threads, samples * one)


@lru_cache(maxsize=256)
def too_large(stage: Stage, dtype: torch.dtype, limit: int) -> str:
    """Return why a block has too little shared memory for the neurons of a stage, "" if it has enough."""
    group = _group([stage], compute_dtype(dtype).itemsize, limit)
    if group.shared_bytes <= limit or group.is_linear:
        return ""
    has_delays = stage.feedback > 1
    return (
        f"{stage.outputs} recurrent neurons{f' with delays up to {stage.feedback} steps' * has_delays} need "
        f"{group.shared_bytes:,} bytes of shared memory, the device has {limit:,}: use fewer"
        f"{', or a smaller max_delay' * has_delays}"
    )


@lru_cache(maxsize=256)
def groups(plan: Plan, dtype: torch.dtype, limit: int) -> tuple[Group, ...]:
    """Divide a plan into launches: one, unless it has too many stages or too many neurons for shared memory.

    Raises:
        ValueError: the neurons of a single stage are too many.
    """
    itemsize = compute_dtype(dtype).itemsize
    found: list[Group] = []
    rest: list[Stage] = []
    for stage in plan.stages:
        fits = len(rest) < MOST_STAGES and _group([*rest, stage], itemsize, limit).shared_bytes <= limit
        if rest and not fits:
            found.append(_group(rest, itemsize, limit))
            rest = []
        rest.append(stage)
    found.append(_group(rest, itemsize, limit))
    for group in found:
        reason = too_large(group.stages[0], dtype, limit)
        if reason and len(group.stages) == 1:
            raise ValueError(reason)
    return tuple(found)


@lru_cache(maxsize=256)
def _words(group: Group, dtype: torch.dtype) -> np.ndarray:
    """Return the structure ``Plan`` of ``plan.cu`` for a group, still without its tensors and numbers."""
    words = np.zeros(HEAD + MOST_STAGES * (LAYOUT + TENSORS + NUMBERS * dtype.itemsize // 8), np.int64)
    source_at, source_rows, at, state = 0, 2, 2 * group.stages[0].inputs, 0
    for row, stage in zip(_stages(words), group.stages, strict=False):
        cell = -1 if stage.program is None else group.programs.index(stage.program)
        sizes = *stage[1:5], stage.states, stage.parameters
        row[:LAYOUT] = cell, *sizes, source_at, source_rows, at, _ring(stage), state
        source_at, source_rows, at, state = at, _ring(stage), at + _rows(stage), state + stage.state_size
    return words


def _stages(words: np.ndarray) -> np.ndarray:
    return words[HEAD:].reshape(MOST_STAGES, -1)


def _word(value: Tensor | int | None) -> int:
    return value.data_ptr() if isinstance(value, Tensor) else value or 0


class _Own(NamedTuple):
    """The tensors of a stage, None where there are none: states and outputs before the first step come first."""

    first: Sequence[Tensor | None]
    weight: Any
    bias: Any
    taps: Any
    parameters: Sequence[Any]

    def words(self) -> list[Any]:
        """Return what the structure ``Stage`` of ``plan.cu`` takes of them, in its order."""
        weight_t = None if self.weight is None else self.weight.t().contiguous()
        sizes = [parameter.numel() for parameter in self.parameters]
        lists = ((self.first, MOST_STATES + 1), (self.parameters, MOST_PARAMETERS), (sizes, MOST_PARAMETERS))
        filled = [[*values, *[None] * (length - len(values))] for values, length in lists]
        return [self.weight, weight_t, self.bias, self.taps, *itertools.chain.from_iterable(filled)]


class _Kept(NamedTuple):
    """What the backward kernel keeps of a stage, and its gradients; as in ``plan.cu``."""

    input: Any = None
    v: Any = None
    i: Any = None
    y: Any = None
    z: Any = None
    g_i: Any = None
    g_p: Any = None
    g_taps: Any = None
    g_seq: Any = None


class _Call:
    """A group with its input and its tensors."""

    def __init__(
        self,
        x: Tensor,
        tensors: Sequence[Tensor | None],
        group: Group,
        numbers: Sequence[float],
        lengths: Tensor | None,
    ) -> None:
        if lengths is not None and group.neurons > 1:
            lengths = lengths.repeat_interleave(group.neurons)
        self.lengths = lengths
        self.x, self.group, self.wide = in_memory(x.detach(), x.dtype), group, compute_dtype(x.dtype)
        self.T, self.N = x.shape[0], x.shape[1] * group.neurons
        number = np.float64 if self.wide == torch.float64 else np.float32
        self.numbers = np.array(numbers, number).reshape(-1, NUMBERS).view(np.int64)
        left = iter([self._widen(tensor) for tensor in tensors])
        self.own = []
        for stage in group.stages:
            first = [next(left) for _ in range(stage.states + (stage.feedback > 0))]
            weight, bias = (next(left), next(left)) if stage.is_dense else (None, None)
            taps = next(left) if stage.taps else None
            self.own.append(_Own(first, weight, bias, taps, [next(left) for _ in range(stage.parameters)]))

    def _widen(self, tensor: Tensor | None) -> Any:
        return None if tensor is None else in_memory(tensor.detach(), self.wide)

    def _new(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.empty(shape, dtype=dtype or self.wide, device=self.x.device)

    def _start(self, direction: str, head: Sequence[Tensor | None], kept: Sequence[_Kept]) -> None:
        """Start a kernel; ``head`` is what its structure takes after the input."""
        launch = self.group.launch(direction, self.N)
        if launch.blocks == 0:
            return
        words = _words(self.group, self.wide).copy()
        sizes = self.T, self.N, self.group.samples, self.group.columns, len(self.group.stages)
        stages = [
            (*own.words(), *more) for own, more in zip(self.own, kept, strict=True)
        ]  # alive until it starts
        words[:HEAD] = [_word(value) for value in (*sizes, self.x, self.lengths, *head)]
        for row, values, numbers in zip(_stages(words), stages, self.numbers, strict=False):
            row[LAYOUT : LAYOUT + TENSORS] = [_word(value) for value in values]
            row[LAYOUT + TENSORS :] = numbers
        device.start(launch, self.x.dtype, self.x.device, words.view(f"V{words.nbytes}"))

    def forward(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return outputs, last states, and what is stored of all steps."""
        features = self.group.neurons * self.group.stages[-1].outputs
        y = self._new(*self.x.shape[:2], features, dtype=self.x.dtype)
        last = self._new(self.N * self.group.state_size, dtype=self.x.dtype)
        if self.group.is_linear:
            y.copy_(torch.nn.functional.linear(self.x.to(self.wide), self.own[0].weight, self.own[0].bias))
            return y, last, []
        kept = [self._stored(stage) for stage in self.group.stages]
        self._start("forward", (y, last, None, None, None, None), kept)
        return y, last, self._seqs(last, kept)

    def _stored(self, stage: Stage) -> _Kept:
        """Make room for states before, and outputs of, each step, if any are returned."""
        sequence = self.T, self.N, stage.outputs
        return _Kept(
            v=self._new(stage.states, *sequence) if stage.stored & ~OUTPUT else None,
            y=self._new(*sequence) if stage.stored & OUTPUT else None,
        )

    def _seqs(self, last: Tensor, kept: Sequence[_Kept]) -> list[Tensor]:
        """Return what stages store of all steps: the states after each are those before the next."""
        found = []
        ends = last.split([self.N * stage.state_size for stage in self.group.stages])
        for stage, end, one in zip(self.group.stages, ends, kept, strict=True):
            own = end.to(self.wide).view(stage.states + stage.feedback, self.N, stage.outputs)
            for k in stage.seqs:
                if k == MOST_STATES:
                    found.append(one.y)
                    continue
                seq = torch.cat([one.v[k, 1:], own[k : k + 1]])
                if self.lengths is not None:
                    seq[self.lengths - 1, torch.arange(self.N, device=seq.device)] = own[k]
                found.append(seq)
        return found

    def seq_sizes(self) -> list[int]:
        """Return how many numbers there are of each."""
        return [self.T * self.N * stage.outputs for stage in self.group.stages for _ in stage.seqs]

    def backward(
        self, g_y: Tensor | None, g_last: Tensor | None, g_seqs: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the gradients of the input and of all tensors, None for those that are None."""
        g_x, g_first = self._new(*self.x.shape, dtype=self.x.dtype), self._new(self.N * self.group.state_size)
        kept = self._keep(g_seqs)
        if self.group.is_linear:
            g_i = kept[0].g_i.zero_() if g_y is None else kept[0].g_i.copy_(g_y)
            g_x.copy_(g_i @ self.own[0].weight)
        else:
            g_y = None if g_y is None else in_memory(g_y.detach(), self.x.dtype)
            self._start("backward", (None, None, g_y, self._widen(g_last), g_x, g_first), kept)
        firsts = g_first.split([self.N * stage.state_size for stage in self.group.stages])
        inputs = [self.x.to(self.wide), *(one.y for one in kept)]
        parts = zip(self.group.stages, self.own, kept, inputs, firsts, strict=False)
        return g_x, [gradient for part in parts for gradient in self._gradients(*part)]

    def _keep(self, g_seqs: Sequence[Tensor]) -> list[_Kept]:
        """Make room for what the backward kernel keeps."""
        found: list[_Kept] = []
        left = iter(g_seqs)
        for k, stage in enumerate(self.group.stages):
            sequence = self.T, self.N, stage.outputs
            i = self._new(*sequence) if stage.feedback else None
            y = self._new(*sequence) if k + 1 < len(self.own) or stage.feedback else None
            g_i = self._new(*sequence) if stage.is_dense else None
            before = found[-1].y if found else None
            v, g_p = self._new(stage.states, *sequence), self._new(stage.parameters, *sequence[1:])
            z, g_taps = (
                (self._new(*sequence), self._new(stage.feedback, *sequence[1:]))
                if stage.taps
                else (None, None)
            )
            g_seq = None
            if g_seqs and stage.seqs:
                g_seq = self._new(stage.states + 1, *sequence).zero_()
                for s in stage.seqs:
                    g_seq[min(s, stage.states)] = next(left).view(sequence)
            found.append(_Kept(before if i is None else i, v, i, y, z, g_i, g_p, g_taps, g_seq))
        return found

    def _gradients(
        self, stage: Stage, own: _Own, kept: _Kept, x: Tensor, g_first: Tensor
    ) -> list[Tensor | None]:
        """Return the gradients of a stage's tensors."""
        N, J, D = self.N, stage.outputs, stage.feedback
        sizes = [N * J] * stage.states + [D * N * J] * (D > 0)
        tensors, gradients = [*own.first], [*g_first.split(sizes)] if sizes else []
        if own.weight is not None:  # g_i belongs to the sum of what comes from x[t] and from earlier outputs
            g = kept.g_i.flatten(0, 1).t()
            fed = [x]
            if stage.taps:
                fed.append(kept.z)
            elif D:
                first = own.first[-1]
                first = self._new(1, N, J).zero_() if first is None else first.view(1, N, J)
                fed.append(torch.cat([first, kept.y[:-1]]))
            tensors += [own.weight, own.bias]
            gradients += [torch.cat([g @ one.flatten(0, 1) for one in fed], 1), g.sum(1)]
        if stage.taps:
            tensors.append(own.taps)
            gradients.append(kept.g_taps.sum(1))
        tensors += own.parameters
        for parameter, g in zip(own.parameters, kept.g_p, strict=True):
            size = parameter.numel()
            gradients.append(g.view(g.numel() // max(size, 1), size).sum(0))
        return [None if one is None else g for one, g in zip(tensors, gradients, strict=True)]


def _divided(
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    plan: Plan,
    numbers: Sequence[float],
    lengths: Tensor | None,
) -> Iterator[tuple[list[Any], Group, Sequence[float]]]:
    """Yield the groups of a plan, each with its tensors and numbers."""
    shapes.check_scan(x_seq, tensors, plan)
    if lengths is not None:
        shapes.check_lengths(lengths, x_seq)
    left, at = iter(tensors), 0
    for group in groups(plan, x_seq.dtype, device.shared_limit(x_seq.device)):
        end = at + NUMBERS * len(group.stages)
        yield [next(left) for stage in group.stages for _ in range(stage.tensors)], group, numbers[at:end]
        at = end


def scan(
    x_seq: Tensor,
    tensors: Sequence[Tensor | None],
    plan: Plan,
    numbers: Sequence[float],
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return outputs, last states, what is stored of all steps, and no states at borders, which only the CPU keeps.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes, or a stage has too many
            neurons for shared memory.
    """
    y_seq, lasts, seqs = x_seq, [], [x_seq.new_empty(0)]
    for own, group, its_numbers in _divided(x_seq, tensors, plan, numbers, lengths):
        y_seq, last, stored = _Call(y_seq, own, group, its_numbers, lengths).forward()
        lasts.append(last)
        seqs += [one.to(x_seq.dtype).flatten() for one in stored]
    borders = torch.empty(0, dtype=compute_dtype(x_seq.dtype), device=x_seq.device)
    return y_seq, lasts[0] if len(lasts) == 1 else torch.cat(lasts), torch.cat(seqs), borders


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
    shapes.check_backward(grad_y, grad_last, grad_seqs, x_seq, plan)
    calls: list[_Call] = []
    for own, group, its_numbers in _divided(x_seq, tensors, plan, numbers, lengths):
        fed = calls[-1].forward()[0] if calls else x_seq
        calls.append(_Call(fed, own, group, its_numbers, lengths))
    sizes = [call.N * call.group.state_size for call in calls]
    lasts = [None] * len(calls) if grad_last is None else grad_last.split(sizes)
    seqs: list[Any] = [()] * len(calls)
    if grad_seqs is not None:
        left = iter(grad_seqs.split([size for call in calls for size in call.seq_sizes()]))
        seqs = [[next(left) for _ in call.seq_sizes()] for call in calls]
    gradient = grad_y
    found: list[Any] = []
    with torch.autocast(x_seq.device.type, enabled=False):  # no product in half precision
        for call, last, own_seqs in zip(reversed(calls), reversed(lasts), reversed(seqs), strict=True):
            gradient, gradients = call.backward(gradient, last, own_seqs)
            found[:0] = gradients
    return [
        gradient if needs_x else x_seq.new_empty(0),  # type: ignore[list-item]
        *(
            x_seq.new_empty(0) if one is None else g.view(one.shape).to(one.dtype)
            for g, one in zip(found, tensors, strict=True)
        ),
    ]
