"""NIR files: read as data, never as instructions, and written whole or not at all.

A NIR file is an HDF5 file. HDF5 can do more than NIR needs, such as pointing to other files or claiming sizes that it
does not hold, so each object is looked at before it is read.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_core.exchange.common import ExchangeError, need
from snn_core.exchange.nir_read import MAX_DEPTH
from snn_core.files import atomic_write

if TYPE_CHECKING:
    import h5py
    import nir

__all__ = ["MAX_BYTES", "read_nir", "write_nir"]

#: What a file may hold: 256 MiB are the weights of 8,000 x 8,000 recurrent neurons.
MAX_BYTES = 2**28
MAX_OBJECTS = 100_000
#: How HDF5 may pack data. Others would be searched for on this machine as plug-ins.
FILTERS = {"gzip", "lzf", "szip", "shuffle", "fletcher32", "scaleoffset"}


def write_nir(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a graph to a file, which appears only once it is complete.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
        TypeError: ``graph`` is none of NIR.
    """
    library, buffer = need("nir"), io.BytesIO()
    if not isinstance(graph, library.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}: to_nir(net) makes one")
    library.write(buffer, graph)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


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
    content = io.BytesIO(path.read_bytes())
    try:
        with need("h5py").File(content, "r") as file:
            value = _Reader(max_bytes).group(file, "", 0).get("node")
        return _graph(value, "")
    except ExchangeError as error:
        raise ExchangeError(f"{path}: {error}") from error
    except Exception as error:  # what h5py raises for a damaged file is of many kinds
        raise ExchangeError(f"{path}: not a NIR file, or damaged: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return the first line of an error, or its kind if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class _Reader:
    """Reads groups as dicts and data sets as arrays or strings, within a budget."""

    def __init__(self, max_bytes: int) -> None:
        self.h5py = need("h5py")
        self.budget = self.max_bytes = max_bytes
        self.seen: set[int] = set()

    def group(self, group: h5py.Group, where: str, depth: int) -> dict[str, Any]:
        # A graph in a graph is two groups deeper.
        if depth > 2 * MAX_DEPTH + 4:
            raise ExchangeError(f"{where}: groups are nested too deep")
        return {name: self._member(group, name, f"{where}/{name}", depth) for name in group}

    def _member(self, group: h5py.Group, name: str, where: str, depth: int) -> Any:
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise ExchangeError(f"{where}: points elsewhere, which NIR files do not need")
        item = group[name]
        address = self.h5py.h5o.get_info(item.id).addr
        if address in self.seen:
            raise ExchangeError(f"{where}: the same object stands in two places")
        self.seen.add(address)
        if len(self.seen) > MAX_OBJECTS:
            raise ExchangeError(f"more than {MAX_OBJECTS:,} objects")
        if isinstance(item, self.h5py.Group):
            return self.group(item, where, depth + 1)
        if isinstance(item, self.h5py.Dataset):
            return self._dataset(item, where)
        raise ExchangeError(f"{where}: neither a group nor a data set")

    def _spend(self, count: int, where: str) -> None:
        self.budget -= count
        if self.budget < 0:
            raise ExchangeError(f"{where}: the file unpacks to more than max_bytes={self.max_bytes:,}")

    def _dataset(self, data: h5py.Dataset, where: str) -> Any:
        if data.is_virtual or data.external:
            raise ExchangeError(f"{where}: its values are in another file")
        pipeline = data.id.get_create_plist()
        names = {0: "", 1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 6: "scaleoffset", 32000: "lzf"}
        kinds = {names.get(pipeline.get_filter(i)[0], "?") for i in range(pipeline.get_nfilters())}
        if not kinds <= FILTERS:
            raise ExchangeError(f"{where}: packed in an unknown way")
        if data.shape is None:
            raise ExchangeError(f"{where}: empty")
        # A piece is unpacked whole, however little of it is used.
        count = max(math.prod(data.shape), math.prod(data.chunks or ()))
        self._spend(count * max(data.dtype.itemsize, 1), where)
        if self.h5py.check_string_dtype(data.dtype):
            return self._strings(data, where)
        if data.dtype.kind not in "biuf":
            raise ExchangeError(f"{where}: holds neither numbers nor text")
        return data[()]

    def _strings(self, data: h5py.Dataset, where: str) -> Any:
        """Return text. Strings of any length are read one by one: many may be one long string in the file."""
        values = np.empty(data.shape, dtype=object)
        for index in np.ndindex(data.shape):
            value = data[index]
            self._spend(len(value), where)
            values[index] = value.decode() if isinstance(value, bytes) else str(value)
        return values if data.shape else values[()]


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
        raise ExchangeError(f"node {where!r} ({kind}) is broken: {_said(error)}") from error
    node.metadata = _metadata(value)
    return node
