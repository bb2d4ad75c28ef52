"""Train and evaluate one network, epoch by epoch. The command line over it is ``train.py``."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import random
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from snn_core.batches import ImageData, batches, on_device
from snn_core.checkpoint import (
    CheckpointError,
    check_like,
    check_optimizer,
    load_checkpoint,
    restore_rng,
    rng_state,
)
from snn_core.checks import check_shape, check_whole
from snn_core.config import TrainingConfig
from snn_core.distributed import ALONE, Ranks
from snn_core.functional import reset_net
from snn_core.graph import GraphedStep
from snn_core.memory import keep_freed_memory
from snn_core.network import make_network
from snn_core.output import CHECKPOINTS, OutputFolder

__all__ = [
    "ImageData",
    "Trainer",
    "TrainingConfig",
    "evaluate",
    "fit",
    "loss_function",
    "predict",
    "rate_loss",
    "set_seed",
]

Record = dict[str, float]

#: Settings in which a run and the checkpoint that it goes on from must agree.
_SAME = ("model", "hidden", "order", "opt", "lrs", "seed")

_RECORD = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random number generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rate_loss(rate: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error between firing rates ``[N, classes]`` and one-hot labels ``[N]``, a scalar.

    Raises:
        TypeError, ValueError: an argument is not a tensor of this shape.
    """
    check_shape("rate", rate, "N", "classes")
    check_shape("labels", labels, len(rate))
    return F.mse_loss(rate, F.one_hot(labels, rate.shape[1]).to(rate.dtype))


def loss_function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of outputs ``[N, classes]`` and labels ``[N]``, a scalar, by its name in ``config.LOSSES``."""
    return {"mse": rate_loss, "cross-entropy": F.cross_entropy}[name]


class _Mean:
    """Keeps loss and guesses of every step where they are, so that no step waits for a number to reach the host."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.guesses: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.largest: list[tuple[Tensor, ...]] = []

    def add(self, loss: Tensor, rate: Tensor, labels: Tensor, weights: Sequence[Tensor] = ()) -> None:
        self.losses.append(loss.detach())
        self.guesses.append(rate.detach().argmax(1))
        self.labels.append(labels)
        if weights:  # the largest of each tells whether all of its numbers are finite
            self.largest.append(torch._foreach_norm(weights, math.inf))

    def check(self, epoch: int, ranks: Ranks) -> None:
        """Raise FloatingPointError, naming the first step after which loss or weights are not finite."""
        largest = torch.stack([torch.stack(step).double().sum() for step in self.largest])
        bad = torch.stack([~torch.stack(self.losses).isfinite(), ~largest.isfinite()])
        bad = ranks.sum(bad.double()) > 0  # of any process, so that all of them stop
        if bad.any():
            step = int(bad.any(0).nonzero()[0])
            # Spikes hide it: a membrane potential that is not a number never reaches the threshold.
            what = "training loss is" if bad[0, step] else "loss is still finite, but weights are"
            raise FloatingPointError(
                f"epoch {epoch}, step {step + 1} of {len(self.losses)}: the {what} not finite (loss "
                f"{self.losses[step].item():g}): try a smaller lr, or clip the gradient"
            )

    def result(self, ranks: Ranks = ALONE) -> tuple[float, float]:
        """Return the means over all images, of all processes: each step's loss counts as often as it has images."""
        losses = torch.stack(self.losses).double()
        sizes = torch.tensor(
            [len(labels) for labels in self.labels], dtype=torch.float64, device=losses.device
        )
        hits = torch.cat(self.guesses) == torch.cat(self.labels)
        totals = torch.stack([(losses * sizes).sum(), hits.sum().double(), sizes.sum()])
        loss, right, images = ranks.sum(totals).tolist()
        return loss / images, right / images


@torch.no_grad()
def _run(
    net: nn.Module,
    data: ImageData,
    batch_size: int,
    device: str,
    amp: bool = False,
    loss: str = "mse",
    ranks: Ranks = ALONE,
) -> _Mean:
    """Show ``net`` all images of ``data``, or this process's share, in evaluation mode; its state is reset."""
    where = torch.device(device)
    was_training = net.training
    net.eval()
    mean, function = _Mean(), loss_function(loss)
    for images, labels in batches(data, torch.arange(len(data)), batch_size, where, 0, ranks):
        if not len(labels):
            continue
        with _autocast(where, amp):
            rate = _at_least_single(net(images))
        mean.add(function(rate, labels), rate, labels)
        reset_net(net)
    net.train(was_training)
    return mean


def predict(net: nn.Module, data: ImageData, batch_size: int = 256, device: str = "cpu") -> Tensor:
    """Return the class with the highest firing rate for each image, int64 ``[n]``. The state of ``net`` is reset.

    Where several classes fire at the same rate, the first of them counts, as in :func:`evaluate`.

    Args:
        net: maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``.
        data: images and labels.
        batch_size: images in a batch.
        device: where ``net`` is.
    """
    return torch.cat(_run(net, data, batch_size, device).guesses)


def evaluate(
    net: nn.Module,
    data: ImageData,
    batch_size: int = 256,
    device: str = "cpu",
    amp: bool = False,
    loss: str = "mse",
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Return loss and accuracy (a fraction) of ``net`` on ``data``. The state of ``net`` is reset.

    Args:
        net: maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``.
        data: images and labels.
        batch_size: images in a batch.
        device: where ``net`` is.
        amp: whether to run in mixed precision.
        loss: one of ``config.LOSSES``.
        ranks: processes that share the images out; all of them get the result.
    """
    return _run(net, data, batch_size, device, amp, loss, ranks).result(ranks)


def _autocast(device: torch.device, enabled: bool) -> AbstractContextManager[None]:
    if not enabled:
        return nullcontext()  # ten times cheaper than autocast that does nothing
    dtype = torch.bfloat16 if device.type == "cpu" else torch.float16
    return torch.autocast(device.type, dtype)


def _at_least_single(rate: Tensor) -> Tensor:
    """Return firing rates in the precision that the loss needs: fp32, or fp64 where the network has it."""
    return rate if rate.dtype == torch.float64 else rate.float()


class Trainer:
    """A network, its optimizer and all that must be saved to go on: one call of :meth:`train_epoch` per epoch.

    Args:
        config: the run; its seed decides the initial weights and the order of the images.
        start_epoch: epochs that count as done; the learning rate starts where it would be then.
        net: a network of your own, ``[N, 1, H, W]`` to firing rates ``[N, classes]``; None builds ``config.model``.
        ranks: processes that train it together; a network that draws random numbers, as dropout does, then draws
            others than in one process.

    Raises:
        TypeError: ``start_epoch`` is not a whole number.
        ValueError: no epoch is left after ``start_epoch``, or ``net`` or ``config`` asks for what several processes
            cannot do: batch normalisation, CUDA graphs.
    """

    def __init__(
        self,
        config: TrainingConfig,
        start_epoch: int = 0,
        net: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if config.cuda_graph and ranks.size > 1:
            raise ValueError(f"cuda_graph works with 1 process, got {ranks.size}")
        if check_whole("start_epoch", start_epoch, 0) >= config.epochs:
            raise ValueError(f"start_epoch must be below the {config.epochs} epochs, got {start_epoch}")
        self.config, self.ranks = config, ranks
        self.device = torch.device(config.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        set_seed(config.seed)
        self._is_ours = net is None
        if net is None:
            net = make_network(config.model, config.hidden, config.backend)
        self.net = net.to(self.device)
        ranks.copy_first(self.net)
        self.weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        self.loss = loss_function(config.loss)
        self.optimizer = self._make_optimizer()
        self.scheduler = self._make_scheduler()
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=config.amp and self.device.type == "cuda"
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.history: list[Record] = []
        self.epoch = start_epoch
        with warnings.catch_warnings():
            # Steps without an optimizer step before them are what start_epoch asks for.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for _ in range(start_epoch if self.scheduler else 0):
                self.scheduler.step()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config, weights = self.config, self.weights
        if config.opt == "adam":
            return torch.optim.Adam(
                weights,
                lr=config.lr,
                weight_decay=config.weight_decay,
                fused=True,
                capturable=config.cuda_graph,
            )
        sgd = torch.optim.SGD(
            weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
        if config.momentum:
            # torch would reserve them without a value in the first step, and leave them so where the scaler skips it.
            for weight in weights:
                sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight, requires_grad=False)
        return sgd

    def _make_scheduler(self) -> torch.optim.lr_scheduler.LRScheduler | None:
        config = self.config
        if config.lrs == "cosa":
            t_max = config.cosa_tmax or config.epochs
            return torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=t_max)
        if config.lrs == "step":
            return torch.optim.lr_scheduler.StepLR(self.optimizer, config.step_size, config.step_gamma)
        return None

    @property
    def lr(self) -> float:
        """Learning rate of the epoch to come."""
        return self.optimizer.param_groups[0]["lr"]

    def train_epoch(
        self, data: ImageData, after_step: Callable[[], Any] = lambda: None
    ) -> tuple[float, float]:
        """Train on every image once and return mean loss and accuracy (a fraction) over the epoch.

        Raises:
            FloatingPointError: a loss, a weight, or what the optimizer keeps is not finite, or every step of the
                epoch overflowed in mixed precision. Loss and weights are looked at after the last step, since looking
                after each would let a card wait; the message names the first step that went wrong.
        """
        self.net.train()
        mean = _Mean()
        weights = [weight.detach() for weight in self.weights if weight.numel()]
        scale = self.scaler.get_scale()
        indices = torch.randperm(len(data), generator=self.generator)
        step = self._step
        for images, labels in batches(
            data, indices, self.config.batch_size, self.device, self.config.workers, self.ranks
        ):
            if len(labels) < self.config.batch_size:
                step = self._step
            elif self.config.cuda_graph and mean.losses and step == self._step:
                # Anew in each epoch, which has its own learning rate.
                step = GraphedStep(self._step, images, labels)
            loss, rate = step(images, labels)
            mean.add(loss, rate, labels, weights)
            after_step()
        if self.scheduler:
            self.scheduler.step()
        self.epoch += 1
        mean.check(self.epoch, self.ranks)
        self._check_moments()
        self._check_scale(scale, len(mean.losses))
        return mean.result(self.ranks)

    def _check_moments(self) -> None:
        """Refuse an optimizer that holds what is not finite: such a moment lets a weight stand still for ever."""
        moments = [
            m
            for state in self.optimizer.state.values()
            for m in state.values()
            if m is not None and m.numel()
        ]
        if moments and not math.isfinite(sum(m.abs().max().double() for m in moments)):
            raise FloatingPointError(
                f"epoch {self.epoch}: {self.config.opt} keeps numbers that are not finite: try a smaller lr, or clip "
                "the gradient"
            )

    def _check_scale(self, before: float, steps: int) -> None:
        """Refuse to go on where the scaler skipped all steps of an epoch and has come down to where none can help."""
        after = self.scaler.get_scale()
        # Each skipped step halves the scale; one that is taken does not.
        if after < 1 and after <= before * self.scaler.get_backoff_factor() ** steps:
            raise FloatingPointError(
                f"epoch {self.epoch}: the gradient overflowed in each of {steps} steps, so that none was taken, though "
                f"the loss was scaled by {after:g} only: train without amp"
            )

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step and return its loss and firing rates."""
        for weight in self.weights:
            weight.grad = None
        if len(labels):
            with _autocast(self.device, self.config.amp):
                rate = _at_least_single(self.net(images))
            loss = self.loss(rate, labels)
            self.scaler.scale(loss).backward()
        else:  # the last batch was too small for a share
            loss, rate = images.new_zeros(()), images.new_zeros(0, 1)
        self.ranks.average_gradients(self.weights, len(labels))
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        reset_net(self.net)
        return loss, rate

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load_state_dict` needs, in types that ``weights_only`` loading allows."""
        return {
            "config": dataclasses.asdict(self.config),
            "epoch": self.epoch,
            "history": self.history,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.scaler.state_dict(),
            "sampler": self.generator.get_state(),
            "rng": rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken; where that fails, all stays as it was.

        Raises:
            CheckpointError: the state belongs to a run with another network, data order or optimizer, something is
                missing, or has another type or shape, or is not finite.
        """
        before = copy.deepcopy(self.state_dict())
        try:
            self._check_state(state)
            self._set_state(state)
        except Exception as error:  # there is no kind of error that a made-up state cannot cause
            self._set_state(before)
            if isinstance(error, CheckpointError):
                raise
            reason = str(error).partition("\n")[0]
            raise CheckpointError(
                f"the checkpoint cannot be used: {type(error).__name__}: {reason}"
            ) from error

    def accepts(self, state: dict[str, Any]) -> bool:
        """Return whether :meth:`load_state_dict` would take this state, without going on from it."""
        before = copy.deepcopy(self.state_dict())
        try:
            self.load_state_dict(state)
        except CheckpointError:
            return False
        self._set_state(before)
        return True

    def _set_state(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["model"])
        # How the optimizer computes, as its switches say, is this run's affair; so are names that it does not know.
        groups = [
            group | {name: switch for name, switch in own.items() if switch is None or type(switch) is bool}
            for group, own in zip(
                state["optimizer"]["param_groups"], self.optimizer.state_dict()["param_groups"], strict=True
            )
        ]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        if self.scheduler:
            known = self.scheduler.state_dict().keys() & state["scheduler"].keys()
            self.scheduler.load_state_dict({name: state["scheduler"][name] for name in known})
        if state["scaler"]:  # empty where the run used no scaler, as on the CPU
            self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["sampler"])
        self.epoch, self.history = state["epoch"], state["history"]
        restore_rng(state["rng"])

    def _check_state(self, state: dict[str, Any]) -> None:
        """Raise CheckpointError for what torch would take without a word, or refuse with many."""
        own = self.state_dict()
        for name in own:
            if name not in state:
                raise CheckpointError(f"the checkpoint has no {name}")
        for name in _SAME:
            have, want = dict(state["config"]).get(name), own["config"][name]
            if have != want:
                raise CheckpointError(
                    f"the checkpoint was made with {name}={have}, this run has {name}={want}"
                )
        check_like(state["model"], own["model"], "model")
        _check_history(state["history"], state["epoch"])
        # A weight of a network of your own may be one that nothing uses: it has no moments.
        least = (len(self.weights) if self._is_ours else 1) if state["history"] else 0
        check_optimizer(state["optimizer"], self.optimizer, least)
        if self.scheduler:
            _check_scheduler(state["scheduler"], own["scheduler"])
        if self.scaler.is_enabled() and state["scaler"]:
            check_like(state["scaler"], own["scaler"], "scaler")
        check_like(state["sampler"], own["sampler"], "sampler")
        for name in ("torch", "numpy"):
            check_like(state["rng"][name], own["rng"][name], f"rng {name}")


def _check_scheduler(state: dict[str, Any], own: dict[str, Any]) -> None:
    for name in ("last_epoch", "base_lrs", "_last_lr"):
        if name not in state:
            raise CheckpointError(f"scheduler has no {name}")
    # What else there is comes and goes with torch's releases.
    known = {name: state[name] for name in own if name in state}
    check_like(known, {name: own[name] for name in known}, "scheduler")


def _check_history(history: list[Record], epoch: int) -> None:
    if type(epoch) is not int or epoch < 0:
        raise CheckpointError(f"epoch must be a number of epochs, got {epoch!r:.80}")
    if not isinstance(history, list):
        raise CheckpointError(f"history must be a list, got a {type(history).__name__}")
    for number, record in enumerate(history, epoch - len(history)):
        check_like(record, dict.fromkeys(_RECORD, 0.0), "history")
        if record["epoch"] != number:
            raise CheckpointError(f"history must end with epoch {epoch - 1}, without gaps")


def _go_on(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Let ``trainer`` go on from a checkpoint.

    Raises:
        CheckpointError: it cannot be used; the message names another one that can.
    """
    try:
        trainer.load_state_dict(load_checkpoint(path))
    except CheckpointError as error:
        what = str(error) if str(path) in str(error) else f"checkpoint {path} cannot be used: {error}"
        raise CheckpointError(f"{what}; {_way_out(trainer, Path(path))}") from error


def _way_out(trainer: Trainer, bad: Path) -> str:
    """Say what to do instead of going on from ``bad``: from the furthest good checkpoint beside it, or anew."""
    good: dict[Path, int] = {}
    folder = bad if bad.is_dir() else bad.parent
    for other in (folder / name for name in CHECKPOINTS if folder / name != bad):
        try:
            state = load_checkpoint(other)
        except CheckpointError:
            continue
        if trainer.accepts(state):
            good[other] = state["epoch"]
    if not good:
        return f"nothing else in {folder} can be resumed by this run: start anew without --resume"
    best = max(good, key=lambda path: good[path])
    return f"{best} is good, from after epoch {good[best]}: go on with --resume {best}"


def _describe(record: Record, epochs: int, seconds: float, images: int) -> str:
    return (
        f"epoch {record['epoch'] + 1:3.0f}/{epochs}  lr {record['lr']:.4f}  "
        f"train loss {record['train_loss']:.4f} accuracy {record['train_accuracy']:6.2%}  "
        f"test loss {record['test_loss']:.4f} accuracy {record['test_accuracy']:6.2%}  "
        f"{seconds:.1f} s ({images / seconds:,.0f} images/s)"
    )


def fit(
    config: TrainingConfig,
    train: ImageData,
    test: ImageData,
    *,
    net: nn.Module | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | bool | None = None,
    overwrite: bool = True,
    start_epoch: int | None = None,
    tensorboard: bool = False,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], Any] | None = None,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> tuple[nn.Module, list[Record]]:
    """Train a network and return it with its history, one record for each epoch.

    A run that is interrupted, by a KeyboardInterrupt or by force, loses the running epoch only: ``resume`` goes on from
    the end of the last one, to the same bits.

    The same configuration, data and torch give the same bits: weights and history, on the CPU for any number of
    threads and of workers, and where a run is resumed. Two things may depend on the number of threads, in the last
    digits, with whatever follows from them: torch's own matrix products, which sum in another order
    (``backend="torch"``, mixed precision, layers of your own); and the loss that is reported, not what is learned,
    where a batch has over 3,276 images.

    Args:
        config: the run.
        train: training images and labels.
        test: test images and labels, evaluated after every epoch. They choose nothing but which epoch's weights
            are kept as ``best.pt``, so report the last epoch, not the best.
        net: a network of your own in place of ``config.model``; it is trained in place.
        output_dir: folder for checkpoints and logs; None keeps nothing. One run at a time can write there.
        resume: checkpoint to go on from; True goes on from ``output_dir/latest.pt`` if there is one, and else starts
            anew, so that a cell of a notebook can simply be run again.
        overwrite: whether a run in ``output_dir`` is replaced when this one does not go on from it.
        start_epoch: first epoch, counted from 0; None means 0, or where the checkpoint ended.
        tensorboard: also log to ``output_dir/tb``.
        stop: asked after every epoch, once it is saved; True ends the run there.
        log: receives one line per epoch, for example ``tqdm.write``.
        progress: whether to show a progress bar.
        ranks: processes that train together, see :mod:`snn_core.distributed`. All of them call this function with
            the same arguments; the first one writes, logs and shows the bar.

    Returns:
        The network after the last epoch that was trained, and records with epoch (from 0), lr, train_loss,
        train_accuracy, test_loss, test_accuracy. Accuracies are fractions.

    Raises:
        CheckpointError: ``resume`` cannot be used; the message names another checkpoint beside it that can.
        FloatingPointError: a loss or a weight is not finite, see :meth:`Trainer.train_epoch`. Such an epoch is not
            saved, so that checkpoints keep the one before.
        InUseError: another run writes to ``output_dir``.
        OSError: ``output_dir`` cannot be written.
        ValueError: ``tensorboard`` or ``resume=True`` without ``output_dir``, fewer epochs than are done already, a
            ``start_epoch`` that is not the checkpoint's, a run in ``output_dir`` that may not be replaced, or
            something that several processes cannot do.
    """
    if tensorboard and output_dir is None:
        raise ValueError("tensorboard needs an output_dir to write to")
    resume = _checkpoint(resume, output_dir)
    ranks.check_images(config.batch_size, len(train), len(test))
    trainer = Trainer(config, start_epoch or 0, net, ranks)
    if resume is not None:
        _go_on(trainer, resume)
        if start_epoch not in (None, trainer.epoch):
            raise ValueError(f"start_epoch must be {trainer.epoch}, where {resume} ended, got {start_epoch}")
    if trainer.epoch > config.epochs or (trainer.epoch == config.epochs and resume is None):
        least = "above" if resume is None else "at least"
        raise ValueError(f"epochs must be {least} the {trainer.epoch} already done, got {config.epochs}")
    train, test = (on_device(data, config.device, config.workers) for data in (train, test))
    output = None
    if output_dir is not None:
        goes_on = resume is not None and Path(resume).resolve().parent == Path(output_dir).resolve()
        output = OutputFolder(
            output_dir, trainer, tensorboard=tensorboard, goes_on=goes_on, overwrite=overwrite
        )
    steps = math.ceil(len(train) / config.batch_size)
    with (
        output or nullcontext(),
        tqdm(
            total=config.epochs * steps,
            initial=trainer.epoch * steps,
            unit="batch",
            desc=config.model,
            disable=not (progress and ranks.first),
        ) as bar,
    ):
        stopped = trainer.epoch == config.epochs
        if stopped and log and ranks.first:
            log(f"nothing left to train: {resume} has all {config.epochs} epochs; more epochs would go on")
        while not stopped:
            started, epoch, lr = time.perf_counter(), trainer.epoch, trainer.lr
            train_loss, train_accuracy = trainer.train_epoch(train, bar.update)
            seconds = time.perf_counter() - started
            test_loss, test_accuracy = evaluate(
                trainer.net, test, config.batch_size, config.device, config.amp, config.loss, ranks
            )
            if not math.isfinite(test_loss):
                raise FloatingPointError(
                    f"epoch {trainer.epoch}: the test loss is {test_loss}: try a smaller lr"
                )
            record = {
                "epoch": epoch,
                "lr": lr,
                "train_loss": train_loss,
                "train_accuracy": train_accuracy,
                "test_loss": test_loss,
                "test_accuracy": test_accuracy,
            }
            trainer.history.append(record)
            bar.set_postfix_str(f"test accuracy {test_accuracy:.2%}")
            if log and ranks.first:
                log(_describe(record, config.epochs, seconds, len(train)))
            if output:
                output.save()
            stopped = ranks.any(stop()) or trainer.epoch == config.epochs
    return trainer.net, trainer.history


def _checkpoint(
    resume: str | os.PathLike[str] | bool | None, output_dir: str | os.PathLike[str] | None
) -> Path | None:
    """Return the checkpoint that ``fit``'s argument ``resume`` stands for."""
    if resume is not True:
        return None if resume is None or resume is False else Path(resume)
    if output_dir is None:
        raise ValueError("resume=True needs an output_dir to go on in")
    latest = Path(output_dir) / "latest.pt"
    return latest if latest.exists() else None
