"""Command line: write a trained network to a file for other programs. ``python -m snn_exchange --help``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sequential_fmnist import checkpoint, pretrained
from sequential_fmnist.networks import NETWORKS, TUTORIAL_NETWORKS
from sequential_fmnist.options import take_options
from sequential_fmnist.variants import NetworkSpec, fold
from snn_exchange.common import DIFFERENCES, ExchangeError, ExchangeWarning
from snn_exchange.nir_write import DIALECTS
from snn_exchange.programs import export

__all__ = ["main"]


def _network(name: str) -> nn.Module:
    """Return one of the networks that come with the package, or that of a checkpoint."""
    if name in TUTORIAL_NETWORKS:
        return pretrained.load(name)[0]
    state = checkpoint.load(name)
    try:
        net = take_options(NetworkSpec, {}, state["config"]).build()
        net.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ExchangeError(f"checkpoint {name} holds none of {', '.join(NETWORKS)}: {error}") from error
    return fold(net)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return 0, or leave with one line that says why no file was written.

    Differences that ``--allow`` took are named.
    """
    parser = argparse.ArgumentParser(
        prog="python -m snn_exchange", description="Write a trained network to a file for other programs."
    )
    shipped = ", ".join(TUTORIAL_NETWORKS)
    known = f"a checkpoint, such as runs/plain/latest.pt, or the weights that come along: {shipped}"
    allow = "take a difference where NIR has no exact words for the network; may be given twice"
    parser.add_argument("network", metavar="NETWORK", help=known)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help=".nir (NIR), .pt2 (torch.export) or .onnx (ONNX)"
    )
    parser.add_argument("--allow", action="append", choices=tuple(DIFFERENCES), help=allow)
    parser.add_argument(
        "--dialect", choices=tuple(DIALECTS), help="for the library that reads the NIR graph (default: nir)"
    )
    args = parser.parse_args(argv)
    options = {name: getattr(args, name) for name in ("allow", "dialect") if getattr(args, name)}
    if options and args.file.suffix != ".nir":
        parser.error(f"--allow and --dialect are for .nir files, got {args.file}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExchangeWarning)
            export(_network(args.network), args.file, **options)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    for warning in caught:
        print(f"{parser.prog}: warning: {warning.message}", file=sys.stderr)
    print(f"{args.network} is in {args.file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
