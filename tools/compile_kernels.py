"""Compile the CPU kernels of the three networks and keep them on disk, so that nobody waits for them in a chapter."""

from __future__ import annotations

import time

import torch

from sequential_fmnist.networks import NETWORKS, make_network


def main() -> None:
    """Take one training step with each network."""
    for name in NETWORKS:
        started = time.perf_counter()
        make_network(name)(torch.rand(2, 1, 28, 28)).sum().backward()
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
