"""Train one of the three networks on sequential Fashion-MNIST: ``python -m sequential_fmnist --help``.

From top to bottom: the options that decide a run, a network in training with the loop, a whole run, the command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler, TensorDataset
from tqdm import tqdm

from sequential_fmnist import checkpoint
from sequential_fmnist.checkpoint import CheckpointError, WriteError, atomic_write, writing
from sequential_fmnist.data import DataError, ImageData, SequentialFashionMNIST, as_columns, batches
from sequential_fmnist.evaluate import AMP, LOSSES, evaluate
from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.checks import check_choice, check_device, check_flag, check_number, check_whole
from snn_core.functional import reset_net, train_steps
from snn_core.fuse import defines
from snn_core.kernels import BACKENDS
from snn_core.neuron import SpikingNeuron

__all__ = ["Trainer", "TrainingConfig", "fit", "main", "make_parser", "set_seed"]

CHOICES: dict[str, Sequence[str]] = {
    "model": tuple(NETWORKS), "opt": ("sgd", "adam"), "lrs": ("cosa", "step", "none"), "loss": tuple(LOSSES),
    "detach_reset": ("all", "hidden", "none"), "order": ("column", "row"), "backend": BACKENDS,
}  # fmt: skip
LOWEST = {"hidden": 1, "epochs": 1, "batch_size": 1, "step_size": 1, "seed": 0, "workers": 0}
#: What may differ from the checkpoint's when a run is resumed: how long it trains, and on what.
FREE = ("epochs", "device", "workers")
#: Steps in one call of train_steps: few enough that Ctrl-C and the progress bar need not wait.
STEPS = 64


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a run; the defaults are those of the tutorial's comparison.

    Raises:
        TypeError, ValueError: a value of another type or out of its range; the message names the field.
    """

    model: str = "plain"
    hidden: int = 32
    epochs: int = 64
    batch_size: int = 256
    lr: float = 0.1
    opt: str = "sgd"
    lrs: str = "cosa"
    step_size: int = 32
    step_gamma: float = 0.1
    cosa_tmax: int | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss: str = "mse"
    clip: float | None = None
    detach_reset: str = "all"
    seed: int = 0
    order: str = "column"
    device: str = "cpu"
    backend: str = "auto"
    amp: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            check_choice(name, getattr(self, name), words)
        for name, lowest in LOWEST.items():
            check_whole(name, getattr(self, name), lowest, 2**32 - 1)  # of a seed NumPy takes no more
        for name in ("lr", "step_gamma"):
            check_number(name, getattr(self, name), above=0)
        for name in ("momentum", "weight_decay"):
            if check_number(name, getattr(self, name)) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        check_whole("cosa_tmax", 1 if self.cosa_tmax is None else self.cosa_tmax, 1)
        check_number("clip", 1 if self.clip is None else self.clip, above=0)
        check_flag("amp", self.amp)
        check_choice("device", check_device("device", self.device).type, ("cpu", "cuda"))


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random number generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Trainer:
    """A network, its optimizer and all that must be saved to resume: one call of :meth:`train_epoch` per epoch.

    Args:
        config: the run; its seed decides the initial weights and the order of the images.
        start_epoch: epochs that count as done; the learning rate is what it would be then.
        net: a network of your own, ``[N, 1, H, W]`` to outputs ``[N, classes]``; None builds ``config.model``.
    """

    def __init__(self, config: TrainingConfig, start_epoch: int = 0, net: nn.Module | None = None) -> None:
        if check_whole("start_epoch", start_epoch, 0) >= config.epochs:
            raise ValueError(f"start_epoch must be below the {config.epochs} epochs, got {start_epoch}")
        self.config, self.device = config, torch.device(config.device)
        set_seed(config.seed)
        if net is None:
            net = make_network(config.model, config.hidden, config.backend)
            net.sn2.detach_reset = config.detach_reset == "all"
            for hidden in (part for part in net.sn1.modules() if isinstance(part, SpikingNeuron)):
                hidden.detach_reset = config.detach_reset != "none"
        self.net = net.to(self.device)
        self.processes = distributed.get_world_size() if distributed.is_initialized() else 1
        self.model = DistributedDataParallel(self.net) if self.processes > 1 else self.net
        self.weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "foreach": True}
        if config.opt == "adam":
            self.optimizer = torch.optim.Adam(self.weights, **options)
        else:
            self.optimizer = torch.optim.SGD(self.weights, momentum=config.momentum, **options)
        self.loss = LOSSES[config.loss]
        is_scaled = config.amp and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=is_scaled)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = start_epoch
        self.scheduler = self._make_scheduler()
        self.history: list[dict[str, float]] = []
        #: Options, and the epoch from which they held.
        self.options: list[dict[str, Any]] = [{"from_epoch": start_epoch} | dataclasses.asdict(config)]

    def _make_scheduler(self) -> torch.optim.lr_scheduler.LRScheduler:
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
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Detected call of `lr_scheduler.step"
            )  # the optimizer takes none here
            for _ in range(self.epoch):
                scheduler.step()
        return scheduler

    def _order(self, images: int) -> Tensor:
        """Return which images this process sees in the epoch to come."""
        if self.processes == 1:
            return torch.randperm(images, generator=self.generator)
        sampler = DistributedSampler(range(images), seed=self.config.seed)
        sampler.set_epoch(self.epoch)
        return torch.tensor(list(sampler))

    def train_epoch(
        self,
        data: ImageData | TensorDataset,
        after_step: Callable[[], Any] | None = None,
        progress: Callable[[int], Any] = lambda steps: None,
    ) -> tuple[float, float]:
        """Train on every image once and return mean loss and accuracy (a fraction) over the epoch.

        ``after_step`` is called after each step, ``progress`` with a number of steps that were taken.

        Raises:
            FloatingPointError: a loss, a weight, or what the optimizer keeps is not finite after the epoch.
        """
        config, size = self.config, max(1, self.config.batch_size // self.processes)
        data = as_columns(data, "cpu" if config.workers else self.device)
        order, losses, right, sizes = self._order(len(data)), [], [], []
        self.net.train()
        # The same lines as below, many steps in one kernel call, where nobody looks at each of them.
        while after_step is None and (steps := self._take_steps(data, order)) is not None:
            losses.append(steps.losses)
            right.append(steps.right)
            sizes += [size] * len(steps.losses)
            order = order[size * len(steps.losses) :]
            progress(len(steps.losses))
        for images, labels in batches(data, order, size, config.workers):
            images, labels = images.to(self.device), labels.to(self.device)
            with torch.autocast(self.device.type, AMP[self.device.type], config.amp):
                rate = self.model(images)
                loss = self.loss(rate, labels)
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            if config.clip is not None:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.weights, config.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            reset_net(self.net)
            losses.append(loss.detach().double().view(1))
            right.append((rate.argmax(1) == labels).sum().double().view(1))
            sizes.append(len(labels))
            progress(1)
            if after_step is not None:
                after_step()
        self.scheduler.step()
        self.epoch += 1
        self._check_finite(torch.cat(losses))
        seen = torch.tensor(sizes, dtype=torch.float64, device=self.device)
        sums = torch.stack([(torch.cat(losses) * seen).sum(), torch.cat(right).sum(), seen.sum()])
        if self.processes > 1:
            distributed.all_reduce(sums)
        loss_sum, hits, images = sums.tolist()
        return loss_sum / images, hits / images

    def _take_steps(self, data: TensorDataset, order: Tensor) -> Any:
        """Take the next steps of :meth:`train_epoch` by :func:`~snn_core.functional.train_steps`.

        Return their losses and hits; None where that is impossible: too few images for a batch, a network that is no
        chain, a hook, another backend, mixed precision, a GPU, several processes.
        """
        config, (columns, labels) = self.config, data.tensors
        size, count = config.batch_size, min(STEPS, len(order) // config.batch_size)
        plain = not (config.amp or config.workers or columns.is_cuda or self.processes > 1)
        chain = self.net.chain if plain and defines(self.net, "chain") else None
        if count == 0 or chain is None or not columns.is_floating_point():
            return None
        x_seq, index = columns.transpose(0, 1), order[: count * size].view(count, size)
        try:
            return train_steps(chain, x_seq, labels, self.optimizer, config.loss, index, config.clip)
        except ValueError:  # what kernels do not know
            return None

    def _check_finite(self, losses: Tensor) -> None:
        # Spikes hide it: a membrane potential that is not a number never reaches the threshold.
        kept = [one for state in self.optimizer.state.values() for one in state.values() if one is not None]
        if not all(bool(one.isfinite().all()) for one in (losses, *self.weights, *kept)):
            raise FloatingPointError(
                f"epoch {self.epoch}: the loss, a weight or what {self.config.opt} keeps of it is not finite: try a "
                "smaller lr, or clip the gradient"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load_state_dict` needs, in types that ``weights_only`` loading allows."""
        return {
            "config": dataclasses.asdict(self.config),
            "options": self.options,
            "epoch": self.epoch,
            "history": self.history,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sampler": self.generator.get_state(),
            "rng": checkpoint.rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any], **more: Any) -> None:
        """Resume from a :meth:`state_dict`, which must hold ``more`` too; the schedule follows from options and epoch.

        Raises:
            CheckpointError: it belongs to a run with other options, but for :data:`FREE`, or lacks something.
        """
        own = dataclasses.asdict(self.config)
        try:
            before = state["config"] | {name: state[name] for name in more}
            for name, value in (own | more).items():
                if before[name] != value and name not in FREE:
                    raise ValueError(f"it was made with {name}={before[name]}, not {name}={value}")
            if state["epoch"] >= self.config.epochs:
                raise ValueError(f"it has {state['epoch']} epochs already, and epochs={self.config.epochs}")
            self.net.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty where the run used none, as on the CPU
                self.scaler.load_state_dict(state["scaler"])
            self.generator.set_state(state["sampler"])
            self.epoch, self.history, self.options = state["epoch"], state["history"], state["options"]
            if before != own | more:
                self.options = [*self.options, {"from_epoch": self.epoch} | own]
            self.scheduler = self._make_scheduler()
            checkpoint.restore_rng(state["rng"])
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise CheckpointError(f"this run cannot resume from the checkpoint: {what}") from error


def _save(folder: Path, state: dict[str, Any], writer: Any) -> None:
    """Save an epoch, latest.pt last: a run that is killed at any moment resumes, and makes the other files again."""
    *earlier, record = state["history"]
    if record["test_accuracy"] > max((one["test_accuracy"] for one in earlier), default=-1.0):
        checkpoint.save(folder / "best.pt", state)
    with atomic_write(folder / "metrics.jsonl") as file:
        file.writelines(f"{json.dumps(one)}\n".encode() for one in state["history"])
    if writer:
        with writing(folder / "tb"):
            for name in record.keys() - {"epoch"}:
                writer.add_scalar(name, record[name], record["epoch"])
            writer.flush()
    checkpoint.save(folder / "latest.pt", state)


def describe(history: list[dict[str, float]], epochs: int) -> Iterator[str]:
    """Yield a line for the last epoch, and one if the test accuracy fell by more than five points in it."""
    last = history[-1]
    yield (
        f"epoch {last['epoch'] + 1}/{epochs}: lr {last['lr']:.4f}, train loss {last['train_loss']:.4f} accuracy "
        f"{last['train_accuracy']:.2%}, test loss {last['test_loss']:.4f} accuracy {last['test_accuracy']:.2%}"
    )
    before, now = history[max(0, len(history) - 2)]["test_accuracy"], last["test_accuracy"]
    if before - now > 0.05:
        yield (
            f"warning: test accuracy fell from {before:.1%} to {now:.1%}. The gradient may have exploded: try --clip 1 "
            'or --detach-reset none, and see the chapter "The gradient through time".'
        )


def fit(
    config: TrainingConfig,
    train: ImageData,
    test: ImageData,
    *,
    net: nn.Module | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    start_epoch: int = 0,
    tensorboard: bool = False,
    log: Callable[[str], Any] = lambda line: None,
    progress: bool = True,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train a network; return it as it is after the last epoch, and its history, a record for each epoch.

    The same options, data and torch give the same bits on the CPU, for any number of threads, and where a run was
    interrupted: ``resume`` continues from the end of its last whole epoch. Accuracies are fractions.

    Args:
        config: the run.
        train: training images and labels.
        test: test images and labels. They choose nothing but ``best.pt``, so report the last epoch, not the best.
        net: a network of your own in place of ``config.model``; it is trained in place.
        output_dir: folder for checkpoints and logs, in which an earlier run is replaced; None keeps nothing.
        resume: checkpoint to resume from.
        start_epoch: first epoch, counted from 0, of a run that does not resume.
        tensorboard: also log to ``output_dir/tb``.
        log: receives a line or two for each epoch.
        progress: whether to show a progress bar.

    Raises:
        CheckpointError, FloatingPointError, WriteError: ``resume`` cannot be used, or belongs to another run; a number
            is not finite after an epoch, which is not saved then; ``output_dir`` cannot be written.
    """
    trainer = Trainer(config, start_epoch, net)
    same = {"images": len(train.labels), "processes": trainer.processes}
    if resume is not None:
        trainer.load_state_dict(checkpoint.load(resume), **same)
    first = _speaks()
    folder, writer = Path(output_dir) if output_dir is not None and first else None, None
    if folder:
        if resume is None:
            with writing(folder):
                (folder / "latest.pt").unlink(missing_ok=True)  # of an earlier run
        with atomic_write(folder / "config.json") as file:
            file.write(json.dumps(trainer.options, indent=1).encode())
    if folder and tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        with writing(folder / "tb"):  # events from here on, of an earlier run or a killed one, count no more
            writer = SummaryWriter(str(folder / "tb"), purge_step=trainer.epoch)
    train = as_columns(train, "cpu" if config.workers else config.device)
    test = as_columns(test, config.device)
    steps = math.ceil(len(train) / config.batch_size)
    bar = tqdm(total=config.epochs * steps, initial=trainer.epoch * steps, unit="batch", desc=config.model,
               disable=not (progress and first))  # fmt: skip
    with bar, writer or nullcontext():
        while trainer.epoch < config.epochs:
            record = {"epoch": trainer.epoch, "lr": trainer.optimizer.param_groups[0]["lr"]}
            record["train_loss"], record["train_accuracy"] = trainer.train_epoch(train, progress=bar.update)
            record["test_loss"], record["test_accuracy"] = evaluate(
                trainer.net, test, config.batch_size, config.device, config.amp, config.loss
            )
            trainer.history.append(record)
            bar.set_postfix_str(f"loss {record['train_loss']:.4f}, accuracy {record['test_accuracy']:.2%}")
            for line in describe(trainer.history, config.epochs) if first else ():
                log(line)
            if folder:
                _save(folder, trainer.state_dict() | same, writer)
    return trainer.net, trainer.history


def _speaks() -> bool:
    """Whether this process is the one of torchrun's that reports for all."""
    return os.environ.get("RANK", "0") == "0"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser: the arguments of the text as it lists them, and a few more below them."""
    parser = argparse.ArgumentParser(
        prog="python -m sequential_fmnist",
        description="PyTorch Classification Training",
        epilog="Defaults: --model plain --epochs 64 -b 256 --opt sgd --lr 0.1 --momentum 0.9 --lrs cosa; with --resume "
        "those of the checkpoint. Ctrl-C prints the command that resumes the run.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--data-path")
    add("--device", help="device")
    add("-b", "--batch-size", type=int)
    add("--epochs", type=int, metavar="N", help="number of total epochs to run")
    add("-j", "--workers", type=int, metavar="N", help="number of data loading workers (default: 0)")
    add("--lr", type=float, help="initial learning rate")
    add("--opt", help="optimizer (sgd or adam)")
    add("--lrs", type=str.lower, help="lr schedule (cosa(CosineAnnealingLR), step(StepLR)) or None")
    add("--step-size", type=int, help="step_size for StepLR")
    add("--step-gamma", type=float, help="gamma for StepLR")
    add("--cosa-tmax", type=int, help="T_max for CosineAnnealingLR. If none, it will be set to epochs")
    add("--momentum", type=float, metavar="M", help="Momentum for SGD")
    add("--wd", "--weight-decay", type=float, metavar="W", help="weight decay (default: 0)")
    add("--output-dir", help="path where to save")
    add("--resume", help="resume from checkpoint")
    add("--start-epoch", type=int, metavar="N", help="start epoch")
    add("--cache-dataset", action="store_true", help="Cache the datasets for quicker initialization")
    add("--amp", action="store_true", help="Use AMP training")
    add("--tb", action="store_true", help="Use TensorBoard to record logs")
    add("--model", help='"plain", "feedback", or "stateful-synapse"')
    add = parser.add_argument_group("beyond the text").add_argument
    add("--hidden", type=int, help="number of hidden neurons (default: 32)")
    add("--loss", help="of the firing rates: mse (default) or cross-entropy")
    add("--clip", type=float, metavar="NORM", help="largest norm of the gradient (default: no limit)")
    add("--detach-reset", metavar="WHERE", help="cut gradients at resets: all (as listed), hidden or none")
    add("--seed", type=int, help="of weights and of the order of images (default: 0)")
    add("--order", help="how an image is read: column (default) or row")
    add("--backend", help=f"how sequences run: {', '.join(BACKENDS)}")
    add("--source", choices=("auto", "full", "embedded"), help="full refuses the subset")
    add("--threads", type=int, help="CPU threads of torch (default: torch decides)")
    add("--overwrite", action="store_true", help="replace an earlier run in the output folder")
    return parser


def _options(parser: argparse.ArgumentParser, given: dict[str, Any]) -> TrainingConfig:
    """Return the run that a command line asks for, and take it from ``given``; leave with one line if it cannot be."""
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    options = {"device": "cuda" if torch.cuda.is_available() else "cpu"}
    try:
        given |= {"weight_decay": given.pop("wd")} if "wd" in given else {}
        if "resume" in given:  # what is not given again is the checkpoint's
            before = checkpoint.load(given["resume"]).get("config", {})
            options = {name: before[name] for name in before.keys() & fields - {"device"}} | options
        config = TrainingConfig(**options | {name: given.pop(name) for name in given.keys() & fields})
        check_whole("start_epoch", given.get("start_epoch", 0), 0, config.epochs - 1)
        torch.empty(0, device=config.device)
        torch.set_num_threads(check_whole("threads", given.pop("threads", torch.get_num_threads()), 1, 1024))
    except CheckpointError as error:
        parser.exit(1, f"error: {error}\n")
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:  # torch without CUDA asserts it
        parser.exit(2, f"error: {str(error).splitlines()[0]}\n")
    resumed = Path(given["resume"]).parent if "resume" in given else None
    folder = Path(given.setdefault("output_dir", resumed or f"runs/{config.model}"))
    overwrite, latest = given.pop("overwrite", False), folder / "latest.pt"
    if latest.exists() and not (overwrite or (resumed and folder.samefile(resumed))):
        parser.exit(2, f"error: {folder} holds a run: give --resume {latest}, or --overwrite\n")
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 1, and one line, for files and numbers that cannot be used."""
    words = ["--help" if word == "--h" else word for word in (sys.argv[1:] if argv is None else argv)]
    given = vars((parser := make_parser()).parse_args(words))
    config = _options(parser, given)
    try:
        if "WORLD_SIZE" in os.environ:  # one of the processes that torchrun started
            is_cuda = torch.device(config.device).type == "cuda"
            device = f"cuda:{os.environ['LOCAL_RANK']}" if is_cuda else config.device
            config = dataclasses.replace(config, device=device)
            distributed.init_process_group("nccl" if is_cuda else "gloo")
        data = {"source": given.pop("source", "auto"), "cache": given.pop("cache_dataset", False)}
        data |= {"data_path": given.pop("data_path", None), "order": config.order, "verbose": _speaks()}
        train, test = (SequentialFashionMNIST(train=split, **data) for split in (True, False))
        fit(config, train, test, tensorboard=given.pop("tb", False), log=tqdm.write, **given)
        return 0
    except (CheckpointError, DataError, FloatingPointError, WriteError) as error:
        if _speaks():
            print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        latest = Path(given["output_dir"]) / "latest.pt"
        again = [*words, "--resume", str(latest)] if latest.exists() else words
        if _speaks():
            command = shlex.join(["python", "-m", "sequential_fmnist", *again])
            print(f"stopped; this command resumes the run:\n{command}", file=sys.stderr)
        return 130
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
