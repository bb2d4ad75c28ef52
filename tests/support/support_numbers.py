"""Programs that the tests of numbers start as processes of their own: for threads, and for what memory they take."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn


def live_tensors() -> int:
    """Return how many tensors Python still holds."""
    gc.collect()
    # A type is asked, since a proxy may do what it likes when it is asked itself.
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def resident_mib() -> float:
    """Return the MiB of memory that this process takes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def digest(net: nn.Module, *numbers: object) -> str:
    """Return a SHA-256 of the weights and of what else there is, to the bit."""
    found = hashlib.sha256(repr(numbers).encode())
    for tensor in net.state_dict().values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def few_images(number: int):
    """Return real images, this many to train with and to test."""
    from sequential_fmnist.data import SequentialFashionMNIST

    sets = [SequentialFashionMNIST(train=split, source="embedded", verbose=False) for split in (True, False)]
    for images in sets:
        images.images, images.labels = images.images[:number], images.labels[:number]
    return sets


def train_with_threads(images: int, epochs: int, threads: list[int], settings: list[dict]) -> None:
    """Print, for each of the settings, the digest of what each number of threads and of workers learns."""
    from sequential_fmnist.train import TrainingConfig, fit

    data = few_images(images)
    for setting in settings:
        for number, workers in itertools.product(threads, setting.pop("workers", [0])):
            torch.set_num_threads(number)
            config = TrainingConfig(epochs=epochs, workers=workers, **setting)
            net, history = fit(config, *data, progress=False)
            print(json.dumps([setting, number, workers, digest(net, history)]), flush=True)


if __name__ == "__main__":
    train_with_threads(*json.loads(sys.argv[1]))
