"""One collapse to take apart: ``python -m sequential_fmnist.experiments.collapse`` writes the state before it.

It is a run of :mod:`~sequential_fmnist.experiments.repeated`: feedback, 64 epochs as published, in float32. The command
looks for the update of its epoch after which most is lost, and keeps weights, momentum and images just before it, in
``collapse.npz``, and what it measured, in ``results/collapse.json``. On another processor the run may round differently
and lose something else; the state that is kept loses the same.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sequential_fmnist.checkpoint import set_seed, sha256
from sequential_fmnist.data import DataError, prepared
from sequential_fmnist.evaluate import COLLAPSE, evaluate, rate_loss
from sequential_fmnist.experiments.frame import one_thread
from sequential_fmnist.experiments.images import subset
from sequential_fmnist.experiments.repeated import RepeatedTask, resumed, state_of
from sequential_fmnist.experiments.results import provenance, write_bytes, write_json
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


@one_thread()
def main() -> None:
    """Find the update, and write state and record."""
    train, test = RepeatedTask().splits()
    columns, seen = prepared(train), subset(test, torch.arange(SEEN))
    set_seed(SEED)
    config = TrainingConfig(epochs=64, drop_last=True, seed=SEED, fused=True)
    trainer = Trainer(NetworkSpec("feedback", detach_reset="hidden").build(), config)

    def take(trainer: Trainer, index: Tensor) -> float:
        """Take the updates with the images ``index``, ``[updates, N]``, and return the accuracy after them."""
        train_steps(trainer.net.chain, columns.x_seq, columns.labels, trainer.optimizer, "mse", index)
        return evaluate(trainer.net, seen, SEEN)[1]

    for _ in range(EPOCH):
        trainer.train_epoch(columns, tqdm(disable=True))
    order = torch.randperm(len(train), generator=trainer.generator)
    size = config.batch_size
    index = order[: len(order) // size * size].view(-1, size)
    states, norms, shares = [], [], [evaluate(trainer.net, seen, SEEN)[1]]
    for batch in index:
        states.append(state_of(trainer))
        norms.append(_norm(states[-1][0], train.images[batch].float() / 255, train.labels[batch]))
        shares.append(take(trainer, batch[None]))
    update = int(np.argmin(np.diff(shares)))
    horizon = {}
    for back in BACKS:
        again = (resumed(config, states[update - back], NOISE, number) for number in range(TIMES))
        ends = [take(one, index[update - back : update + AFTER]) for one in again]
        horizon[back] = sum(shares[update] - end > COLLAPSE for end in ends)
    net, optimizer, _ = states[update]
    arrays = {"images": train.images[index[update]], "labels": train.labels[index[update]]}
    arrays["lr"] = torch.tensor(optimizer["param_groups"][0]["lr"], dtype=torch.float64)
    for k, (name, weight) in enumerate(net.named_parameters()):
        arrays |= {name: weight.detach(), f"momentum of {name}": optimizer["state"][k]["momentum_buffer"]}
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array.numpy() for name, array in arrays.items()})
    record = {"seed": SEED, "epoch": EPOCH, "update": update, "shares": shares, "norms": norms}
    record |= {
        "horizon": horizon,
        "times": TIMES,
        "noise": NOISE,
        "sha256": write_bytes(PATH, file.getvalue()),
    }
    write_json(RECORD, record | {"provenance": provenance()})
    print(f"update {update}: {shares[update]:.1%} -> {shares[update + 1]:.1%}; SHA256 = {record['sha256']}")


def _norm(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the norm of the gradient of these images, and leave no gradient behind."""
    gradients = torch.autograd.grad(rate_loss(net(images), labels), list(net.parameters()))
    reset_net(net)
    return nn.utils.get_total_norm(gradients).item()


if __name__ == "__main__":
    main()
