"""The threads of a kernel: those of torch's own OpenMP, so that no two teams compete for the cores.

A job is a function and its arguments at an address. Each thread takes one item of it after the other, from a counter,
until none is left. OpenMP waits for all threads at the end: where one arrives late, because something else keeps its
core busy, the caller works alone for a while. Where torch brings no OpenMP with the interface of GNU's, and in a
process that was forked, which has no team, the caller always works alone.

While a thread works, numbers below the smallest normal one (1.2e-38 in fp32) count as 0. A current that decays and a
gradient that vanishes become such numbers, and a processor may take a hundred times as long to compute with them.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from array import array
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snn_core.kernels.cpu.compiled import entry, function_at, helper
from snn_core.kernels.cpu.tile import address_of, array_at, call, invoke

#: What the threads know of a job: the addresses of function, arguments and numbers, and when the first of them found no
#: item left. Then what the caller knows: until when it works alone, for how long it did so the last time, both in
#: nanoseconds, the time, and the addresses of OpenMP's function and of ours that each thread calls.
FUNCTION, ARGUMENTS, NUMBERS, ENDED, ALONE_UNTIL, ALONE, SECONDS, NANOSECONDS, PARALLEL, MEMBER, SIZE = range(
    11
)
#: Where the arguments of a job say the address of its scratch memory.
SCRATCH = 2
#: Where the arguments of a leader say the address of the job and the number of helpers.
JOB, HELPERS = 1, 2
#: A thread is late that ends so many nanoseconds after the first one, and in the second half of the job. The caller
#: then works alone for the shortest time, twice as long after each further time, up to the longest, and half as long
#: after a job that went well.
LATE, SHORTEST, LONGEST = 300_000, 15_000_000, 1_000_000_000


@intrinsic
def add(typing_context: Any, address: Any, value: Any) -> Any:
    """Add to the integer at an address, as one atomic operation, and return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), generate


_PROCESSOR = llvmlite.binding.get_process_triple().partition("-")[0]
#: The bits of a thread's control word by which tiny numbers count as 0, as operands and as results.
_FLUSH = {"x86_64": 0x8040, "aarch64": 1 << 24, "arm64": 1 << 24}.get(_PROCESSOR, 0)


@intrinsic
def _control(typing_context: Any) -> Any:
    """Return the word that controls this thread's arithmetic, 0 where it is not known how to read it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not _FLUSH:
            return ir.Constant(ir.IntType(64), 0)
        if _PROCESSOR != "x86_64":
            return call(builder, "llvm.aarch64.get.fpcr", ir.IntType(64))
        place = cgutils.alloca_once(builder, ir.IntType(32))
        call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(place, cgutils.voidptr_t))
        return builder.zext(builder.load(place), ir.IntType(64))

    return types.int64(), generate


@intrinsic
def _set_control(typing_context: Any, word: Any) -> Any:
    """Set the word that controls this thread's arithmetic."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _FLUSH and _PROCESSOR != "x86_64":
            call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), arguments[0])
        elif _FLUSH:
            place = cgutils.alloca_once_value(builder, builder.trunc(arguments[0], ir.IntType(32)))
            call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(place, cgutils.voidptr_t))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@helper
def _work(function: Any, arguments: Any, numbers: Any) -> None:
    """Call a function of a job while tiny numbers count as 0, and leave the thread as it was."""
    before = _control()
    _set_control(before | _FLUSH)
    invoke(function, (arguments, numbers))
    _set_control(before)


if hasattr(time, "CLOCK_MONOTONIC"):
    _clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))
    _CLOCK = time.CLOCK_MONOTONIC

    @helper
    def _now(clock: Any) -> Any:
        _clock(_CLOCK, address_of(clock, 0))
        return clock[0] * 1_000_000_000 + clock[1]

else:  # Windows, where torch brings no OpenMP of GNU's, so that the caller is never late

    @helper
    def _now(clock: Any) -> Any:
        return clock[0]


def _take_part(address: Any, _: Any) -> None:
    """Take items of the job at an address; this is what OpenMP calls in each thread."""
    job = array_at(address, (SIZE,), address)
    _work(job[FUNCTION], job[ARGUMENTS], job[NUMBERS])
    if add(address_of(job, ENDED), 0) == 0:
        clock = np.empty(2, np.int64)
        add(address_of(job, ENDED), _now(clock))


@helper
def share(job: Any, function: Any, arguments: Any, numbers: Any, helpers: Any) -> None:
    """Run a job together with ``helpers`` threads, alone where they were late."""
    began = _now(job[SECONDS:PARALLEL]) if helpers else 0
    if helpers == 0 or began < job[ALONE_UNTIL]:
        _work(function, arguments, numbers)
        return
    job[FUNCTION], job[ARGUMENTS], job[NUMBERS], job[ENDED] = function, arguments, numbers, 0
    invoke(job[PARALLEL], (job[MEMBER], address_of(job, 0), helpers + 1, 0))
    now = _now(job[SECONDS:PARALLEL])
    if now - job[ENDED] > max(LATE, (now - began) // 2):
        job[ALONE] = min(max(2 * job[ALONE], SHORTEST), LONGEST)
        job[ALONE_UNTIL] = now + job[ALONE]
    else:
        job[ALONE] //= 2


@entry
def _run(job: int, first: int, function: int, arguments: int, numbers: int, helpers: int) -> None:
    if first:
        invoke(first, (arguments, numbers))
    share(array_at(job, (SIZE,), job), function, arguments, numbers, helpers)


@cache
def _parallel() -> int:
    """Return the address of ``GOMP_parallel`` of the OpenMP that torch uses, 0 where there is none, or no clock."""
    if not hasattr(time, "CLOCK_MONOTONIC"):
        return 0
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # The loader looks for the name in the libraries that torch brought along, too.
        function = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def _member() -> int:
    """Return the address of :func:`_take_part`."""
    return function_at(_take_part, types.void(types.intp, types.intp))


class _Team:
    """The one job that threads share, and memory for it."""

    def __init__(self, parallel: int) -> None:
        self.lock = threading.Lock()
        self.parallel = parallel
        self.job = array("q", [0] * SIZE)
        self.job[PARALLEL], self.job[MEMBER] = parallel, _member() if parallel else 0
        self.memory, self.size, self.at_memory = np.empty(0, np.uint8), 0, 0

    def memory_of(self, size: int) -> int:
        """Return the address of scratch memory, which stays: that of a fresh allocation is slow when first touched."""
        if size > self.size:
            self.memory, self.size = np.empty(size + 64, np.uint8), size
            self.at_memory = -(-self.memory.ctypes.data // 64) * 64  # where a cache line begins
        return self.at_memory


_team: _Team | None = None


def _lose_team() -> None:
    """Work alone in a process that was forked."""
    global _team
    _team = _Team(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lose_team)


def run(
    function: int,
    arguments: array[int],
    numbers: int,
    items: int,
    scratch: int,
    first: int = 0,
    lead: tuple[int, array[int]] | None = None,
) -> None:
    """Call ``function(arguments, numbers)``, the latter an address, in as many threads as torch uses.

    The function takes its items from a counter. ``first``, if given, is called before, in this thread. Each thread has
    ``scratch`` bytes, whose address the arguments say. With ``lead``, another function and its arguments, that one is
    called instead, in this thread: it is told the address of the job and how many helpers there are, and runs
    ``function`` by :func:`share`.
    """
    global _team
    team = _team
    if team is None:
        team = _team = _Team(_parallel())
    if not team.lock.acquire(blocking=False):  # another thread of Python has it
        team = _Team(0)
        team.lock.acquire()
    try:
        helpers = max(min(torch.get_num_threads(), items) - 1, 0) if team.parallel else 0
        arguments[SCRATCH] = team.memory_of((helpers + 1) * scratch)
        job, at = team.job.buffer_info()[0], arguments.buffer_info()[0]
        if lead is None:
            _run(job, first, function, at, numbers, helpers)
        else:
            leader, own = lead
            own[JOB], own[HELPERS] = job, helpers
            _run(job, 0, leader, own.buffer_info()[0], numbers, 0)
    finally:
        team.lock.release()
