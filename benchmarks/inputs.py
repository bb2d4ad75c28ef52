"""What all workers start from, in one file: the images, and the same initial weights for every library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.config import Config
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import make_network
from sequential_fmnist.train import set_seed

__all__ = ["halves", "initial_weights", "write_inputs"]


def halves(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return weights with those of a recurrent layer, ``rc``, also as two layers.

    These are the halves for the input, ``rc_x``, with the bias, and for the returning spikes, ``rc_y``.
    """
    if "rc.weight" not in weights:
        return weights
    x, y = np.split(weights["rc.weight"], 2, axis=1)
    return weights | {"rc_x.weight": x, "rc_x.bias": weights["rc.bias"], "rc_y.weight": y}


def initial_weights(model: str, hidden: int) -> dict[str, np.ndarray]:
    """Return the weights of our network with seed 0 under names that do not depend on a library."""
    set_seed(0)
    return halves(
        {
            name.removeprefix("sn1.0.").removeprefix("sy1.0."): parameter.detach().numpy()
            for name, parameter in make_network(model, hidden).named_parameters()
        }
    )


def write_inputs(path: Path, data: SequentialFashionMNIST, configs: Iterable[Config]) -> None:
    """Write the file that every worker reads."""
    arrays = {"images": data.images[:, 0].numpy(), "labels": data.labels.numpy()}
    for model, hidden in sorted({(config.model, config.hidden) for config in configs}):
        for name, values in initial_weights(model, hidden).items():
            arrays[f"{model}/{hidden}/{name}"] = values
    np.savez(path, **arrays)
