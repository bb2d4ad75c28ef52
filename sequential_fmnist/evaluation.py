"""What a network's outputs are worth: loss, accuracy and predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sequential_fmnist.batches import ImageData, batches
from sequential_fmnist.distributed import ALONE, Ranks
from snn_core.checks import check_shape
from snn_core.functional import reset_net

__all__ = ["LOSSES", "evaluate", "predict", "rate_loss"]


def rate_loss(rate: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error between firing rates ``[N, classes]`` and one-hot labels ``[N]``, a scalar.

    Raises:
        TypeError, ValueError: an argument is not a tensor of this shape.
    """
    check_shape("rate", rate, "N", "classes")
    check_shape("labels", labels, len(rate))
    return F.mse_loss(rate, F.one_hot(labels, rate.shape[1]).to(rate.dtype))


#: Losses of outputs ``[N, classes]`` and labels ``[N]``, a scalar: mean squared error to the one-hot label, as in the
#: tutorial, and cross-entropy with the outputs as logits.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": rate_loss, "cross-entropy": F.cross_entropy}


class Mean:
    """Keeps loss and guesses of every step where they are, so that no step waits for a number to reach the host."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.guesses: list[Tensor] = []
        self.right: list[Tensor] = []
        self.sizes: list[int] = []
        self.weights: list[Tensor] = []

    def add(self, loss: Tensor, rate: Tensor, labels: Tensor, weights: Sequence[Tensor] = ()) -> None:
        """Add a step; ``weights`` as they are after it."""
        self.losses.append(loss.detach().view(1))
        self.guesses.append(rate.detach().argmax(1))
        self.right.append((self.guesses[-1] == labels).sum().view(1))
        self.sizes.append(len(labels))
        if weights:  # the largest of each tells whether all of its numbers are finite
            self.weights.append(torch.stack(torch._foreach_norm(weights, math.inf)).sum().view(1))

    def add_steps(self, losses: Tensor, right: Tensor, bad: Tensor, size: int) -> None:
        """Add steps of ``size`` images each: mean losses, right guesses, and what is finite where the weights are."""
        self.losses.append(losses)
        self.right.append(right)
        self.weights.append(bad)
        self.sizes += [size] * len(losses)

    def check(self, epoch: int, ranks: Ranks) -> None:
        """Raise FloatingPointError, naming the first step after which loss or weights are not finite."""
        losses = torch.cat([one.double() for one in self.losses])
        bad = ~torch.stack([losses, torch.cat([one.double() for one in self.weights])]).isfinite()
        bad = ranks.sum(bad.double()) > 0  # of any process, so that all of them stop
        if bad.any():
            step = int(bad.any(0).nonzero()[0])
            # Spikes hide it: a membrane potential that is not a number never reaches the threshold.
            what = "training loss is" if bad[0, step] else "loss is still finite, but weights are"
            raise FloatingPointError(
                f"epoch {epoch}, step {step + 1} of {len(losses)}: the {what} not finite (loss "
                f"{losses[step].item():g}): try a smaller lr, or clip the gradient"
            )

    def result(self, ranks: Ranks = ALONE) -> tuple[float, float]:
        """Return the means over all images, of all processes: each step's loss counts as often as it has images."""
        losses = torch.cat([one.double() for one in self.losses])
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=losses.device)
        right = torch.cat([one.double() for one in self.right]).sum()
        loss, hits, images = ranks.sum(torch.stack([(losses * sizes).sum(), right, sizes.sum()])).tolist()
        return loss / images, hits / images


@torch.no_grad()
def _run(
    net: nn.Module,
    data: ImageData,
    batch_size: int,
    device: str,
    amp: bool = False,
    loss: str = "mse",
    ranks: Ranks = ALONE,
) -> Mean:
    """Show ``net`` all images of ``data``, or this process's share, in evaluation mode; its state is reset."""
    where = torch.device(device)
    was_training = net.training
    net.eval()
    mean, function = Mean(), LOSSES[loss]
    for images, labels in batches(data, torch.arange(len(data)), batch_size, where, 0, ranks):
        if not len(labels):
            continue
        with autocast(where, amp):
            rate = at_least_single(net(images))
        mean.add(function(rate, labels), rate, labels)
        reset_net(net)
    net.train(was_training)
    return mean


def predict(net: nn.Module, data: ImageData, batch_size: int = 256, device: str = "cpu") -> Tensor:
    """Return the class with the highest firing rate for each image, int64 ``[n]``. The state of ``net`` is reset.

    Where several classes fire at the same rate, the first of them counts, as in :func:`evaluate`.

    Args:
        net: maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``.
        data: images and labels.
        batch_size: images in a batch.
        device: where ``net`` is.
    """
    return torch.cat(_run(net, data, batch_size, device).guesses)


def evaluate(
    net: nn.Module,
    data: ImageData,
    batch_size: int = 256,
    device: str = "cpu",
    amp: bool = False,
    loss: str = "mse",
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Return loss and accuracy (a fraction) of ``net`` on ``data``. The state of ``net`` is reset.

    Args:
        net: maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``.
        data: images and labels.
        batch_size: images in a batch.
        device: where ``net`` is.
        amp: whether to run in mixed precision.
        loss: one of :data:`LOSSES`.
        ranks: processes that share the images out; all of them get the result.
    """
    return _run(net, data, batch_size, device, amp, loss, ranks).result(ranks)


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager[None]:
    """Return a context for mixed precision: bfloat16 on the CPU, float16 on a GPU."""
    if not enabled:
        return nullcontext()  # ten times cheaper than autocast that does nothing
    dtype = torch.bfloat16 if device.type == "cpu" else torch.float16
    return torch.autocast(device.type, dtype)


def at_least_single(rate: Tensor) -> Tensor:
    """Return firing rates in the precision that the loss needs: fp32, or fp64 where the network has it."""
    return rate if rate.dtype == torch.float64 else rate.float()
