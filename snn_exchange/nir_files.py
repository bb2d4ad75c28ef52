"""NIR files: read as data, never as instructions, and written whole or not at all.

A NIR file is an HDF5 file, which a process of its own reads (``hdf5_child.py``): no file, however damaged, ends this
one.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sequential_fmnist.checkpoint import atomic_write
from snn_exchange.common import ExchangeError, first_line, need

if TYPE_CHECKING:
    import nir

__all__ = ["read_nir", "write_nir"]

#: What a file may hold: 256 MiB are the weights of 8,000 x 8,000 recurrent neurons.
MAX_BYTES = 2**28
#: How long a file may take to be read: the HDF5 library goes round in circles in some damaged ones.
READ_LIMIT_S = 30
_CHILD = Path(__file__).with_name("hdf5_child.py")


def write_nir(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a graph to a file, which appears only once it is complete.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
        TypeError: ``graph`` is none of NIR.
    """
    library, content = need("nir"), io.BytesIO()
    if not isinstance(graph, library.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}: to_nir(net) makes one")
    library.write(content, graph)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def read_nir(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read a graph from a file. Nothing is executed from it, and no other file is opened for it.

    Args:
        path: an HDF5 file, as :func:`write_nir` or ``nir.write`` makes it.
        max_bytes: how large all that it unpacks to may be.

    Raises:
        ExchangeError: the file is damaged, too large, or not a NIR graph; the message names file and node.
        OSError: it cannot be read.
    """
    need("nir")
    with Path(path).open("rb"):
        pass  # raises what is wrong if there is no such file
    try:
        return _node(_values(os.fspath(path), max_bytes).get("node"), "")
    except ExchangeError as error:
        raise ExchangeError(f"{os.fspath(path)}: {error}") from error


def _values(path: str, max_bytes: int) -> dict[str, Any]:
    """Return the groups of an HDF5 file as dicts, its data sets as arrays and text."""
    # -P: what is imported comes from where this process has its packages, never from a folder of scripts.
    command = [sys.executable, "-P", str(_CHILD), path, str(max_bytes)]
    tree: dict[str, Any] = {}
    try:
        done = subprocess.run(command, capture_output=True, timeout=READ_LIMIT_S, check=True)  # noqa: S603, our own file
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
            for where, array in arrays.items():
                *groups, name = where.strip("/").split("/")
                place = tree
                for group in groups:
                    place = place.setdefault(group, {})
                place[name] = array[()]  # a number, not an array of none, where there is one
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        why = last or f"HDF5 ended with status {error.returncode}"
        raise ExchangeError(f"not a NIR file, or damaged: {why}") from error
    except subprocess.TimeoutExpired as error:
        raise ExchangeError(f"not a NIR file, or damaged: not read within {READ_LIMIT_S} s") from error
    return tree


def _node(value: Any, name: str) -> nir.NIRNode:
    """Let NIR make a node, or a graph of nodes, from its fields."""
    nir = need("nir")
    kind = value.get("type") if isinstance(value, Mapping) else None
    try:
        if kind != "NIRGraph":
            return nir.dict2NIRNode(value)
        nodes = {
            inner: _node(fields, f"{name}.{inner}".strip(".")) for inner, fields in value["nodes"].items()
        }
        edges = [(str(source), str(target)) for source, target in value["edges"]]
        return nir.NIRGraph(nodes, edges, value.get("metadata"), type_check=False)
    except ExchangeError:
        raise
    except Exception as error:  # NIR checks by assert, and stumbles over what it does not check
        label = f"node {name!r}" if name else "the graph"
        raise ExchangeError(
            f"{label} is not what NIR calls '{kind}': {type(error).__name__}: {first_line(error)}"
        ) from error
