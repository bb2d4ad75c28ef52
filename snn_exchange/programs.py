"""A network as a program of torch's or ONNX's own operations, which runs without snn_core.

Both unroll the time steps of the readable loop, so that the number of columns is fixed; the number of images is not.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sequential_fmnist.files import atomic_write
from sequential_fmnist.networks import IN_FEATURES
from snn_core.checks import check_module
from snn_core.functional import reset_net
from snn_exchange.common import ExchangeError, need
from snn_exchange.nir_files import write_nir
from snn_exchange.nir_write import to_nir

__all__ = ["SUFFIXES", "check_export", "export", "to_onnx", "to_program"]


class _Linear(nn.Linear):
    """A layer that no kernel stands for: they know nn.Linear itself and nothing derived from it."""


def _readable(net: nn.Module) -> nn.Module:
    """Return a copy for evaluation, without state, that takes the readable loop."""
    net = copy.deepcopy(net).cpu().eval()
    reset_net(net)
    for module in net.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear
        if hasattr(module, "backend"):
            module.backend = "torch"
    return net


def to_program(net: nn.Module, columns: int = 28) -> torch.export.ExportedProgram:
    """Return ``net`` as a program of torch.export: call ``program.module()``, or ``torch.export.save`` it.

    Args:
        net: images ``[N, 1, 28, columns]`` to outputs ``[N, classes]``, any network of snn_core; not changed.
        columns: columns of an image, the time steps.

    Raises:
        ExchangeError: torch cannot trace ``net``; the message says why.
        TypeError: ``net`` is not a module.
    """
    check_module("net", net)
    images = torch.zeros(2, 1, IN_FEATURES, columns, dtype=next(net.parameters(), torch.zeros(0)).dtype)
    try:
        program = torch.export.export(
            _readable(net), (images,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},)
        )
    except Exception as error:  # tracing calls the network's own code
        reason = str(error).strip().partition("\n")[0]
        raise ExchangeError(f"torch.export cannot trace a {type(net).__name__}: {reason}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
        if str(node.target).startswith("snn_core"):
            raise ExchangeError(f"a {type(net).__name__} holds {node.target}, an operation of snn_core alone")
    return program


def to_onnx(net: nn.Module, columns: int = 28) -> bytes:
    """Return ``net`` as an ONNX model, with input ``images`` and output ``outputs``; arguments as :func:`to_program`.

    Raises:
        ExchangeError: torch cannot trace ``net``, or a package for ONNX is missing.
    """
    for package in ("onnx", "onnxscript"):
        need(package)
    program = to_program(net, columns)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))  # of torch's own calls
            model = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["outputs"], verbose=False
            ).model_proto
    except Exception as error:  # of the exporter, for an operation that ONNX lacks
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ExchangeError(f"ONNX cannot say what a {type(net).__name__} does: {reason}") from error
    finally:
        logger.setLevel(level)
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]  # names folders of this machine
    return model.SerializeToString()


def _write_nir(net: nn.Module, path: Path, **options: Any) -> None:
    write_nir(path, to_nir(net, **options))


def _write_program(net: nn.Module, path: Path, **options: Any) -> None:
    buffer = io.BytesIO()
    torch.export.save(to_program(net, **options), buffer)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def _write_onnx(net: nn.Module, path: Path, **options: Any) -> None:
    content = to_onnx(net, **options)
    with atomic_write(path) as file:
        file.write(content)


#: What the suffix of a file chooses: who writes it, and the packages that it needs.
SUFFIXES: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    ".nir": (_write_nir, ("nir", "h5py")),
    ".pt2": (_write_program, ()),
    ".onnx": (_write_onnx, ("onnx", "onnxscript")),
}


def export(net: nn.Module, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a network to a file: ``.nir`` for NIR, ``.pt2`` for torch.export, ``.onnx`` for ONNX.

    Args:
        net: a network; not changed.
        path: the file, written whole or not at all.
        options: those of :func:`to_nir`, :func:`to_program` or :func:`to_onnx`.

    Raises:
        ExchangeError: another suffix, a package is missing, or the format cannot say what the network does.
        OSError: the file cannot be written.
    """
    path = Path(path)
    writer, packages = _format(path)
    for package in packages:
        need(package)
    writer(net, path, **options)


def check_export(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Raise what :func:`export` would raise for ``net``, so far as it is quick to find out, and write nothing."""
    path = Path(path)
    writer, packages = _format(path)
    for package in packages:
        need(package)
    if writer is _write_nir:
        to_nir(net)
    if path.is_dir():
        raise ExchangeError(f"{path} is a folder: name a file")


def _format(path: Path) -> tuple[Callable[..., None], tuple[str, ...]]:
    if path.suffix not in SUFFIXES:
        raise ExchangeError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}, got {path.suffix!r}")
    return SUFFIXES[path.suffix]
