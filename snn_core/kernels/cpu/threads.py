"""The threads of a kernel: those of torch's own OpenMP, so that no two teams compete for the cores.

``engine/threads.h`` shares a job among them. Where torch brings no OpenMP with the interface of GNU's, and in a process
that was forked, which has no team, the caller always works alone.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snn_core.kernels import fields

#: Columns of the structure of a job.
JOB = fields.columns(fields.JOB)
#: Memory for a kernel begins at a multiple of so many bytes, those of a line of a cache.
LINE = 64


@cache
def _parallel() -> tuple[int, int]:
    """Return the addresses of ``GOMP_parallel`` of torch's OpenMP and of the clock, 0 where one is missing."""
    if not hasattr(time, "CLOCK_MONOTONIC"):  # on Windows
        return 0, 0
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # The loader looks for the names in the libraries that torch brought along, too.
        found = ctypes.CDLL(str(library))
        functions = found.GOMP_parallel, found.clock_gettime
    except (OSError, AttributeError):
        return 0, 0
    parallel, clock = (ctypes.cast(one, ctypes.c_void_p).value or 0 for one in functions)
    return parallel, clock


class _Team:
    """The one job that threads share, and memory for it."""

    def __init__(self, parallel: int, clock: int) -> None:
        self.lock = threading.Lock()
        self.parallel = parallel
        self.job = array("q", [0] * JOB["COLUMNS"])
        self.job[JOB["PARALLEL"]], self.job[JOB["CLOCK"]] = parallel, clock
        self.job[JOB["CLOCK_NUMBER"]] = getattr(time, "CLOCK_MONOTONIC", 0)
        self.memory, self.size, self.at_memory = np.empty(0, np.uint8), 0, 0

    def memory_of(self, size: int) -> int:
        """Return the address of scratch memory, which stays: that of a fresh allocation is slow when first touched."""
        if size > self.size:
            self.memory, self.size = np.empty(size + LINE, np.uint8), size
            self.at_memory = -(-self.memory.ctypes.data // LINE) * LINE
        return self.at_memory


_team: _Team | None = None


def _lose_team() -> None:
    """Work alone in a process that was forked."""
    global _team
    _team = _Team(0, 0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lose_team)


def run(
    kernel: Callable[..., Any], call: array[int], items: int, scratch: int, training: array[int] | None = None
) -> None:
    """Run a kernel of the engine in as many threads as torch uses.

    Args:
        kernel: takes the addresses of a job and of ``training``, or of ``call`` where that is None, and the number of
            threads besides the caller.
        call: the structure ``Call``, which gets the address of memory.
        items: of work, at most one for each thread.
        scratch: bytes of memory for each thread.
        training: the structure ``Training``.
    """
    global _team
    team = _team
    if team is None:
        team = _team = _Team(*_parallel())
    if not team.lock.acquire(blocking=False):  # another thread of Python has it
        team = _Team(0, 0)
        team.lock.acquire()
    try:
        helpers = max(min(torch.get_num_threads(), items) - 1, 0) if team.parallel else 0
        call[_SCRATCH] = team.memory_of((helpers + 1) * scratch)
        kernel(team.job.buffer_info()[0], (call if training is None else training).buffer_info()[0], helpers)
    finally:
        team.lock.release()


_SCRATCH = fields.columns(fields.CALL)["SCRATCH"]
