"""What a piece of torch code costs: nodes of autograd, bytes kept for backward, and time.

Times of small things are compared by letting them take turns, in the time that this process had on the CPU, so that
other programs disturb them less.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from sequential_fmnist.experiments.memory import keep_freed_memory

__all__ = ["autograd_nodes", "keep_freed_memory", "medians", "saved_bytes"]

Name = TypeVar("Name", bound=Hashable)


def autograd_nodes(output: Tensor) -> Counter[str]:
    """Return how many nodes of each kind backward will visit from ``output``, by following the graph."""
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return Counter(node.name() for node in seen)


def saved_bytes(function: Callable[..., object], *inputs: Tensor, known: Iterable[Tensor] = ()) -> int:
    """Return the bytes that autograd keeps from forward for backward when ``function(*inputs)`` is called.

    Args:
        function: returns its output, so that nothing is freed before it is counted.
        inputs: its arguments.
        known: tensors that are there anyway and do not count, such as weights.
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = function(*inputs)
    del output  # until here, or a freed storage might be counted for another
    return sum(kept.values())


def medians(runs: Mapping[Name, Callable[[], object]], repeats: int) -> dict[Name, float]:
    """Return the median CPU seconds of each run, taken in turns: first all of them once, then all of them again.

    They are those of all threads together; wall-clock seconds where the system counts too coarsely.

    Args:
        runs: name to what is timed. Each is called once before, untimed, to compile and to fill caches.
        repeats: rounds, at least 1.
    """
    fine = time.get_clock_info("process_time").resolution < 1e-6
    clock = time.process_time if fine else time.perf_counter
    for run in runs.values():
        run()
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = clock()
            run()
            seconds[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}
