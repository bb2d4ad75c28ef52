"""Make the embedded subset of Fashion-MNIST from the full data.

It holds the first 600 pictures of each class in the training file and the first 100 of each class in the test
file, in the order of those files. Run from anywhere once snn_core is installed:
``python tools/make_embedded_subset.py [--out FOLDER]``.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import torch

from sequential_fmnist.command import Parser, folder
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import atomic_write, sha256
from sequential_fmnist.sources import EMBEDDED_FOLDER, FULL, SUBSET, DataError, IdxFile


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


def save(folder: Path, file: IdxFile, values: torch.Tensor) -> None:
    """Write ``values`` as the .gz of ``file``.

    Raises:
        ValueError: they are not what sequential_fmnist.sources expects of the subset.
    """
    content = file.header + values.to(torch.uint8).numpy().tobytes()
    if sha256(content) != file.sha256:
        raise ValueError(f"{file.name}: expected SHA-256 {file.sha256}, made {sha256(content)}")
    with atomic_write(folder / f"{file.name}.gz") as stream:
        stream.write(compress(content))


def main(arguments: list[str] | None = None) -> None:
    """Write the four files."""
    parser = Parser(description=main.__doc__)
    parser.add_argument("--out", type=folder, default=EMBEDDED_FOLDER, help="the folder to write to")
    options = parser.parse_args(arguments)
    for split in FULL:
        try:
            data = SequentialFashionMNIST(train=split == "training", source="full")
        except DataError as error:
            parser.fail(error)
        images, labels = SUBSET[split]
        chosen = first_of_each_class(data.labels, labels.shape[0] // len(data.classes))
        save(options.out, images, data.images[chosen])
        save(options.out, labels, data.labels[chosen])


if __name__ == "__main__":
    main()
