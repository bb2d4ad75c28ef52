"""What the first steps in a new process cost, as JSON: imports, and compiling the kernels or reading them from disk.

Run in a process of its own, with numba's cache empty or filled: ``python -m benchmarks.startup``. No optimizer is made:
torch takes a second to import what its own need.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

from benchmarks.config import BASE, MODELS


def _seconds(net: Any, images: Any) -> float:
    from snn_core.functional import reset_net

    started = time.perf_counter()
    net(images).sum().backward()
    reset_net(net)
    return time.perf_counter() - started


def main() -> None:
    """Print seconds: of both imports, and by which each network's first step is longer than a later one."""
    times = [time.perf_counter()]
    import torch

    times.append(time.perf_counter())
    from sequential_fmnist.networks import make_network

    times.append(time.perf_counter())
    images, first_steps = torch.rand(BASE.batch, 1, 28, BASE.T), {}
    _seconds(make_network(MODELS[0], backend="torch"), images)  # starts autograd
    for model in MODELS:
        net = make_network(model)
        first = _seconds(net, images)
        first_steps[model] = first - statistics.median(_seconds(net, images) for _ in range(9))
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
