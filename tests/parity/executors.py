"""Who runs the table of cases: the loop, which is the definition, and everything that must do as it does."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from cases import Case, random
from support import require
from support_cuda import on_the_shim
from support_networks import Library, our_library, spikingjelly_library
from torch import Tensor, nn

from snn_core import kernels as backends
from snn_core.kernels.cpu import descent, passes, products, rows, steps, threads, tile
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.record.equations import Code

Results = dict[str, Tensor]
#: What an executor runs.
OPERATIONS = ("forward", "backward")
#: Relative Euclidean error of a gradient that rounding explains.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5}


def owner_of(module: nn.Module, state: str) -> nn.Module:
    """Return the part of a module of snn_core or of SpikingJelly that has this state, given by its name or path."""
    if "." in state:
        return module.get_submodule(state.rpartition(".")[0])
    return next(
        part
        for part in module.modules()
        if state in getattr(part, "state_names", getattr(part, "_memories", ()))
    )


def results(case: Case, module: nn.Module, device: torch.device | str = "cpu") -> Results:
    """Return output, last states and, of a weighted sum of them, the gradients to input, first states and weights."""

    def there(tensor: Tensor) -> Tensor:
        return case.layout(tensor.to(device, case.dtype))

    leaves = {"x": there(case.input()).requires_grad_()}
    owners = {name: owner_of(module, name) for name in case.state_shapes}
    for name, owner in owners.items() if case.charged else ():
        leaves[f"first {name}"] = there(case.first_state(name)).requires_grad_()
        setattr(owner, name.rpartition(".")[2], leaves[f"first {name}"])
    leaves |= module.named_parameters()
    recorded: dict[str, Callable[[], Tensor]] = {}
    for k, part in enumerate(module.modules() if case.recorded else ()):
        names = [
            name for name in getattr(part, "recordable", ()) if case.recorded == "all" or name != "output"
        ]
        recorded |= {f"all of {k}.{name}": partial(part.recorded, name) for name in names}
        if names:
            part.record(*names)
    lengths = {} if case.lengths is None else {"lengths": case.lengths(*case.shape[:2])}
    outputs = {"output": module(leaves["x"], **lengths)}
    outputs |= {f"last {name}": getattr(owner, name.rpartition(".")[2]) for name, owner in owners.items()}
    outputs |= {name: recorded() for name, recorded in recorded.items()}
    asked = [outputs[name] for name in case.differentiated or outputs]
    asked = [value for value in asked if value.requires_grad]  # what is left of a refractory period has none
    weights = [there(random(tuple(value.shape), seed=7)) for value in asked]
    gradients = torch.autograd.grad(asked, list(leaves.values()), weights)
    found = {name: value.detach() for name, value in outputs.items()}
    found |= {f"gradient of {name}": value for name, value in zip(leaves, gradients, strict=True)}
    return {name: value.cpu() for name, value in found.items()}


@contextmanager
def launched(kernels: types.ModuleType) -> Iterator[set[str]]:
    """Gather the names of the operations of an executor that run."""
    names: set[str] = set()
    with ExitStack() as stack:
        for name in OPERATIONS:
            real = getattr(kernels, name)

            def call(*given: Any, name: str = name, real: Callable[..., Any] = real, **more: Any) -> Any:
                names.add(name)
                return real(*given, **more)

            stack.enter_context(mock.patch.object(kernels, name, call))
        yield names


class Executor:
    """Runs cases with one library.

    Args:
        name: for the names of tests.
        library: makes the parts to build with.
    """

    device: torch.device | str = "cpu"
    every = 1

    def __init__(self, name: str, library: Callable[[], Library]) -> None:
        self.name, self.library = name, library

    def takes(self, case: Case) -> bool:
        return True

    def tolerance(self, case: Case) -> float:
        return ROUNDING[case.dtype]

    def running(self) -> AbstractContextManager[object]:
        """Put in place what it needs; a test is skipped, and fails in CI, where that is missing."""
        return ExitStack()

    def run(self, case: Case) -> Results:
        with self.running():
            return results(case, case.module(self.library(), self.device), self.device)


class Kernels(Executor):
    """Fused kernels, which must really run.

    Args:
        name: for the names of tests.
        backend: their name in snn_core.
        kernels: the module that launches them.
        running: puts in place what they need.
        device: where they run.
        most: largest number of elements of an input.
        every: by day it runs one of so many cases.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        kernels: types.ModuleType,
        running: Callable[[], AbstractContextManager[object]],
        device: torch.device | str = "cpu",
        most: float = math.inf,
        every: int = 1,
    ) -> None:
        super().__init__(name, lambda: our_library(backend))
        self.kernels, self.running = kernels, running
        self.device, self.most, self.every = device, most, every

    def takes(self, case: Case) -> bool:
        return case.fused and math.prod(case.shape) <= self.most

    def run(self, case: Case) -> Results:
        with launched(self.kernels) as names:
            found = super().run(case)
        assert names == {*OPERATIONS}
        return found


class Peer(Executor):
    """SpikingJelly itself."""

    def takes(self, case: Case) -> bool:
        return case.peer

    def tolerance(self, case: Case) -> float:
        return case.tolerance

    def running(self) -> AbstractContextManager[object]:
        require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
        return ExitStack()


def _array_at(address: int | np.ndarray, shape: tuple[int, ...], like: np.floating) -> np.ndarray:
    """What ``tile.array_at`` gives a kernel: the array at an address; an empty one where nothing is."""
    if isinstance(address, np.ndarray):
        return address
    if address == 0:
        return np.empty(0 if math.prod(shape) else shape, np.asarray(like).dtype)
    dtype = np.asarray(like).dtype
    size = math.prod(shape) * dtype.itemsize
    memory = (ctypes.c_char * int(size)).from_address(int(address)) if size else b""
    return np.frombuffer(memory, dtype).reshape(shape)


def _address_of(array: np.ndarray, at: int) -> np.ndarray:
    """What ``tile.address_of`` gives a row function: what lies from there on."""
    assert 0 <= at <= array.size
    return array[at:]


def _nan(arguments: np.ndarray, one: np.floating) -> tuple[np.ndarray, np.ndarray]:
    """What ``passes._scratch`` gives a kernel, such that what is read before it is written poisons the results."""
    sizes = arguments[[passes.SCRATCH_SIZE, passes.WORK_SIZE]] * arguments[passes.BLOCK]
    return np.full(sizes[0], np.nan, one.dtype), np.full(sizes[1], np.nan, one.dtype)


def _add(counter: np.ndarray, value: int) -> int:
    """What ``threads.add`` does."""
    before = counter[0]
    counter[0] += value
    return before


def _copy(source: np.ndarray, at: int, to: int, target: np.ndarray, count: int) -> None:
    assert 0 <= at <= at + count <= source.size and 0 <= to <= to + count <= target.size
    target[to : to + count] = source[at : at + count]


def _width_of(array: np.ndarray) -> int:
    """Four numbers in a row of a tile, so that small matrices have edges."""
    return 4


def _places(start: int, rows: int, row: int, columns: int, column: int) -> np.ndarray:
    found = start + row * np.arange(rows)[:, None] + column * np.arange(columns)
    assert found.size == 0 or found.min() >= 0
    return found


def _add_tile(a, p, row, step, terms, b, q, b_row, first, f, f_row, out, o, out_row, rows, columns):
    """What ``tile.add_tile`` computes, with numpy."""
    columns = min(columns, _width_of(out))
    left, right = a[_places(p, rows, row, terms, step)], b[_places(q, terms, b_row, columns, 1)]
    with np.errstate(all="ignore"):  # BLAS raised a flag in a few of many runs, whose results were right
        total = first[_places(f, rows, f_row, columns, 1)] + left @ right
    out[_places(o, rows, out_row, columns, 1)] = total


def _row(code: Code, direction: str) -> Callable[..., None]:
    """Return a function of :mod:`rows` as Python, whose statements are those of a program."""
    is_forward = direction == "forward"
    statements = code.forward if is_forward else code.backward
    results = code.outputs if is_forward else code.gradients

    def row(n: int, step: int, c: Any, p: Any, x: Any, v: Any, *others: Any) -> None:
        def rows_of(name: str, array: Any, count: int) -> dict[str, Any]:
            return {f"{name}{k}": array[k * step : k * step + n] for k in range(count)}

        S, P = code.states, code.parameters
        names = {"one": c[0], "zero": c[1], "x": x[:n]} | rows_of("v", v, S) | rows_of("p", p, P)
        names |= {f"c{k}": c[rows.CONSTANTS + k] for k in range(code.constants)}
        if is_forward:
            written = {"y": others[1][:n]} | rows_of("w", others[0], S)
        else:
            g_y, g_v, g_x, g_p = others
            written = {"g_x": g_x[:n]} | rows_of("g_v", g_v, S) | rows_of("g_p", g_p, P)
            names |= {"g_y": g_y[:n]} | rows_of("g_v", g_v, S)
        names |= {"select": np.where, "exp": np.exp, "fabs": np.abs, "maximum": np.maximum}
        for statement in statements:
            exec(str(statement), {}, names)
        values = [names[result] + np.zeros_like(x[:n]) for result in results]
        for (name, array), value in zip(written.items(), values, strict=True):
            assert len(array) == len(value)
            array[:] = array + value if name.startswith("g_p") else value

    return row


@contextmanager
def interpreted(keeps: bool = False, segments: bool = True) -> Iterator[None]:
    """Let Python itself run the source of the CPU kernels.

    Where numba compiles a kernel, an index outside an array goes unnoticed and no tool sees which lines ran. Here numpy
    checks every index, blocks are so small that a scan takes several, and the figures of coverage and of the mutation
    run reach into the kernels. Only the tile of a matrix product, written in LLVM's instructions, is replaced. All
    memory that kernels get is NaN at first.

    A scan has many ``segments`` or one; the backward pass computes them again, or the forward pass ``keeps`` them.
    """
    with pytest.MonkeyPatch.context() as patch:
        names = ("pack_weights", "forward_pass", "backward_pass")
        functions: list[Any] = [getattr(passes, name) for name in names]
        functions += [getattr(descent, name) for name in ("take_steps", "sum_gradients", "descend")]
        given: list[Any] = []  # the numbers of the plan that runs

        def address(function: Callable[..., None], dtype: Any) -> int:
            return 1 + functions.index(function)

        def call(number: int, arguments: Any, *_: Any) -> None:
            functions[number - 1](arguments, given)

        def run(
            number: int, arguments: Any, numbers: int, items: int, size: int, first: int = 0, lead: Any = None
        ) -> None:
            a = np.frombuffer(arguments, np.int64)
            itemsize = a[passes.NUMBER_BYTES]
            assert size == (a[passes.SCRATCH_SIZE] + a[passes.WORK_SIZE]) * a[passes.BLOCK] * itemsize
            given[:] = _array_at(numbers, (1,), np.float32(0) if itemsize == 4 else np.float64(0))
            if first:
                call(first, a)
            if lead is None:
                call(number, a)
                assert (a[passes.THREADS], a[passes.ITEMS]) == (1, items)
            else:
                own, job = np.frombuffer(lead[1], np.int64), np.zeros(threads.SIZE, np.int64)
                own[threads.JOB] = job.ctypes.data
                call(lead[0], own)

        def addresses(code: Code, dtype: Any) -> tuple[int, int]:
            functions.extend(_row(code, direction) for direction in ("forward", "backward"))
            return len(functions) - 1, len(functions)

        def scratch(arguments: np.ndarray, one: np.floating) -> tuple[np.ndarray, np.ndarray]:
            arguments[passes.THREADS] += 1
            return _nan(arguments, one)

        def empty(*shape: Any, **options: Any) -> Tensor:
            found = real_empty(*shape, **options)
            return found.fill_(torch.nan) if found.is_floating_point() else found

        real_empty, make_room = torch.empty, cpu.Layout.make_room

        def room(self: cpu.Layout) -> list[Tensor]:
            return [piece.fill_(255) for piece in make_room(self)]

        patch.setattr(cpu.Layout, "make_room", room)
        patch.setattr(rows, "addresses", cache(addresses))
        patch.setattr(cpu, "_address", address)
        patch.setattr(torch, "empty", empty)
        patch.setattr(threads, "run", run)
        patch.setattr(steps, "_kernels", steps._kernels.__wrapped__)
        patch.setattr(steps, "kernel_at", address)
        for module in (passes, products, descent):
            for name, kernel in vars(module).copy().items():
                if isinstance(getattr(kernel, "py_func", None), types.FunctionType):
                    patch.setattr(module, name, kernel.py_func)
        for module in (passes, descent):
            for name, value in {"array_at": _array_at, "address_of": _address_of, "add": _add}.items():
                patch.setattr(module, name, value)
        patch.setattr(passes, "_scratch", scratch)
        patch.setattr(passes, "copy", _copy)
        patch.setattr(passes, "invoke", lambda number, arguments: functions[number - 1](*arguments))
        patch.setattr(descent, "invoke", lambda number, arguments: call(number, *arguments))
        patch.setattr(descent, "share", lambda job, number, arguments, *_: call(number, arguments))
        patch.setattr(descent, "PIECE", 5)
        for name, value in {"add_tile": _add_tile, "width_of": _width_of, "ROWS": 3}.items():
            patch.setattr(products, name, value)
        patch.setattr(passes, "width_of", _width_of)
        patch.setattr(passes, "ROWS", 3)
        patch.setattr(tile, "width", _width_of)
        patch.setattr(passes, "PACKED_FROM", 2)
        small = {"SAMPLES": 2, "COLUMNS": 8} | ({"SCRATCH": 1, "FEWEST_STEPS": 2} if segments else {})
        for name, value in small.items():
            patch.setattr(cpu, name, value)
        patch.setattr(cpu, "GRADIENTS", 1)
        patch.setattr(cpu, "PIECE", 1)
        if segments:
            patch.setattr(cpu, "MOST_KEPT", 1 << 40 if keeps else 0)
        cpu.layout_of.cache_clear()  # a layout knows the addresses of kernels
        yield
    cpu.layout_of.cache_clear()


LOOP = Executor("loop", lambda: our_library("torch"))
COMPILED = Kernels("compiled", "numba", cpu, ExitStack)
INTERPRETED = Kernels("interpreted", "numba", cpu, interpreted, most=1200)
KEPT = Kernels("kept", "numba", cpu, lambda: interpreted(keeps=True), most=1200, every=7)
SHIM = Kernels("shim", "numba", cuda, on_the_shim, every=3)  # each is compiled, for a second
GPU = Kernels("gpu", "cupy", cuda, ExitStack, torch.device("cuda", 0))
PEER = Peer("spikingjelly", spikingjelly_library)
EXECUTORS = [COMPILED, INTERPRETED, KEPT, SHIM, GPU, PEER]


@cache
def expected(case: Case) -> Results:
    """Return what the loop gives, which runs on the CPU whoever is compared with it.

    On a GPU torch divides by a number as it multiplies by its reciprocal, which rounds differently.
    """
    return LOOP.run(case)


def marks(executor: Executor) -> list[pytest.MarkDecorator]:
    """Return the marks of a test with an executor."""
    missing = executor is GPU and not (torch.cuda.is_available() and backends.CUPY_IS_INSTALLED)
    found = [pytest.mark.skipif(missing, reason="needs an NVIDIA GPU and CuPy")]
    return found + [pytest.mark.gpu] * (executor is GPU)


def each(executors: list[Executor]) -> pytest.MarkDecorator:
    """Run a test with each of the executors."""
    return pytest.mark.parametrize(
        "executor", [pytest.param(one, id=one.name, marks=marks(one)) for one in executors]
    )


def assert_equals_the_loop(executor: Executor, case: Case) -> None:
    """Output spikes must be equal bit for bit, everything else within a relative error of rounding.

    A silent network, or one without a gradient, would agree with anything: it fails.
    """
    loop, found = expected(case), executor.run(case)
    if case.output != "numbers" and math.prod(case.shape) >= 60:
        assert 0.01 < loop["output"].mean() < 0.99
        assert loop["gradient of x"].any()
    assert found.keys() == loop.keys()
    for name, ours in found.items():
        theirs = loop[name]
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), name
        if name == "output" and case.output != "numbers":
            assert torch.equal(ours, theirs), name
        tolerance = executor.tolerance(case) + case.rounding * name.startswith("gradient")
        assert (ours - theirs).norm() <= tolerance * theirs.norm(), name
