"""Every cell and every feedback alone, next to the libraries that have the same: ``python -m benchmarks.cells``.

A module for each library holds its layers, a line for each, under the names of :data:`benchmarks.cells.ours.ROWS`. It
is imported only in a worker process, in the environment that has the library; here stand only the names.
"""

from __future__ import annotations

from benchmarks.peers import Peer

__all__ = ["LARGE", "PEERS"]

#: The layer of :mod:`benchmarks.large_layers`, which is no row of the table of cells.
LARGE = "linear and LIF"

#: ``variant`` is the backend of ours.
PEERS: dict[str, Peer] = {
    "snn_core": Peer("snn_core", "ours", "auto"),
    "snn_core-torch": Peer("torch loop", "ours", "torch"),
    "spikingjelly": Peer("SpikingJelly", "spikingjelly"),
    "snntorch": Peer("snnTorch", "snntorch", environment="torch"),
    "norse": Peer("Norse", "norse", environment="torch"),
    "spyx": Peer("Spyx", "spyx", environment="jax"),
}
