"""Networks that read Fashion-MNIST pixel by pixel, in three libraries: what :mod:`benchmarks.long_run` times.

A module for each library builds the networks and takes training steps. It is imported only in a worker process, in the
environment that has the library; here stand only the names and what is the same for all.
"""

from __future__ import annotations

from benchmarks.peers import Peer

__all__ = ["CLASSES", "CLIP", "CORES", "KINDS", "LR", "PEERS", "WINDOW"]

KINDS = ("plain", "stateful synapse", "feedback")
CLASSES = 10
#: The last steps, over whose mean the networks answer.
WINDOW = 28
#: Largest norm of the gradient.
CLIP = 1.0
#: Small, so that the networks fire about as at first, however many steps a library takes in its time.
LR = 1e-3
#: Cores, and threads of torch, that every library has.
CORES = 2

PEERS: dict[str, Peer] = {
    "snn_core": Peer("snn_core", "ours"),
    "spikingjelly": Peer("SpikingJelly", "spikingjelly"),
    "spyx": Peer("Spyx", "spyx", environment="jax"),
}
