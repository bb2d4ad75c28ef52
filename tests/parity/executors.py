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

import pytest
import torch
from cases import Case, random
from support import require
from support_cuda import on_the_shim
from support_networks import Library, our_library, spikingjelly_library
from torch import Tensor, nn

from snn_core import kernels as backends
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cpu import steps, threads
from snn_core.kernels.cuda import launch as cuda

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


@contextmanager
def small(keeps: bool = False, segments: bool = True) -> Iterator[None]:
    """Let the CPU kernels take blocks so small that a scan has several, in memory that is NaN at first.

    A scan has many ``segments`` or one; the backward pass computes them again, or the forward pass ``keeps`` them.
    """

    def empty(*shape: Any, **options: Any) -> Tensor:
        found = real_empty(*shape, **options)
        return found.fill_(torch.nan) if found.is_floating_point() else found

    def memory_of(self: Any, size: int) -> int:
        at = real_memory_of(self, size)
        ctypes.memset(at, 255, size)
        return at

    real_empty, real_memory_of, make_room = torch.empty, threads._Team.memory_of, cpu.Layout.make_room
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu.Layout, "make_room", lambda self: [piece.fill_(255) for piece in make_room(self)])
        patch.setattr(threads._Team, "memory_of", memory_of)
        patch.setattr(torch, "empty", empty)
        sizes = {"SAMPLES": 2, "COLUMNS": 8, "GRADIENTS": 1, "PIECE": 1}
        sizes |= {"SCRATCH": 1, "FEWEST_STEPS": 2, "MOST_KEPT": 1 << 40 if keeps else 0} if segments else {}
        for name, value in sizes.items():
            patch.setattr(cpu, name, value)
        patch.setattr(steps, "PIECE", 5)
        cpu.layout_of.cache_clear()
        yield
    cpu.layout_of.cache_clear()


LOOP = Executor("loop", lambda: our_library("torch"))
COMPILED = Kernels("compiled", "cpu", cpu, ExitStack)
SMALL = Kernels("small", "cpu", cpu, small, most=1200)
KEPT = Kernels("kept", "cpu", cpu, lambda: small(keeps=True), most=1200, every=7)
SHIM = Kernels("shim", "cpu", cuda, on_the_shim, every=27)  # each is compiled, for a second
GPU = Kernels("gpu", "cupy", cuda, ExitStack, torch.device("cuda", 0))
PEER = Peer("spikingjelly", spikingjelly_library)
EXECUTORS = [COMPILED, SMALL, KEPT, SHIM, GPU, PEER]


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
