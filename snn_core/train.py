"""Command line: train one network on sequential Fashion-MNIST. ``python -m snn_core.train --help``.

With ``torchrun --nproc-per-node 2 -m snn_core.train ...`` several processes train it together, see
:mod:`snn_core.distributed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from tqdm.auto import tqdm

from snn_core import __version__
from snn_core.backend import BACKENDS
from snn_core.checkpoint import CheckpointError
from snn_core.config import LOSSES
from snn_core.data import SequentialFashionMNIST
from snn_core.distributed import Ranks, join
from snn_core.exchange import check_export, export
from snn_core.network import NETWORKS, make_network
from snn_core.sources import DataError
from snn_core.training import TrainingConfig, fit

__all__ = ["main", "make_parser"]

DEFAULTS = TrainingConfig()


def _number(kind: type, lowest: float, exclusive: bool = False) -> Callable[[str], float]:
    """Return an argparse type for a finite number of this kind, not below ``lowest``."""

    def parse(text: str) -> float:
        value = kind(text)
        if not math.isfinite(value) or value < lowest or (exclusive and value == lowest):
            bound = "above" if exclusive else "at least"
            raise argparse.ArgumentTypeError(f"must be a finite number {bound} {lowest}, got {text}")
        return value

    parse.__name__ = kind.__name__  # argparse names the type in "invalid int value"
    return parse


def _device(text: str) -> str:
    try:
        if torch.device(text).type not in ("cpu", "cuda"):
            raise RuntimeError("the kinds of device are cpu and cuda")
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises an AssertionError
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text} cannot be used here ({reason}); try cpu") from error
    return text


def _is_first_here() -> bool:
    """Whether this process is the one of torchrun's on this machine that says what is wrong for all of them."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except those that only say that a flag is off or a value is worked out later."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Answers bad arguments with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        line = f"{self.prog}: error: {message} (--help lists all arguments)\n"
        self.exit(2, line if _is_first_here() else None)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its flags are those of the tutorial's text, and a few more below them."""
    parser = _Parser(
        prog="python -m snn_core.train",
        description="Train one network on Fashion-MNIST read column by column.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    count, size, rate = _number(int, 0), _number(int, 1), _number(float, 0)
    positive = _number(float, 0, exclusive=True)
    add(
        "--data-path",
        help="a torchvision root, a folder of IDX files or of their .gz (default: cache, system, download)",
    )
    add(
        "--device",
        type=_device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1, ...",
    )
    add("-b", "--batch-size", type=size, default=DEFAULTS.batch_size, help="images in a batch")
    add("--epochs", type=size, default=DEFAULTS.epochs, metavar="N", help="number of total epochs to run")
    add(
        "-j",
        "--workers",
        type=count,
        default=DEFAULTS.workers,
        metavar="N",
        help="data loading workers; 0 keeps all images in one tensor on the device, which is fastest",
    )
    add("--lr", type=positive, default=DEFAULTS.lr, help="initial learning rate")
    add("--opt", choices=("sgd", "adam"), default=DEFAULTS.opt, help="optimizer")
    add(
        "--lrs",
        choices=("cosa", "step", "none"),
        default=DEFAULTS.lrs,
        help="learning rate schedule: cosa (CosineAnnealingLR), step (StepLR) or none",
    )
    add("--step-size", type=size, default=DEFAULTS.step_size, help="step_size for StepLR, in epochs")
    add("--step-gamma", type=positive, default=DEFAULTS.step_gamma, help="gamma for StepLR")
    add("--cosa-tmax", type=size, help="T_max for CosineAnnealingLR (default: the number of epochs)")
    add("--momentum", type=rate, default=DEFAULTS.momentum, metavar="M", help="momentum for SGD, below 1")
    add(
        "--wd", "--weight-decay", type=rate, default=DEFAULTS.weight_decay, dest="weight_decay", metavar="W",
        help="weight decay",
    )  # fmt: skip
    add("--output-dir", help="where checkpoints and logs go (default: runs/MODEL)")
    add("--resume", help="checkpoint to go on from; logs go on in its folder unless --output-dir is given")
    add(
        "--start-epoch",
        type=count,
        metavar="N",
        help="first epoch, counted from 0 (default: 0, or the checkpoint's)",
    )
    add("--cache-dataset", action="store_true", help="keep the checked data in the cache for a quicker start")
    add("--cuda-graph", action="store_true", help="start each training step on a GPU as one CUDA graph")
    add("--amp", action="store_true", help="mixed precision: bfloat16 on the CPU, float16 on CUDA")
    add("--tb", action="store_true", help="log to TensorBoard, in OUTPUT_DIR/tb")
    add("--model", choices=tuple(NETWORKS), default=DEFAULTS.model, help="network")

    more = parser.add_argument_group("beyond the tutorial's text")
    add = more.add_argument
    add("--hidden", type=size, default=DEFAULTS.hidden, help="number of hidden neurons")
    add("--backend", choices=BACKENDS, default=DEFAULTS.backend, help="how sequences run")
    add("--loss", choices=LOSSES, default=DEFAULTS.loss, help="loss between the firing rates and the label")
    add("--clip", type=positive, metavar="NORM", help="largest norm of the gradient (default: no limit)")
    add("--seed", type=count, default=DEFAULTS.seed, help="seed of weights and order of images")
    add("--order", choices=("column", "row"), default=DEFAULTS.order, help="how an image is read")
    add(
        "--source",
        choices=("auto", "full", "embedded"),
        default="auto",
        help="full refuses the embedded subset, embedded takes it at once",
    )
    add("--threads", type=size, help="CPU threads of torch (default: torch decides)")
    add(
        "--export",
        metavar="FILE",
        help="write the trained network to FILE as well: .nir (NIR), .pt2 (torch.export) or .onnx (ONNX)",
    )
    add("--overwrite", action="store_true", help="replace an earlier run in the output folder")
    add("--version", action="version", version=f"snn_core {__version__}, torch {torch.__version__}")
    return parser


def _config(args: argparse.Namespace) -> TrainingConfig:
    names = [field.name for field in dataclasses.fields(TrainingConfig)]
    return TrainingConfig(**{name: getattr(args, name) for name in names})


def _output_dir(args: argparse.Namespace) -> Path:
    """Return the folder of this run.

    Raises:
        ValueError: it already holds a run that would be lost.
    """
    if args.output_dir is None and args.resume is not None:
        return Path(args.resume).parent
    folder = Path(args.output_dir or Path("runs") / args.model)
    if (folder / "latest.pt").exists() and args.resume is None and not args.overwrite:
        raise ValueError(
            f"--output-dir: {folder} already holds a run: add --resume {folder / 'latest.pt'} to go on, "
            "--overwrite to replace it, or name another folder"
        )
    return folder


def _load(args: argparse.Namespace, ranks: Ranks) -> tuple[SequentialFashionMNIST, SequentialFashionMNIST]:
    """Return training and test images; on each machine one process fetches what the others then find.

    Raises:
        DataError, OSError: a process has no data; where it is another one, this one leaves without a word.
    """
    loaded, failure = [], None
    for turn in (True, False):
        if (ranks.local == 0) == turn:
            try:
                loaded = [
                    SequentialFashionMNIST(
                        args.data_path,
                        train=split,
                        order=args.order,
                        source=args.source,
                        cache=args.cache_dataset,
                        verbose=ranks.first,
                    )
                    for split in (True, False)
                ]
            except (DataError, OSError) as error:
                failure = error
        if ranks.any(failure is not None):
            raise failure or SystemExit(1)
    return loaded[0], loaded[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Bad arguments end with status 2, unusable data or checkpoints with status 1, each with one line that says why.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        config, folder = _config(args), _output_dir(args)
        if args.export is not None:
            check_export(make_network(config.model, config.hidden), args.export)
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        with join(config.device) as ranks:
            train, test = _load(args, ranks)
            net, _ = fit(
                dataclasses.replace(config, device=ranks.device),
                train,
                test,
                output_dir=folder,
                resume=args.resume,
                start_epoch=args.start_epoch,
                tensorboard=args.tb,
                log=tqdm.write,
                ranks=ranks,
            )
        if args.export is not None and ranks.first:
            export(net, args.export)
    except (DataError, CheckpointError, FloatingPointError, OSError) as error:
        if _is_first_here() or isinstance(error, DataError | OSError):
            print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        parser.error(str(error))
    if ranks.first:
        print(f"checkpoints and metrics are in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
