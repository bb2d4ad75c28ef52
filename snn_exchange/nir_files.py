"""NIR files: read as data, never as instructions, and written whole or not at all.

A NIR file is an HDF5 file, which a process of its own reads (``hdf5_child.py``): no file, however damaged, ends this
one.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sequential_fmnist.checkpoint import atomic_write
from snn_exchange.common import ExchangeError, first_line, need
from snn_exchange.nir_read import MAX_DEPTH

if TYPE_CHECKING:
    import nir

__all__ = ["MAX_BYTES", "nir_bytes", "read_nir", "write_nir"]

#: What a file may hold: 256 MiB are the weights of 8,000 x 8,000 recurrent neurons.
MAX_BYTES = 2**28
#: How long a file may take to be read: the HDF5 library goes round in circles in some damaged ones.
READ_LIMIT_S = 30
_CHILD = Path(__file__).with_name("hdf5_child.py")


def nir_bytes(graph: nir.NIRGraph) -> bytes:
    """Return the content of a NIR file.

    Raises:
        TypeError: ``graph`` is none of NIR.
    """
    library, buffer = need("nir"), io.BytesIO()
    if not isinstance(graph, library.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}: to_nir(net) makes one")
    library.write(buffer, graph)
    return buffer.getvalue()


def write_nir(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a graph to a file, which appears only once it is complete.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
        TypeError: ``graph`` is none of NIR.
    """
    content = nir_bytes(graph)
    with atomic_write(path) as file:
        file.write(content)


def read_nir(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read a graph from a file. Nothing is executed from it, and no other file is opened for it.

    Args:
        path: an HDF5 file, as :func:`write_nir` or ``nir.write`` makes it.
        max_bytes: how large the file, and all that it unpacks to, may be.

    Raises:
        ExchangeError: the file is damaged, too large, or not a NIR graph; the message names file and node.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file() and path.exists():
        raise ExchangeError(f"{path}: not a file")
    size = path.stat().st_size
    if size > max_bytes:
        raise ExchangeError(f"{path}: has {size:,} bytes, more than max_bytes={max_bytes:,}")
    need("h5py")
    try:
        return _graph(_values(path.read_bytes(), max_bytes).get("node"), "")
    except ExchangeError as error:
        raise ExchangeError(f"{path}: {error}") from error
    except Exception as error:  # NIR itself checks little of what it is given
        raise ExchangeError(f"{path}: not a NIR file, or damaged: {first_line(error)}") from error


def _values(content: bytes, max_bytes: int) -> dict[str, Any]:
    """Return the groups of an HDF5 file as dicts, its data sets as arrays and strings."""
    # -P: what is imported comes from where this process has its packages, never from a folder of scripts.
    command = [sys.executable, "-P", str(_CHILD), str(max_bytes), str(MAX_DEPTH)]
    try:
        done = subprocess.run(  # noqa: S603, our own file
            command, input=content, capture_output=True, timeout=READ_LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise ExchangeError(f"not a NIR file, or damaged: not read within {READ_LIMIT_S} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ExchangeError(f"not a NIR file, or damaged: {error.returncode} of h5py, {last}") from error
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        tree = json.loads(arrays["tree"].tobytes())
        if "error" in tree:
            raise ExchangeError(tree["error"])
        return _built(tree, arrays)


def _built(tree: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    if "group" in tree:
        return {name: _built(member, arrays) for name, member in tree["group"].items()}
    if "array" in tree:
        return arrays[tree["array"]][()]  # a number, not an array of none, where there is one
    values = np.array([*tree["strings"], None], dtype=object)[:-1].reshape(tree["shape"])
    return values[()]


def _graph(value: Any, where: str) -> nir.NIRGraph:
    nir = need("nir")
    label = f"node {where!r}" if where else "the graph"
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), dict) or "edges" not in value:
        raise ExchangeError(f"{label} must have nodes and edges")
    _only(value, {"type", "nodes", "edges", "metadata", "input_type", "output_type"}, label)
    if value.get("type", "NIRGraph") != "NIRGraph":
        raise ExchangeError(f"{label}: its type must be NIRGraph, got {value['type']!r}")
    edges = value["edges"]
    if not isinstance(edges, np.ndarray) or (
        edges.size and (edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype != object)
    ):
        raise ExchangeError(f"{label}: edges must be pairs of names")
    nodes = {name: _node(node, f"{where}.{name}" if where else name) for name, node in value["nodes"].items()}
    pairs = [(str(source), str(target)) for source, target in edges.reshape(-1, 2)]
    return nir.NIRGraph(nodes, pairs, metadata=_metadata(value), type_check=False)


def _only(value: dict[str, Any], known: set[str], label: str) -> None:
    if unknown := sorted(value.keys() - known):
        raise ExchangeError(f"{label}: unknown field {unknown[0]!r}")


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    metadata = value.get("metadata", {})
    return metadata if isinstance(metadata, dict) else {}


def _node(value: Any, where: str) -> Any:
    nir = need("nir")
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "NIRGraph":
        return _graph(value, where)
    maker: Callable[..., Any] | None = None
    if isinstance(kind, str) and kind in nir.ir.__all__ and isinstance(getattr(nir, kind, None), type):
        maker = getattr(nir, kind)
    if maker is None or not issubclass(maker, nir.NIRNode) or maker is nir.NIRNode:
        raise ExchangeError(f"node {where!r}: NIR has no type {kind!r}")
    try:
        node = maker.from_dict({name: field for name, field in value.items() if name != "metadata"})
    except Exception as error:  # NIR checks by assert, and stumbles over what it does not check
        raise ExchangeError(f"node {where!r} ({kind}) is broken: {first_line(error)}") from error
    node.metadata = _metadata(value)
    return node
