"""One process with one library: it does what the driver says, one JSON object on a line each way.

A command is {"do": name, ...}; the answer is an object with the result, or {"error": message}. Standard output belongs
to the answers; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.config import MODELS, Config
from benchmarks.peers import PEERS, Library, Peer, Session

PAGE = os.sysconf("SC_PAGE_SIZE")


class Sessions:
    """What all workers do: they answer commands, a method for each, about sessions that ``prepare`` builds.

    Args:
        package: has a module for each library.
        peer: which library.
    """

    def __init__(self, package: str, peer: Peer) -> None:
        self.peer, self.sessions = peer, {}
        self.library: Any = importlib.import_module(f"{package}.{peer.module}")

    def about(self) -> dict[str, Any]:
        return {
            "versions": {package: version(package) for package in self.library.PACKAGES},
            "notes": self.notes(),
        }

    def notes(self) -> dict[str, str]:
        """Return what the library has otherwise under the same name."""
        return self.library.NOTES

    def steps(self, config: Any, count: int) -> dict[str, Any]:
        """Time ``count`` steps; where they are short, after one that wakes threads and caches."""
        session = self.sessions[config]
        if count > 1:
            session.steps(1)
        started = time.perf_counter()
        session.steps(count)
        return {"seconds": time.perf_counter() - started}

    def finish(self, config: Any) -> dict[str, Any]:
        """Drop a session."""
        del self.sessions[config]
        return {}


class Worker(Sessions):
    """Trains the three networks."""

    library: Library
    sessions: dict[Config, Session]

    def __init__(self, name: str, path: str) -> None:
        super().__init__("benchmarks.peers", PEERS[name])
        self.inputs = dict(np.load(path))

    def notes(self) -> dict[str, str]:
        return {model: self.library.note(self.peer.variant, model) for model in MODELS}

    def prepare(self, config: Config, check_steps: int) -> dict[str, Any]:
        """Build a session, choose its mode, and take some steps to see that the network lives.

        Raises:
            RuntimeError: the network is dead, as in :meth:`finish`.
        """
        session = self.sessions[config] = self._session(config)
        if not self.peer.trains:
            session.steps(check_steps)
            return {}
        started = time.perf_counter()
        losses = [session.steps(1)]
        first_step = time.perf_counter() - started
        losses += [session.steps(1) for _ in range(check_steps - 1)]
        rate = _living(config, session, losses)
        session.tune()
        return {
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "check_steps": check_steps,
            "loss_decreases": losses[-1] < losses[0],
            "hidden_spikes_per_step": rate,
            "mode": session.mode,
            "first_step_seconds": first_step,
        }

    def epoch(self, config: Config) -> dict[str, Any]:
        started = time.perf_counter()
        loss = self.sessions[config].epoch()
        return {"seconds": time.perf_counter() - started, "loss": loss}

    def finish(self, config: Config) -> dict[str, Any]:
        """Drop a session, and say what the network did after all its steps.

        Raises:
            RuntimeError: the network is dead: its loss is not finite, or the hidden neurons never or always spike.
        """
        session = self.sessions.pop(config)
        if not self.peer.trains:
            return {}
        loss = session.steps(1)
        return {"final_loss": loss, "final_spikes_per_step": _living(config, session, [loss])}

    def saved(self, config: Config) -> dict[str, Any]:
        """Return the bytes that autograd keeps for backward; only for libraries on torch."""
        return {"bytes": self._session(config).saved_bytes()}  # type: ignore[attr-defined]

    def peak(self, config: Config, warm_up: Config) -> dict[str, Any]:
        """Return by how many bytes the resident memory grows at most in three steps, a page at least.

        ``warm_up`` is a tiny configuration that loads code and starts threads before.
        """
        self._session(warm_up).steps(1)
        session = self._session(config)
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        session.steps(3)
        return {"bytes": max(PAGE, _memory("VmHWM") - before)}

    def _session(self, config: Config) -> Session:
        return self.library.session(self.peer.variant, config, self.inputs)


def _living(config: Config, session: Session, losses: list[float]) -> float:
    """Return the firing rate of a network that lives."""
    rate = session.firing_rate()
    if not all(map(math.isfinite, losses)) or not 0 < rate < 1:
        raise RuntimeError(f"{config}: the network is dead: losses {losses}, firing rate {rate}")
    return rate


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}: peak memory is read there, on Linux only")


def _answer(worker: Any, command: dict[str, Any]) -> dict[str, Any]:
    name = command.pop("do")
    configs = {key: Config(**value) for key, value in command.items() if isinstance(value, dict)}
    return getattr(worker, name)(**(command | configs))


def main(make: Callable[[str, str], Any] = Worker) -> None:
    """Say that the library is there, then answer commands until standard input ends.

    Args:
        make: takes the name of the library and the file of inputs, gives what has a method for each command.
    """
    name, path = sys.argv[1:]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(answer: Callable[[], dict[str, Any]]) -> None:
        try:
            result = answer()
        except Exception as error:  # whatever a library raises, the driver shall say it in one line
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)

    workers: list[Any] = []
    reply(lambda: workers.append(make(name, path)) or {})
    for line in sys.stdin:
        reply(lambda line=line: _answer(workers[0], json.loads(line)))


if __name__ == "__main__":
    main()
