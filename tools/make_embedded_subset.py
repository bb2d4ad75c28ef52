"""Make the embedded subset of Fashion-MNIST from the full data.

It holds the first 600 pictures of each class in the training file and the first 100 of each class in the test
file, in the order of those files. Run from anywhere once snn_core is installed:
``python tools/make_embedded_subset.py [--out FOLDER]``.
"""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import torch

from experiments.command import Parser, folder
from sequential_fmnist.checkpoint import atomic_write, sha256
from sequential_fmnist.data import EMBEDDED_FOLDER, SUBSET, DataError, SequentialFashionMNIST


def first_of_each_class(labels: torch.Tensor, per_class: int) -> torch.Tensor:
    """Return the ascending places, int64, of the first ``per_class`` members of each class in ``labels``."""
    places = [torch.nonzero(labels == label).flatten()[:per_class] for label in labels.unique()]
    return torch.cat(places).sort().values


def compress(content: bytes) -> bytes:
    """Return ``content`` as .gz with neither a time nor a name in its header: a rerun gives the same."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def save(folder: Path, name: str, values: torch.Tensor) -> None:
    """Write ``values`` as an IDX file of bytes, packed.

    Raises:
        ValueError: they are not what sequential_fmnist.data expects of the subset.
    """
    header = struct.pack(f">{1 + values.dim()}I", 0x800 | values.dim(), *values.shape)
    content = header + values.to(torch.uint8).numpy().tobytes()
    if sha256(content) != SUBSET[name]:
        raise ValueError(f"{name}: expected SHA-256 {SUBSET[name]}, made {sha256(content)}")
    with atomic_write(folder / f"{name}.gz") as stream:
        stream.write(compress(content))


def main(arguments: list[str] | None = None) -> None:
    """Write the four files."""
    parser = Parser(description=main.__doc__)
    parser.add_argument("--out", type=folder, default=EMBEDDED_FOLDER, help="the folder to write to")
    options = parser.parse_args(arguments)
    for prefix, per_class in {"train": 600, "t10k": 100}.items():
        try:
            data = SequentialFashionMNIST(train=prefix == "train", source="full")
        except DataError as error:
            parser.fail(error)
        chosen = first_of_each_class(data.labels, per_class)
        save(options.out, f"{prefix}-images-idx3-ubyte", data.images[chosen, 0])
        save(options.out, f"{prefix}-labels-idx1-ubyte", data.labels[chosen])


if __name__ == "__main__":
    main()
