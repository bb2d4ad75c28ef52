"""Command line: train one network on sequential Fashion-MNIST. ``python -m sequential_fmnist --help``.

With ``torchrun --nproc-per-node 2 -m sequential_fmnist ...`` several processes train it together, see
:mod:`sequential_fmnist.distributed`.

Ctrl-C (SIGINT) and SIGTERM stop a run after the running epoch, with its checkpoint, and print the command that resumes
it; the exit status is 130 or 143. A second one stops at once and drops the running epoch. Either way, as after a
SIGKILL, the resumed run ends with the same bits as one that nothing disturbed.
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
from sequential_fmnist.command import Parser, add_option, choice, flag, folder, from_args, option, path, whole
from sequential_fmnist.config import HIGHEST
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.distributed import Ranks, join
from sequential_fmnist.output import refuse_run
from sequential_fmnist.sources import DataError
from sequential_fmnist.stopping import Stop
from sequential_fmnist.training import TrainingConfig, fit
from snn_core import __version__

__all__ = ["main", "make_parser"]

#: Options of the tutorial's text, in its order; all others come after them, in a group of their own.
_TEXT = (
    "data_path", "device", "batch_size", "epochs", "workers", "lr", "opt", "lrs", "step_size", "step_gamma",
    "cosa_tmax", "momentum", "weight_decay", "output_dir", "resume", "start_epoch", "cache_dataset", "amp", "tb",
    "model",
)  # fmt: skip

_NOTHING_SAVED = "stopped before an epoch had ended: give the same command again"


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks besides the :class:`TrainingConfig`."""

    data_path: str | None = option(
        None, path, "a torchvision root, a folder of IDX files or of their .gz (default: cache, system, download)"
    )  # fmt: skip
    output_dir: Path | None = option(None, folder, "path where to save (default: runs/MODEL)")  # noqa: RUF009
    resume: str | bool | None = option(
        None,
        path,
        "resume from checkpoint; logs continue in its folder unless --output-dir is given. Without a value: the "
        "output folder's latest.pt, or a new run if there is none",
        nargs="?",
        const=True,
    )
    start_epoch: int | None = option(
        None, whole(0), "start epoch, counted from 0 (default: 0, or the checkpoint's)", metavar="N"
    )
    cache_dataset: bool = option(False, flag, "Cache the datasets for quicker initialization")
    tb: bool = option(False, flag, "Use TensorBoard to record logs, in OUTPUT_DIR/tb")
    source: str = option(
        "auto", choice("auto", "full", "embedded"), "auto, full (refuses the embedded subset) or embedded"
    )
    threads: int | None = option(
        None, whole(1, HIGHEST["workers"]), "CPU threads of torch (default: torch decides)"
    )
    overwrite: bool = option(False, flag, "replace an earlier run in the output folder")

    def run_folder(self, model: str) -> Path:
        """Return the folder of this run.

        Raises:
            ValueError: it already holds a run that would be lost.
        """
        if self.output_dir is None and isinstance(self.resume, str):
            return Path(self.resume).parent
        where = Path(self.output_dir or Path("runs") / model)
        resumed = self.resume is True or (
            self.resume and Path(self.resume).resolve().parent == where.resolve()
        )
        if not (resumed or self.overwrite):
            refuse_run(where)
        return where


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except those that only say that a flag is off or a value is worked out later."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        unsaid = action.default is None or action.default is False
        return action.help if unsaid else super()._get_help_string(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        # The text's usage shows --resume with its value.
        return default_metavar if action.nargs == "?" else super()._format_args(action, default_metavar)


def make_parser() -> Parser:
    """Return the parser: the flags of the tutorial's text, of which it takes prefixes, and a few more below them."""
    parser = Parser(
        prog="python -m sequential_fmnist",
        description="Train one network on Fashion-MNIST read column by column.",
        epilog="Ctrl-C or SIGTERM stops after the running epoch, with its checkpoint, and prints the command that "
        "resumes the run; twice stops at once and drops the running epoch. Either way, and after a SIGKILL too, "
        "--resume is exact.",
        formatter_class=_HelpFormatter,
        allow_abbrev=True,
    )
    fields = {field.name: field for cls in (TrainingConfig, Options) for field in dataclasses.fields(cls)}
    for name in _TEXT:
        add_option(parser, fields.pop(name))
    more = parser.add_argument_group("beyond the tutorial's text")
    version = f"snn_core {__version__}, torch {torch.__version__}"
    parser.exact = [add_option(more, field) for field in fields.values()]
    parser.exact.append(more.add_argument("--version", action="version", version=version))
    parser.set_defaults(device="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _load(
    options: Options, order: str, ranks: Ranks
) -> tuple[SequentialFashionMNIST, SequentialFashionMNIST]:
    """Return training and test images; on each machine one process fetches what the others then find.

    Raises:
        DataError, OSError: a process has no data; where it is another one, this one leaves silently.
    """
    loaded, failure = [], None
    for turn in (True, False):
        if (ranks.local == 0) == turn:
            try:
                loaded = [
                    SequentialFashionMNIST(
                        options.data_path,
                        train=split,
                        order=order,
                        source=options.source,
                        cache=options.cache_dataset,
                        verbose=ranks.first,
                    )
                    for split in (True, False)
                ]
            except (DataError, OSError) as error:
                failure = error
        if ranks.any(failure is not None):
            raise failure or SystemExit(1)
    return loaded[0], loaded[1]


def _speaks() -> bool:
    """Whether this process is the one of torchrun's on this machine that reports what is wrong for all of them."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Bad arguments end with status 2, unusable data or checkpoints with status 1, each with one line that says why; a run
    that a signal stopped ends with 128 and the signal's number, and one line with the command that resumes it.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    stop, finished = Stop(), False
    try:
        config, options = from_args(TrainingConfig, args), from_args(Options, args)
        output = options.run_folder(config.model)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        with stop.on_signals(), join(config.device) as ranks:
            train, test = _load(options, config.order, ranks)
            stop.patient = True
            _, history = fit(
                dataclasses.replace(config, device=ranks.device),
                train,
                test,
                output_dir=output,
                resume=options.resume,
                overwrite=options.overwrite,
                start_epoch=options.start_epoch,
                tensorboard=options.tb,
                stop=stop,
                log=tqdm.write,
                ranks=ranks,
            )
            finished = history[-1]["epoch"] + 1 == config.epochs
    except (DataError, CheckpointError, FloatingPointError, OSError) as error:
        if _speaks() or isinstance(error, DataError | OSError):
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
        if _speaks():
            words = sys.argv[1:] if argv is None else argv
            print(_resuming(words, output, options, stop) if stop.saved else _NOTHING_SAVED, file=sys.stderr)
        return 128 + (stop.signal or signal.SIGTERM)
    if ranks.first:
        print(f"checkpoints and metrics are in {output}")
    return 0


def _resuming(words: Sequence[str], output: Path, options: Options, stop: Stop) -> str:
    """Return the command line that resumes a run which ``words`` started in ``output``."""
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", processes] if processes else []
    # Of a flag that is given twice the last one counts.
    command = [sys.executable, *launcher, "-m", "sequential_fmnist", *words]
    if options.start_epoch is not None:
        command += ["--start-epoch", str(options.start_epoch + stop.saved)]
    return f"stopped; resume with: {shlex.join([*command, '--resume', str(output / 'latest.pt')])}"


if __name__ == "__main__":
    raise SystemExit(main())
