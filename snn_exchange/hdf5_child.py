"""Reads an HDF5 file in a process of its own: ``python hdf5_child.py MAX_BYTES MAX_DEPTH < file > values``.

The HDF5 library ends the process, or never comes back, on some damaged files. HDF5 can also do more than NIR needs,
such as pointing to other files or claiming sizes that it does not hold, so each object is looked at before it is read.

What comes out is an ``.npz`` archive without pickles: the arrays, and as ``tree`` the JSON of what refers to them. This
file imports nothing of snn_core, so that it starts at once.
"""

from __future__ import annotations

import io
import json
import math
import sys
from typing import Any

import h5py
import numpy as np

__all__ = ["main"]

MAX_OBJECTS = 100_000
#: How HDF5 may pack data, by its numbers: gzip, shuffle, fletcher32, szip, scaleoffset and lzf. Others would be
#: searched for on this machine as plug-ins.
FILTERS = {1, 2, 3, 4, 6, 32000}


class _RefusedError(Exception):
    """The message says where, and why."""


class _Reader:
    """Reads groups as dicts and data sets as arrays or strings, within a budget."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self.budget, self.max_bytes, self.max_depth = max_bytes, max_bytes, max_depth
        self.seen: set[int] = set()
        self.arrays: list[np.ndarray] = []

    def group(self, group: h5py.Group, where: str, depth: int) -> dict[str, Any]:
        # A graph in a graph is two groups deeper.
        if depth > 2 * self.max_depth + 4:
            raise _RefusedError(f"{where}: groups are nested too deep")
        return {"group": {name: self._member(group, name, f"{where}/{name}", depth) for name in group}}

    def _member(self, group: h5py.Group, name: str, where: str, depth: int) -> Any:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _RefusedError(f"{where}: points elsewhere, which NIR files do not need")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in self.seen:
            raise _RefusedError(f"{where}: the same object stands in two places")
        self.seen.add(address)
        if len(self.seen) > MAX_OBJECTS:
            raise _RefusedError(f"more than {MAX_OBJECTS:,} objects")
        if isinstance(item, h5py.Group):
            return self.group(item, where, depth + 1)
        if isinstance(item, h5py.Dataset):
            return self._dataset(item, where)
        raise _RefusedError(f"{where}: neither a group nor a data set")

    def _spend(self, count: int, where: str) -> None:
        self.budget -= count
        if self.budget < 0:
            raise _RefusedError(f"{where}: the file unpacks to more than max_bytes={self.max_bytes:,}")

    def _dataset(self, data: h5py.Dataset, where: str) -> Any:
        if data.is_virtual or data.external:
            raise _RefusedError(f"{where}: its values are in another file")
        pipeline = data.id.get_create_plist()
        if not {pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())} <= FILTERS:
            raise _RefusedError(f"{where}: packed in an unknown way")
        if data.shape is None:
            raise _RefusedError(f"{where}: empty")
        # A piece is unpacked whole, however little of it is used.
        count = max(math.prod(data.shape), math.prod(data.chunks or ()))
        self._spend(count * max(data.dtype.itemsize, 1), where)
        if h5py.check_string_dtype(data.dtype):
            return self._strings(data, where)
        if data.dtype.kind not in "biuf":
            raise _RefusedError(f"{where}: holds neither numbers nor text")
        self.arrays.append(np.asarray(data[()]))
        return {"array": f"arr_{len(self.arrays) - 1}"}

    def _strings(self, data: h5py.Dataset, where: str) -> Any:
        """Return text. Strings of any length are read one by one: many may be one long string in the file."""
        values = []
        for index in np.ndindex(data.shape):
            value = data[index]
            self._spend(len(value), where)
            values.append(value.decode() if isinstance(value, bytes) else str(value))
        return {"strings": values, "shape": data.shape}


def main(max_bytes: int, max_depth: int, file: bytes) -> bytes:
    """Return the values of an HDF5 file as an ``.npz`` archive, or why it is refused, as the ``error`` of ``tree``."""
    reader = _Reader(max_bytes, max_depth)
    try:
        with h5py.File(io.BytesIO(file), "r") as opened:
            tree, arrays = reader.group(opened, "", 0), reader.arrays
    except _RefusedError as error:
        tree, arrays = {"error": str(error)}, []
    except Exception as error:  # what h5py raises for a damaged file is of many kinds
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        tree, arrays = {"error": f"not a NIR file, or damaged: {said}"}, []
    buffer = io.BytesIO()
    np.savez(buffer, *arrays, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8))
    return buffer.getvalue()


if __name__ == "__main__":
    sys.stdout.buffer.write(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.buffer.read()))
