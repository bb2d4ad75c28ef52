"""What all workers start from, in one file: the images, and the same initial weights for every library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.config import Config
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import make_network
from sequential_fmnist.training import set_seed

__all__ = ["initial_weights", "write_inputs"]


def initial_weights(model: str, hidden: int) -> dict[str, np.ndarray]:
    """Return the weights of our network with seed 0 under names that do not depend on a library.

    The recurrent layer's weights ``rc`` are there whole, and as the halves for input (``rc_x``, with the bias) and for
    returning spikes (``rc_y``).
    """
    set_seed(0)
    weights = {}
    for name, parameter in make_network(model, hidden).named_parameters():
        weights[name.removeprefix("sn1.0.").removeprefix("sy1.0.")] = parameter.detach().numpy()
    if model == "feedback":
        weights["rc_x.weight"], weights["rc_y.weight"] = np.split(weights["rc.weight"], 2, axis=1)
        weights["rc_x.bias"] = weights["rc.bias"]
    return weights


def write_inputs(path: Path, data: SequentialFashionMNIST, configs: Iterable[Config]) -> None:
    """Write the file that every worker reads."""
    arrays = {"images": data.images[:, 0].numpy(), "labels": data.labels.numpy()}
    for model, hidden in sorted({(config.model, config.hidden) for config in configs}):
        for name, values in initial_weights(model, hidden).items():
            arrays[f"{model}/{hidden}/{name}"] = values
    np.savez(path, **arrays)
