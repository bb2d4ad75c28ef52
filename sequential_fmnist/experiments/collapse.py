"""One collapse to take apart: ``python -m sequential_fmnist.experiments.collapse`` writes the state before it.

It is a run of :mod:`~sequential_fmnist.experiments.repeated`: feedback, 64 epochs as published, in float32. The command
looks for the update of its epoch after which most is lost, and keeps weights, momentum and images just before it, in
``collapse.npz``, and what it measured, in ``results/collapse.json``. On another processor the run may round differently
and lose something else; the state that is kept loses the same.
"""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sequential_fmnist.checkpoint import atomic_write, set_seed, sha256
from sequential_fmnist.data import DataError, prepared
from sequential_fmnist.evaluate import COLLAPSE, rate_loss
from sequential_fmnist.experiments.frame import one_thread
from sequential_fmnist.experiments.repeated import RepeatedTask, run_until
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.train import Trainer, TrainingConfig
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import reset_net, train_steps

__all__ = ["PATH", "load", "main"]

PATH = Path(__file__).with_name("collapse.npz")
SHA256 = "e4a2586f1fe4b96ec5ee7996ee5c45ce409df8885499b455fd731edfb08017da"
RECORD = Path("results") / "collapse.json"
#: The run, and the epoch that loses most after it was good, counted from 0.
SEED, EPOCH = 101, 27
#: Test images that measure after every update, the first ones.
SEEN = 1_000
#: From how many updates before it is repeated, how often, with what noise on each weight, and until how many after it.
BACKS, TIMES, NOISE, AFTER = (60, 30, 20, 15, 10, 8, 6, 4, 2, 0), 50, 1e-6, 6


def load(detach_reset: str = "hidden") -> tuple[nn.Module, torch.optim.SGD, Tensor, Tensor]:
    """Return network, optimizer, the images of the update ``[256, 1, 28, 28]``, and their labels.

    Args:
        detach_reset: where the network's gradient through the reset is cut; the run has ``"hidden"``.

    Raises:
        DataError: the file is damaged.
    """
    content = PATH.read_bytes()
    if (actual := sha256(content)) != SHA256:
        raise DataError(f"{PATH}: expected SHA-256 {SHA256}, got {actual}. Fix: install snn_core again")
    with np.load(io.BytesIO(content)) as kept:
        arrays = {name: torch.from_numpy(kept[name]) for name in kept.files}
    net = NetworkSpec("feedback", detach_reset=detach_reset).build()
    net.load_state_dict({name: arrays[name] for name in net.state_dict()})
    optimizer = torch.optim.SGD(net.parameters(), arrays["lr"].item(), momentum=TrainingConfig.momentum)
    for name, weight in net.named_parameters():
        optimizer.state[weight]["momentum_buffer"] = arrays[f"momentum of {name}"]
    return net, optimizer, arrays["images"].float() / 255, arrays["labels"]


def _taken(trainer: Trainer, data: Any, index: Tensor) -> None:
    """Take the updates with the images ``index``, ``[updates, N]``."""
    train_steps(trainer.net.chain, data.x_seq, data.labels, trainer.optimizer, "mse", index)


@torch.no_grad()
def _share(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that ``net`` gets right."""
    guesses = net(images).argmax(1)
    reset_net(net)
    return (guesses == labels).double().mean().item()


def _norm(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    net = copy.deepcopy(net)
    rate_loss(net(images), labels).backward()
    return nn.utils.get_total_norm([weight.grad for weight in net.parameters()]).item()


def _copy(trainer: Trainer) -> Trainer:
    again = Trainer(copy.deepcopy(trainer.net), trainer.config, start_epoch=EPOCH)
    again.optimizer.load_state_dict(copy.deepcopy(trainer.optimizer.state_dict()))
    return again


@one_thread()
def main() -> None:
    """Find the update, and write state and record."""
    train, test = RepeatedTask().splits()
    columns = prepared(train)
    some = test.images[:SEEN].float() / 255, test.labels[:SEEN]
    set_seed(SEED)
    trainer = Trainer(
        NetworkSpec("feedback", detach_reset="hidden").build(),
        TrainingConfig(epochs=64, drop_last=True, seed=SEED, fused=True),
    )
    run_until(trainer, columns, prepared(test), EPOCH)
    order = torch.randperm(len(train), generator=trainer.generator)
    size = trainer.config.batch_size
    index = order[: len(order) // size * size].view(-1, size)
    before, shares, norms = [], [_share(trainer.net, *some)], []
    for batch in index:
        before.append(_copy(trainer))
        norms.append(_norm(trainer.net, train.images[batch].float() / 255, train.labels[batch]))
        _taken(trainer, columns, batch[None])
        shares.append(_share(trainer.net, *some))
    update = int(np.argmin(np.diff(shares)))
    horizon = {}
    for back in BACKS:
        ends = []
        for number in range(TIMES):
            again, generator = _copy(before[update - back]), torch.Generator().manual_seed(number)
            with torch.no_grad():
                for weight in again.weights:
                    weight += NOISE * torch.randn(weight.shape, generator=generator)
            _taken(again, columns, index[update - back : update + AFTER])
            ends.append(_share(again.net, *some))
        horizon[back] = sum(shares[update] - end > COLLAPSE for end in ends)
    _keep(before[update], train, index[update])
    record = {"seed": SEED, "epoch": EPOCH, "update": update, "shares": shares, "norms": norms}
    record |= {"horizon": horizon, "times": TIMES, "noise": NOISE, "sha256": sha256(PATH.read_bytes())}
    write_json(RECORD, record | {"provenance": provenance()})
    print(f"update {update}: {shares[update]:.1%} -> {shares[update + 1]:.1%}; SHA256 = {record['sha256']}")


def _keep(trainer: Trainer, train: Any, batch: Tensor) -> None:
    arrays = {"images": train.images[batch], "labels": train.labels[batch]}
    arrays["lr"] = torch.tensor(trainer.optimizer.param_groups[0]["lr"], dtype=torch.float64)
    for name, weight in trainer.net.named_parameters():
        arrays[name] = weight.detach()
        arrays[f"momentum of {name}"] = trainer.optimizer.state[weight]["momentum_buffer"]
    with atomic_write(PATH) as file:
        np.savez_compressed(file, **{name: array.numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    main()
