"""Command line: write a trained network to a file for other programs. ``python -m snn_exchange --help``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sequential_fmnist import checkpoint, pretrained
from sequential_fmnist.checkpoint import CheckpointError
from sequential_fmnist.networks import NETWORKS, make_network
from snn_exchange.common import DIFFERENCES, ExchangeError, ExchangeWarning, need
from snn_exchange.nir_write import DIALECTS
from snn_exchange.programs import export

__all__ = ["main"]

#: Flags that change what is written, by the suffixes of the files that they are for.
FLAGS = {"allow": (".nir",), "dialect": (".nir",), "columns": (".pt2", ".onnx")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m snn_exchange",
        description="Write a trained network to a file for other programs.",
    )
    add = parser.add_argument
    add(
        "network",
        metavar="NETWORK",
        help=f"a checkpoint, such as runs/plain/latest.pt, or {', '.join(NETWORKS)} for the weights that come along",
    )
    add("file", type=Path, metavar="FILE", help=".nir (NIR), .pt2 (torch.export) or .onnx (ONNX)")
    add(
        "--allow",
        action="append",
        choices=tuple(DIFFERENCES),
        help="take a difference where NIR has no exact words for the network; may be given twice",
    )
    add("--dialect", choices=tuple(DIALECTS), help="who shall read the NIR graph (default: nir)")
    add("--columns", type=int, help="columns of an image in .pt2 and .onnx (default: 28)")
    return parser


def _network(name: str) -> nn.Module:
    """Return one of the networks that come with the package, or that of a checkpoint.

    Raises:
        CheckpointError, PretrainedError: there is none, or it is damaged.
    """
    if name in NETWORKS:
        need("safetensors")
        return pretrained.load(name)[0]
    state = checkpoint.load(name)
    try:
        net = make_network(state["config"]["model"], state["config"]["hidden"])
        net.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {name} holds none of {', '.join(NETWORKS)}: {error}") from error
    return net


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Bad arguments, and a network that the format cannot hold, end with status 2, unusable files with status 1, each with
    one line that says why. Differences that ``--allow`` took are named.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    options = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    for name in options:
        if args.file.suffix not in FLAGS[name]:
            parser.error(f"argument --{name}: is for {' and '.join(FLAGS[name])} files, got {args.file}")
    if args.columns is not None and args.columns < 1:
        parser.error(f"argument --columns: must be at least 1, got {args.columns}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExchangeWarning)
            export(_network(args.network), args.file, **options)
    except ExchangeError as error:
        parser.error(str(error))
    except (OSError, ValueError) as error:  # of a checkpoint, or of the weights that come along
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for warning in caught:
        print(f"{parser.prog}: warning: {warning.message}", file=sys.stderr)
    print(f"{args.network} is in {args.file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
