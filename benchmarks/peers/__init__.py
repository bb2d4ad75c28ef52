"""The libraries that are timed, and what each must offer.

A module of this package builds the three networks from one library. It is imported only in a worker process, in the
environment that has the library; here stand only the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.config import Config

__all__ = ["PEERS", "Inputs", "Library", "Peer", "Session"]

#: Arrays by name: "images" uint8 [n, 28, 28], "labels" int64 [n], and initial weights "<model>/<hidden>/<name>".
Inputs = Mapping[str, Any]


class Session(Protocol):
    """A network, its optimizer, and one batch in memory in the layout that the library wants."""

    mode: str  #: how the library runs, where it offers a choice

    def tune(self) -> None:
        """Choose the fastest mode of the library."""

    def steps(self, count: int) -> float:
        """Take ``count`` training steps on the batch, wait until they are done and return the last loss."""

    def epoch(self) -> float:
        """Train once on all images in a new random order and return the mean loss; the batch stays as it is."""

    def firing_rate(self) -> float:
        """Return the mean number of spikes per hidden neuron and time step on the batch."""


class Library(Protocol):
    """What a module of this package offers."""

    PACKAGES: tuple[str, ...]  #: whose versions are recorded

    def session(self, variant: str, config: Config, inputs: Inputs) -> Session:
        """Build a session from the given initial weights."""

    def note(self, variant: str, model: str) -> str:
        """Say where the network differs from ours; an empty string where it is the same."""


@dataclass(frozen=True)
class Peer:
    """Where a library runs: its module here, a variant of it, and the environment that has it."""

    label: str
    module: str
    variant: str = ""
    environment: str = "project"
    everywhere: bool = False  #: True for what is timed in all sizes, and not at the base size alone
    trains: bool = True  #: False for what is no network
    takes_any_size: bool = True  #: False where each other size of a batch would be compiled for a minute


PEERS: dict[str, Peer] = {
    "snn_core": Peer("snn_core", "ours", "auto", everywhere=True),
    "snn_core-train-steps": Peer("snn_core, train_steps", "ours", "train_steps", everywhere=True),
    "snn_core-torch": Peer("snn_core, torch loop", "ours", "torch", everywhere=True),
    "torch-compile": Peer("torch.compile of the loop", "torch_compile", "inductor", takes_any_size=False),
    "spikingjelly": Peer("SpikingJelly", "spikingjelly", everywhere=True),
    "snntorch": Peer("snnTorch", "snntorch", environment="torch"),
    "norse": Peer("Norse", "norse", environment="torch"),
    "sinabs": Peer("Sinabs", "sinabs", environment="torch"),
    "spyx": Peer("Spyx, same network", "spyx", "same", environment="jax", everywhere=True),
    "spyx-own": Peer("Spyx, its own neurons", "spyx", "own", environment="jax"),
    "limit": Peer("limit (products in cache)", "limit", everywhere=True, trains=False, takes_any_size=False),
}
