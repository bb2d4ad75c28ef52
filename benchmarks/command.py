"""What the benchmarks share: their command lines, the workers of a run, and what is stored beside the numbers."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from benchmarks.driver import Process, WorkerError, python_of
from benchmarks.peers import Peer
from experiments.command import Parser, folder, target
from experiments.results import provenance, write_json
from sequential_fmnist.data import DataError

__all__ = ["carry_out", "chosen", "leave", "parser_of", "plan_of", "say", "workers_of"]

Plan = TypeVar("Plan")


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


def parser_of(name: str, about: str, libraries: Iterable[str], images: bool = False) -> Parser:
    """Return the command line of a benchmark, ``python -m benchmarks.NAME``, which writes ``results/NAME.json``."""
    parser = Parser(prog=f"python -m benchmarks.{name}", description=about.splitlines()[0])
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
    libraries = tuple(libraries)
    parser.add_argument(
        "--libraries",
        nargs="+",
        choices=libraries,
        metavar="NAME",
        help=f"some of {', '.join(libraries)}; those of snn_core are always there",
    )
    if images:
        parser.add_argument("--source", choices=("full", "embedded"), default="full", help="which images")
    return parser


def plan_of(args: Namespace, full: Plan, short: Plan, quick: Plan) -> Plan:
    """Return the plan that a command line asks for."""
    return quick if args.quick else short if args.short else full


def chosen(args: Namespace, peers: Iterable[str], always: Iterable[str]) -> tuple[str, ...]:
    """Return the libraries that a command line asks for, in the order of ``peers``, which are all of them."""
    wanted = {*always, *(args.libraries or peers)}
    return tuple(name for name in peers if name in wanted)


@contextmanager
def workers_of(
    peers: Mapping[str, Peer], names: Sequence[str], environments: Path, inputs: Path, module: str
) -> Iterator[tuple[dict[str, Process], dict[str, dict[str, Any]]]]:
    """Start a process for each library; give them by name, and what each says about itself, with its label."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Process(
                    name, python_of(peers[name], environments), inputs, inputs.parent / f"{name}.log", module
                )
            )
            for name in names
        }
        about = {name: {"label": peers[name].label} | worker.ask("about") for name, worker in workers.items()}
        yield workers, about


def carry_out(out: Path, is_full: bool, measure: Callable[[Path], dict[str, Any]]) -> int:
    """Measure in a temporary folder, write results and provenance, warn of what makes them doubtful.

    Returns:
        The exit code: 1 where a library cannot do what it should, or the images are missing.
    """
    started, onlooker = time.perf_counter(), Onlooker()
    try:
        with tempfile.TemporaryDirectory(prefix="snn_core-bench-") as place:
            found = measure(Path(place))
    except (DataError, WorkerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    results = {
        "is_provisional": not is_full,
        "date": datetime.now(UTC).date().isoformat(),
        "cpu_share_of_others": onlooker.others(),
        "minutes": (time.perf_counter() - started) / 60,
        "provenance": provenance(),
        **found,
    }
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
    return 0


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark's command; a SIGTERM leaves by the context managers, which end workers and remove files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
