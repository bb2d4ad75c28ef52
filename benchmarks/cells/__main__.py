"""Time every cell and every feedback, ours and those of other libraries, interleaved in one run.

A step is forward and backward through one layer, with the gradients to its input and to its parameters; the state is
forgotten afterwards. Ours is timed fused and in the readable loop, the others as their documentation shows, Spyx
compiled by XLA. Where a library's layer computes something else under the same name, its notes say what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import PEERS
from benchmarks.cells.ours import ROWS, Row
from benchmarks.command import carry_out, chosen, leave, parser_of, plan_of, say, workers_of
from benchmarks.driver import OURS, Process, WorkerError, compare

LOOP = "snn_core-torch"


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


def check_outputs(name: str, checks: dict[str, dict[str, Any]]) -> None:
    """Compare the mean output of a fused layer with that of the readable loop.

    Raises:
        WorkerError: they differ.
    """
    fused, loop = (checks[library]["mean_output"] for library in (OURS, LOOP))
    if abs(fused - loop) > 0.01 * abs(loop):  # in float32 rounding moves some spikes
        raise WorkerError(f"{name}: the mean output is {fused} fused and {loop} in the loop")


def time_row(workers: dict[str, Process], name: str, row: Row, plan: Plan) -> dict[str, Any]:
    """Return what one layer takes in each of the libraries that have it.

    Raises:
        WorkerError: a library cannot run its layer; or fused and loop do not give the same output on average.
    """
    say(f"{row.kind}: {name}")
    x = "spikes" if row.kind == "synapse" else "currents"
    checks = {
        library: worker.ask(
            "prepare", config=name, layer=name, shape=row.shape(plan.H), x=x, gradient="gradient"
        )
        for library, worker in workers.items()
    }
    check_outputs(name, checks)
    found = compare(workers, name, plan.rounds, plan.seconds, plan.budget)
    for worker in workers.values():
        worker.ask("finish", config=name)
    libraries = {library: found[library] | checks[library] for library in workers}
    return {"name": name, "kind": row.kind, "libraries": libraries}


def run(plan: Plan, place: Path, environments: Path, libraries: Sequence[str]) -> dict[str, Any]:
    """Measure everything, with a folder for the workers' files, and return what results/cells.json is to hold.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    write_inputs(place / "inputs.npz", plan)
    of = workers_of(PEERS, libraries, environments, place / "inputs.npz", "benchmarks.cells.worker")
    with of as (workers, about):
        cells = []
        for name, row in ROWS.items():
            having = {each: worker for each, worker in workers.items() if name in about[each]["cells"]}
            cells.append(time_row(having, name, row, plan))
    return {"size": plan.size, "libraries": about, "cells": cells}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    args = parser_of("cells", __doc__, PEERS).parse_args(argv)
    plan = plan_of(args, FULL, SHORT, QUICK)
    names = chosen(args, PEERS, (OURS, LOOP))
    return carry_out(args.out, plan is FULL, lambda place: run(plan, place, args.envs, names))


if __name__ == "__main__":
    leave(main)
