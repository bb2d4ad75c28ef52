"""Time training steps and layers, ours and those of other libraries, interleaved in one run: ``make bench``.

A step of a network is forward, backward and SGD with momentum on the squared error between firing rate and one-hot
label; the state is forgotten afterwards. A step of a layer is forward and backward. Large layers repeat the benchmark
that Open Neuromorphic publishes: batch 16, 500 time steps, backward from the sum of all spikes. docs/benchmarks.md says
what is timed of each library.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cases import BASE, IN_EVERY_SIZE, LARGE, LIBRARIES, LOOP, MODELS, OURS, Layer, Network
from benchmarks.driver import Effort, Process, WorkerError, build, busy_core, compare
from benchmarks.peers.ours import LAYERS
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.networks import make_network


def networks(*changes: dict[str, int]) -> list[Network]:
    """Return the three networks with each change of the base size."""
    return [replace(BASE, model=model, **change) for change in changes for model in MODELS]


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    networks: Sequence[Network]
    layers: Sequence[Layer]
    effort: Effort


FULL = Plan(
    # At T = 784 the batch is small, because some libraries need most of a second for a step there.
    networks=[
        *networks(
            {}, {"batch": 32}, {"batch": 1024}, {"T": 784, "batch": 32}, {"hidden": 128}, {"hidden": 512}
        ),
        replace(BASE, hidden=1024),  # where products are most of a step
    ],
    layers=[Layer(name) for name in LAYERS if name != LARGE]
    + [Layer(LARGE, T=500, N=16, H=n) for n in (32, 128, 512, 1024, 2048, 4096)],
    effort=Effort(),
)
#: A few minutes in all, to see that everything runs; its numbers mean nothing.
QUICK = Plan(
    networks=networks({}),
    layers=[Layer(name, T=8, N=4, H=32) for name in LAYERS],
    effort=Effort(rounds=2, seconds=0.001, budget=0.1),
)


def say(message: str) -> None:
    """Show how far the run is."""
    print(message, file=sys.stderr, flush=True)


def write_inputs(path: Path, networks: Sequence[Network]) -> None:
    """Write images, labels, and the same initial weights for every library, under names that depend on none.

    The weights of a recurrent layer, ``rc``, stand there also as two layers: ``rc_x`` with the bias for the input, and
    ``rc_y`` for the returning spikes.
    """
    data = SequentialFashionMNIST(train=True, source="embedded", verbose=False)
    most = max(network.batch for network in networks)
    arrays = {"images": data.images[:most, 0].numpy(), "labels": data.labels[:most].numpy()}
    for model, hidden in {(network.model, network.hidden) for network in networks}:
        torch.manual_seed(0)
        for full_name, parameter in make_network(model, hidden).named_parameters():
            name = full_name.removeprefix("sn1.0.").removeprefix("sy1.0.")
            weights = {name: parameter.detach().numpy()}
            if name == "rc.weight":
                weights["rc_x.weight"], weights["rc_y.weight"] = np.split(weights[name], 2, axis=1)
            elif name == "rc.bias":
                weights["rc_x.bias"] = weights[name]
            arrays |= {f"{model}/{hidden}/{each}": values for each, values in weights.items()}
    np.savez(path, **arrays)


def time_all(
    cases: Iterable[Network | Layer],
    workers: Mapping[str, Process],
    about: Mapping[str, dict[str, Any]],
    effort: Effort,
) -> list[dict[str, Any]]:
    """Return the times of steps, each in the libraries that have the case; at the base size also with one core busy.

    Raises:
        WorkerError: a library cannot do what it should; the message says which and why.
    """
    found, notes = [], {name: each["notes"] for name, each in about.items()}
    for case in cases:
        say(str(case))
        timed = {name: worker for name, worker in workers.items() if has(name, case, about[name])}
        answers = build(timed, case, notes)
        times = compare(timed, effort)
        for name, each in times.items():
            each["first_seconds"] = answers[name]["first_seconds"]
        found.append({**asdict(case), "busy": False, "libraries": times})
        if isinstance(case, Network) and case.at_base:
            with busy_core():
                found.append({**asdict(case), "busy": True, "libraries": compare(timed, effort)})
    return found


def has(name: str, case: Network | Layer, about: Mapping[str, Any]) -> bool:
    """Say whether a library takes part in a case."""
    if isinstance(case, Layer):
        return case.name in about["layers"]
    return about["networks"] and (case.at_base or name in IN_EVERY_SIZE)


def measure(plan: Plan, libraries: Sequence[str], environments: Path) -> dict[str, Any]:
    """Return what results/benchmarks.json is to hold."""
    started, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="snn_core-bench-") as name, ExitStack() as stack:
        place = Path(name)
        write_inputs(place / "inputs.npz", plan.networks)
        workers = {each: stack.enter_context(Process(each, environments, place)) for each in libraries}
        about = {each: worker.ask("about") for each, worker in workers.items()}
        steps, layers = (
            time_all(cases, workers, about, plan.effort) for cases in (plan.networks, plan.layers)
        )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": (time.perf_counter() - started) / 60,
        "load_before": load,
        "provenance": provenance(),
        "libraries": {each: {"label": LIBRARIES[each].label} | about[each] for each in libraries},
        "networks": steps,
        "layers": layers,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: results/benchmarks.json")
    parser.add_argument(
        "--envs", type=Path, default=Path("build/bench"), help="environments (default: %(default)s)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="see that everything runs, in a few minutes; the numbers mean nothing, and go to build/",
    )
    parser.add_argument(
        "--libraries",
        nargs="+",
        choices=LIBRARIES,
        default=tuple(LIBRARIES),
        metavar="NAME",
        help=f"some of {', '.join(LIBRARIES)}; {OURS} and {LOOP} are always there",
    )
    args = parser.parse_args(argv)
    names = [name for name in LIBRARIES if name in {OURS, LOOP, *args.libraries}]
    out = args.out or Path("build" if args.quick else "results") / "benchmarks.json"
    if out.is_dir():
        parser.error(f"argument --out: must be a file to write, got the folder {out}")
    try:
        results = measure(QUICK if args.quick else FULL, names, args.envs)
        write_json(out, {"quick": args.quick} | results, width=400)
    except (WorkerError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if results["load_before"] > 0.5:
        say(f"warning: the machine was not quiet: its load was {results['load_before']:.1f} before the run")
    say(f"{out} written after {results['minutes']:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
