"""Fashion-MNIST as sequences of columns, and its batches."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.options import check_options, option
from snn_core.checks import check_whole

__all__ = [
    "Data",
    "DataError",
    "Images",
    "Sequences",
    "SequentialFashionMNIST",
    "batches",
    "cache_dir",
    "prepared",
]

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
#: torchvision's layout: where below its root the four files are.
RAW = Path("FashionMNIST") / "raw"
LAYOUT = f"a folder in torchvision's layout, with {RAW}/train-images-idx3-ubyte and so on"
#: SHA-256 of the uncompressed files, which are the same from every source: of all images, and of the embedded subset.
FULL = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
SUBSET = {
    "train-images-idx3-ubyte": "cf313073c7eb485392848071d5c433571d7166043e971e3345b095cc30518084",
    "train-labels-idx1-ubyte": "097b93fbcf9bd5bc648b1a457ddc55c9e4ab49afb33f9ecae8ce068399a75e3a",
    "t10k-images-idx3-ubyte": "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
    "t10k-labels-idx1-ubyte": "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909",
}
#: Bytes that images may take as floating-point numbers; larger ones are converted batch by batch.
MOST_BYTES = 256 << 20
#: Mean and standard deviation of the pixels, from 0 to 1, of Fashion-MNIST's training images.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530


class DataError(ValueError):
    """The data are missing or damaged; the message names the file and what to do."""


def cache_dir() -> Path:
    """Return the cache folder: $SNN_CORE_CACHE, else $XDG_CACHE_HOME/snn_core, else ~/.cache/snn_core."""
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("SNN_CORE_CACHE") or shared / "snn_core").expanduser()


def _read(folder: Path, name: str, digest: str, fix: str) -> Tensor:
    """Return the values of an IDX file, plain or else .gz, once its bytes are known to be the right ones.

    Raises:
        DataError: it is missing, cannot be read, or has another SHA-256; ``fix`` says what to do then.
    """
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(64 << 20)  # the largest has 47 MB: a damaged archive must not fill the memory
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}. {fix}") from error
    if (actual := sha256(content)) != digest:
        raise DataError(f"{path} is damaged: expected SHA-256 {digest}, got {actual}. {fix}")
    body = bytearray(content[16 if "idx3" in name else 8 :])  # torch wants to be able to write to it
    return torch.frombuffer(body, dtype=torch.uint8)


@dataclass(frozen=True)
class Images:
    """Which images of Fashion-MNIST, and how they are read.

    Raises:
        TypeError, ValueError: a value of another type or out of its range; the message names the field.
    """

    #: row: pictures are stored transposed, so that networks read their rows.
    order: str = option("column", "how an image is read", ("column", "row"))
    #: Networks get pixels less their mean 0.2860, divided by their deviation 0.3530, in place of pixels in [0, 1].
    standardise: bool = option(False, "pixels less their mean, divided by their deviation")
    #: full: an error in place of the subset; embedded: the subset, 6,000 and 1,000 pictures, at once.
    source: str = option("auto", "full refuses the subset", ("auto", "full", "embedded"))
    #: Copy what ``data_path`` holds to the cache.
    cache: bool = option(False, "Cache the datasets for quicker initialization", flag="--cache-dataset")

    def __post_init__(self) -> None:
        check_options(self)


class SequentialFashionMNIST(Dataset[tuple[Tensor, int]]):
    """Fashion-MNIST as sequences: the last axis of a picture is time.

    The full data are in torchvision's layout, in ``data_path`` or in the cache (:func:`cache_dir`), into which
    torchvision downloads them. Where that fails, a subset of real images in the package takes their place.

    Args:
        data_path: torchvision's root, with ``FashionMNIST/raw/`` in it; nothing else is tried then.
        train: the training split (60,000 pictures), else the test split (10,000).
        verbose: print one line that says where the data are from.
        options: those of :class:`Images`, such as ``order`` and ``source``.

    Attributes:
        images: uint8 ``[n, 1, 28, 28]``, 0 is background and 255 full ink.
        mean: what networks get is each pixel in [0, 1] less ``mean``, 0 unless standardised,
        std: divided by ``std``, 1 unless standardised.
        labels: int64 ``[n]``, 0 to 9.
        source: where the data are from, in words.
        is_subset: whether this is the embedded subset.
        classes: the names of the ten labels.

    Raises:
        DataError: the data are missing or damaged.
        TypeError, ValueError: an argument is none of those above.
    """

    classes: tuple[str, ...] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip

    def __init__(
        self,
        data_path: str | os.PathLike[str] | None = None,
        train: bool = True,
        verbose: bool = True,
        **options: Any,
    ) -> None:
        chosen = Images(**options)
        self.order, source = chosen.order, chosen.source
        self.mean, self.std = (PIXEL_MEAN, PIXEL_STD) if chosen.standardise else (0.0, 1.0)
        self.is_subset = source == "embedded"
        root = cache_dir() if data_path is None else Path(data_path).expanduser()
        if data_path is not None and self.is_subset:
            raise DataError('data_path and source="embedded" exclude each other')
        if (
            data_path is None
            and not self.is_subset
            and not all((root / RAW / name).exists() for name in FULL)
        ):
            from torchvision.datasets import FashionMNIST  # takes a second, and only a download needs it

            try:
                FashionMNIST(root, download=True)
            except (OSError, RuntimeError) as error:
                reason = " ".join(f"Fashion-MNIST is not in {root} and cannot be fetched: {error}".split())
                if source == "full":
                    raise DataError(f"{reason}. Run `make data`, or give data_path {LAYOUT}") from error
                self.is_subset = True
        folder, digests = (EMBEDDED_FOLDER, SUBSET) if self.is_subset else (root / RAW, FULL)
        fix = f"Delete {folder} and run `make data`" if data_path is None else f"data_path must be {LAYOUT}"
        images, labels = (
            _read(folder, name, digest, "Install snn_core again" if self.is_subset else fix)
            for name, digest in digests.items()
            if name.startswith("train" if train else "t10k")
        )
        self.images, self.labels = images.view(-1, 1, 28, 28), labels.long()
        if self.order == "row":
            self.images = self.images.transpose(2, 3).contiguous()
        if chosen.cache and data_path is not None:
            shutil.copytree(folder, cache_dir() / RAW, dirs_exist_ok=True)
        split, total = ("training", "60,000") if train else ("test", "10,000")
        # The home folder as ~, so that a saved notebook does not name anybody's home.
        shown = str(root).replace(os.path.expanduser("~"), "~", 1)  # noqa: PTH111
        self.source = f"the cache ({shown})" if data_path is None else f"the folder {shown}"
        if self.is_subset:
            self.source = (
                f"the embedded subset: {len(self):,} of {total} {split} images (a real subset); accuracies are not "
                "comparable with full-data results"
            )
        if verbose:
            print(f"Fashion-MNIST, {split} split: {len(self):,} images from {self.source}")

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a picture, float32 ``[1, 28, 28]``, and its label."""
        return pixels(self.images[index], self.mean, self.std), int(self.labels[index])


@dataclass
class Sequences:
    """Sequences ``x_seq`` ``[T, n, *]`` with their ``labels`` ``[n]``; a network is called with ``x_seq``.

    With ``lengths`` ``[n]``, in time steps, what follows the end of a sequence is padding, and a network is called with
    ``x_seq`` and ``lengths``.
    """

    x_seq: Tensor
    labels: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        more = () if self.lengths is None else (self.lengths[index],)
        return (self.x_seq[:, index], *more), self.labels[index]


@dataclass
class Columns(Sequences):
    """Images as sequences of their columns, uint8 or pixels; a network is called with images."""

    mean: float = 0.0
    std: float = 1.0

    def __getitem__(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        x = self.x_seq.transpose(0, 1)[index]  # [N, W, H]
        return (pixels(x, self.mean, self.std).unsqueeze(1).transpose(2, 3),), self.labels[index]


#: What a network can be trained and tested on: images ``data.images``, uint8 ``[n, 1, H, W]``, with ``data.labels``,
#: int64 ``[n]``, and, where networks are to get standardised pixels, numbers ``data.mean`` and ``data.std``;
#: :class:`Sequences`; or an iterable of batches ``(*inputs, labels)``, such as a DataLoader, where
#: ``net(*inputs)`` gives the outputs.
Data = Any


def pixels(images: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return uint8 images as float32, in [0, 1] less ``mean`` and divided by ``std``; others are pixels already."""
    if images.is_floating_point():
        return images
    x = images / 255
    return x if (mean, std) == (0.0, 1.0) else (x - mean) / std


def prepared(data: Data, device: torch.device | str = "cpu") -> Data:
    """Return images and sequences on ``device``, where a batch is an index of them. Other data stay as they are.

    Pixels are float32, or uint8 where that would take more than :data:`MOST_BYTES`.
    """
    if isinstance(data, Columns):
        return data
    if isinstance(data, Sequences):
        return Sequences(data.x_seq.to(device), data.labels.to(device), data.lengths)
    if not hasattr(data, "images"):
        return data
    columns = data.images.squeeze(1).transpose(1, 2).contiguous().to(device)  # [n, W, H]
    mean, std = getattr(data, "mean", 0.0), getattr(data, "std", 1.0)
    columns = pixels(columns, mean, std) if 4 * columns.numel() <= MOST_BYTES else columns
    return Columns(columns.transpose(0, 1), data.labels.to(device), mean=mean, std=std)


def batches(
    data: Data, size: int, order: Tensor | None = None, workers: int = 0
) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Yield the inputs of a network and the labels, batch after batch.

    Args:
        data: as :func:`prepared` returns it.
        size: samples of a batch; an iterable of batches has its own.
        order: indices of the samples to take; None takes all as they come.
        workers: processes that load.
    """
    check_whole("size", size, 1)
    if not isinstance(data, Sequences):
        for *inputs, labels in data:
            yield tuple(inputs), labels
        return
    order = torch.arange(len(data)) if order is None else order
    parts = order.split(size) if len(order) else ()
    # A generator of its own, so that a loader draws none of torch's random numbers.
    yield from DataLoader(data, None, sampler=parts, num_workers=workers, generator=torch.Generator())
