"""One process with one library: it does what the driver asks, one JSON object on a line each way.

A command is {"do": name, ...}; the answer is an object with the result, or {"error": message}. Standard output belongs
to the answers; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.cases import LIBRARIES, Layer, Network


class Worker:
    """Answers commands, a method for each, about one network or layer at a time."""

    def __init__(self, name: str, inputs: str) -> None:
        self.variant = LIBRARIES[name].variant
        self.library: Any = importlib.import_module(f"benchmarks.peers.{LIBRARIES[name].module}")
        self.inputs = np.load(inputs)
        self.timed: Any = None

    def about(self) -> dict[str, Any]:
        """Return versions, whether there are networks, which layers there are, and what they have otherwise."""
        return {
            "versions": {package: version(package) for package in self.library.PACKAGES},
            "networks": hasattr(self.library, "network"),
            "layers": [] if self.variant in ("train_steps", "inductor") else list(self.library.LAYERS),
            "notes": self.library.NOTES,
        }

    def build(self, kind: str, config: dict[str, Any]) -> dict[str, float]:
        """Build a Network or a Layer and take its first step.

        Returns:
            The first loss or the mean output; the loss three steps later or the norm of a gradient; and the seconds to
            the end of the first step.
        """
        started, self.timed = time.perf_counter(), None  # what was there before is freed
        if kind == "Network":
            self.timed = self.library.network(self.variant, Network(**config), self.inputs)
        else:
            self.timed = self.library.layer(self.variant, Layer(**config))
        output = self.timed.steps(1)
        seconds = time.perf_counter() - started
        gradient = self.timed.gradient_norm() if kind == "Layer" else self.timed.steps(3)
        return {"output": output, "gradient": gradient, "first_seconds": seconds}

    def steps(self, count: int) -> dict[str, float]:
        """Time ``count`` steps; where they are short, after one that wakes threads and caches."""
        if count > 1:
            self.timed.steps(1)
        started = time.perf_counter()
        self.timed.steps(count)
        return {"seconds": time.perf_counter() - started}


def main() -> None:
    """Answer commands until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker: Worker | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            worker = worker or Worker(*sys.argv[1:])
            result = getattr(worker, command.pop("do"))(**command)
        except Exception as error:  # whatever a library raises, the driver reports it in one line
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
