"""Reads an HDF5 file in a process of its own: ``python hdf5_child.py FILE MAX_BYTES > values``.

The HDF5 library ends the process, or never comes back, on some damaged files. A file can also point to other files, or
unpack to far more than it holds, so each object is looked at before it is read.

What comes out is an ``.npz`` archive without pickles: for each data set an array of numbers or of text, under its path.
This file imports nothing of snn_core, so that it starts at once.
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


def values(path: str, max_bytes: int) -> dict[str, np.ndarray]:
    """Return all arrays of a file.

    Raises:
        ValueError: they are larger than ``max_bytes``, or are not numbers and text.
    """
    arrays, left = {}, max_bytes

    def spend(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise ValueError(f"{where}: the file unpacks to more than max_bytes={max_bytes:,}")

    with h5py.File(path, "r") as file:
        for where, data in data_sets(file):
            # A chunk is unpacked whole, however little of it is used.
            spend(max(data.size or 0, math.prod(data.chunks or ())) * data.dtype.itemsize)
            if h5py.check_string_dtype(data.dtype):
                text = []
                for index in np.ndindex(data.shape):  # one by one: all may be one long string in the file
                    text.append(data[index].decode())
                    spend(4 * len(text[-1]))
                longest = max(map(len, text), default=0)
                spend(4 * longest * len(text))  # NumPy pads each string to the longest one
                arrays[where] = np.array(text, str).reshape(data.shape)
            elif data.dtype.kind in "biuf" and data.shape is not None:
                arrays[where] = data[()]
            else:
                raise ValueError(f"{where}: holds neither numbers nor text")
    return arrays


if __name__ == "__main__":
    try:
        buffer = io.BytesIO()
        np.savez(buffer, **values(sys.argv[1], int(sys.argv[2])))
    except Exception as error:  # what h5py raises for a damaged file is of many kinds
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
    sys.stdout.buffer.write(buffer.getvalue())
