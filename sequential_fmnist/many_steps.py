"""Many steps of the loop in one kernel call, where that is the same: what stands in the loop is what is trained."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from sequential_fmnist.checkpoint import restore_rng, rng_state
from sequential_fmnist.data import Columns, Data
from sequential_fmnist.networks import ColumnNet
from snn_core.functional import SkipOverflow, Steps, scan, set_backend, train_steps
from snn_core.fuse import has_hooks

if TYPE_CHECKING:
    from sequential_fmnist.train import Trainer

#: Steps in one call: few enough that Ctrl-C and the progress bar need not wait.
STEPS = 64
#: Images of the first batch on which the loop is compared.
COMPARED = 32
_LOSSES = {
    "mse": lambda y, labels: F.mse_loss(y, F.one_hot(labels, y.shape[1]).to(y)),
    "cross-entropy": F.cross_entropy,
}


def many_steps(trainer: Trainer, data: Data, order: Tensor) -> Iterator[Steps]:
    """Take the next steps by :func:`~snn_core.functional.train_steps`, as long as that does what the loop does.

    Yield what some steps at a time gave; nothing where the loop has to take them: another network than layers and their
    mean, hooks, a loss or a line of the loop that somebody has changed, a GPU, several processes, mixed precision; at
    the end a batch that is not full.
    """
    config, size = trainer.config, trainer.config.batch_size
    is_plain = type(trainer.net).forward is ColumnNet.forward
    is_plain = is_plain and not any(map(has_hooks, trainer.net.modules()))
    rule = trainer.scaler if type(trainer.scaler) is SkipOverflow else None
    has_scaler = rule is None and trainer.scaler.is_enabled()
    elsewhere = has_scaler or config.amp or config.workers or trainer.processes > 1
    if elsewhere or not is_plain or trainer.loss_name not in _LOSSES or not isinstance(data, Columns):
        return
    if data.x_seq.is_cuda or not data.x_seq.is_floating_point() or len(order) < size:
        return
    if trainer.is_usual is None:
        trainer.is_usual = does_the_usual(trainer, data, order[: min(size, COMPARED)])
    while trainer.is_usual and (count := min(STEPS, len(order) // size)):
        index = order[: count * size].view(count, size)
        chain, by = nn.Sequential(*trainer.net), (trainer.optimizer, trainer.loss_name)
        try:
            taken = train_steps(chain, data.x_seq, data.labels, *by, index, config.clip, rule)
        except ValueError as error:
            if "cannot be trained in one call" not in str(error):
                raise
            return
        yield taken
        order = order[count * size :]


def does_the_usual(trainer: Trainer, data: Columns, chosen: Tensor) -> bool:
    """Say whether an epoch of ``trainer`` is the usual one: it need not be, as anybody may change a line of it.

    Both take a step with the samples ``chosen``, in fp64 and by the readable loop, from the same weights; no random
    number is used up.
    """
    before, found = rng_state(), []
    config = dataclasses.replace(trainer.config, batch_size=len(chosen), drop_last=False, skip_overflow=False)
    try:
        for step in (_own_step, _usual_step):
            net = copy.deepcopy(trainer.net).double()
            set_backend(net, "torch")
            start = nn.utils.parameters_to_vector(net.parameters()).detach()
            twin = type(trainer)(net, config)  # at the first learning rate, which is not 0
            loss = step(twin, Columns(data.x_seq[:, chosen].double(), data.labels[chosen]))
            moved = nn.utils.parameters_to_vector(net.parameters()).detach() - start
            found.append((torch.tensor(loss, dtype=torch.float64), moved))
    except Exception:  # of a layer that fp64 does not suit, or a number that is not finite: the loop will see
        return False
    finally:
        restore_rng(before)
    return all(bool((own - usual).norm() <= 1e-6 * usual.norm()) for own, usual in zip(*found, strict=True))


def _own_step(trainer: Trainer, data: Columns) -> float:
    return trainer.train_epoch(data, tqdm(disable=True), after_step=lambda: None)["train_loss"]


def _usual_step(trainer: Trainer, data: Columns) -> float:
    loss = _LOSSES[trainer.config.loss](scan(data.x_seq, *trainer.net, backend="torch").mean(0), data.labels)
    loss.backward()
    if trainer.config.clip is not None:
        nn.utils.clip_grad_norm_(trainer.weights, trainer.config.clip)
    trainer.optimizer.step()
    return loss.item()
