"""What a piece of torch code costs: ops, nodes of autograd, bytes kept for backward, and time.

Times of small things are compared by letting them take turns, so that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.memory import keep_freed_memory, saved_bytes
from snn_core.checks import check_tensor, check_whole
from snn_core.functional import reset_net, set_backend
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan

__all__ = [
    "LAYERS",
    "autograd_nodes",
    "keep_freed_memory",
    "loop_and_fused",
    "medians",
    "saved_bytes",
    "torch_ops",
]

Name = TypeVar("Name", bound=Hashable)

_IF = {"surrogate_function": ATan(), "detach_reset": True}
#: Layers as the networks of this collection use them, for a number of neurons.
LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "neurons": lambda hidden: MultiStepIFNode(**_IF),
    "recurrent layer": lambda hidden: MultiStepContainer(
        LinearRecurrentContainer(IFNode(**_IF), hidden, hidden)
    ),
    "synapse filter": lambda hidden: MultiStepContainer(SynapseFilter(tau=2.0, learnable=True)),
}


def autograd_nodes(output: Tensor) -> Counter[str]:
    """Return how many nodes of each kind backward will visit from ``output``, by following the graph.

    Raises:
        TypeError: ``output`` is not a tensor.
    """
    seen, waiting = set(), [check_tensor("output", output).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return Counter(node.name() for node in seen)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.ops[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def torch_ops(function: Callable[..., Tensor], *inputs: Tensor) -> Counter[str]:
    """Return how often each op of torch is called by ``function(*inputs)`` and by backward from the sum of its output.

    An op counts once, whatever it calls by itself.
    """
    with _Counting() as counting:
        function(*inputs).sum().backward()
    return counting.ops


def medians(runs: Mapping[Name, Callable[[], object]], repeats: int) -> dict[Name, float]:
    """Return the median seconds of each run, taken in turns: first all of them once, then all of them again.

    Args:
        runs: name to what is timed. Each is called once before, untimed, to compile and to fill caches.
        repeats: rounds, at least 1.

    Raises:
        TypeError, ValueError: ``repeats`` is not a whole number above 0.
    """
    check_whole("repeats", repeats, 1)
    for run in runs.values():
        run()
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def loop_and_fused(kind: str, T: int, N: int, hidden: int, repeats: int = 9) -> dict[str, float]:
    """Return the median seconds of forward and backward through a layer, in the torch loop and fused on the CPU.

    Args:
        kind: one of :data:`LAYERS`.
        T, N, hidden: the input is ``[T, N, hidden]``, drawn evenly from [0, 1), float32.
        repeats: see :func:`medians`.
    """
    x_seq = torch.rand(T, N, hidden).requires_grad_()

    def pass_through(layer: nn.Module) -> None:
        reset_net(layer)
        layer(x_seq).sum().backward()

    runs = {}
    for name, backend in (("torch loop", "torch"), ("fused scan", "numba")):
        layer = LAYERS[kind](hidden)
        set_backend(layer, backend)
        runs[name] = lambda layer=layer: pass_through(layer)
    return medians(runs, repeats)
