"""How images become batches on the training device."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sequential_fmnist.distributed import ALONE, Ranks
from snn_core.checks import check_whole

__all__ = ["ImageData", "batches", "on_device"]


#: Bytes that a data set may take when its pixels are kept as floating-point numbers.
MOST_BYTES = 256 << 20


class ImageData(Protocol):
    """What training needs of a data set; :class:`sequential_fmnist.data.SequentialFashionMNIST` is one."""

    images: Tensor  #: uint8 ``[n, 1, H, W]``
    labels: Tensor  #: int64 ``[n]``

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...


def _column_by_column(images: Tensor) -> Tensor:
    """Return the images with a column's pixels side by side in memory, without a copy if they are so already."""
    return images.transpose(2, 3).contiguous().transpose(2, 3)


def on_device(data: ImageData, device: torch.device | str, workers: int) -> ImageData:
    """Return ``data`` as :func:`batches` reads it fastest; workers need it as it is, on the host.

    On the CPU its pixels are converted here, once, if they then take no more than :data:`MOST_BYTES`.
    """
    if workers == 0:
        data = copy.copy(data)
        data.images = _column_by_column(data.images).to(device)
        data.labels = data.labels.to(device)
        if torch.device(device).type == "cpu" and 4 * data.images.numel() <= MOST_BYTES:
            data.pixels = torch.div(data.images.transpose(2, 3).flatten(1), 255).numpy()
    return data


def all_images(data: ImageData) -> Tensor | None:
    """Return all images as :func:`batches` yields them, if :func:`on_device` has made their pixels; else None."""
    pixels = getattr(data, "pixels", None)
    if pixels is None:
        return None
    return torch.from_numpy(pixels).view(len(data), 1, *data.images.shape[:1:-1]).transpose(2, 3)


def batches(
    data: ImageData,
    indices: Tensor,
    batch_size: int,
    device: torch.device,
    workers: int,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield float images ``[N, 1, H, W]`` in [0, 1] and labels ``[N]`` on ``device``, in the order of ``indices``.

    Without workers a batch is an index into ``data.images``, and its images are a view of the sequence ``[T, N, H]``
    that the networks read, so that no step has to reorder them. Both ways give the same numbers. Of several processes
    each gets its share of every batch, which may be empty in the last one.

    Raises:
        TypeError, ValueError: ``batch_size`` is not a whole number above 0.
    """
    check_whole("batch_size", batch_size, 1)
    parts = [ranks.share(part) for part in indices.split(batch_size)]
    if workers == 0:
        columns, pixels = _column_by_column(data.images), getattr(data, "pixels", None)
        for part in parts:
            part = part.to(columns.device)
            if pixels is None:
                images = _sequence(columns, part).to(device).permute(1, 2, 0).unsqueeze(1)
            else:  # numpy copies in one thread, which needs not wait for another
                images = torch.from_numpy(pixels.take(part.numpy(), axis=0))
                images = images.view(len(part), 1, *columns.shape[:1:-1]).transpose(2, 3)
            yield images, data.labels[part].to(device)
        return
    # A generator of its own, so that the number of workers does not change torch's random numbers.
    loader = DataLoader(
        data,
        batch_sampler=[part.tolist() for part in parts if len(part)],
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_begin_worker,
    )
    for images, labels in loader:
        yield images.to(device), labels.to(device)
    if not len(parts[-1]):
        yield torch.empty(0, *data.images.shape[1:], device=device), data.labels[:0].to(device)


def _begin_worker(worker: int) -> None:
    """Leave Ctrl-C, which reaches every process in a terminal, to the process that trains, and end when that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    # torch asks who the parent is, which with Python's fork server is that server: it and the workers would outlive a
    # killed process for good.
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _sequence(images: Tensor, part: Tensor) -> Tensor:
    """Return some of the images ``[n, 1, H, W]`` as a sequence, float ``[T, N, H]`` in [0, 1] with T = W."""
    n, _, height, width = images.shape
    pixels = images.transpose(2, 3).view(n, -1).index_select(0, part)
    pixels = pixels.view(len(part), width, height).transpose(0, 1)
    return torch.div(pixels, 255, out=torch.empty(pixels.shape, device=images.device))
