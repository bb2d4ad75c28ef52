"""Worker processes, and rounds in which they are timed one after the other, while the others sleep.

A turn of one library is followed by a turn of the next, round after round, so that whatever else the machine does
affects all of them alike. Ratios are taken within a round.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import LIBRARIES, OTHER_GRADIENT, OURS, Layer, Network

ROOT = Path(__file__).resolve().parent.parent
#: Threads that wait for work spin for a few milliseconds before they sleep.
REST_SECONDS = 0.02
#: By which part what a library computes may differ from ours: in fp32 rounding moves some spikes.
TOLERANCE = 1e-3
#: Neurons up to which gradients are compared: in wider networks one spike moves too many others.
WIDEST = 128


class WorkerError(RuntimeError):
    """A worker could not do what it was asked."""


class Process:
    """A worker in a process of its own.

    Args:
        name: a key of LIBRARIES.
        environments: folder of the environments of other libraries.
        place: folder with the inputs, for logs and for what torch compiles.
    """

    def __init__(self, name: str, environments: Path, place: Path) -> None:
        at = LIBRARIES[name].environment
        python = environments.absolute() / at / "bin/python" if at else Path(sys.executable)
        if not python.exists():
            raise WorkerError(f"{name}: {python} is missing: run `make bench`, which builds the environments")
        # tests/ has the networks built from SpikingJelly's parts.
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        environment = os.environ | {"PYTHONPATH": paths, "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor")}
        self.name, self._log = name, place / f"{name}.log"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", name, place / "inputs.npz"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and return the answer.

        Raises:
            WorkerError: the worker answers with an error, or dies; the message says which library and why.
        """
        try:
            print(json.dumps({"do": do} | arguments), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": self._death()}
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _death(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"the worker ended with exit code {code}: {lines[-1] if lines else 'it printed nothing'}"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it may be dead already
        self._process.communicate()


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


@dataclass(frozen=True)
class Effort:
    """How long a case is timed: rounds at most, about so many seconds a turn, and for all turns of a library."""

    rounds: int = 11
    seconds: float = 0.1
    budget: float = 10.0


def rounds(turns: Mapping[str, Callable[[], float]], effort: Effort) -> dict[str, list[float]]:
    """Take turns round after round and return what each turn returned.

    Once the turns of one name have used up their budget, it sits out, after at least one turn. Entry i of each list
    belongs to round i.
    """
    results: dict[str, list[float]] = {name: [] for name in turns}
    spent = dict.fromkeys(turns, 0.0)
    for _ in range(effort.rounds):
        for name, turn in turns.items():
            if spent[name] < effort.budget:
                time.sleep(REST_SECONDS)
                started = time.perf_counter()
                results[name].append(turn())
                spent[name] += time.perf_counter() - started
    return results


def _timed_steps(worker: Process, seconds: float) -> Callable[[], float]:
    """Return a turn: the time of one step in ms, the mean over as many as take about ``seconds``."""
    once = worker.ask("steps", count=1)["seconds"]
    if once < 10 * seconds:  # the first step of a small case is a poor guess, so look again
        trial = max(1, min(10, round(seconds / once)))
        once = worker.ask("steps", count=trial)["seconds"] / trial
    count = max(1, round(seconds / once))
    return lambda: 1000 * worker.ask("steps", count=count)["seconds"] / count


def compare(workers: Mapping[str, Process], effort: Effort) -> dict[str, dict[str, Any]]:
    """Time what the workers have built, in turns; return each one's times in ms, and how many times ours."""
    times = rounds({name: _timed_steps(worker, effort.seconds) for name, worker in workers.items()}, effort)
    return {
        name: {"ms": summary(values), "ratio": ratio(values, times[OURS])} for name, values in times.items()
    }


def build(
    workers: Mapping[str, Process], case: Network | Layer, others: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, float]]:
    """Let every worker build ``case`` and check that all compute the same; return their answers.

    Args:
        others: names of layers that are meant to compute something else than ours, by the names of the libraries.

    Raises:
        WorkerError: a library cannot build it, or computes something else than ours.
    """
    kind, config = type(case).__name__, asdict(case)
    answers = {name: worker.ask("build", kind=kind, config=config) for name, worker in workers.items()}
    for name, answer in answers.items():
        if config.get("name") in others.get(name, ()):
            continue
        gradients = name not in OTHER_GRADIENT and config.get("hidden", 0) <= WIDEST
        for key in ("output", "gradient") if gradients else ("output",):
            theirs, ours = answer[key], answers[OURS][key]
            if not math.isclose(theirs, ours, rel_tol=TOLERANCE) or not theirs:
                raise WorkerError(f"{name}: {case}: {key} is {theirs:.6g}, and ours {ours:.6g}")
    return answers


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles and number of ``values``."""
    first, _, third = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return {"median": statistics.median(values), "q1": first, "q3": third, "n": len(values)}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return the median over the rounds of their time divided by ours; rounds that one sat out do not count."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=False))
