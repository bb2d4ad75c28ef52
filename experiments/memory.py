"""Memory of a training step: what it frees and the next one needs again, and what autograd keeps meanwhile."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MIB = 2**20


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to half a GiB, where it runs on glibc; does nothing elsewhere.

    Each step frees a few MiB at its end. glibc gives them back to the system, and getting them again costs a page
    fault for every 4 KiB, together as much time as the step's arithmetic. The peak of memory does not change.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 512 * _MIB)
        mallopt(_MMAP_THRESHOLD, 32 * _MIB)  # glibc takes no more


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
