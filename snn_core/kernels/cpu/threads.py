"""Threads that share the work of a kernel out among themselves.

A job is a function and its arguments at an address. Each thread takes one item of it after the other, from a counter,
until none is left; the caller works too, and waits only for items that another thread has begun, where the threads of
OpenMP all have to arrive before any may leave. A thread that finds no job for a while sleeps until the next one. A
process that was forked has threads of its own.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snn_core.kernels.cpu.compiled import entry, row
from snn_core.kernels.cpu.tile import address_of, call

#: What the threads know of a job: its number while it is open, else 0; the addresses of function, arguments and
#: numbers; how many threads may still join the caller; and how many have come and not yet left. Then what the caller
#: knows: the number of the last job, until when it works alone in nanoseconds, and the time.
OPEN, FUNCTION, ARGUMENTS, NUMBERS, PLACES, USERS, LAST, ALONE_UNTIL, SECONDS, NANOSECONDS, SIZE = range(11)
#: Where the arguments of a job say the address of its scratch memory.
SCRATCH = 2
#: Where the arguments of a leader say the address of the job and the number of helpers.
JOB, HELPERS = 1, 2
#: How often a thread looks for another job at once, for about 0.1 ms, and how often after naps of ``NAP``
#: microseconds, before it sleeps in Python, where waking it takes the lock of the interpreter.
LOOKS, NAPS, NAP = 10_000, 1_000, 20
#: A caller that waits for others for more than half of a job, and for over about 0.3 ms, assumes that something else
#: keeps their core busy, and does the jobs of the next ``ALONE`` seconds alone. A look takes about ``LOOK`` seconds.
MOST_LOOKS, ALONE, LOOK = 50_000, 0.015, 7e-9
_nap = types.ExternalFunction("usleep", types.int32(types.uint32))
_clock, _CLOCK = (
    types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp)),
    time.CLOCK_MONOTONIC,
)


@intrinsic
def add(typing_context: Any, address: Any, value: Any) -> Any:
    """Add to the integer at an address, as one atomic operation, and return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), generate


@entry
def _serve(job: np.ndarray, last: int, looks: int, naps: int) -> int:
    """Work on jobs after number ``last`` until none comes for a while; return the number of the last one."""
    idle = 0
    while idle < looks + naps:
        number = add(address_of(job, OPEN), 0)
        if number in (0, last):
            idle += 1
            if idle > looks:
                _nap(NAP)
            continue
        add(address_of(job, USERS), 1)
        # Now the job's arguments stay. Threads that an earlier job woke may be more than this one has scratch for.
        if add(address_of(job, OPEN), 0) == number and add(address_of(job, PLACES), -1) > 0:
            call(job[FUNCTION], (job[ARGUMENTS], job[NUMBERS]))
        add(address_of(job, USERS), -1)
        last, idle = number, 0
    return last


@row
def _now(job: Any) -> Any:
    _clock(_CLOCK, address_of(job, SECONDS))
    return job[SECONDS] * 1_000_000_000 + job[NANOSECONDS]


@row
def share(job: Any, function: Any, arguments: Any, numbers: Any, helpers: Any) -> None:
    """Run a job together with at most ``helpers`` threads, alone where they are late."""
    began = _now(job) if helpers else 0
    if helpers == 0 or began < job[ALONE_UNTIL]:
        call(function, (arguments, numbers))
        return
    job[LAST] += 1
    number, looks = job[LAST], 0
    job[FUNCTION], job[ARGUMENTS], job[NUMBERS], job[PLACES] = function, arguments, numbers, helpers
    add(address_of(job, OPEN), number)
    call(function, (arguments, numbers))
    add(address_of(job, OPEN), -number)
    while add(address_of(job, USERS), 0) > 0:
        looks += 1
    if looks > MOST_LOOKS:
        now = _now(job)
        if 2e9 * LOOK * looks > now - began:
            job[ALONE_UNTIL] = now + int(1e9 * ALONE)


@entry
def _run(job: np.ndarray, function: int, arguments: int, numbers: int, helpers: int) -> None:
    share(job, function, arguments, numbers, helpers)


class _Threads:
    """Sleeping threads, and the one job that they work on."""

    def __init__(self) -> None:
        self.process, self.lock = os.getpid(), threading.Lock()
        self.job = np.zeros(SIZE, np.int64)
        self.sleeping: list[threading.Lock] = []
        self.memory = np.empty(0, np.uint8)

    def memory_of(self, size: int) -> np.ndarray:
        """Return scratch memory, which stays: that of a fresh allocation is slow when first touched."""
        if size > len(self.memory):
            self.memory = np.empty(size + 64, np.uint8)
        return self.memory

    def wake(self, count: int) -> None:
        """Let ``count`` threads look for jobs; the lock of one that sleeps is held."""
        while len(self.sleeping) < count:
            lock = threading.Lock()
            lock.acquire()
            threading.Thread(target=self._work, args=(lock,), daemon=True, name="snn_core").start()
            self.sleeping.append(lock)
        for lock in self.sleeping[:count]:
            if lock.locked():
                lock.release()

    def _work(self, lock: threading.Lock) -> None:
        last = 0
        while True:
            lock.acquire()
            last = _serve(self.job, last, LOOKS, NAPS)


_threads = _Threads()


def run(
    function: int,
    arguments: np.ndarray,
    numbers: int,
    items: int,
    scratch: int,
    lead: tuple[int, np.ndarray] | None = None,
) -> None:
    """Call ``function(arguments, numbers)``, the latter an address, in as many threads as torch uses.

    The function takes its items from a counter. Each thread has ``scratch`` bytes, whose address the arguments say.
    With ``lead``, another function and its arguments, that one is called instead, in this thread: it is told the
    address of the job and how many helpers there are, and runs ``function`` by :func:`share`.
    """
    global _threads
    if _threads.process != os.getpid():
        _threads = _Threads()
    threads, job = _threads, _threads.job
    helpers = min(torch.get_num_threads(), items) - 1
    is_mine = threads.lock.acquire(blocking=False)  # else another thread of Python has them
    try:
        helpers = max(helpers, 0) if is_mine else 0
        memory = threads.memory_of((helpers + 1) * scratch) if is_mine else np.empty(scratch, np.uint8)
        arguments[SCRATCH] = memory.ctypes.data
        if helpers:
            threads.wake(helpers)
        if lead is None:
            _run(job, function, arguments.ctypes.data, numbers, helpers)
        else:
            leader, own = lead
            own[JOB], own[HELPERS] = job.ctypes.data, helpers
            _run(job, leader, own.ctypes.data, numbers, 0)
    finally:
        if is_mine:
            threads.lock.release()
