"""What is timed, and where. Every process of the benchmark imports this, also where torch is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

#: Arrays by name: "images" uint8 [n, 28, 28], "labels" int64 [n], and initial weights "<model>/<hidden>/<name>".
Inputs = Mapping[str, Any]

MODELS = ("plain", "stateful-synapse", "feedback")
MOMENTUM = 0.9
CLASSES = 10
#: Columns of an image, and pixels of a column.
COLUMNS = 28


@dataclass(frozen=True)
class Network:
    """A training step: a network of ``hidden`` neurons reads ``batch`` images in ``T`` steps of 28 pixels.

    For T above 28 the columns are read again and again.
    """

    model: str = "feedback"
    batch: int = 256
    T: int = 28
    hidden: int = 32

    @property
    def learning_rate(self) -> float:
        """Long sequences are timed but not trained, because some gradients explode.

        The rate is not 0, or a compiler might leave out the whole backward pass.
        """
        return 0.1 if self.T == COLUMNS else 1e-35

    @property
    def at_base(self) -> bool:
        """Whether only the model may differ from :data:`BASE`."""
        return replace(self, model=BASE.model) == BASE

    def weights(self, inputs: Inputs) -> dict[str, Any]:
        """Return the initial weights of this network by their names, without a prefix."""
        prefix = f"{self.model}/{self.hidden}/"
        return {name.removeprefix(prefix): inputs[name] for name in inputs if name.startswith(prefix)}


BASE = Network()


@dataclass(frozen=True)
class Layer:
    """A pass forward and back through a layer: synapses are fed spikes, all others currents, ``[T, N, H]``."""

    name: str
    T: int = 100
    N: int = 64
    H: int = 128

    def sequences(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the input, and the gradient that comes back to the output; None where outputs are added up."""
        random, shape = np.random.default_rng(0), (self.T, self.N, self.H)
        if self.name == LARGE:
            return random.standard_normal(shape, np.float32), None
        gradient = random.standard_normal(shape, np.float32)
        if "synapse" in self.name:
            return (random.random(shape, np.float32) < 0.2).astype(np.float32), gradient
        return random.standard_normal(shape, np.float32) + np.float32(0.5), gradient


#: The layer of Open Neuromorphic's benchmark, for any number of neurons.
LARGE = "linear and LIF"


@dataclass(frozen=True)
class Library:
    """A library: its name on the page, its module in benchmarks.peers, and which of its networks and layers.

    ``environment`` is a folder of ``build/bench``, or empty for the environment that runs the benchmark.
    """

    label: str
    module: str
    variant: str = ""
    environment: str = ""


#: Whose time the others' are divided by, and the loop that defines the kernels.
OURS, LOOP = "snn_core", "snn_core-torch"
LIBRARIES = {
    OURS: Library("snn_core", "ours", "auto"),
    "snn_core-train-steps": Library("train_steps", "ours", "train_steps"),
    LOOP: Library("torch loop", "ours", "torch"),
    "torch-compile": Library("torch.compile", "ours", "inductor"),
    "spikingjelly": Library("SpikingJelly", "spikingjelly"),
    "snntorch": Library("snnTorch", "snntorch", environment="torch"),
    "norse": Library("Norse", "norse", environment="torch"),
    "spyx": Library("Spyx", "spyx", environment="jax"),
    "products": Library("products alone", "products"),
}
#: Whose networks are timed in all sizes; the others at the base size alone.
IN_EVERY_SIZE = (OURS, "snn_core-train-steps", LOOP, "spikingjelly", "spyx")
#: Who offers no surrogate gradient like ours.
OTHER_GRADIENT = ("norse",)
