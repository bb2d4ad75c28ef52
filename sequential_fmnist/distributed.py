"""Processes that train one network together, each with its share of every batch: data-parallel training.

Started by ``torchrun --nproc-per-node 2 -m sequential_fmnist ...``. Every process holds the whole network, computes the
gradient of its share, and takes the same step with the mean over all images of the batch:

.. math:: g = \\frac{\\sum_r n_r\\, g_r}{\\sum_r n_r}

where :math:`g_r` is the mean gradient of process r over its :math:`n_r` images. So a run equals the run of one process
with the same batch size but for rounding, uneven last batches included. (torch's DistributedDataParallel weights all
processes alike, which is not the mean over images where shares differ.)

Sums go through gloo on the CPU and NCCL on NVIDIA GPUs. The tests run gloo; NCCL has not been run yet.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["ALONE", "Ranks", "join"]


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The processes that train one network, seen from one of them; by default it is alone and nothing is exchanged.

    All of them must call :meth:`sum`, :meth:`any`, :meth:`average_gradients` and :meth:`copy_first` in the same order.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
        local: number of this process on its machine, from 0.
        device: where tensors are that are exchanged.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch; parts differ by at most one image, so the last may be empty."""
        return batch.tensor_split(self.size)[self.rank]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all processes, the same to the bit in each."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set in any process."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def average_gradients(self, weights: Sequence[Tensor], images: int) -> None:
        """Replace each gradient, the mean over ``images`` images of this process, by the mean over all processes'."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        # One exchange for all of them, with the number of images as the last element.
        flat = torch.cat([g.flatten() for g in gradients] + [gradients[0].new_ones(1)])
        *totals, count = self.sum(flat * images).split([*(w.numel() for w in weights), 1])
        for weight, total in zip(weights, totals, strict=True):
            weight.grad = (total / count).view_as(weight).to(weight.dtype)

    def copy_first(self, net: nn.Module) -> None:
        """Give ``net`` the first process's weights and buffers, in case they were not the same.

        Raises:
            ValueError: ``net`` has batch normalisation.
        """
        if self.size == 1:
            return
        if any(isinstance(module, _BatchNorm) for module in net.modules()):
            raise ValueError(
                f"batch normalisation would see a process's share of a batch only: train it with 1 process, not "
                f"{self.size}"
            )
        for tensor in net.state_dict().values():
            distributed.broadcast(tensor, src=0)

    def check_images(self, batch_size: int, *numbers: int) -> None:
        """Check that every process gets images, and that all see data of the same size.

        Raises:
            ValueError: they do not.
        """
        if self.size == 1:
            return
        if batch_size < self.size:
            raise ValueError(
                f"batch_size must be at least the number of processes, {self.size}, got {batch_size}: each takes "
                "its share of every batch"
            )
        if min(numbers) < self.size:
            raise ValueError(f"{min(numbers)} images are too few for {self.size} processes")
        sizes = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        if not torch.equal(self.sum(sizes), self.size * sizes):
            raise ValueError(
                "the processes found data of different sizes: give all of them the same --data-path"
            )


#: One process without any others.
ALONE = Ranks()


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, and leave them at the end; without torchrun yield :data:`ALONE`.

    Args:
        device: ``"cpu"``, or ``"cuda"``, of which each process takes the GPU with its local number. The device of
            this process is that of what is yielded.

    Raises:
        ValueError: the device cannot be shared out, or torchrun's variables are incomplete.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield dataclasses.replace(ALONE, device=device)
        return
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", rank))
    if not distributed.is_available():
        raise ValueError(
            "this torch was built without torch.distributed: start one process, without torchrun"
        )
    backend, where = "gloo", torch.device(device)
    if where.type == "cuda":
        gpus = torch.cuda.device_count()
        if where.index is not None:
            raise ValueError(f"device must be 'cuda', got {device!r}: each process takes a GPU of its own")
        if local >= gpus:
            raise ValueError(f"more processes than the {gpus} GPUs here: --nproc-per-node {gpus}")
        backend, where = "nccl", torch.device("cuda", local)
        torch.cuda.set_device(where)
    distributed.init_process_group(backend, device_id=where if backend == "nccl" else None)
    try:
        ranks = Ranks(rank, size, local, str(where))
        yield ranks
        ranks.any(False)  # nobody leaves while another still waits for it
    finally:
        distributed.destroy_process_group()
