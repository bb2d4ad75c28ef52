"""Who runs the table of cases: the loop, which is the definition, and everything that must do as it does."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from cases import STORED, Case, random
from support import require
from support_cuda import on_the_shim
from support_networks import Library, our_library, spikingjelly_library
from torch import Tensor, nn

from snn_core import kernels as backends
from snn_core.kernels import op as ops
from snn_core.kernels import plan
from snn_core.kernels.cpu import descent, products, rows, scan, steps, threads
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.record.symbols import parse

Results = dict[str, Tensor]
#: Relative Euclidean error of a gradient that rounding explains.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5}


def owner_of(module: nn.Module, state: str) -> nn.Module:
    """Return the part of a module of snn_core or of SpikingJelly that has this state, given by its name or path."""
    if "." in state:
        return module.get_submodule(state.rpartition(".")[0])
    return next(
        part
        for part in module.modules()
        if state in getattr(part, "_state_names", getattr(part, "_memories", ()))
    )


def results(
    case: Case, module: nn.Module, device: torch.device | str = "cpu", listen: bool = False
) -> Results:
    """Return output, last states and, of a weighted sum of them, the gradients to input, first states and weights.

    With ``listen`` also the spikes of a network's layers, which then do not run in one scan.
    """

    def there(tensor: Tensor) -> Tensor:
        return case.layout(tensor.to(device, case.dtype))

    leaves = {"x": there(case.input()).requires_grad_()}
    owners = {name: owner_of(module, name) for name in case.state_shapes}
    for name, owner in owners.items() if case.charged else ():
        leaves[f"first {name}"] = there(case.first_state(name)).requires_grad_()
        setattr(owner, name.rpartition(".")[2], leaves[f"first {name}"])
    leaves |= module.named_parameters()
    found: Results = {}
    for name in ("sn1", "sn2"):
        if listen and hasattr(module, name):
            hook = getattr(module, name).register_forward_hook
            hook(lambda _module, _inputs, output, n=name: found.update({f"spikes {n}": output.detach()}))
    lengths = {} if case.lengths is None else {"lengths": case.lengths(*case.shape[:2])}
    outputs = {"output": module(leaves["x"], **lengths)}
    outputs |= {f"last {name}": getattr(owner, name.rpartition(".")[2]) for name, owner in owners.items()}
    asked = [outputs[name] for name in case.differentiated or outputs]
    asked = [value for value in asked if value.requires_grad]  # what is left of a refractory period has none
    weights = [there(random(tuple(value.shape), seed=7)) for value in asked]
    gradients = torch.autograd.grad(asked, list(leaves.values()), weights)
    found |= {name: value.detach() for name, value in outputs.items()}
    found |= {f"gradient of {name}": value for name, value in zip(leaves, gradients, strict=True)}
    return {name: value.cpu() for name, value in found.items()}


@contextmanager
def launched(kernels: types.ModuleType) -> Iterator[set[str]]:
    """Gather the names of the fused operations that run."""
    names: set[str] = set()
    with ExitStack() as stack:
        for name in ops.SCHEMAS:
            if hasattr(kernels, name):
                real = getattr(kernels, name)

                def call(*arguments: object, name: str = name, real: Callable[..., object] = real) -> object:
                    names.add(name)
                    return real(*arguments)

                stack.enter_context(mock.patch.object(kernels, name, call))
        yield names


class Executor:
    """Runs cases with one library.

    Args:
        name: for the names of tests.
        library: makes the parts to build with.
    """

    device: torch.device | str = "cpu"
    listens = True

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
            return results(case, case.module(self.library(), self.device), self.device, self.listens)


class Kernels(Executor):
    """Fused kernels, which must really run.

    Args:
        name: for the names of tests.
        backend: their name in snn_core.
        kernels: the module that launches them.
        running: puts in place what they need.
        device: where they run.
        most: largest number of elements of an input.
    """

    listens = False

    def __init__(
        self,
        name: str,
        backend: str,
        kernels: types.ModuleType,
        running: Callable[[], AbstractContextManager[object]],
        device: torch.device | str = "cpu",
        most: float = math.inf,
    ) -> None:
        super().__init__(name, lambda: our_library(backend))
        self.kernels, self.running, self.device, self.most = kernels, running, device, most

    def takes(self, case: Case) -> bool:
        return case.fused and math.prod(case.shape) <= self.most

    def run(self, case: Case) -> Results:
        with launched(self.kernels) as names:
            found = super().run(case)
        assert names == {"scan", "scan_backward"}
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


class Stored(Peer):
    """What SpikingJelly gave once, kept in a file: it need not be installed."""

    path = Path(__file__).with_name("spikingjelly_2_0_0.npz")

    def takes(self, case: Case) -> bool:
        return case.name in STORED

    def run(self, case: Case) -> Results:
        with np.load(self.path, allow_pickle=False) as arrays:
            return {
                name.partition("/")[2]: torch.from_numpy(arrays[name])
                for name in arrays.files
                if name.partition("/")[0] == case.name
            }


@contextmanager
def compiled() -> Iterator[None]:
    require(backends.NUMBA_IS_INSTALLED, "numba")
    yield


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


def _poison(arguments: np.ndarray, one: np.floating) -> np.ndarray:
    size = arguments[scan.SCRATCH_SIZE] * arguments[scan.BLOCK]
    return np.full(size, np.nan, one.dtype)


def _add(counter: np.ndarray, value: int) -> int:
    """What ``threads.add`` does."""
    before = counter[0]
    counter[0] += value
    return before


def _numbers_at(arguments: np.ndarray, address: int) -> np.ndarray:
    """What the pointer to a plan's numbers gives a kernel."""
    like = np.float32(0) if arguments[scan.NUMBER_BYTES] == 4 else np.float64(0)
    return _array_at(address, (arguments[scan.STAGES_OF] * scan.NUMBERS,), like)


def _copy(source: np.ndarray, at: int, to: int, target: np.ndarray, count: int) -> None:
    assert 0 <= at <= at + count <= source.size and 0 <= to <= to + count <= target.size
    target[to : to + count] = source[at : at + count]


def _lanes(array: np.ndarray) -> int:
    """Two numbers in a vector, so that small matrices have edges."""
    return 2


def _places(start: int, rows: int, row: int, columns: int, column: int) -> np.ndarray:
    found = start + row * np.arange(rows)[:, None] + column * np.arange(columns)
    assert found.size == 0 or found.min() >= 0
    return found


def _add_tile(a, p, row, step, terms, b, q, b_row, first, f, f_row, out, o, out_row, rows, columns):
    """What ``tile.add_tile`` computes, with numpy."""
    columns = min(columns, 2 * _lanes(out))
    left, right = a[_places(p, rows, row, terms, step)], b[_places(q, terms, b_row, columns, 1)]
    with np.errstate(all="ignore"):  # BLAS raised a flag in a few of many runs, whose results were right
        total = first[_places(f, rows, f_row, columns, 1)] + left @ right
    out[_places(o, rows, out_row, columns, 1)] = total


def _row(text: str, direction: str) -> Callable[..., None]:
    """Return a function of :mod:`rows` as Python, whose statements are those of a program."""
    program = parse(text)
    statements, results = program[3:5] if direction == "forward" else program[5:7]

    def row(n: int, step: int, c: Any, p: Any, x: Any, v: Any, *others: Any) -> None:
        def rows_of(name: str, array: Any, count: int) -> dict[str, Any]:
            return {f"{name}{k}": array[k * step : k * step + n] for k in range(count)}

        S, P = program.states, program.parameters
        names = {"one": c[0], "zero": c[1], "x": x[:n]} | rows_of("v", v, S) | rows_of("p", p, P)
        names |= {f"c{k}": c[rows.CONSTANTS + k] for k in range(program.constants)}
        if direction == "forward":
            written = {"y": others[1][:n]} | rows_of("w", others[0], S)
        else:
            g_y, g_v, g_x, g_p = others
            written = {"g_x": g_x[:n]} | rows_of("g_v", g_v, S) | rows_of("g_p", g_p, P)
            names |= {"g_y": g_y[:n]} | rows_of("g_v", g_v, S)
        names |= {"select": np.where, "exp": np.exp, "fabs": np.abs, "maximum": np.maximum}
        for statement in statements:
            exec(statement, {}, names)
        values = [names[result] + np.zeros_like(x[:n]) for result in results]
        for (name, array), value in zip(written.items(), values, strict=True):
            assert len(array) == len(value)
            array[:] = array + value if name.startswith("g_p") else value

    return row


@contextmanager
def interpreted() -> Iterator[None]:
    """Let Python itself run the source of the CPU kernels.

    Where numba compiles a kernel, an index outside an array goes unnoticed and no tool sees which lines ran. Here numpy
    checks every index, blocks are so small that a scan takes several, and the figures of coverage and of the mutation
    run reach into the kernels. Only the tile of a matrix product, written in LLVM's instructions, is replaced.
    """
    require(backends.NUMBA_IS_INSTALLED, "numba")
    with pytest.MonkeyPatch.context() as patch:
        ends = ("_forward", "_backward", "_weights", "_out", "_steps", "_gradients", "descend")
        functions: dict[Any, Any] = {
            name: function
            for module in (scan, descent)
            for name, function in vars(module).items()
            if name.endswith(ends) and not name.startswith("_")
        }
        numbers: list[np.ndarray] = []  # those of the plan that runs

        def call(number: int, arguments: np.ndarray) -> None:
            list(functions.values())[number - 1](arguments, numbers[-1])

        def run(
            number: int, arguments: np.ndarray, address: int, items: int, size: int, lead: Any = None
        ) -> None:
            numbers.append(_numbers_at(arguments, address))
            call(*((number, arguments) if lead is None else lead))

        def addresses(text: str, dtype: Any) -> list[int]:
            keys = [(text, direction) for direction in ("forward", "backward")]
            functions.update({key: _row(*key) for key in keys if key not in functions})
            return [list(functions).index(key) + 1 for key in keys]

        patch.setattr(rows, "addresses", addresses)
        for module in (scan, products, descent):
            for name, kernel in vars(module).copy().items():
                if isinstance(getattr(kernel, "py_func", None), types.FunctionType):
                    patch.setattr(module, name, kernel.py_func)
        for module in (scan, descent):
            patch.setattr(module, "address", lambda name, dtype: list(functions).index(name) + 1)
        patch.setattr(threads, "run", run)
        patch.setattr(descent, "share", lambda job, number, arguments, *_: call(number, arguments))
        patch.setattr(descent, "PIECE", 5)
        # Scratch that is read before it is written would poison the results.
        patch.setattr(scan, "_scratch", _poison)
        patch.setattr(cpu, "_layout", cpu._layout.__wrapped__)
        patch.setattr(steps, "_kernels", steps._kernels.__wrapped__)
        for name, value in {"array_at": _array_at, "address_of": _address_of, "add": _add}.items():
            patch.setattr(scan, name, value)
            patch.setattr(descent, name, value)
        patch.setattr(scan, "copy", _copy)
        patch.setattr(
            scan, "call", lambda number, arguments: list(functions.values())[number - 1](*arguments)
        )
        patch.setattr(descent, "call", lambda number, arguments: call(number, arguments[0]))
        for name, value in {"add_tile": _add_tile, "lanes": _lanes, "ROWS": 3}.items():
            patch.setattr(products, name, value)
        for name, value in {"SAMPLES": 2, "COLUMNS": 8, "SCRATCH": 1, "FEWEST_STEPS": 2}.items():
            patch.setattr(plan, name, value)
        yield


LOOP = Executor("loop", lambda: our_library("torch"))
COMPILED = Kernels("compiled", "numba", cpu, compiled)
INTERPRETED = Kernels("interpreted", "numba", cpu, interpreted, most=1200)
SHIM = Kernels("shim", "numba", cuda, on_the_shim)
GPU = Kernels("gpu", "cupy", cuda, ExitStack, torch.device("cuda", 0))
PEER = Peer("spikingjelly", spikingjelly_library)
STORED_PEER = Stored("stored", spikingjelly_library)
KERNELS = [COMPILED, INTERPRETED, SHIM, GPU]
EXECUTORS = [*KERNELS, PEER, STORED_PEER]


@cache
def expected(case: Case) -> Results:
    """Return what the loop gives, which runs on the CPU whoever is compared with it.

    On a GPU torch divides by a number as it multiplies by its reciprocal, which rounds differently.
    """
    return LOOP.run(case)


def marks(executor: Executor, often: bool = True) -> list[pytest.MarkDecorator]:
    """Return the marks of a test with an executor."""
    missing = executor is GPU and not (torch.cuda.is_available() and backends.CUPY_IS_INSTALLED)
    found = [pytest.mark.skipif(missing, reason="needs an NVIDIA GPU and CuPy")]
    return found + [pytest.mark.gpu] * (executor is GPU) + [pytest.mark.nightly] * (not often)


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
    heard = {name for name in loop if name.startswith("spikes") and not executor.listens}
    assert found.keys() == loop.keys() - heard
    for name, ours in found.items():
        theirs = loop[name]
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), name
        if name.startswith("spikes") or (name == "output" and case.output != "numbers"):
            assert torch.equal(ours, theirs), name
        tolerance = executor.tolerance(case) + case.rounding * name.startswith("gradient")
        assert (ours - theirs).norm() <= tolerance * theirs.norm(), name
