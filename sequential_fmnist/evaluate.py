"""What a network's outputs are worth: loss, accuracy and predictions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sequential_fmnist.data import ImageData, as_columns, batches
from snn_core.checks import check_shape
from snn_core.functional import reset_net

__all__ = ["LOSSES", "evaluate", "predict", "rate_loss"]


def rate_loss(rate: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error between firing rates ``[N, classes]`` and one-hot labels ``[N]``, a scalar."""
    check_shape("rate", rate, "N", "classes")
    check_shape("labels", labels, len(rate))
    return F.mse_loss(rate, F.one_hot(labels, rate.shape[1]).to(rate.dtype))


#: Losses of outputs ``[N, classes]`` and labels ``[N]``, a scalar: mean squared error to the one-hot label, as in the
#: text, and cross-entropy with the outputs as logits.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": rate_loss, "cross-entropy": F.cross_entropy}


#: What mixed precision means on a kind of device.
AMP = {"cpu": torch.bfloat16, "cuda": torch.float16}


@torch.no_grad()
def _run(
    net: nn.Module, data: ImageData | TensorDataset, batch_size: int, device: str, amp: bool, loss: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of the losses of all images, the guess for each and its label; the state of ``net`` is reset."""
    where, was_training = torch.device(device), net.training
    data, losses, guesses = as_columns(data, where), [], []
    if len(data) == 0:
        raise ValueError("data must hold at least one image")
    net.eval()
    for images, labels in batches(data, torch.arange(len(data)), batch_size):
        with torch.autocast(where.type, AMP[where.type], amp):
            rate = net(images)
            losses.append(LOSSES[loss](rate, labels).double() * len(labels))
        guesses.append(rate.argmax(1))
        reset_net(net)
    net.train(was_training)
    return torch.stack(losses).sum(), torch.cat(guesses), data.tensors[1]


def predict(net: nn.Module, data: ImageData, batch_size: int = 256, device: str = "cpu") -> Tensor:
    """Return the class with the highest output for each image, int64 ``[n]``; arguments as for :func:`evaluate`."""
    return _run(net, data, batch_size, device, amp=False, loss="cross-entropy")[1]


def evaluate(
    net: nn.Module,
    data: ImageData | TensorDataset,
    batch_size: int = 256,
    device: str = "cpu",
    amp: bool = False,
    loss: str = "mse",
) -> tuple[float, float]:
    """Return loss, one of :data:`LOSSES`, and accuracy (a fraction) of ``net`` on ``data``.

    ``net``, which is on ``device``, maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``; its state
    is reset. With ``amp`` it runs in mixed precision.

    Raises:
        ValueError: there are no images.
    """
    loss_sum, guesses, labels = _run(net, data, batch_size, device, amp, loss)
    return loss_sum.item() / len(labels), (guesses == labels).sum().item() / len(labels)
