"""Time training with snn_core and with other libraries, interleaved in one run: ``make bench``.

A training step is forward, backward and SGD with momentum on the mean squared error between firing rate and one-hot
label, state forgotten afterwards; its batch lies in memory in the layout that the library wants. An epoch is all
training images once, in a new random order, with indexing and layout. All libraries start from the same weights and
the same images; where one cannot build the same network, its ``notes`` say which was timed. Peers run eagerly as their
documentation shows, Spyx compiled by XLA; what torch.compile makes of the readable loop is a peer of its own.

All libraries are timed at the base size, those that are closest in other sizes, and while another process keeps one
core busy. Also measured: the time that the products of a step need at the peak of this processor, what autograd keeps
and peak memory, how both and our time grow with T and batch, and what a new process costs.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmarks.config import BASE, MODELS, Config, grid
from benchmarks.driver import (
    ROOT,
    Process,
    WorkerError,
    busy_core,
    python_of,
    ratio,
    rounds,
    summary,
    timed_steps,
)
from benchmarks.inputs import write_inputs
from benchmarks.peers import PEERS
from sequential_fmnist.command import Parser, folder, target
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance
from sequential_fmnist.sources import DataError

OURS = "snn_core"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    libraries: tuple[str, ...]
    configs: tuple[Config, ...]  # other sizes than the base for some libraries only
    busy: tuple[Config, ...]  # those that are timed once more with one core busy
    epochs: tuple[Config, ...]
    memory: tuple[Config, ...]
    peers_memory: tuple[Config, ...]
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
    peers_memory=(BASE,),
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
    libraries=(OURS, "snn_core-autograd", "snn_core-torch", "spikingjelly", "limit"),
    configs=tuple(replace(config, batch=32) for config in BASES),
    busy=(replace(BASE, batch=32),),
    epochs=(BASE,),
    memory=(replace(BASE, batch=32),),
    peers_memory=(BASE,),
    growth={"T": (28, 56)},
    growth_models=("feedback",),
    rounds=2,
    seconds=0.002,
    budget=1.0,
    startup=False,
)
#: Whose memory is compared as T and batch grow: what autograd keeps, which is nothing where kernels compute
#: everything, and the peak of a step.
KEPT = ("snn_core-autograd", "snn_core-torch")
PEAKS = (OURS, "snn_core-torch")
#: What is timed with one core busy.
SHARED = tuple(
    name for name, peer in PEERS.items() if peer.trains and (peer.everywhere or name == "torch-compile")
)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return p of the power law values ~ sizes^p that fits best on logarithmic axes."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _peak_growth(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exponents of our peak memory in T and in batch for each network, each where the other is largest."""
    found = []
    for model in dict.fromkeys(entry["config"]["model"] for entry in entries):
        own = [entry for entry in entries if entry["config"]["model"] == model]
        for quantity, other in (("T", "batch"), ("batch", "T")):
            largest = max(entry["config"][other] for entry in own)
            series = [entry for entry in own if entry["config"][other] == largest]
            sizes = [entry["config"][quantity] for entry in series]
            if len(sizes) > 1:
                values = [entry["peak_bytes"][OURS] for entry in series]
                found.append(
                    {
                        "model": model,
                        "quantity": quantity,
                        "sizes": sizes,
                        "exponent": exponent(sizes, values),
                    }
                )
    return found


class Benchmark:
    """Measures what a plan asks for.

    Args:
        plan: how much.
        environments: folder with the virtual environments "torch" and "jax"; "project" is this interpreter's.
        folder: for the workers' input and logs.
        inputs: the file that every worker reads.
    """

    def __init__(self, plan: Plan, environments: Path, folder: Path, inputs: Path) -> None:
        self.plan, self._environments, self._folder, self._inputs = plan, environments, folder, inputs

    def _start(self, name: str, log: str = "") -> Process:
        python = python_of(PEERS[name], self._environments)
        return Process(name, python, self._inputs, self._folder / f"{log or name}.log")

    def timed(self) -> dict[str, Any]:
        """Measure everything whose time counts: only one process works at any moment."""
        with ExitStack() as stack:
            workers = {name: stack.enter_context(self._start(name)) for name in self.plan.libraries}
            about = {
                name: {"label": PEERS[name].label} | worker.ask("about") for name, worker in workers.items()
            }
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
                "memory": [self._saved(workers, config) for config in self.plan.memory],
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
        times = [self._turns(workers, config)]
        if config in self.plan.busy:
            say(f"step: {config}, one core busy")
            with busy_core():
                shared = {name: worker for name, worker in workers.items() if name in SHARED}
                times.append(self._turns(shared, config))
        for name, worker in workers.items():
            checks[name] |= worker.ask("finish", config=config)
        return [
            {
                "config": config.as_dict(),
                "libraries": {
                    name: {"ms": summary(values), "ratio": ratio(values, each[OURS])} | checks[name]
                    for name, values in each.items()
                },
            }
            for each in times
        ]

    def _turns(self, workers: dict[str, Process], config: Config) -> dict[str, list[float]]:
        turns = {name: timed_steps(worker, config, self.plan.seconds) for name, worker in workers.items()}
        return rounds(turns, self.plan.rounds, self.plan.budget)

    def _saved(self, workers: dict[str, Process], config: Config) -> dict[str, Any]:
        say(f"memory: {config}")
        saved = {name: workers[name].ask("saved", config=config)["bytes"] for name in KEPT}
        return {"config": config.as_dict(), "saved_bytes": saved}

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
            "model": model,
            "quantity": quantity,
            "sizes": list(sizes),
            "ms": times,
            "ms_exponent": exponent(sizes, [each["median"] for each in times]),
        }

    def add_memory(self, timed: dict[str, Any]) -> None:
        """Add peak memory to what :meth:`timed` returned.

        Each comes from a process of its own, since memory that is freed is not always given back. Nothing is timed
        here, so they run side by side.
        """
        say("peak memory")
        trained = [name for name in self.plan.libraries if PEERS[name].takes_any_size]
        wanted = [(name, config) for config in self.plan.memory for name in PEAKS]
        wanted += [
            (name, config)
            for config in self.plan.peers_memory
            for name in trained
            if (name, config) not in wanted
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(wanted, pool.map(lambda job: self._peak(*job), wanted), strict=True))
        for entry, config in zip(timed["memory"], self.plan.memory, strict=True):
            entry["peak_bytes"] = {name: found[name, config] for name in PEAKS}
        timed["memory_growth"] = _peak_growth(timed["memory"])
        timed["peers_peak_bytes"] = [
            {"config": config.as_dict()} | {name: found[name, config] for name in trained}
            for config in self.plan.peers_memory
        ]

    def _peak(self, name: str, config: Config) -> int:
        tiny = replace(config, batch=1, T=BASE.T)
        with self._start(name, f"peak {name} {config}") as worker:
            return worker.ask("peak", config=config, warm_up=tiny)["bytes"]

    def startup(self) -> dict[str, Any]:
        """Return what a new process costs with numba's cache empty and filled, in seconds."""
        say("startup")
        with tempfile.TemporaryDirectory(dir=self._folder) as cache:
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


class Onlooker:
    """Says how much of the processor others used while this process and its children worked."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.perf_counter(), *self._read()

    @staticmethod
    def _read() -> tuple[float, float]:
        """Return the seconds that all cores were busy, and those of this process and its ended children."""
        user, nice, system, _idle, _wait, *interrupts = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
        )
        busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return busy, sum(each.ru_utime + each.ru_stime for each in usage)

    def others(self) -> float:
        """Return the share of all cores' time that others used so far, from 0 to 1."""
        busy, own = self._read()
        seconds = (time.perf_counter() - self._started) * (os.cpu_count() or 1)
        return max(0.0, (busy - self._busy) - (own - self._own)) / seconds


def say(message: str) -> None:
    """Show how far the run is."""
    print(message, file=sys.stderr, flush=True)


def needed_inputs(plan: Plan) -> Iterable[Config]:
    """Return a configuration for every set of initial weights that the plan needs."""
    return (*plan.configs, *plan.epochs, *plan.memory, *plan.peers_memory, *BASES)


def run(plan: Plan, environments: Path, source: str) -> dict[str, Any]:
    """Measure everything and return what is written to results/throughput.json.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    started, onlooker = time.perf_counter(), Onlooker()
    data = SequentialFashionMNIST(train=True, source=source, verbose=False)
    with tempfile.TemporaryDirectory(prefix="snn_core-bench-") as name:
        folder = Path(name)
        write_inputs(folder / "inputs.npz", data, needed_inputs(plan))
        benchmark = Benchmark(plan, environments, folder, folder / "inputs.npz")
        timed = benchmark.timed()
        others = onlooker.others()
        benchmark.add_memory(timed)
        startup = benchmark.startup() if plan.startup else None
    return {
        "is_provisional": plan is not FULL,
        "date": datetime.now(UTC).date().isoformat(),
        "data": data.source,
        "is_subset": data.is_subset,
        "images": len(data),
        "cpu_share_of_others": others,
        "minutes": (time.perf_counter() - started) / 60,
        "provenance": provenance(),
        **timed,
        "startup": startup,
    }


def parser_of(name: str, about: str, libraries: Sequence[str]) -> Parser:
    """Return the command line of a benchmark, ``python -m benchmarks.NAME``, which writes ``results/NAME.json``."""
    parser = Parser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--out", type=target, default=Path(f"results/{name}.json"))
    parser.add_argument(
        "--envs",
        type=folder,
        default=Path("build/bench"),
        help="folder of the environments (default: %(default)s)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick", action="store_true", help="a few seconds, to see that it runs; the numbers mean nothing"
    )
    length.add_argument(
        "--short",
        action="store_true",
        help="everything, but few rounds; its numbers are marked as provisional",
    )
    parser.add_argument(
        "--libraries",
        nargs="+",
        choices=tuple(libraries),
        metavar="NAME",
        help=f"some of {', '.join(libraries)}; those of snn_core are always there",
    )
    return parser


def write(out: Path, results: dict[str, Any]) -> None:
    """Write the results of a benchmark, and warn of what makes them doubtful."""
    write_json(out, results, width=400)
    where = results["provenance"]
    if where["torch_threads"] < where["cores"]:
        say(
            f"warning: torch used {where['torch_threads']} of {where['cores']} cores: is OMP_NUM_THREADS set?"
        )
    if results["cpu_share_of_others"] > 0.05:
        say(
            f"warning: others used {results['cpu_share_of_others']:.0%} of the processor: run it on a quiet machine"
        )
    say(f"{out} written after {results['minutes']:.1f} minutes")


def carry_out(out: Path, measured: Callable[[], dict[str, Any]]) -> int:
    """Measure, write the file; return the exit code."""
    try:
        results = measured()
    except (DataError, WorkerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write(out, results)
    return 0


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark's command; a SIGTERM leaves by the context managers, which end workers and remove files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, write the file; return the exit code."""
    parser = parser_of("throughput", __doc__.splitlines()[0], tuple(PEERS))
    parser.add_argument("--source", choices=("full", "embedded"), default="full", help="which images")
    args = parser.parse_args(argv)
    plan = QUICK if args.quick else SHORT if args.short else FULL
    if args.libraries:
        chosen = {OURS, *KEPT, *args.libraries}
        plan = replace(plan, libraries=tuple(name for name in PEERS if name in chosen))
    return carry_out(args.out, lambda: run(plan, args.envs, args.source))


if __name__ == "__main__":
    leave(main)
