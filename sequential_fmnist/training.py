"""Train one network from the first epoch to the last. The command line over it is ``train.py``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from sequential_fmnist.batches import ImageData, on_device
from sequential_fmnist.checkpoint import CheckpointError, load_checkpoint
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.distributed import ALONE, Ranks
from sequential_fmnist.evaluation import evaluate, predict, rate_loss
from sequential_fmnist.output import CHECKPOINTS, OutputFolder
from sequential_fmnist.trainer import Record, Trainer, set_seed

__all__ = [
    "ImageData",
    "Trainer",
    "TrainingConfig",
    "evaluate",
    "fit",
    "predict",
    "rate_loss",
    "set_seed",
]


def _resume(trainer: Trainer, path: Path) -> str | None:
    """Resume from a checkpoint, and return a line that says what becomes of the learning rate, if that is a question.

    Raises:
        CheckpointError: it cannot be used; the message names another one that can.
    """
    try:
        state = load_checkpoint(path)
        trainer.load_state_dict(state)
    except CheckpointError as error:
        what = str(error) if str(path) in str(error) else f"checkpoint {path} cannot be used: {error}"
        raise CheckpointError(f"{what}; {_way_out(trainer, path)}") from error
    config, before = trainer.config, state["scheduler"] or {}
    if config.lrs != "cosa" or (config.epochs, trainer.t_max) == (state["config"]["epochs"], before["T_max"]):
        return None
    was = "" if trainer.t_max == before["T_max"] else f" (it was {before['T_max']})"
    return (
        f"resuming after epoch {trainer.epoch} of {config.epochs} with learning rate {trainer.lr:.4f}, on a cosine "
        f"with T_max {trainer.t_max}{was}"
    )


def _way_out(trainer: Trainer, bad: Path) -> str:
    """Say what to do instead of resuming from ``bad``: from the furthest good checkpoint beside it, or anew."""
    good: dict[Path, int] = {}
    folder = bad if bad.is_dir() else bad.parent
    for other in (folder / name for name in CHECKPOINTS if folder / name != bad):
        with suppress(CheckpointError):
            state = load_checkpoint(other)
            trainer.check(state)
            good[other] = state["epoch"]
    if not good:
        return f"nothing else in {folder} can be resumed by this run: start anew without --resume"
    best = max(good, key=lambda path: good[path])
    return f"{best} is good, from after epoch {good[best]}: continue with --resume {best}"


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

    A run that is interrupted, by a KeyboardInterrupt or by force, loses the running epoch only: ``resume`` continues
    from the end of the last one, bit for bit.

    The same configuration, data and torch give the same bits: weights and history, on the CPU for any number of
    threads, and where a run is resumed. With workers, or where steps are not taken many at a time for another reason,
    sums are rounded otherwise, in the last digits, with whatever follows from them. So may two things with another
    number of threads: torch's own matrix products (``backend="torch"``, mixed precision, layers of your own); and the
    loss that is reported, not what is learned, where a batch has over 3,276 images.

    Args:
        config: the run.
        train: training images and labels.
        test: test images and labels, evaluated after every epoch. They choose nothing but which epoch's weights
            are kept as ``best.pt``, so report the last epoch, not the best.
        net: a network of your own in place of ``config.model``; it is trained in place.
        output_dir: folder for checkpoints and logs; None keeps nothing. One run at a time can write there.
        resume: checkpoint to resume from, see :meth:`Trainer.load_state_dict`; True resumes from
            ``output_dir/latest.pt`` if there is one, and else starts anew, so that a cell of a notebook can simply be
            run again.
        overwrite: whether a run in ``output_dir`` is replaced when this one does not continue it.
        start_epoch: first epoch, counted from 0; None means 0, or where the checkpoint ended.
        tensorboard: also log to ``output_dir/tb``.
        stop: asked after every epoch, once it is saved; True ends the run there.
        log: receives one line per epoch, for example ``tqdm.write``.
        progress: whether to show a progress bar.
        ranks: processes that train together, see :mod:`sequential_fmnist.distributed`. All of them call this with
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
        ValueError: ``tensorboard`` or ``resume=True`` without ``output_dir``, ``tensorboard`` where that is not
            installed, fewer epochs than are done already, a ``start_epoch`` that is not the checkpoint's, a run in
            ``output_dir`` that may not be replaced, or something that several processes cannot do.
    """
    if tensorboard and output_dir is None:
        raise ValueError("tensorboard needs an output_dir to write to")
    if tensorboard and find_spec("tensorboard") is None:
        raise ValueError("tensorboard is not installed: pip install tensorboard, or train without it")
    resume = _checkpoint(resume, output_dir)
    ranks.check_images(config.batch_size, len(train), len(test))
    trainer = Trainer(config, start_epoch or 0, net, ranks)
    if resume is not None:
        note = _resume(trainer, resume)
        if note and log and ranks.first:
            log(note)
        if start_epoch not in (None, trainer.epoch):
            raise ValueError(f"start_epoch must be {trainer.epoch}, where {resume} ended, got {start_epoch}")
    if trainer.epoch > config.epochs or (trainer.epoch == config.epochs and resume is None):
        least = "above" if resume is None else "at least"
        raise ValueError(f"epochs must be {least} the {trainer.epoch} already done, got {config.epochs}")
    train = on_device(train, config.device, config.workers)
    test = on_device(test, config.device, workers=0)  # evaluation uses none
    output = None
    if output_dir is not None:
        resumed = resume is not None and Path(resume).resolve().parent == Path(output_dir).resolve()
        output = OutputFolder(
            output_dir, trainer, tensorboard=tensorboard, resumed=resumed, overwrite=overwrite
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
            log(
                f"nothing left to train: {resume} has all {config.epochs} epochs; more epochs would continue it"
            )
        while not stopped:
            started, epoch, lr = time.perf_counter(), trainer.epoch, trainer.lr
            train_loss, train_accuracy = trainer.train_epoch(train, progress=bar.update)
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
        raise ValueError("resume=True needs an output_dir to resume in")
    latest = Path(output_dir) / "latest.pt"
    return latest if latest.exists() else None
