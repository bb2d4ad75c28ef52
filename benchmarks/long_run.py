"""What would a long run cost, here and in other libraries: 20 epochs over 60,000 images pixel by pixel, T = 784?

The networks of :mod:`experiments.long` are timed for some training steps: a new batch, forward, backward, a gradient of
limited norm and Adam, state forgotten afterwards. All libraries start from the same weights, see the same images in
the same order, have two cores and take turns in one run; the time of the whole run is worked out from the median step.
Ours is timed as :func:`experiments.long.runs.take_step` takes a step, with two threads; SpikingJelly in a loop over
its layers, with one thread or two, whichever is faster; Spyx compiled by XLA, with the nearest neurons that it has.
Nothing is added for measuring on the test set, nor for compiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, chosen, leave, parser_of, plan_of, say, workers_of
from benchmarks.driver import OURS, Process, WorkerError, compare
from benchmarks.inputs import halves
from benchmarks.long import CORES, KINDS, PEERS, WINDOW
from benchmarks.long.ours import network
from experiments.long.networks import MemoryNet, parameters_of
from experiments.results import provenance
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.train import set_seed

#: The run whose time is worked out.
EPOCHS, IMAGES = 20, 60_000


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    T: int
    batches: tuple[int, ...]
    rounds: int
    seconds: float  # of one turn, about
    budget: float  # seconds of all turns of a library with one network and batch


FULL = Plan(T=784, batches=(64, 256), rounds=7, seconds=0.5, budget=30.0)
#: The same in a few minutes; what comes of it is marked as provisional.
SHORT = Plan(T=784, batches=(64, 256), rounds=2, seconds=0.1, budget=2.0)
#: Seconds in all, to see that everything runs; its numbers mean nothing.
QUICK = Plan(T=56, batches=(8,), rounds=2, seconds=0.001, budget=0.1)


def initial_weights(net: MemoryNet) -> dict[str, np.ndarray]:
    """Return a network's weights under names that do not depend on a library."""
    return halves(
        {
            name.removeprefix("memory.0.").removeprefix("memory.1."): parameter.detach().numpy()
            for name, parameter in net.named_parameters()
        }
    )


def networks() -> dict[str, MemoryNet]:
    """Return the networks with the weights that all libraries start from."""
    nets = {}
    for kind in KINDS:
        set_seed(0)
        nets[kind] = network(kind)
    return nets


def write_inputs(path: Path, data: SequentialFashionMNIST, nets: Mapping[str, MemoryNet], plan: Plan) -> None:
    """Write the file that every worker reads: the first T pixels of all images, labels and weights."""
    arrays = {"pixels": data.images.flatten(1)[:, : plan.T].numpy(), "labels": data.labels.numpy()}
    for kind, net in nets.items():
        arrays |= {f"{kind}/{name}": values for name, values in initial_weights(net).items()}
    np.savez(path, **arrays)


def run_seconds(milliseconds: float, batch: int) -> float:
    """Return how long the whole run takes with steps of so many milliseconds."""
    return EPOCHS * IMAGES / batch * milliseconds / 1000


def check_losses(kind: str, losses: Mapping[str, float]) -> None:
    """Compare the losses before training with ours.

    Raises:
        WorkerError: SpikingJelly's, whose network is the same, is another.
    """
    name = "spikingjelly"  # Spyx fires one step later
    if name in losses and abs(losses[name] - losses[OURS]) > 0.001 * losses[OURS]:
        raise WorkerError(f"{name}: {kind}: the first loss is {losses[name]}, ours is {losses[OURS]}")


def time_network(
    workers: Mapping[str, Process], kind: str, net: MemoryNet, batch: int, plan: Plan
) -> dict[str, Any]:
    """Return what a training step takes in each library, and what a run would.

    Raises:
        WorkerError: a library cannot train its network, or it is not the one it should be.
    """
    name = f"{kind}, batch {batch}"
    say(name)
    found = {
        library: worker.ask("prepare", config=name, kind=kind, batch=batch)
        for library, worker in workers.items()
    }
    check_losses(kind, {library: each["first_loss"] for library, each in found.items()})
    timed = compare(workers, name, plan.rounds, plan.seconds, plan.budget)
    for library, worker in workers.items():
        found[library] |= worker.ask("finish", config=name) | timed[library]
        found[library]["run_seconds"] = run_seconds(found[library]["ms"]["median"], batch)
    return {
        "network": kind,
        "hidden": net.spec.hidden,
        "parameters": parameters_of(net),
        "batch": batch,
        "libraries": found,
    }


def run(plan: Plan, place: Path, environments: Path, libraries: Sequence[str], source: str) -> dict[str, Any]:
    """Measure everything, with a folder for the workers' files, and return what results/long_cost.json is to hold.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    data, nets = SequentialFashionMNIST(train=True, source=source, verbose=False), networks()
    write_inputs(place / "inputs.npz", data, nets, plan)
    of = workers_of(PEERS, libraries, environments, place / "inputs.npz", "benchmarks.long.worker")
    with of as (workers, about):
        runs = [
            time_network(workers, kind, net, batch, plan)
            for kind, net in nets.items()
            for batch in plan.batches
        ]
    return {
        "data": data.source,
        "task": {"T": plan.T, "epochs": EPOCHS, "images": IMAGES, "window": WINDOW},
        "provenance": provenance() | {"torch_threads": CORES},  # of the workers
        "libraries": about,
        "runs": runs,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    parser = parser_of("long_run", __doc__, PEERS, images=True)
    parser.set_defaults(out=Path("results/long_cost.json"))
    args = parser.parse_args(argv)
    plan, names = plan_of(args, FULL, SHORT, QUICK), chosen(args, PEERS, (OURS,))
    return carry_out(args.out, plan is FULL, lambda place: run(plan, place, args.envs, names, args.source))


if __name__ == "__main__":
    leave(main)
