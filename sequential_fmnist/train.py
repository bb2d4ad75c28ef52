"""Command line: train one network on sequential Fashion-MNIST. ``python -m sequential_fmnist --help``.

With ``torchrun --nproc-per-node 2 -m sequential_fmnist ...`` several processes train it together, see
:mod:`sequential_fmnist.distributed`.

Ctrl-C (SIGINT) and SIGTERM stop a run after the running epoch, with its checkpoint, and say how to go on; the exit
status is 130 or 143. A second one stops at once and drops the running epoch. Either way, as after a SIGKILL, the run
goes on to the same bits as one that nothing disturbed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from sequential_fmnist.checkpoint import CheckpointError
from sequential_fmnist.command import Parser, folder, number, path, target, whole
from sequential_fmnist.config import HIGHEST, LOSSES
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.distributed import Ranks, join
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.output import refuse_run
from sequential_fmnist.sources import DataError
from sequential_fmnist.stopping import Stop
from sequential_fmnist.training import TrainingConfig, fit
from snn_core import __version__
from snn_core.backend import BACKENDS
from snn_exchange import ExchangeError, check_export, export

__all__ = ["main", "make_parser"]

DEFAULTS = TrainingConfig()
NOTHING_SAVED = "stopped before an epoch had ended: give the same command again"


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


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its flags are those of the tutorial's text, and a few more below them."""
    parser = Parser(
        prog="python -m sequential_fmnist",
        description="Train one network on Fashion-MNIST read column by column.",
        epilog="Ctrl-C or SIGTERM stops after the running epoch, with its checkpoint, and says how to go on; twice "
        "stops at once and drops the running epoch. Either way, and after a SIGKILL too, --resume goes on exactly.",
        formatter_class=_HelpFormatter,
    )
    add = parser.add_argument
    count, size, rate, positive = whole(0), whole(1), number(0), number(0, exclusive=True)
    add(
        "--data-path",
        type=path,
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
        type=whole(0, HIGHEST["workers"]),
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
    add("--output-dir", type=folder, help="where checkpoints and logs go (default: runs/MODEL)")
    add(
        "--resume",
        type=path,
        nargs="?",
        const=True,
        metavar="CHECKPOINT",
        help="checkpoint to go on from; logs go on in its folder unless --output-dir is given. Without a value: the "
        "output folder's latest.pt, or a new run if there is none",
    )
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
    add(
        "--seed",
        type=whole(0, HIGHEST["seed"]),
        default=DEFAULTS.seed,
        help="seed of weights and order of images",
    )
    add("--order", choices=("column", "row"), default=DEFAULTS.order, help="how an image is read")
    add(
        "--source",
        choices=("auto", "full", "embedded"),
        default="auto",
        help="full refuses the embedded subset, embedded takes it at once",
    )
    add("--threads", type=whole(1, HIGHEST["workers"]), help="CPU threads of torch (default: torch decides)")
    add(
        "--export",
        type=target,
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
    if args.output_dir is None and isinstance(args.resume, str):
        return Path(args.resume).parent
    folder = Path(args.output_dir or Path("runs") / args.model)
    goes_on = args.resume is True or (args.resume and Path(args.resume).resolve().parent == folder.resolve())
    if not (goes_on or args.overwrite):
        refuse_run(folder)
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


def _check_export(parser: Parser, net: torch.nn.Module, file: Path) -> None:
    """End with one line, before hours of training, if ``net`` cannot be written to ``file``."""
    try:
        check_export(net, file)
    except ExchangeError as error:
        parser.error(f"argument --export: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Bad arguments end with status 2, unusable data or checkpoints with status 1, each with one line that says why; a run
    that a signal stopped ends with 128 and the signal's number, and one line that says how to go on.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    stop, finished = Stop(), False
    try:
        config, folder = _config(args), _output_dir(args)
        if args.export is not None:
            _check_export(parser, make_network(config.model, config.hidden), args.export)
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        with stop.on_signals(), join(config.device) as ranks:
            train, test = _load(args, ranks)
            stop.patient = True
            net, history = fit(
                dataclasses.replace(config, device=ranks.device),
                train,
                test,
                output_dir=folder,
                resume=args.resume,
                overwrite=args.overwrite,
                start_epoch=args.start_epoch,
                tensorboard=args.tb,
                stop=stop,
                log=tqdm.write,
                ranks=ranks,
            )
            finished = history[-1]["epoch"] + 1 == config.epochs
        if finished and args.export is not None and ranks.first:
            export(net, args.export)
    except (DataError, CheckpointError, FloatingPointError, OSError) as error:
        if _is_first_here() or isinstance(error, DataError | OSError):
            print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        stop.signal = stop.signal or signal.SIGINT
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error):
            parser.fail("not enough memory: try a smaller --hidden or --batch-size")
        # Under torchrun another process may have stopped at once, and this one lost its connection to it.
        if stop.signal is None:
            raise
    if not finished:
        if _is_first_here():
            print(_how_to_go_on(argv, folder) if stop.saved else NOTHING_SAVED, file=sys.stderr)
        return 128 + (stop.signal or signal.SIGTERM)
    if ranks.first:
        print(f"checkpoints and metrics are in {folder}")
    return 0


def _how_to_go_on(argv: Sequence[str] | None, folder: Path) -> str:
    """Return the command line that goes on with a run that ``argv`` started in ``folder``."""
    words, kept = list(sys.argv[1:] if argv is None else argv), []
    while words:
        word = words.pop(0)
        if word in ("--resume", "--start-epoch") and words and not words[0].startswith("-"):
            words.pop(0)
        elif word.partition("=")[0] not in ("--resume", "--start-epoch", "--overwrite"):
            kept.append(word)
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", processes] if processes else []
    program = [sys.executable, *launcher, "-m", "sequential_fmnist"]
    return f"stopped; go on with: {shlex.join([*program, *kept, '--resume', str(folder / 'latest.pt')])}"


if __name__ == "__main__":
    raise SystemExit(main())
