"""Compile the CPU kernels of the three networks and keep them on disk, so that nobody waits for them in a chapter.

``compile_kernels.py float64`` compiles those for double precision, which the tests use.
"""

from __future__ import annotations

import sys
import time

import torch

from sequential_fmnist.networks import TUTORIAL_NETWORKS, columns_as_sequence, make_network
from snn_core.functional import reset_net, train_steps


def main() -> None:
    """Train each network for a step, by autograd and by train_steps, in the precision that the command line names."""
    dtype = getattr(torch, sys.argv[1] if len(sys.argv) > 1 else "float32")
    for name in TUTORIAL_NETWORKS:
        started = time.perf_counter()
        net, images = make_network(name).to(dtype), torch.rand(2, 1, 28, 28, dtype=dtype)
        net(images).sum().backward()
        reset_net(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        train_steps(net.chain, columns_as_sequence(images), torch.tensor([0, 1]), optimizer)
        print(f"{name}, {dtype}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
