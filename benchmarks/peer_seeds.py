"""Is it the recipe or this code? Train the feedback network, and the one built from SpikingJelly's modules.

Both start from the same weights and see the same images in the same order. It takes ten minutes:
``PYTHONPATH=tests/support python -m benchmarks.peer_seeds`` writes ``results/peer_seeds.json``.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from support_networks import spikingjelly_library

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import make_network
from sequential_fmnist.provenance import provenance
from sequential_fmnist.training import fit, set_seed


def last_accuracy(library: str, seed: int, epochs: int = 64, source: str = "full") -> float:
    """Return the test accuracy in per cent after the last epoch; "snn_core" runs the readable loop."""
    train, test = (SequentialFashionMNIST(train=part, source=source, verbose=False) for part in (True, False))
    set_seed(seed)
    net = make_network("feedback", backend="torch")
    if library == "spikingjelly":
        weights = net.state_dict()
        net = spikingjelly_library().network("feedback", 32)
        net.load_state_dict(weights)
    _, history = fit(TrainingConfig(model="feedback", epochs=epochs, seed=seed), train, test, net=net)
    return round(100 * history[-1]["test_accuracy"], 2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {
        library: [last_accuracy(library, seed) for seed in range(3)]
        for library in ("snn_core", "spikingjelly")
    }
    where = provenance() | {"spikingjelly": version("spikingjelly")}
    told = {"model": "feedback", "epochs": 64, "seeds": [0, 1, 2], "test_accuracy_percent": found}
    write_json("results/peer_seeds.json", told | {"provenance": where})
