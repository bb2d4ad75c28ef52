"""What the first steps in a new process cost, as JSON: imports, and compiling the kernels or reading them from disk.

Run in a process of its own, with numba's cache empty or filled: ``python -m benchmarks.startup inputs.npz``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace

from benchmarks.config import BASE, MODELS
from benchmarks.worker import Arrays


def _seconds(session: object) -> float:
    started = time.perf_counter()
    session.steps(1)  # type: ignore[attr-defined]
    return time.perf_counter() - started


def main() -> None:
    """Print seconds: of both imports, and by which each network's first step is longer than a later one."""
    inputs = Arrays(sys.argv[1])
    times = [time.perf_counter()]
    import torch  # noqa: F401

    times.append(time.perf_counter())
    from benchmarks.peers import ours

    times.append(time.perf_counter())
    first_steps = {}
    for model in MODELS:
        session = ours.session("auto", replace(BASE, model=model), inputs)
        first = _seconds(session)
        first_steps[model] = first - statistics.median(_seconds(session) for _ in range(9))
    print(
        json.dumps(
            {
                "import_torch": times[1] - times[0],
                "import_snn_core": times[2] - times[1],
                "first_steps": first_steps,
            }
        )
    )


if __name__ == "__main__":
    main()
