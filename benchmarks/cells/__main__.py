"""Time every cell and every feedback, ours and those of other libraries, interleaved in one run.

A step is forward and backward through one layer, with the gradients to its input and to its parameters; the state is
forgotten afterwards. Ours is timed fused and in the readable loop, the others as their documentation shows, Spyx
compiled by XLA. Where a library's layer computes something else under the same name, its notes say what.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import PEERS
from benchmarks.cells.ours import ROWS, Row
from benchmarks.driver import Process, WorkerError, python_of, ratio, rounds, summary, timed_steps
from benchmarks.throughput import Onlooker, carry_out, leave, parser_of, say
from sequential_fmnist.provenance import provenance

OURS, LOOP = "snn_core", "snn_core-torch"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    T: int
    N: int
    H: int
    rounds: int
    seconds: float  # of one turn, about
    budget: float  # seconds of all turns of a library with one layer

    @property
    def size(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if name in ("T", "N", "H")}


FULL = Plan(T=100, N=64, H=128, rounds=11, seconds=0.1, budget=2.0)
#: The same in a minute or two; what comes of it is marked as provisional.
SHORT = Plan(T=100, N=64, H=128, rounds=2, seconds=0.02, budget=0.2)
#: Seconds in all, to see that everything runs; its numbers mean nothing.
QUICK = Plan(T=8, N=4, H=32, rounds=2, seconds=0.001, budget=0.1)


def write_inputs(path: Path, plan: Plan) -> None:
    """Write currents, spikes and the gradient of the output, ``[T, N, H]`` each."""
    random, shape = np.random.default_rng(0), (plan.T, plan.N, plan.H)
    currents = random.normal(0.5, 1.0, shape).astype(np.float32)
    spikes = (random.uniform(size=shape) < 0.2).astype(np.float32)
    np.savez(path, currents=currents, spikes=spikes, gradient=random.normal(size=shape).astype(np.float32))


def time_row(workers: dict[str, Process], name: str, row: Row, plan: Plan) -> dict[str, Any]:
    """Return what one layer takes in each of the libraries that have it.

    Raises:
        WorkerError: a library cannot run its layer; or fused and loop do not give the same output on average.
    """
    say(f"{row.kind}: {name}")
    x = "spikes" if row.kind == "synapse" else "currents"
    checks = {
        library: worker.ask("prepare", config=name, shape=row.shape(plan.H), x=x)
        for library, worker in workers.items()
    }
    fused, loop = (checks[library]["mean_output"] for library in (OURS, LOOP))
    if abs(fused - loop) > 0.01 * abs(loop):  # in float32 rounding moves some spikes
        raise WorkerError(f"{name}: the mean output is {fused} fused and {loop} in the loop")
    turns = {library: timed_steps(worker, name, plan.seconds) for library, worker in workers.items()}
    times = rounds(turns, plan.rounds, plan.budget)
    for worker in workers.values():
        worker.ask("finish", config=name)
    libraries = {
        library: {"ms": summary(values), "ratio": ratio(values, times[OURS])} | checks[library]
        for library, values in times.items()
    }
    return {"name": name, "kind": row.kind, "libraries": libraries}


def run(plan: Plan, environments: Path, libraries: Sequence[str]) -> dict[str, Any]:
    """Measure everything and return what is written to results/cells.json.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    started, onlooker = time.perf_counter(), Onlooker()
    with tempfile.TemporaryDirectory(prefix="snn_core-bench-") as place, ExitStack() as stack:
        inputs = Path(place) / "inputs.npz"
        write_inputs(inputs, plan)
        start = partial(Process, module="benchmarks.cells.worker")
        workers = {
            name: stack.enter_context(
                start(name, python_of(PEERS[name], environments), inputs, Path(place) / f"{name}.log")
            )
            for name in libraries
        }
        about = {name: {"label": PEERS[name].label} | worker.ask("about") for name, worker in workers.items()}
        cells = []
        for name, row in ROWS.items():
            having = {each: worker for each, worker in workers.items() if name in about[each]["cells"]}
            cells.append(time_row(having, name, row, plan))
    return {
        "is_provisional": plan is not FULL,
        "date": datetime.now(UTC).date().isoformat(),
        "size": plan.size,
        "cpu_share_of_others": onlooker.others(),
        "minutes": (time.perf_counter() - started) / 60,
        "provenance": provenance(),
        "libraries": about,
        "cells": cells,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    parser = parser_of("cells", __doc__.splitlines()[0], tuple(PEERS))
    args = parser.parse_args(argv)
    plan = QUICK if args.quick else SHORT if args.short else FULL
    chosen = {OURS, LOOP, *(args.libraries or PEERS)}
    return carry_out(args.out, lambda: run(plan, args.envs, [name for name in PEERS if name in chosen]))


if __name__ == "__main__":
    leave(main)
