"""A network as a program of torch's or ONNX's own operations, which runs without snn_core.

Both unroll the time steps of the readable loop, so that the number of columns is fixed; the number of images is not.
"""

from __future__ import annotations

import copy
import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sequential_fmnist.checkpoint import atomic_write
from snn_core.functional import reset_net, set_backend
from snn_exchange.common import ExchangeError, first_line, need
from snn_exchange.nir_files import write_nir
from snn_exchange.nir_write import to_nir

__all__ = ["export", "to_onnx", "to_program"]


def to_program(net: nn.Module, columns: int = 28) -> torch.export.ExportedProgram:
    """Return ``net`` as a program of torch.export: call ``program.module()``, or ``torch.export.save`` it.

    Args:
        net: images ``[N, 1, 28, columns]`` to outputs ``[N, classes]``, any network of snn_core; not changed.
        columns: columns of an image, the time steps.

    Raises:
        ExchangeError: torch cannot trace ``net``; the message says why.
        TypeError: ``net`` is not a module.
    """
    name, net = type(net).__name__, copy.deepcopy(net)
    set_backend(net, "torch")
    reset_net(net.cpu().eval())
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *_: None)  # no kernel takes the place of a layer with a hook
    # torch.export refuses a module that keeps a state.
    net.register_forward_hook(lambda net, *_: reset_net(net))
    images = torch.zeros(2, 1, 28, columns, dtype=next(net.parameters(), torch.zeros(0)).dtype)
    try:
        program = torch.export.export(net, (images,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
    except Exception as error:  # tracing calls the network's own code
        raise ExchangeError(f"torch.export cannot trace a {name}: {first_line(error)}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
        if str(node.target).startswith("snn_core"):
            raise ExchangeError(f"a {name} holds {node.target}, an operation of snn_core alone")
    return program


def to_onnx(net: nn.Module, columns: int = 28) -> bytes:
    """Return ``net`` as an ONNX model, with input ``images`` and output ``outputs``; arguments as :func:`to_program`.

    Raises:
        ExchangeError: torch cannot trace ``net``, or a package for ONNX is missing.
    """
    for package in ("onnx", "onnxscript"):
        need(package)
    program = to_program(net, columns)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["outputs"]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))  # of torch's own calls
            exported: Any = torch.onnx.export(program, dynamo=True, verbose=False, **names)
        model = exported.model_proto
    except Exception as error:  # of the exporter, for an operation that ONNX lacks
        reason = first_line(error.__cause__ or error)
        raise ExchangeError(f"ONNX cannot express what a {type(net).__name__} does: {reason}") from error
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]  # names folders of this machine
    return model.SerializeToString()


def export(net: nn.Module, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a network to a file: ``.nir`` for NIR, ``.pt2`` for torch.export, ``.onnx`` for ONNX.

    Args:
        net: a network; not changed.
        path: the file, written whole or not at all.
        options: those of :func:`to_nir`, :func:`to_program` or :func:`to_onnx`.

    Raises:
        ExchangeError: another suffix, a package is missing, or the format cannot express what the network does.
        OSError: the file cannot be written.
    """
    suffix, content = Path(path).suffix, io.BytesIO()
    if suffix == ".nir":
        write_nir(path, to_nir(net, **options))
        return
    if suffix == ".pt2":
        torch.export.save(to_program(net, **options), content)
    elif suffix == ".onnx":
        content.write(to_onnx(net, **options))
    else:
        raise ExchangeError(f"{path}: the suffix must be one of .nir, .pt2, .onnx, got {suffix!r}")
    with atomic_write(path) as file:
        file.write(content.getvalue())
