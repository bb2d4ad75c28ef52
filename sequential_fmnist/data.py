"""Fashion-MNIST for networks that read a picture column by column, and the places its bytes may come from.

The command ``python -m sequential_fmnist.data`` fetches the data into the cache and says where they came from.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from sequential_fmnist import sources
from sequential_fmnist.command import Parser, path
from sequential_fmnist.sources import DataError, IdxFile

__all__ = ["SequentialFashionMNIST", "main"]


def _body(content: bytes, file: IdxFile) -> torch.Tensor:
    """Return a verified file's values, uint8 of ``file.shape``, without its header."""
    # A bytearray, since torch wants memory that it may write to.
    return torch.frombuffer(bytearray(content[len(file.header) :]), dtype=torch.uint8).reshape(file.shape)


class SequentialFashionMNIST(Dataset[tuple[torch.Tensor, int]]):
    """Fashion-MNIST as sequences: the last axis of a picture is time.

    A network reads the picture ``[1, 28, 28]`` column by column, 28 steps of 28 pixels. With ``order="row"``
    each picture is stored transposed, so that what the network takes for columns are the picture's rows.

    The bytes come from ``data_path`` if it is given, and then from nowhere else: a wrong path is an error.
    Otherwise they come from the first of these that has them: the cache
    (:func:`sequential_fmnist.sources.cache_dir`), Debian's installed package, torchvision's mirror, whose files go
    to the cache, and at last the embedded subset. All are checked against SHA-256 every time; a damaged file of the
    cache is logged as a warning and replaced.

    Args:
        data_path: a torchvision root (``data_path/FashionMNIST/raw/...``), or a folder of the four IDX files,
            each plain or as .gz.
        train: the training split (60,000 pictures), else the test split (10,000). Only this one is read.
        order: ``"column"`` or ``"row"``.
        source: ``"auto"`` for the order above, ``"full"`` for an error in place of the subset, ``"embedded"``
            for the subset (6,000 and 1,000 pictures) at once.
        cache: cache also what came from ``data_path`` or from Debian's installed package.
        verbose: print one line that says which source was used, and show the progress of a download.

    Attributes:
        images: uint8 ``[n, 1, 28, 28]``, 0 is background and 255 full ink; contiguous.
        labels: int64 ``[n]``, 0 to 9.
        order: as given.
        source: where the bytes came from, in words.
        is_subset: whether this is the embedded subset.
        is_cached: whether all of it is in the cache now.
        classes: the names of the ten labels.

    Raises:
        DataError: a file of ``data_path`` is missing or damaged; ``data_path`` is given together with
            ``source="embedded"``; or no source has the full data and ``source="full"``.
        ValueError: ``order`` or ``source`` is not one of the words above.
    """

    classes: tuple[str, ...] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip

    def __init__(
        self,
        data_path: str | os.PathLike[str] | None = None,
        train: bool = True,
        order: str = "column",
        source: str = "auto",
        cache: bool = False,
        verbose: bool = True,
    ) -> None:
        if order not in ("column", "row"):
            raise ValueError(f'order must be "column" or "row", not {order!r}')
        if source not in ("auto", "full", "embedded"):
            raise ValueError(f'source must be "auto", "full" or "embedded", not {source!r}')
        split = "training" if train else "test"
        found = sources.find(data_path, split, source, cache, verbose)
        images, labels = (sources.SUBSET if found.is_subset else sources.FULL)[split]
        self.images = _body(found.files[images.name], images).unsqueeze(1)
        if order == "row":
            self.images = self.images.transpose(2, 3).contiguous()
        self.labels = _body(found.files[labels.name], labels).long()
        self.order = order
        self.source = found.origin
        self.is_subset = found.is_subset
        self.is_cached = found.is_cached
        if verbose:
            print(f"Fashion-MNIST, {split} split: {len(self):,} images from {self.source}")

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a picture, float32 ``[1, 28, 28]`` in [0, 1] (its bytes divided by 255), and its label.

        Raises:
            IndexError: there is no such picture.
        """
        return self.images[index].float() / 255, int(self.labels[index])


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch both splits into the cache and print where they came from; return the exit code.

    It is 1 where the full data are found but cannot be cached, too: a warning has then said why.
    """
    parser = Parser(prog="python -m sequential_fmnist.data", description="Fetch Fashion-MNIST.")
    parser.add_argument("--data-path", type=path, help="take the data from this folder and from nowhere else")
    parser.add_argument("--source", choices=("auto", "full", "embedded"), default="auto")
    options = parser.parse_args(arguments)
    # Level INFO says why the subset was taken.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for train in (True, False):
            split = SequentialFashionMNIST(options.data_path, train, source=options.source, cache=True)
            if not (split.is_cached or split.is_subset):
                return 1
    except (DataError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
