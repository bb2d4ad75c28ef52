"""Time large layers: the benchmark that Open Neuromorphic publishes, interleaved in one run.

One linear layer of n inputs and n outputs and a layer of LIF neurons, batch 16, 500 time steps, the input from a normal
distribution; a step is forward, and backward from the sum of all spikes to the weights
(https://open-neuromorphic.org/blog/spiking-neural-network-framework-benchmarking). Our two layers are one scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import LARGE, PEERS
from benchmarks.cells.__main__ import LOOP, check_outputs
from benchmarks.command import carry_out, chosen, leave, parser_of, plan_of, say, workers_of
from benchmarks.driver import OURS, Process, compare

TIMED = {name: peer for name, peer in PEERS.items() if name != "spyx"}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    T: int
    N: int
    rounds: dict[int, int]  # for each n
    seconds: float = 0.1  # of one turn, about


FULL = Plan(T=500, N=16, rounds={32: 11, 128: 11, 512: 7, 1024: 5, 2048: 3, 4096: 3})
#: The same in a minute; what comes of it is marked as provisional.
SHORT = Plan(T=500, N=16, rounds={32: 2, 128: 2, 512: 2, 1024: 1, 2048: 1}, seconds=0.02)
#: Seconds in all, to see that everything runs; its numbers mean nothing.
QUICK = Plan(T=20, N=4, rounds={32: 2, 64: 2}, seconds=0.001)


def time_size(workers: dict[str, Process], n: int, plan: Plan) -> dict[str, Any]:
    """Return what a step takes in each library with layers of ``n`` neurons.

    Raises:
        WorkerError: ours does not give the same output fused and in the loop; or a library cannot run its layer.
    """
    say(f"{LARGE}: {n}")
    check_outputs(
        f"{LARGE}: {n}",
        {
            name: worker.ask("prepare", config=str(n), layer=LARGE, shape=[n], x="x", gradient="")
            for name, worker in workers.items()
        },
    )
    found = compare(workers, str(n), plan.rounds[n], plan.seconds)
    for worker in workers.values():
        worker.ask("finish", config=str(n))
    return {"n": n, "libraries": found}


def run(plan: Plan, place: Path, environments: Path, libraries: Sequence[str]) -> dict[str, Any]:
    """Measure everything, with a folder for the workers' files, and return what results/large_layers.json is to hold.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    x = np.random.default_rng(0).standard_normal((plan.T, plan.N, max(plan.rounds)), np.float32)
    np.savez(place / "inputs.npz", x=x)
    of = workers_of(TIMED, libraries, environments, place / "inputs.npz", "benchmarks.cells.worker")
    with of as (workers, about):
        sizes = [time_size(workers, n, plan) for n in plan.rounds]
    for each in about.values():  # not the layers of the table of cells
        del each["cells"]
        each["notes"] = {name: note for name, note in each["notes"].items() if name == LARGE}
    return {"T": plan.T, "N": plan.N, "libraries": about, "sizes": sizes}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    args = parser_of("large_layers", __doc__, TIMED).parse_args(argv)
    plan, names = plan_of(args, FULL, SHORT, QUICK), chosen(args, TIMED, (OURS, LOOP))
    return carry_out(args.out, plan is FULL, lambda place: run(plan, place, args.envs, names))


if __name__ == "__main__":
    leave(main)
