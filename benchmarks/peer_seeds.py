"""Is it the recipe or this code? The same weights and images for the feedback network and SpikingJelly's.

``PYTHONPATH=tests/support python -m benchmarks.peer_seeds`` writes what they end at, in a quarter of an hour.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from support_networks import spikingjelly_library

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.networks import make_network
from sequential_fmnist.train import TrainingConfig, fit, set_seed


def last_accuracy(library: str, seed: int, epochs: int = 64, source: str = "full") -> float:
    """Return the test accuracy in per cent after the last epoch; "snn_core" runs the readable loop."""
    train, test = (SequentialFashionMNIST(train=part, source=source, verbose=False) for part in (True, False))
    set_seed(seed)
    net = make_network("feedback", backend="torch")
    if library == "spikingjelly":
        weights = net.state_dict()
        net = spikingjelly_library().network("feedback", 32)
        net.load_state_dict(weights)
    history = fit(net, train, test, TrainingConfig(epochs=epochs, seed=seed))
    return round(100 * history[-1]["test_accuracy"], 2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    names, seeds = ("snn_core", "spikingjelly"), [0, 1, 2]
    found = {name: [last_accuracy(name, seed) for seed in seeds] for name in names}
    told = {"model": "feedback", "epochs": 64, "seeds": seeds, "test_accuracy_percent": found}
    told["provenance"] = provenance() | {"spikingjelly": version("spikingjelly")}
    write_json("results/peer_seeds.json", told)
