"""Reads an HDF5 file in a process of its own: ``python hdf5_child.py FILE MAX_BYTES > copy``.

The HDF5 library ends the process, or never comes back, on some damaged files. A file can also point to other files, or
unpack to far more than it holds. So each data set is looked at before it is read, and what comes out is a sound file
with the same numbers and text. This file imports nothing of snn_core, so that it starts at once.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator

import h5py
import numpy as np


def data_sets(group: h5py.Group, where: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the data sets below a group, with their paths."""
    for name in group:
        path, item = f"{where}/{name}", None
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            item = group[name]
        if isinstance(item, h5py.Group):
            yield from data_sets(item, path)
        elif isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
            yield path, item
        else:
            raise ValueError(f"{path}: its values are elsewhere, NIR files hold their own")


def copy(source: h5py.File, target: h5py.File, max_bytes: int) -> None:
    """Copy all numbers and texts; raises ValueError for anything else, and if they take more than ``max_bytes``."""
    left = max_bytes

    def spend(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise ValueError(f"{where}: the file unpacks to more than max_bytes={max_bytes:,}")

    for where, data in data_sets(source):
        # A chunk is unpacked whole, however little of it is used.
        spend(max(data.size or 0, math.prod(data.chunks or ())) * data.dtype.itemsize)
        if h5py.check_string_dtype(data.dtype):
            texts = np.empty(data.shape, object)
            for index in np.ndindex(data.shape):  # one by one: all may be one long string in the file
                texts[index] = data[index]
                spend(len(texts[index]))
            target.create_dataset(where, data=texts, dtype=h5py.string_dtype())
        elif data.dtype.kind in "biuf" and data.shape is not None:
            target[where] = data[()]
        else:
            raise ValueError(f"{where}: holds neither numbers nor text")


if __name__ == "__main__":
    buffer = io.BytesIO()
    try:
        with h5py.File(sys.argv[1]) as source, h5py.File(buffer, "w") as target:
            copy(source, target, int(sys.argv[2]))
    except Exception as error:  # what h5py raises for a damaged file is of many kinds
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
    sys.stdout.buffer.write(buffer.getvalue())
