"""Train a network, on sequential Fashion-MNIST or anything else: ``python -m sequential_fmnist --help``.

From top to bottom: the options that decide a run, an epoch with its steps, a whole run, the command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from tqdm import tqdm

from sequential_fmnist import checkpoint
from sequential_fmnist.checkpoint import CheckpointError, WriteError, is_first_process, set_seed
from sequential_fmnist.data import (
    Columns,
    Data,
    DataError,
    Images,
    Sequences,
    SequentialFashionMNIST,
    batches,
    pixels,
    prepared,
)
from sequential_fmnist.evaluate import COLLAPSE, LOSSES, Loss, evaluate, falls
from sequential_fmnist.networks import ColumnNet
from sequential_fmnist.options import add_options, check_options, option, take_options
from sequential_fmnist.variants import NetworkSpec
from snn_core import fuse
from snn_core.checks import check_whole
from snn_core.functional import SkipOverflow, reset_net, train_steps

__all__ = ["FusedError", "TrainingConfig", "fit", "main", "make_parser", "set_seed"]

#: Steps of one call of train_steps: few enough that Ctrl-C and the progress bar need not wait.
STEPS_PER_CALL = 64
#: Options that may differ from the checkpoint's when a run is resumed: how long it trains, and on what.
MAY_DIFFER = ("epochs", "device", "workers")


class FusedError(ValueError):
    """Training with ``fused=True`` is impossible, for the reason given; the loop trains the same run."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"fused training is impossible: {reason}. Train without fused")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; the defaults are those of the tutorial's comparison.

    Raises:
        TypeError, ValueError: a value of another type or out of its range; the message names the field.
    """

    seed: int = option(0, "of the order of samples; on the command line of weights, too", 0)
    epochs: int = option(64, "number of total epochs to run", 1)
    batch_size: int = option(256, "samples of a step, of all processes together", 1, "-b")
    drop_last: bool = option(False, "leave out a last batch that is not full")
    loss: str = option("mse", "of the firing rates", LOSSES)
    opt: str = option("sgd", "optimizer", ("sgd", "adam"))
    lr: float = option(0.1, "initial learning rate", 0)
    lrs: str = option("cosa", "lr schedule: CosineAnnealingLR, StepLR, None", ("cosa", "step", "none"))
    step_size: int = option(32, "step_size for StepLR", 1)
    step_gamma: float = option(0.1, "gamma for StepLR", 0)
    cosa_tmax: int | None = option(None, "T_max for CosineAnnealingLR. If none, it will be set to epochs", 1)
    momentum: float = option(0.9, "Momentum for SGD")
    weight_decay: float = option(0.0, "weight decay", flag="--wd")
    clip: float | None = option(None, "largest norm of the gradient", 0)
    amp: bool = option(False, "Use AMP training: steps in float16 where torch has it, with a GradScaler")
    skip_overflow: bool = option(False, "skip the updates that --amp would skip, in float32")
    fused: bool = option(
        False, "take whole steps, many in one call, by train_steps: the same within rounding, faster", since=2
    )
    device: str = option("cpu", "device")
    workers: int = option(0, "number of data loading workers", 0, "-j")

    def __post_init__(self) -> None:
        check_options(self)
        if self.amp and self.skip_overflow:
            raise ValueError("skip_overflow is what amp does already: choose one of them")


def step_quietly(scheduler: torch.optim.lr_scheduler.LRScheduler) -> None:
    """Take a step of a schedule, also where the optimizer took none, for which torch warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        scheduler.step()


class Trainer:
    """A network in training, its optimizer and all that must be saved to resume; arguments as for :func:`fit`."""

    def __init__(
        self,
        net: nn.Module,
        config: TrainingConfig,
        loss: Loss | None = None,
        start_epoch: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(config.device)
        self.net = net.to(self.device)
        self.processes = distributed.get_world_size() if distributed.is_initialized() else 1
        self.model = DistributedDataParallel(self.net) if self.processes > 1 else self.net
        self.batch_size = max(1, config.batch_size // self.processes)  # of this process
        self.weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "foreach": True}
        if config.opt == "adam":
            self.optimizer = torch.optim.Adam(self.weights, **options)
        else:
            self.optimizer = torch.optim.SGD(self.weights, momentum=config.momentum, **options)
        self.loss = loss or LOSSES[config.loss]
        scaler = torch.amp.GradScaler(self.device.type, enabled=config.amp)
        self.scaler = SkipOverflow() if config.skip_overflow else scaler
        self.select: Callable[[int, Tensor], Tensor] | None = None
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = start_epoch
        self.scheduler = self.schedule()
        self.history: list[dict[str, float]] = []
        #: What must be the same when the run is resumed, but for :data:`MAY_DIFFER`.
        self.options = {**(about or {}), "processes": self.processes, **dataclasses.asdict(config)}
        #: The options of each part of the run, and the epoch from which they held.
        self.parts = [{"from_epoch": start_epoch} | self.options]

    def schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule after ``self.epoch`` epochs, and set the learning rate to what it is then."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] = config.lr
        if config.lrs == "cosa":
            length = config.cosa_tmax or config.epochs
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=length)
        else:
            gamma = config.step_gamma if config.lrs == "step" else 1
            scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, config.step_size, gamma)
        for _ in range(self.epoch):
            step_quietly(scheduler)
        return scheduler

    def train_epoch(
        self, data: Data, bar: tqdm[Any], after_step: Callable[[], Any] | None = None
    ) -> dict[str, float]:
        """Train on all ``data`` once and return the mean loss and the accuracy over the epoch.

        Raises:
            FloatingPointError: a loss, a weight, or what the optimizer keeps is not finite after the epoch.
            FusedError: see :meth:`check_fused`.
        """
        config, order = self.config, self._order(data)
        lost, right, seen, skipped = torch.zeros((), dtype=torch.float64, device=self.device), 0, 0, 0
        self.net.train()
        reset_net(self.net)
        if config.fused:  # whole steps, many in one call: what the loop below does, within rounding
            self.check_fused(data, after_step)
            rule = self.scaler if config.skip_overflow else None
            for x_seq, labels, index in self._calls(data, order):
                steps = train_steps(
                    self.net.chain, x_seq, labels, self.optimizer, config.loss, index, config.clip, rule
                )
                lost, right = lost + steps.losses.sum() * index.shape[1], right + steps.right.sum()
                seen, skipped = seen + index.numel(), skipped + int(steps.skipped.sum())
                bar.update(len(index))
        else:
            for inputs, labels in batches(data, self.batch_size, order, config.workers):
                inputs, labels = [part.to(self.device) for part in inputs], labels.to(self.device)
                # Without amp, autocast does nothing; without amp or skip_overflow, nor does the scaler.
                with torch.autocast(self.device.type, torch.float16, config.amp):
                    outputs = self.model(*inputs)
                    loss = self.loss(outputs, labels)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.unscale_(self.optimizer)
                if config.clip is not None:
                    nn.utils.clip_grad_norm_(self.weights, config.clip)
                scale = self.scaler.get_scale()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                reset_net(self.net)
                lost = lost + loss.detach().double() * labels.numel()
                right, seen = right + (outputs.argmax(-1) == labels).sum(), seen + labels.numel()
                skipped += self.scaler.get_scale() < scale
                bar.update()
                if after_step is not None:
                    after_step()
        step_quietly(self.scheduler)
        self.epoch += 1
        self._check_finite(lost)
        sums = torch.tensor([lost, right, seen], dtype=torch.float64, device=self.device)
        if self.processes > 1:
            distributed.all_reduce(sums)
        lost, right, seen = sums.tolist()
        more = {"skipped_steps": skipped} if config.amp or config.skip_overflow else {}
        return {"train_loss": lost / seen, "train_accuracy": right / seen} | more

    def check_fused(self, data: Data, after_step: Callable[[], Any] | None = None) -> None:
        """Refuse fused training of what :func:`~snn_core.functional.train_steps` does not compute.

        Raises:
            FusedError: the loss, the data, the network, or what comes between the steps does not allow it.
        """
        config, net = self.config, self.net
        has_hooks = any(map(fuse.has_hooks, net.modules())) or any(
            weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None)
            for weight in self.weights
        )
        own = f"{type(net).__name__} has a forward other than ColumnNet's, a chain of layers and their mean over time"
        for applies, reason in (
            (config.amp, "amp computes in float16"),
            (config.workers, "workers load batch after batch"),
            (self.device.type != "cpu", f"it runs on the CPU, not on {config.device}"),
            (self.processes > 1, f"it runs in one process, not in {self.processes}"),
            (self.loss is not LOSSES[config.loss], "a loss of your own is not called"),
            (after_step is not None, "after_step is not called"),
            (has_hooks, "hooks are not called"),
            (type(net).forward is not ColumnNet.forward, own),
            (not isinstance(data, Columns), "the data must be images in one tensor"),
        ):
            if applies:
                raise FusedError(reason)
        x_seq = pixels(data.x_seq[:, :1], data.mean, data.std)
        no_steps = torch.empty(0, self.batch_size, dtype=torch.int64)  # so that it only checks
        try:
            train_steps(net.chain, x_seq, no_steps.new_zeros(1), self.optimizer, config.loss, no_steps)
        except (TypeError, ValueError) as error:
            raise FusedError(str(error)) from error

    def _calls(self, data: Columns, order: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the arguments ``x_seq``, ``labels`` and ``index`` of each call of ``train_steps`` in an epoch."""
        full = len(order) // self.batch_size
        steps = order[: full * self.batch_size].view(full, self.batch_size)
        rest = order[full * self.batch_size :][None]  # a batch that is not full is a call with one step
        for index in [*steps.split(STEPS_PER_CALL), rest]:
            if index.numel() and data.x_seq.is_floating_point():
                yield data.x_seq, data.labels, index
            elif index.numel():  # bytes: the images of this call alone become numbers
                images = index.flatten()
                x_seq = pixels(data.x_seq[:, images], data.mean, data.std)
                yield x_seq, data.labels[images], torch.arange(len(images)).view_as(index)

    def _order(self, data: Data) -> Tensor | None:
        """Return the samples that this process sees in the epoch to come; None for data with an order of their own."""
        if not isinstance(data, Sequences):
            return None
        if self.processes == 1:
            order = torch.randperm(len(data), generator=self.generator)
        else:
            sampler = DistributedSampler(range(len(data)), seed=self.config.seed)
            sampler.set_epoch(self.epoch)
            order = torch.tensor(list(sampler))
        full = len(order) // self.batch_size * self.batch_size
        order = order[:full] if self.config.drop_last else order
        return order if self.select is None else self.select(self.epoch, order)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`resume` needs, in tensors and plain values."""
        return {
            "config": self.options,
            "options": self.parts,
            "epoch": self.epoch,
            "history": self.history,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sampler": self.generator.get_state(),
            "rng": checkpoint.rng_state(),
        }

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Continue from a :meth:`state` that was saved; the schedule follows from options and epoch.

        Raises:
            CheckpointError: it belongs to a run with other options, but for :data:`MAY_DIFFER`, or lacks something.
        """
        state, now = checkpoint.load(path), self.options
        try:
            # An option that is younger than the checkpoint had its default; before there was "fused", both were taken.
            defaults = dataclasses.asdict(TrainingConfig()) | {"fused": now["fused"]}
            before = defaults | state["config"]
            for name, value in now.items():
                if before[name] != value and name not in MAY_DIFFER:
                    raise ValueError(f"it was made with {name}={before[name]}, not {name}={value}")
            if state["epoch"] >= self.config.epochs:
                raise ValueError(f"it has {state['epoch']} epochs already, and epochs={self.config.epochs}")
            self.net.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty where the run used none
                self.scaler.load_state_dict(state["scaler"])
            self.generator.set_state(state["sampler"])
            self.epoch, self.history, self.parts = state["epoch"], state["history"], state["options"]
            if before != now:
                self.parts = [*self.parts, {"from_epoch": self.epoch} | now]
            self.scheduler = self.schedule()
            checkpoint.restore_rng(state["rng"])
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise CheckpointError(f"this run cannot resume from the checkpoint: {what}") from error

    def _check_finite(self, loss: Tensor) -> None:
        # Spikes hide it: a membrane potential that is not a number never reaches the threshold.
        kept = [one for state in self.optimizer.state.values() for one in state.values() if one is not None]
        if not nn.utils.get_total_norm([loss, *self.weights, *kept], torch.inf).isfinite():
            raise FloatingPointError(
                f"epoch {self.epoch}: the loss, a weight or what {self.config.opt} keeps of it is not finite: try a "
                "smaller lr, or clip the gradient"
            )


def lines(history: list[dict[str, float]], epochs: int) -> Iterator[str]:
    """Yield a line for the last epoch, and one if the test accuracy fell by more than five points in it."""
    numbers = {name.replace("_", " "): value for name, value in history[-1].items() if name != "epoch"}
    shown = (
        f"{name} {value:.2%}" if "accuracy" in name else f"{name} {value:.4g}"
        for name, value in numbers.items()
    )
    yield f"epoch {history[-1]['epoch'] + 1}/{epochs}: {', '.join(shown)}"
    before, now = (one.get("test_accuracy", 0.0) for one in (history[max(0, len(history) - 2)], history[-1]))
    if max(falls([before, now])) > COLLAPSE:
        yield (
            f"warning: test accuracy fell from {before:.1%} to {now:.1%}. The gradient may have exploded: try --clip 1 "
            'or --detach-reset none, and see chapter 06, "One update".'
        )


def fit(
    net: nn.Module,
    train: Data,
    test: Data | None = None,
    config: TrainingConfig | None = None,
    *,
    fused: bool = False,
    loss: Loss | None = None,
    scaler: Any = None,
    select: Callable[[int, Tensor], Tensor] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    start_epoch: int = 0,
    tensorboard: bool = False,
    about: Mapping[str, Any] | None = None,
    after_step: Callable[[], Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], Any] = lambda line: None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train ``net`` in place and return its history, a record for each epoch. Accuracies are fractions.

    The same options, data and torch give the same bits on the CPU, for any number of threads, and where a run was
    interrupted: ``resume`` continues from the end of its last whole epoch.

    Args:
        net: any module, such as :func:`~sequential_fmnist.networks.make_network` builds.
        train: images, sequences or batches, see :data:`~sequential_fmnist.data.Data`.
        test: likewise. They choose nothing but ``best.pt``, so report the last epoch, not the best.
        config: the run; None takes the defaults.
        fused: as ``config.fused``: whole steps, many in one call, by :func:`~snn_core.functional.train_steps` in place
            of the loop of ``Trainer.train_epoch``. The chain of a ``ColumnNet`` is trained, with ``config.loss`` of its
            mean over time, and the same within rounding.
        loss: of outputs and labels, in place of ``config.loss``.
        scaler: with the methods of ``torch.amp.GradScaler``, in place of the one that ``config`` asks for.
        select: given the number of an epoch and the order of its samples, returns those to train on, in their order.
        output_dir: folder for checkpoints and logs, in which an earlier run is replaced; None keeps nothing.
        resume: checkpoint to resume from.
        start_epoch: first epoch, counted from 0, of a run that does not resume.
        tensorboard: also log to ``output_dir/tb``.
        about: what else decides the outcome, such as the network's options; a run that resumes must have the same.
        after_step: called after each step, when weights have their gradients.
        stop: asked after each epoch whether training ends with it.
        log: receives a line or two for each epoch.
        progress: whether to show a progress bar.

    Raises:
        CheckpointError: ``resume`` cannot be used, or belongs to another run.
        FloatingPointError: a number is not finite after an epoch, which is not saved then.
        FusedError: ``fused`` is asked for and impossible; nothing has been trained or written then.
        ValueError: ``start_epoch`` together with ``resume``.
        WriteError: ``output_dir`` cannot be written.
    """
    config = config or TrainingConfig()
    if fused:
        config = dataclasses.replace(config, fused=True)
    if check_whole("start_epoch", start_epoch, 0, config.epochs - 1) and resume is not None:
        raise ValueError("start_epoch is the checkpoint's: give resume without it")
    set_seed(config.seed)
    samples = len(train) if hasattr(train, "__len__") else None
    trainer = Trainer(net, config, loss, start_epoch, {"samples": samples, **(about or {})})
    trainer.select = select
    train = prepared(train, "cpu" if config.workers else config.device)
    if config.fused and scaler is not None:
        raise FusedError("a scaler of your own is not called")
    trainer.scaler = scaler or trainer.scaler
    if config.fused:
        trainer.check_fused(train, after_step)
    if resume is not None:
        trainer.resume(resume)
    is_first, writer = is_first_process(), None
    folder = Path(output_dir) if output_dir is not None and is_first else None
    if folder:
        writer = checkpoint.begin(folder, trainer.parts, trainer.epoch, resume is not None, tensorboard)
    test = test if test is None else prepared(test, config.device)
    size = config.batch_size if isinstance(train, Sequences) else 1
    rounded = math.floor if config.drop_last else math.ceil
    steps = None if samples is None else rounded(samples / size) * (config.epochs - trainer.epoch)
    bar = tqdm(total=steps, unit="batch", desc=type(net).__name__, disable=not (progress and is_first))
    with bar, writer or nullcontext():
        while trainer.epoch < config.epochs:
            record = {"epoch": trainer.epoch, "lr": trainer.optimizer.param_groups[0]["lr"]}
            record |= trainer.train_epoch(train, bar, after_step)
            if test is not None:
                record["test_loss"], record["test_accuracy"] = evaluate(
                    net, test, config.batch_size, config.device, trainer.loss
                )
            trainer.history.append(record)
            for line in lines(trainer.history, config.epochs) if is_first else ():
                bar.set_postfix_str(line)
                log(line)
            if folder:
                checkpoint.keep(folder, trainer.state(), writer)
            if stop():
                break
    return trainer.history


def make_parser() -> argparse.ArgumentParser:
    """Return the parser: the options of the network, of its images and of training, and those of files."""
    parser = argparse.ArgumentParser(
        prog="python -m sequential_fmnist",
        description="PyTorch Classification Training",
        epilog="With --resume the defaults are the checkpoint's. Ctrl-C prints the command that resumes the run.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--data-path", help="folder in torchvision's layout (default: the cache, or a download into it)")
    for kind in (NetworkSpec, Images, TrainingConfig):
        add_options(parser, kind)
    add("--output-dir", help="path where to save")
    add("--resume", help="resume from checkpoint")
    add("--start-epoch", type=int, metavar="N", help="start epoch")
    add("--tb", action="store_true", help="Use TensorBoard to record logs")
    add("--overwrite", action="store_true", help="replace an earlier run in the output folder")
    return parser


def _options(
    parser: argparse.ArgumentParser, given: dict[str, Any]
) -> tuple[NetworkSpec, Images, TrainingConfig]:
    """Return what a command line asks for, and take it from ``given``; leave with one line if it cannot be."""
    before: dict[str, Any] = {}
    try:
        if "resume" in given:  # what is not given again is the checkpoint's
            if "start_epoch" in given:
                raise ValueError("start_epoch is the checkpoint's: give --resume without --start-epoch")
            before = checkpoint.load(given["resume"]).get("config", {})
        is_fused = given.get("fused", before.get("fused", False))
        options = before | {"device": "cuda" if torch.cuda.is_available() and not is_fused else "cpu"}
        network, images, config = (
            take_options(kind, given, options) for kind in (NetworkSpec, Images, TrainingConfig)
        )
        check_whole("start_epoch", given.get("start_epoch", 0), 0, config.epochs - 1)
        torch.empty(0, device=config.device)
    except CheckpointError as error:
        parser.exit(1, f"error: {error}\n")
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:  # torch without CUDA asserts it
        parser.exit(2, f"error: {str(error).splitlines()[0]}\n")
    resumed = Path(given["resume"]).parent if "resume" in given else None
    folder = Path(given.setdefault("output_dir", resumed or f"runs/{network.model}"))
    overwrite, latest = given.pop("overwrite", False), folder / "latest.pt"
    if latest.exists() and not (overwrite or (resumed and folder.samefile(resumed))):
        parser.exit(2, f"error: {folder} holds a run: give --resume {latest}, or --overwrite\n")
    return network, images, config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 1, and one line, for files and numbers that cannot be used."""
    words = ["--help" if word == "--h" else word for word in (sys.argv[1:] if argv is None else argv)]
    given = vars((parser := make_parser()).parse_args(words))
    network, images, config = _options(parser, given)
    try:
        if "WORLD_SIZE" in os.environ:  # one of the processes that torchrun started
            is_cuda = torch.device(config.device).type == "cuda"
            device = f"cuda:{os.environ['LOCAL_RANK']}" if is_cuda else config.device
            config = dataclasses.replace(config, device=device)
            distributed.init_process_group("nccl" if is_cuda else "gloo")
        options = {"data_path": given.pop("data_path", None), "verbose": is_first_process(), **vars(images)}
        with checkpoint.first_process_first():  # it fetches what the others find then
            data = [SequentialFashionMNIST(train=part, **options) for part in (True, False)]
        set_seed(config.seed)
        about = {**vars(network), "order": images.order, "standardise": images.standardise}
        given |= {"tensorboard": given.pop("tb", False), "log": tqdm.write, "about": about}
        fit(network.build(), *data, config, **given)
        return 0
    except (CheckpointError, DataError, FloatingPointError, FusedError, WriteError) as error:
        if is_first_process():
            print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        latest = Path(given["output_dir"]) / "latest.pt"
        again = [*words, "--resume", str(latest)] if latest.exists() else words
        if is_first_process():
            command = shlex.join(["python", "-m", "sequential_fmnist", *again])
            print(f"stopped; this command resumes the run:\n{command}", file=sys.stderr)
        return 130
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
