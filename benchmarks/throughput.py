"""Time training with snn_core and with other libraries, interleaved in one run: ``make bench``.

A training step is forward, backward and SGD with momentum on the mean squared error between firing rate and one-hot
label, state forgotten afterwards; its batch lies in memory in the layout that the library wants. An epoch is all
training images once, in a new random order, with indexing and layout. All libraries start from the same weights and
the same images; where one cannot build the same network, its ``notes`` say which was timed. Peers run eagerly as their
documentation shows, Spyx compiled by XLA; what torch.compile makes of the readable loop is a peer of its own.

All libraries are timed at the base size, those that are closest in other sizes, and while another process keeps one
core busy. Also measured: the time that the products of a step need at the peak of this processor, what autograd keeps
and peak memory, how our time grows with T and batch, and what a new process costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, chosen, leave, parser_of, plan_of, say, workers_of
from benchmarks.config import BASE, MODELS, Config, grid
from benchmarks.driver import (
    OURS,
    ROOT,
    Process,
    WorkerError,
    busy_core,
    compare,
    python_of,
    ratio,
    rounds,
    summary,
    timed_steps,
)
from benchmarks.inputs import write_inputs
from benchmarks.peers import PEERS
from sequential_fmnist.data import SequentialFashionMNIST

LOOP = "snn_core-torch"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    libraries: tuple[str, ...]
    configs: tuple[Config, ...]  # other sizes than the base for some libraries only
    busy: tuple[Config, ...]  # those that are timed once more with one core busy
    epochs: tuple[Config, ...]
    memory: tuple[Config, ...]
    growth: dict[str, tuple[int, ...]]  # quantity to its values
    growth_models: tuple[str, ...]
    rounds: int
    seconds: float  # of one turn, about
    budget: float  # seconds of all turns of a library in one configuration
    startup: bool


BASES = tuple(replace(BASE, model=model) for model in MODELS)
FULL = Plan(
    libraries=tuple(PEERS),
    configs=tuple(grid()),
    busy=BASES,
    epochs=(BASE,),
    memory=tuple(replace(base, T=T, batch=N) for base in BASES for N in (32, 256) for T in (28, 112, 784)),
    growth={"T": (28, 56, 112, 224, 448, 784), "batch": (64, 128, 256, 512, 1024, 2048)},
    growth_models=("plain", "feedback"),
    rounds=11,
    seconds=0.1,
    budget=2.0,
    startup=True,
)
#: The same in a few minutes; what comes of it is marked as provisional.
SHORT = replace(FULL, rounds=2, seconds=0.02, budget=0.2)
#: Seconds in all, to see that everything runs; its numbers mean nothing.
QUICK = Plan(
    libraries=(OURS, "snn_core-train-steps", LOOP, "spikingjelly", "limit"),
    configs=tuple(replace(config, batch=32) for config in BASES),
    busy=(replace(BASE, batch=32),),
    epochs=(BASE,),
    memory=(replace(BASE, batch=32),),
    growth={"T": (28, 56)},
    growth_models=("feedback",),
    rounds=2,
    seconds=0.002,
    budget=1.0,
    startup=False,
)
#: Whose memory is compared as T and batch grow.
MEMORY = (OURS, LOOP)
#: What is timed with one core busy.
SHARED = tuple(
    name for name, peer in PEERS.items() if peer.trains and (peer.everywhere or name == "torch-compile")
)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return p of the power law values ~ sizes^p that fits best on logarithmic axes."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


class Benchmark:
    """Measures what a plan asks for.

    Args:
        plan: how much.
        libraries: whose times.
        environments: folder with the virtual environments "torch" and "jax"; "project" is this interpreter's.
        inputs: the file that every worker reads; its folder takes their logs.
    """

    def __init__(self, plan: Plan, libraries: Sequence[str], environments: Path, inputs: Path) -> None:
        self.plan, self._libraries = plan, libraries
        self._environments, self._inputs = environments, inputs

    def timed(self) -> dict[str, Any]:
        """Measure everything whose time counts: only one process works at any moment."""
        of = workers_of(PEERS, self._libraries, self._environments, self._inputs, "benchmarks.worker")
        with of as (workers, about):
            steps, busy = [], []
            for config in self.plan.configs:
                entries = self._steps(workers, config)
                steps.append(entries[0])
                busy += entries[1:]
            return {
                "libraries": about,
                "steps": steps,
                "busy": busy,
                "epochs": [self._epochs(workers, config) for config in self.plan.epochs],
                "growth": [
                    self._growth(workers[OURS], model, quantity)
                    for model in self.plan.growth_models
                    for quantity in self.plan.growth
                ],
            }

    def _steps(self, workers: dict[str, Process], config: Config) -> list[dict[str, Any]]:
        """Return what a configuration takes, and what it takes with one core busy if the plan asks for it."""
        say(f"step: {config}")
        is_base = replace(config, model=BASE.model) == BASE
        workers = {name: worker for name, worker in workers.items() if is_base or PEERS[name].everywhere}
        check_steps = 30 if config.T == BASE.T and config.hidden == BASE.hidden else 5
        checks = {
            name: worker.ask("prepare", config=config, check_steps=check_steps)
            for name, worker in workers.items()
        }
        how = (config, self.plan.rounds, self.plan.seconds, self.plan.budget)
        times = [compare(workers, *how)]
        if config in self.plan.busy:
            say(f"step: {config}, one core busy")
            with busy_core():
                shared = {name: worker for name, worker in workers.items() if name in SHARED}
                times.append(compare(shared, *how))
        for name, worker in workers.items():
            checks[name] |= worker.ask("finish", config=config)
        return [
            {
                "config": config.as_dict(),
                "libraries": {name: timed | checks[name] for name, timed in each.items()},
            }
            for each in times
        ]

    def _epochs(self, workers: dict[str, Process], config: Config) -> dict[str, Any]:
        say(f"epoch: {config}")
        trained = {name: worker for name, worker in workers.items() if PEERS[name].takes_any_size}
        for worker in trained.values():
            worker.ask("prepare", config=config, check_steps=1)
            worker.ask("epoch", config=config)  # some libraries compile here
        losses: dict[str, float] = {}

        def turn(name: str) -> float:
            result = trained[name].ask("epoch", config=config)
            losses[name] = result["loss"]
            return result["seconds"]

        times = rounds({name: lambda name=name: turn(name) for name in trained}, 3, self.plan.budget)
        for worker in trained.values():
            worker.ask("finish", config=config)
        return {
            "config": config.as_dict(),
            "libraries": {
                name: {"seconds": summary(values), "ratio": ratio(values, times[OURS]), "loss": losses[name]}
                for name, values in times.items()
            },
        }

    def _growth(self, worker: Process, model: str, quantity: str) -> dict[str, Any]:
        say(f"growth: {model} with {quantity}")
        sizes = self.plan.growth[quantity]
        configs = [replace(BASE, model=model, **{quantity: size}) for size in sizes]
        for config in configs:
            worker.ask("prepare", config=config, check_steps=3)
        turns = {str(config): timed_steps(worker, config, self.plan.seconds) for config in configs}
        times = [summary(values) for values in rounds(turns, self.plan.rounds, self.plan.budget).values()]
        for config in configs:
            worker.ask("finish", config=config)
        return {
            "library": OURS,
            "model": model,
            "quantity": quantity,
            "sizes": list(sizes),
            "ms": times,
            "ms_exponent": exponent(sizes, [each["median"] for each in times]),
        }

    def memory(self) -> list[dict[str, Any]]:
        """Return what autograd keeps and the peak of a step, in bytes.

        Each comes from a process of its own, since memory that is freed is not always given back. Nothing is timed
        here, so they run side by side.
        """
        say("memory")
        wanted = [(name, config) for config in self.plan.memory for name in MEMORY]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(wanted, pool.map(lambda job: self._bytes(*job), wanted), strict=True))
        return [
            {"config": config.as_dict()}
            | {
                key: {name: found[name, config][key] for name in MEMORY}
                for key in ("saved_bytes", "peak_bytes")
            }
            for config in self.plan.memory
        ]

    def _bytes(self, name: str, config: Config) -> dict[str, int]:
        python, log = python_of(PEERS[name], self._environments), self._inputs.parent / f"{name} {config}.log"
        with Process(name, python, self._inputs, log) as worker:
            peak = worker.ask("peak", config=config, warm_up=replace(config, batch=1, T=BASE.T))["bytes"]
            return {"saved_bytes": worker.ask("saved", config=config)["bytes"], "peak_bytes": peak}

    def startup(self) -> dict[str, Any]:
        """Return what a new process costs with numba's cache empty and filled, in seconds."""
        say("startup")
        with tempfile.TemporaryDirectory(dir=self._inputs.parent) as cache:
            empty, filled = (self._startup(Path(cache)) for _ in range(2))
        return {
            "empty_cache": empty,
            "filled_cache": filled,
            "compile_seconds": sum(empty["first_steps"].values()),
            "warm_start_seconds": filled["import_snn_core"] + sum(filled["first_steps"].values()),
        }

    def _startup(self, cache: Path) -> dict[str, Any]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "benchmarks.startup"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise WorkerError(f"startup: ended with exit code {done.returncode}: {''.join(last)}")
        return json.loads(done.stdout)


def run(plan: Plan, place: Path, environments: Path, libraries: Sequence[str], source: str) -> dict[str, Any]:
    """Measure everything, with a folder for the workers' files, and return what results/throughput.json is to hold.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    data = SequentialFashionMNIST(train=True, source=source, verbose=False)
    write_inputs(place / "inputs.npz", data, (*plan.configs, *plan.epochs, *plan.memory, *BASES))
    benchmark = Benchmark(plan, libraries, environments, place / "inputs.npz")
    return {
        "data": data.source,
        "is_subset": data.is_subset,
        "images": len(data),
        **benchmark.timed(),
        "memory": benchmark.memory(),
        "startup": benchmark.startup() if plan.startup else None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    args = parser_of("throughput", __doc__, PEERS, images=True).parse_args(argv)
    plan = plan_of(args, FULL, SHORT, QUICK)
    names = chosen(args, PEERS, (OURS, LOOP)) if args.libraries else plan.libraries
    return carry_out(args.out, plan is FULL, lambda place: run(plan, place, args.envs, names, args.source))


if __name__ == "__main__":
    leave(main)
