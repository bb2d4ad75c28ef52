"""Worker processes, and rounds in which they are timed one after the other, while the others sleep.

A turn of one library is followed by a turn of the next, round after round, so that whatever else the machine does
meets all of them alike. Ratios are taken within a round.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.config import Config
from benchmarks.peers import Peer

__all__ = [
    "OURS",
    "Process",
    "WorkerError",
    "busy_core",
    "compare",
    "python_of",
    "ratio",
    "rounds",
    "summary",
    "timed_steps",
]

#: Whose time the others' are divided by.
OURS = "snn_core"

ROOT = Path(__file__).resolve().parent.parent
#: Threads that wait for work spin for a few milliseconds before they sleep.
REST_SECONDS = 0.02


class WorkerError(RuntimeError):
    """A worker could not do what it was told."""


class Process:
    """A worker in a process of its own.

    Args:
        name: one of the PEERS that the module knows.
        python: interpreter of the environment that has the library.
        inputs: the .npz file with images and weights.
        log: file for what the library prints; its last line is shown if the process dies.
        module: what the process runs.
    """

    def __init__(
        self, name: str, python: Path, inputs: Path, log: Path, module: str = "benchmarks.worker"
    ) -> None:
        if not python.exists():
            raise WorkerError(f"{name}: {python} is missing: run `make bench`, which builds the environments")
        self.name, self.inputs, self._log = name, inputs, log
        # tests/ has the networks built from SpikingJelly's parts.
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, "-m", module, name, inputs],
                # Nothing that inductor compiled before shortens its first step.
                env=os.environ
                | {"PYTHONPATH": paths, "TORCHINDUCTOR_CACHE_DIR": str(inputs.parent / "inductor")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._ready = False

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and return the answer.

        Raises:
            WorkerError: the worker answers with an error, or dies; it says which library and why.
        """
        if not self._ready:
            self._read()  # that the library is imported, or why not
            self._ready = True
        values = {k: v.as_dict() if isinstance(v, Config) else v for k, v in arguments.items()}
        try:
            print(json.dumps({"do": do} | values), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError(f"{self.name}: {self._death()}") from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: {self._death()}")
        result = json.loads(line)
        if "error" in result:
            raise WorkerError(f"{self.name}: {result['error']}")
        return result

    def _death(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"the worker ended with exit code {code}: {lines[-1] if lines else 'it printed nothing'}"

    def close(self) -> None:
        """End the process; it may be dead already."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def python_of(peer: Peer, environments: Path) -> Path:
    """Return the interpreter of a library: this one, or that of its environment in the folder ``environments``."""
    if peer.environment == "project":
        return Path(sys.executable)
    return environments.absolute() / peer.environment / "bin/python"


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with a process that only counts, as on a shared machine."""
    # It also ends if this process is killed.
    program = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def rounds(
    turns: Mapping[str, Callable[[], float]], count: int, budget: float = math.inf
) -> dict[str, list[float]]:
    """Take turns round after round and return what each turn returned.

    Args:
        turns: takes one turn and returns its time.
        count: rounds at most.
        budget: seconds for all turns of one name: whoever has used them up sits out, after at least one turn.

    Returns:
        Name to the results of its turns; entry i of each belongs to round i.
    """
    results: dict[str, list[float]] = {name: [] for name in turns}
    spent = dict.fromkeys(turns, 0.0)
    for _ in range(count):
        for name, turn in turns.items():
            if spent[name] < budget:
                time.sleep(REST_SECONDS)
                started = time.perf_counter()
                results[name].append(turn())
                spent[name] += time.perf_counter() - started
    return results


def timed_steps(process: Process, config: Config | str, seconds: float) -> Callable[[], float]:
    """Return a turn: the time of one training step in ms, the mean over as many as take about ``seconds``."""
    once = process.ask("steps", config=config, count=1)["seconds"]
    if once < 10 * seconds:  # the first step of a small configuration is a poor guess, so look again
        trial = max(1, min(10, round(seconds / once)))
        once = process.ask("steps", config=config, count=trial)["seconds"] / trial
    count = max(1, round(seconds / once))
    return lambda: 1000 * process.ask("steps", config=config, count=count)["seconds"] / count


def compare(
    workers: Mapping[str, Process], config: Config | str, count: int, seconds: float, budget: float = math.inf
) -> dict[str, dict[str, Any]]:
    """Time what workers have prepared as ``config`` in turns; return each one's times in ms, and how many times ours.

    Args:
        workers: by the names of their libraries.
        count, budget: as in :func:`rounds`.
        seconds: of one turn, about.
    """
    turns = {name: timed_steps(worker, config, seconds) for name, worker in workers.items()}
    times = rounds(turns, count, budget)
    return {
        name: {"ms": summary(values), "ratio": ratio(values, times[OURS])} for name, values in times.items()
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles and number of ``values``."""
    first, _, third = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return {"median": statistics.median(values), "q1": first, "q3": third, "n": len(values)}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return the median over the rounds of their time divided by ours; rounds that one sat out do not count."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=False))
